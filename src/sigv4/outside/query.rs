//! Refusals as IAM, STS and the other services word them. Source: IAM "Common errors", and what they answer on the
//! wire, as scratchstack's "AWS Auth Error Ordering" has observed it.

use super::super::authorization::{Carrier, Scheme};
use super::super::refusal::{AuthorizationFault, CredentialFault, Refusal, ScopeFault};
use super::super::scope::ScopePart;
use super::super::target::TargetFault;
use super::super::time::{AmzDate, UnixSeconds};
use super::{Outside, signed_headers_fault, v2_fault};

pub(super) fn outside(refusal: &Refusal) -> Outside {
    match refusal {
        Refusal::MissingCredentials => Outside::new("MissingAuthenticationToken", 403, "Missing Authentication Token"),
        Refusal::SeveralCredentials => does_not_match("The request has more than one kind of credentials."),
        Refusal::UnsupportedScheme(scheme) => unsupported(scheme),
        Refusal::RepeatedHeader("host") => does_not_match("The request has more than one Host header."),
        Refusal::RepeatedHeader(name) => incomplete(format!("The header '{name}' may be given only once.")),
        Refusal::RepeatedParameter(name) => incomplete(format!("The parameter '{name}' may be given only once.")),
        Refusal::MiscasedParameter(name) => {
            incomplete(format!("A parameter differs from '{name}' in upper and lower case only."))
        }
        Refusal::MissingParts { carrier, parts } => missing_parts(*carrier, parts),
        Refusal::MalformedAuthorization(fault) => incomplete(authorization_fault(fault)),
        Refusal::MalformedCredential { fault, .. } => malformed_credential(fault),
        Refusal::MalformedSignature { .. } => does_not_match("The signature you provided is not well formed."),
        Refusal::SignedHeaders(fault) => does_not_match(signed_headers_fault(fault)),
        Refusal::MalformedDate { got, .. } => {
            incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{got}'."))
        }
        Refusal::MalformedExpires { got } => {
            incomplete(format!("X-Amz-Expires must be a number of seconds from 1 to 604800. Got '{got}'."))
        }
        Refusal::MalformedTarget(fault) => malformed_target(*fault),
        // Only S3 takes forms; a request for another service never comes so far.
        Refusal::Form(_) => unsupported(&Scheme::PostForm),
        Refusal::UnknownAccessKeyId(_)
        | Refusal::InactiveKey(_)
        | Refusal::TemporaryKeyNotSupported(_)
        | Refusal::InvalidToken => invalid_token(),
        Refusal::Skewed { signed, now, tolerance } if signed.unix() < *now => expired(signed, *now, *tolerance),
        Refusal::Skewed { signed, now, tolerance } | Refusal::NotYetValid { signed, now, tolerance } => {
            not_yet_current(signed, *now, *tolerance)
        }
        Refusal::Expired { signed, expires, now } => expired(signed, *now, i64::from(*expires)),
        Refusal::WrongScope { faults, .. } => {
            let texts: Vec<_> = faults.iter().map(scope_fault).collect();
            Outside::new(DOES_NOT_MATCH, 403, texts.join(" "))
        }
        Refusal::SignatureV2(fault) => incomplete(v2_fault(fault)),
        Refusal::TooManyRegions { limit } => {
            access_denied(format!("This access key was used in more than {limit} regions today."))
        }
        Refusal::HeadersNotSigned(names) => headers_not_signed(names),
        Refusal::MissingContentSha256 => does_not_match("The header x-amz-content-sha256 is missing."),
        Refusal::IllegalContentSha256 { got } => {
            does_not_match(format!("The payload must be signed: x-amz-content-sha256 may not be '{got}'."))
        }
        Refusal::SignatureDoesNotMatch { .. } => does_not_match(""),
        Refusal::BodyMismatch { .. } => does_not_match("The body is not the one of x-amz-content-sha256."),
        Refusal::AccessDenied { message } => access_denied(message),
    }
}

const DOES_NOT_MATCH: &str = "SignatureDoesNotMatch";

fn does_not_match(why: impl AsRef<str>) -> Outside {
    let mut message = "The request signature we calculated does not match the signature you provided. Check your AWS \
                       Secret Access Key and signing method. Consult the service documentation for details."
        .to_owned();
    if !why.as_ref().is_empty() {
        message = format!("{message} {}", why.as_ref());
    }
    Outside::new(DOES_NOT_MATCH, 403, message)
}

fn incomplete(message: impl Into<String>) -> Outside {
    Outside::new("IncompleteSignature", 400, message)
}

fn access_denied(message: impl Into<String>) -> Outside {
    Outside::new("AccessDenied", 403, message)
}

fn invalid_token() -> Outside {
    Outside::new("InvalidClientTokenId", 403, "The security token included in the request is invalid.")
}

