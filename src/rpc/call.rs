//! A call for a decision, whichever format it came in, and its limits.

use super::Malformed;

/// The most bytes of a request head.
pub const MAX_HEAD: usize = 32 * 1024;
/// The most header lines of a request.
pub const MAX_HEADERS: usize = 128;
/// The most bytes of a request body that is handed in to be hashed.
pub const MAX_BODY: usize = 1024 * 1024;

/// "Is this request signed by a key of yours, for this service?"
#[derive(Clone, Debug)]
pub struct VerifyCall<'a> {
    /// The head of the signed request.
    pub head: HeadInput<'a>,
    /// Its body, where the caller has it. Not together with `payload_sha256`.
    pub body: Option<&'a [u8]>,
    /// The SHA-256 of its body, where the caller has computed it.
    pub payload_sha256: Option<[u8; 32]>,
    /// The service that the credential scope must name.
    pub expect_service: &'a str,
    /// The region that the credential scope must name; `None` for any that node and caller serve.
    pub expect_region: Option<&'a str>,
}

/// The head of a request, at most [`MAX_HEAD`] bytes.
#[derive(Clone, Debug)]
pub enum HeadInput<'a> {
    /// Method, target as received, and at most [`MAX_HEADERS`] headers in order of arrival.
    Fields {
        /// The method.
        method: &'a [u8],
        /// The request target, unchanged.
        target: &'a [u8],
        /// Names and values.
        headers: Vec<(&'a [u8], &'a [u8])>,
    },
    /// The bytes of an HTTP/1.1 head as received, request line first.
    Raw(&'a [u8]),
}

impl VerifyCall<'_> {
    /// Limits, and what must not stand together.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        self.head.check()?;
        if self.body.is_some_and(|body| body.len() > MAX_BODY) {
            return Err(Malformed::too_large("body", format!("the body is larger than {MAX_BODY} bytes")));
        }
        if self.body.is_some() && self.payload_sha256.is_some() {
            let message = "body and payload_sha256 are both set: one says what the other does";
            return Err(Malformed::new("conflicting_fields", "payload_sha256", message));
        }
        check_name("expect.service", self.expect_service)?;
        self.expect_region.map_or(Ok(()), |region| check_name("expect.region", region))
    }
}

fn check_name(at: &str, name: &str) -> Result<(), Malformed> {
    if rederive_hsm::wire::is_scope_name(name.as_bytes()) {
        Ok(())
    } else {
        Err(Malformed::bad(at, "takes 1 to 32 letters, digits or hyphens"))
    }
}

impl HeadInput<'_> {
    fn check(&self) -> Result<(), Malformed> {
        match self {
            Self::Raw(head) if head.len() > MAX_HEAD => Err(too_long("head")),
            Self::Raw(_) => Ok(()),
            Self::Fields { headers, .. } if headers.len() > MAX_HEADERS => {
                Err(Malformed::bad("headers", format!("more than {MAX_HEADERS} headers")))
            }
            Self::Fields { method, target, headers } => {
                let lines: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
                let length = method.len() + target.len() + lines + 14;
                if length > MAX_HEAD { Err(too_long("headers")) } else { Ok(()) }
            }
        }
    }
}

fn too_long(at: &str) -> Malformed {
    Malformed::bad(at, format!("the request head is longer than {MAX_HEAD} bytes"))
}
