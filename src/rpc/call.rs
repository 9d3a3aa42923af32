//! A call for a decision, whichever format it came in, and its limits.

use rederive_hsm::wire::is_scope_name;

use super::Malformed;
use crate::sigv4::{
    Body, Family, FormContent, FormFile, HeadError, HeadPlace, Limits, PostForm, Refusal, RequestHead, Scheme,
    SignedRequest, split_authority,
};

/// The most bytes of a request body that is handed in to be hashed.
pub const MAX_BODY: usize = 1024 * 1024;

/// "Is this request signed by a key of yours, for this service?"
#[derive(Clone)]
pub struct VerifyCall<'h, 'a> {
    /// The head of the signed request.
    pub head: &'h RequestHead<'a>,
    /// Its body, as far as the caller has it.
    pub body: Body<'a>,
    /// The form, where the credentials stand in one; its content is in here, then, and not in `body`.
    pub form: Option<PostForm<'a>>,
    /// The service that the credential scope must name.
    pub expect_service: &'a str,
    /// The region that the credential scope must name; `None` for any that node and caller serve.
    pub expect_region: Option<&'a str>,
    /// Whether the signing key is asked for.
    pub want_signing_key: bool,
    /// Whether a refusal is to be explained.
    pub explain: bool,
}

impl VerifyCall<'_, '_> {
    /// What the formats have in common beside the head.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        if matches!(self.body, Body::Bytes(bytes) if bytes.len() > MAX_BODY) {
            return Err(Malformed::too_large("body", format!("the body is larger than {MAX_BODY} bytes")));
        }
        check_name("expect.service", self.expect_service)?;
        self.expect_region.map_or(Ok(()), |region| check_name("expect.region", region))
    }
}

/// What a call says of a form.
pub(super) struct GivenForm<'a> {
    pub bucket: Option<&'a str>,
    pub fields: Option<Vec<(&'a str, &'a str)>>,
    pub file: FormFile<'a>,
}

/// The form that a call is about: the one that it hands in, or its body where the credentials can stand nowhere else.
pub(super) fn form_of<'a>(
    given: Option<GivenForm<'a>>,
    head: &RequestHead<'a>,
    body: Body<'a>,
    service: &str,
) -> Result<Option<PostForm<'a>>, Malformed> {
    let form = match (given, body) {
        (None, _) if !signs_a_form(head, service) => return Ok(None),
        (None, Body::Bytes(body)) => PostForm { content: FormContent::Body(body), bucket: None },
        (Some(GivenForm { bucket, fields: None, .. }), Body::Bytes(body)) => {
            PostForm { content: FormContent::Body(body), bucket }
        }
        (Some(GivenForm { bucket, fields: Some(fields), file }), Body::Absent) => {
            PostForm { content: FormContent::Fields(fields, file), bucket }
        }
        (None | Some(GivenForm { fields: None, .. }), Body::Absent | Body::Sha256(_)) => {
            let message = "the credentials stand in a form: give `body`, or the fields of the `form`";
            return Err(Malformed::new("body_required", "body", message));
        }
        (Some(GivenForm { fields: Some(_), .. }), Body::Bytes(_) | Body::Sha256(_)) => {
            let message = "fields of a form beside a body: one says what the other does";
            return Err(Malformed::new("conflicting_fields", "form.fields", message));
        }
    };
    if form.bucket.is_none() && is_root(head.target()) {
        return Err(Malformed::missing("form.bucket", "the path names no bucket: say which one the file is put into"));
    }
    Ok(Some(form))
}

/// Whether the path of a target is empty, with `http://host` before it or not.
fn is_root(target: &[u8]) -> bool {
    let path = split_authority(target).1.split(|byte| *byte == b'?').next();
    matches!(path, Some(b"" | b"/"))
}

fn signs_a_form(head: &RequestHead<'_>, service: &str) -> bool {
    let is_form = || matches!(SignedRequest::parse(head), Err(Refusal::UnsupportedScheme(Scheme::PostForm)));
    head.method() == b"POST" && Family::of(service) == Family::S3 && is_form()
}

fn check_name(at: &str, name: &str) -> Result<(), Malformed> {
    if is_scope_name(name.as_bytes()) {
        Ok(())
    } else {
        Err(Malformed::bad(at, "takes 1 to 32 letters, digits or hyphens"))
    }
}

/// A head that came in parts.
pub(super) fn head_of_fields<'h, 'a>(
    place: &'h mut HeadPlace<'a>,
    method: &'a [u8],
    target: &'a [u8],
    headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<&'h RequestHead<'a>, Malformed> {
    place.take(method, target, headers, &Limits::default()).map_err(|error| bad_head("headers", &error))
}

/// A head that came as the bytes that were received, and nothing after them.
pub(super) fn head_of_bytes<'h, 'a>(
    place: &'h mut HeadPlace<'a>,
    bytes: &'a [u8],
) -> Result<&'h RequestHead<'a>, Malformed> {
    let (head, end) = place.parse(bytes, &Limits::default()).map_err(|error| bad_head("head", &error))?;
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