fn unsupported(scheme: &Scheme) -> Outside {
    let name = match scheme {
        Scheme::V4a(_) => "AWS4-ECDSA-P256-SHA256",
        Scheme::V2(_) => "AWS",
        Scheme::V3 => "AWS3",
        Scheme::PostForm => return Outside::new("MissingAuthenticationToken", 403, "Missing Authentication Token"),
        Scheme::Other(_, name) => name,
    };
    incomplete(format!("Unsupported AWS 'algorithm': '{name}'."))
}

/// One message that lists all that is missing.
fn missing_parts(carrier: Carrier, parts: &[&str]) -> Outside {
    let sentence = |part: &&str| match (carrier, *part) {
        (Carrier::Header, "X-Amz-Date") => {
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned()
        }
        (Carrier::Header, part) => format!("Authorization header requires '{part}' parameter."),
        (Carrier::Query | Carrier::Form, part) => format!("AWS query-string parameters must include '{part}'."),
    };
    incomplete(parts.iter().map(sentence).collect::<Vec<_>>().join(" "))
}

fn authorization_fault(fault: &AuthorizationFault) -> String {
    match fault {
        AuthorizationFault::NotNameValue(part) => {
            format!("'{part}' not a valid key=value pair (missing equal-sign) in Authorization header.")
        }
        AuthorizationFault::UnknownPart(name) => format!("'{name}' not a valid key in Authorization header."),
        AuthorizationFault::RepeatedPart(name) => format!("'{name}' given more than once in Authorization header."),
    }
}

fn malformed_credential(fault: &CredentialFault) -> Outside {
    match fault {
        CredentialFault::NotFiveParts(got) => incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{got}'."
        )),
        CredentialFault::AccessKeyId(_) => invalid_token(),
        CredentialFault::Terminator(got) => Outside::new(
            DOES_NOT_MATCH,
            403,
            format!("Credential should be scoped with a valid terminator: 'aws4_request', not '{got}'."),
        ),
        CredentialFault::Scope(part, got) => {
            let part = match part {
                ScopePart::Date => "date",
                ScopePart::Region => "region",
                ScopePart::Service => "service",
            };
            Outside::new(DOES_NOT_MATCH, 403, format!("Credential should be scoped to a valid {part}, got '{got}'."))
        }
    }
}

fn malformed_target(fault: TargetFault) -> Outside {
    let message = match fault {
        TargetFault::Nul => return does_not_match("The request target holds a NUL byte."),
        TargetFault::AuthorityIsNotHost => {
            return does_not_match("The host in the request target is not the Host header's.");
        }
        TargetFault::NotAPath => "The request target is not a path.",
        TargetFault::BrokenEscape { in_query: true } => "The query string has an incomplete or illegal % escape.",
        TargetFault::BrokenEscape { in_query: false } => "The path has an incomplete or illegal % escape.",
        TargetFault::Forbidden => "The request target has a character that has no place there.",
        TargetFault::AboveRoot => "The path leads above the root.",
    };
    Outside::new("MalformedQueryString", 400, message)
}

fn expired(signed: &AmzDate, now: UnixSeconds, tolerance: i64) -> Outside {
    let (limit, now) = (AmzDate::at(now.saturating_sub(tolerance)), AmzDate::at(now));
    let span = span(tolerance);
    let message = format!("Signature expired: {signed} is now earlier than {limit} ({now} - {span})");
    Outside::new(DOES_NOT_MATCH, 403, message)
}

fn not_yet_current(signed: &AmzDate, now: UnixSeconds, tolerance: i64) -> Outside {
    let (limit, now) = (AmzDate::at(now.saturating_add(tolerance)), AmzDate::at(now));
    let span = span(tolerance);
    let message = format!("Signature not yet current: {signed} is still later than {limit} ({now} + {span})");
    Outside::new(DOES_NOT_MATCH, 403, message)
}

fn span(seconds: i64) -> String {
    if seconds % 60 == 0 { format!("{} min.", seconds / 60) } else { format!("{seconds} s.") }
}

fn scope_fault(fault: &ScopeFault) -> String {
    match fault {
        ScopeFault::Region { got, .. } => format!("Credential should be scoped to a valid region, not '{got}'."),
        ScopeFault::Service { expected, .. } => {
            format!("Credential should be scoped to correct service: '{expected}'.")
        }
        ScopeFault::Date { got, signed } => format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{got}' != '{}', \
             from '{signed}'.",
            signed.date()
        ),
    }
}

fn headers_not_signed(names: &[String]) -> Outside {
    let sentence = |name: &String| match name.as_str() {
        "host" => "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        name => format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."),
    };
    Outside::new(DOES_NOT_MATCH, 403, names.iter().map(sentence).collect::<Vec<_>>().join(" "))
}
