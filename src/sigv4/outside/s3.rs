//! Refusals as S3 words them. Source: S3 "Error responses", and what S3 answers on the wire.

use super::super::authorization::{Carrier, Scheme};
use super::super::hex;
use super::super::refusal::{AuthorizationFault, CredentialFault, Refusal, ScopeFault};
use super::super::scope::ScopePart;
use super::super::target::TargetFault;
use super::super::time::{AmzDate, UnixSeconds};
use super::{Outside, form, signed_headers_fault, v2_fault};

pub(super) fn outside(refusal: &Refusal) -> Outside {
    match refusal {
        Refusal::MissingCredentials => access_denied("Access Denied"),
        Refusal::SeveralCredentials => Outside::new(
            "InvalidArgument",
            400,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        ),
        Refusal::UnsupportedScheme(scheme) => unsupported(scheme),
        Refusal::RepeatedHeader(name) => repeated_header(name),
        Refusal::RepeatedParameter(name) => {
            query_parameters(format!("The query parameter {name} may be given only once"))
        }
        Refusal::MiscasedParameter(name) => {
            query_parameters(format!("A query parameter differs from {name} in upper and lower case only"))
        }
        Refusal::MissingParts { carrier, parts } => missing_parts(*carrier, parts),
        Refusal::MalformedAuthorization(fault) => malformed(Carrier::Header, &authorization_fault(fault)),
        Refusal::MalformedCredential { carrier, fault } => malformed_credential(*carrier, fault),
        Refusal::MalformedSignature { got } => {
            does_not_match("The signature you provided is not well formed.").with("SignatureProvided", got)
        }
        Refusal::SignedHeaders(fault) => does_not_match(signed_headers_fault(fault)),
        Refusal::MalformedDate { carrier: Carrier::Header, .. } => access_denied(NEEDS_DATE),
        Refusal::MalformedDate { carrier: Carrier::Query | Carrier::Form, .. } => {
            query_parameters("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        }
        Refusal::MalformedExpires { got } => malformed_expires(got),
        Refusal::MalformedTarget(fault) => malformed_target(*fault),
        Refusal::Form(fault) => form::outside(fault),
        Refusal::SignatureV2(fault) => Outside::new("InvalidRequest", 400, v2_fault(fault)),
        Refusal::UnknownAccessKeyId(id) | Refusal::InactiveKey(id) | Refusal::TemporaryKeyNotSupported(id) => {
            unknown_key(id)
        }
        Refusal::InvalidToken => {
            Outside::new("InvalidToken", 400, "The provided token is malformed or otherwise invalid.")
        }
        Refusal::Skewed { signed, now, tolerance } => skewed(signed, *now, *tolerance),
        Refusal::Expired { signed, expires, now } => expired(signed, *expires, *now),
        Refusal::NotYetValid { .. } => access_denied("Request is not valid yet"),
        Refusal::WrongScope { carrier, faults } => wrong_scope(*carrier, faults),
        Refusal::TooManyRegions { limit } => {
            access_denied(format!("This access key was used in more than {limit} regions today."))
        }
        Refusal::HeadersNotSigned(names) => {
            access_denied("There were headers present in the request which were not signed")
                .with("HeadersNotSigned", names.join(", "))
        }
        Refusal::MissingContentSha256 => {
            Outside::new("InvalidRequest", 400, "Missing required header for this request: x-amz-content-sha256")
        }
        Refusal::IllegalContentSha256 { got } => illegal_content_sha256(got),
        Refusal::SignatureDoesNotMatch { access_key_id, provided, string_to_sign } => does_not_match("")
            .with("AWSAccessKeyId", access_key_id)
            .with("StringToSign", string_to_sign)
            .with("SignatureProvided", provided)
            .with("StringToSignBytes", bytes_of(string_to_sign)),
        Refusal::BodyMismatch { claimed, computed } => body_mismatch(claimed, computed),
        Refusal::AccessDenied { message } => access_denied(message),
    }
}

const NEEDS_DATE: &str = "AWS authentication requires a valid Date or x-amz-date header";

fn access_denied(message: impl Into<String>) -> Outside {
    Outside::new("AccessDenied", 403, message)
}

fn query_parameters(message: impl Into<String>) -> Outside {
    Outside::new("AuthorizationQueryParametersError", 400, message)
}

/// The code for credentials that cannot be read, which tells where they stand.
fn malformed(carrier: Carrier, text: &str) -> Outside {
    match carrier {
        Carrier::Header => {
            Outside::new("AuthorizationHeaderMalformed", 400, format!("The authorization header is malformed; {text}"))
        }
        Carrier::Query | Carrier::Form => {
            query_parameters(format!("Error parsing the X-Amz-Credential parameter; {text}"))
        }
    }
}

fn does_not_match(why: impl AsRef<str>) -> Outside {
    let mut message = "The request signature we calculated does not match the signature you provided. Check your key \
                       and signing method."
        .to_owned();
    if !why.as_ref().is_empty() {
        message = format!("{message} {}", why.as_ref());
    }
    Outside::new("SignatureDoesNotMatch", 403, message)
}

/// Each byte as two digits, with blanks between them.
fn bytes_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn unknown_key(id: &str) -> Outside {
    Outside::new("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records.")
        .with("AWSAccessKeyId", id)
}

fn unsupported(scheme: &Scheme) -> Outside {
    match scheme {
        Scheme::V4a(Carrier::Query | Carrier::Form) | Scheme::Other(Carrier::Query | Carrier::Form, _) => {
            query_parameters("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
        }
        Scheme::V4a(Carrier::Header)
        | Scheme::V2(_)
        | Scheme::V3
        | Scheme::PostForm
        | Scheme::Other(Carrier::Header, _) => Outside::new(
            "InvalidRequest",
            400,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ),
    }
}

/// As if the values had been joined by a comma: a list is no date, no hash, no host.
fn repeated_header(name: &str) -> Outside {
    match name {
        "date" | "x-amz-date" => access_denied(NEEDS_DATE),
        "host" => Outside::new("InvalidRequest", 400, "The request has more than one Host header"),
        _ => Outside::new("InvalidArgument", 400, format!("The header {name} may be given only once"))
            .with("ArgumentName", name),
    }
}

fn missing_parts(carrier: Carrier, parts: &[&str]) -> Outside {
    match carrier {
        Carrier::Header if parts == ["X-Amz-Date"] => access_denied(NEEDS_DATE),
        Carrier::Header => malformed(
            carrier,
            "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
        ),
        Carrier::Query if parts.iter().any(|part| ["AWSAccessKeyId", "Expires", "Signature"].contains(part)) => {
            access_denied("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
        }
        Carrier::Query => query_parameters(format!(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
             X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters. Missing: {}.",
            parts.join(", ")
        )),
        Carrier::Form => form::missing_field(parts.first().copied().unwrap_or_default()),
    }
}

fn authorization_fault(fault: &AuthorizationFault) -> String {
    match fault {
        AuthorizationFault::NotNameValue(part) => format!("'{part}' is not a name=value pair."),
        AuthorizationFault::UnknownPart(name) => format!("'{name}' is not a component of it."),
        AuthorizationFault::RepeatedPart(name) => format!("{name} is given more than once."),
    }
}

fn malformed_credential(carrier: Carrier, fault: &CredentialFault) -> Outside {
    match fault {
        CredentialFault::NotFiveParts(got) => malformed(
            carrier,
            &format!(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\", got \"{got}\"."
            ),
        ),
        CredentialFault::AccessKeyId(id) if id.is_empty() => {
            malformed(carrier, "a non-empty Access Key (AKID) must be provided in the credential.")
        }
        CredentialFault::AccessKeyId(id) => unknown_key(id),
        CredentialFault::Terminator(got) => {
            malformed(carrier, &format!("incorrect terminal \"{got}\". This endpoint uses \"aws4_request\"."))
        }
        CredentialFault::Scope(ScopePart::Date, got) => malformed(
            carrier,
            &format!("incorrect date format in \"{got}\". This date must be in the format \"yyyyMMdd\"."),
        ),
        CredentialFault::Scope(ScopePart::Region, got) => {
            malformed(carrier, &format!("the region in \"{got}\" is wrong."))
        }
        CredentialFault::Scope(ScopePart::Service, got) => {
            malformed(carrier, &format!("incorrect service in \"{got}\"."))
        }
    }
}

fn malformed_expires(got: &str) -> Outside {
    query_parameters(match got.strip_prefix('-').unwrap_or(got).parse::<u64>() {
        Ok(_) if got.starts_with('-') => "X-Amz-Expires must be non-negative",
        Ok(0) => "X-Amz-Expires must be at least one second",
        Ok(_) => "X-Amz-Expires must be less than a week (in seconds) that is 604800",
        Err(_) => "X-Amz-Expires should be a number",
    })
}

fn malformed_target(fault: TargetFault) -> Outside {
    match fault {
        TargetFault::Nul => does_not_match("The request target holds a NUL byte."),
        TargetFault::AuthorityIsNotHost => does_not_match("The host in the request target is not the Host header's."),
        TargetFault::NotAPath | TargetFault::BrokenEscape { .. } | TargetFault::Forbidden | TargetFault::AboveRoot => {
            Outside::new("InvalidURI", 400, "Couldn't parse the specified URI.")
        }
    }
}

fn skewed(signed: &AmzDate, now: UnixSeconds, tolerance: i64) -> Outside {
    Outside::new(
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    )
    .with("RequestTime", signed.as_str())
    .with("ServerTime", AmzDate::at(now).extended())
    .with("MaxAllowedSkewMilliseconds", (tolerance * 1000).to_string())
}

fn expired(signed: &AmzDate, expires: u32, now: UnixSeconds) -> Outside {
    let expired = access_denied("Request has expired");
    // A URL of Signature V2 has no such parameter.
    let expired = if expires > 0 { expired.with("X-Amz-Expires", expires.to_string()) } else { expired };
    expired
        .with("Expires", AmzDate::at(signed.unix() + i64::from(expires)).extended())
        .with("ServerTime", AmzDate::at(now).extended())
}

/// S3 names one fault, the region first: clients such as s3cmd follow the Region element and try again.
fn wrong_scope(carrier: Carrier, faults: &[ScopeFault]) -> Outside {
    match faults.first() {
        Some(ScopeFault::Region { got, expected }) => {
            malformed(carrier, &format!("the region '{got}' is wrong; expecting '{expected}'")).with("Region", expected)
        }
        Some(ScopeFault::Service { got, expected }) => {
            malformed(carrier, &format!("incorrect service \"{got}\". This endpoint belongs to \"{expected}\"."))
        }
        Some(ScopeFault::Date { got, signed }) => malformed(
            carrier,
            &format!(
                "Invalid credential date \"{got}\". This date is not the same as X-Amz-Date: \"{}\".",
                signed.date()
            ),
        ),
        None => malformed(carrier, "the credential scope is wrong."),
    }
}

fn illegal_content_sha256(got: &str) -> Outside {
    Outside::new(
        "InvalidArgument",
        400,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, \
         STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 \
         value.",
    )
    .with("ArgumentName", "x-amz-content-sha256")
    .with("ArgumentValue", got)
}

fn body_mismatch(claimed: &[u8; 32], computed: &[u8; 32]) -> Outside {
    let text = |hash| String::from_utf8_lossy(&hex::encode(hash)).into_owned();
    Outside::new(
        "XAmzContentSHA256Mismatch",
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
    .with("ClientComputedContentSHA256", text(claimed))
    .with("S3ComputedContentSHA256", text(computed))
}
