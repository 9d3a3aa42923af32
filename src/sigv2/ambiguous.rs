//! Requests to S3 that have the string to sign of another request.
//!
//! The parts of a string to sign of Signature V2 are put side by side, decoded, and are not marked off from each other. What
//! a client has signed could therefore be sent in other parts: a header within the name of a parameter, two sub-resources
//! within the value of one. No client writes such requests; all of them are refused.

use super::parameters::Parameter;
use super::sub_resources::is_sub_resource;
use crate::sigv4::{Refusal, RequestHead, V2Fault};

/// Headers with a line of their own in the text.
const LINES: [&str; 3] = ["content-md5", "content-type", "date"];

/// # Errors
/// If the request is such a one.
pub(super) fn check(head: &RequestHead<'_>, parameters: &[Parameter]) -> Result<(), Refusal> {
    let is_folded = |value: &[u8]| memchr::memchr2(b'\r', b'\n', value).is_some();
    for header in head.headers().iter().filter(|header| is_folded(header.value)) {
        if let Some(name) = LINES.iter().find(|name| header.name.eq_ignore_ascii_case(name.as_bytes())) {
            return Err(Refusal::SignatureV2(V2Fault::FoldedHeader(name)));
        }
    }
    for (place, parameter) in parameters.iter().enumerate() {
        let name = parameter.name.to_ascii_lowercase();
        let is_safe = match (name.starts_with(b"x-amz-"), is_sub_resource(&parameter.name)) {
            (true, _) => {
                is_header_alone(&name, head, &parameters[..place]) && is_token(&name) && !has_control(parameter)
            }
            (false, true) => is_token(&name) && !has_control(parameter) && !holds_another(parameter),
            (false, false) => true,
        };
        if !is_safe {
            return Err(Refusal::SignatureV2(V2Fault::AmbiguousParameter(parameter.shown_name())));
        }
    }
    Ok(())
}

/// Whether a parameter that stands for a header is the only one of its name.
fn is_header_alone(name: &[u8], head: &RequestHead<'_>, before: &[Parameter]) -> bool {
    !head.headers().iter().any(|header| header.name.eq_ignore_ascii_case(name))
        && !before.iter().any(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

fn is_token(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn has_control(parameter: &Parameter) -> bool {
    parameter.value.iter().flatten().any(u8::is_ascii_control)
}

/// Whether the value goes on as another sub-resource would.
fn holds_another(parameter: &Parameter) -> bool {
    let value = parameter.value.as_deref().unwrap_or_default();
    let mut pieces = value.split(|byte| *byte == b'&').skip(1);
    pieces.any(|piece| is_sub_resource(piece.split(|byte| *byte == b'=').next().unwrap_or_default()))
}
