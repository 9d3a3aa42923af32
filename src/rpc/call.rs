//! A call for a decision, whichever format it came in, and its limits.

use rederive_hsm::wire::is_scope_name;

use super::Malformed;
use crate::sigv4::{Body, HeadError, Limits, RequestHead};

/// The most bytes of a request body that is handed in to be hashed.
pub const MAX_BODY: usize = 1024 * 1024;

/// "Is this request signed by a key of yours, for this service?"
#[derive(Clone)]
pub struct VerifyCall<'a> {
    /// The head of the signed request.
    pub head: RequestHead<'a>,
    /// Its body, as far as the caller has it.
    pub body: Body<'a>,
    /// The service that the credential scope must name.
    pub expect_service: &'a str,
    /// The region that the credential scope must name; `None` for any that node and caller serve.
    pub expect_region: Option<&'a str>,
}

impl VerifyCall<'_> {
    /// What the formats have in common beside the head.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        if matches!(self.body, Body::Bytes(bytes) if bytes.len() > MAX_BODY) {
            return Err(Malformed::too_large("body", format!("the body is larger than {MAX_BODY} bytes")));
        }
        check_name("expect.service", self.expect_service)?;
        self.expect_region.map_or(Ok(()), |region| check_name("expect.region", region))
    }
}

fn check_name(at: &str, name: &str) -> Result<(), Malformed> {
    if is_scope_name(name.as_bytes()) {
        Ok(())
    } else {
        Err(Malformed::bad(at, "takes 1 to 32 letters, digits or hyphens"))
    }
}

/// A head that came in parts.
pub(super) fn head_of_fields<'a>(
    method: &'a [u8],
    target: &'a [u8],
    headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<RequestHead<'a>, Malformed> {
    RequestHead::from_fields(method, target, headers, &Limits::default()).map_err(|error| bad_head("headers", &error))
}

/// A head that came as the bytes that were received, and nothing after them.
pub(super) fn head_of_bytes(bytes: &[u8]) -> Result<RequestHead<'_>, Malformed> {
    let (head, end) = RequestHead::parse(bytes, &Limits::default()).map_err(|error| bad_head("head", &error))?;
    if end < bytes.len() {
        let message = "bytes follow the empty line at its end: a body is handed in apart";
        return Err(Malformed::new(BAD_HEAD, "head", message));
    }
    Ok(head)
}

const BAD_HEAD: &str = "bad_head";

fn bad_head(at: &str, error: &HeadError) -> Malformed {
    let at = match error {
        HeadError::Method => "method".into(),
        HeadError::EmptyTarget => "target".into(),
        HeadError::HeaderField { index, .. } => format!("headers[{index}]"),
        _ => at.to_owned(),
    };
    Malformed::new(BAD_HEAD, at, error.to_string())
}
