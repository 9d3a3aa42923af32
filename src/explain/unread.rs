//! Why credentials cannot be read: which rule it is, where in the request, and what would be taken.

use super::header_line;
use super::variants::Step;
use crate::sigv4::{
    AuthorizationFault, Carrier, CredentialFault, FormFault, Refusal, RequestHead, Scheme, ScopePart,
    SignedHeadersFault, TargetFault, V2Fault,
};

/// What would have to be otherwise for a request to be read; nothing where the refusal is about another step.
pub(super) fn steps(refusal: &Refusal, head: &RequestHead<'_>) -> Vec<Step> {
    let at = |carrier: Carrier| place(carrier, head);
    let step = |name: String, condition: String| vec![Step::new(name, condition)];
    match refusal {
        Refusal::MissingCredentials => step(
            "credentials=missing".into(),
            "it had credentials: there is no Authorization header, and no X-Amz-Signature or Signature in its query"
                .into(),
        ),
        Refusal::SeveralCredentials => step(
            "credentials=several".into(),
            format!("its credentials stood in one place alone: {}", kinds(head).join(" and ")),
        ),
        Refusal::UnsupportedScheme(scheme) => vec![scheme_step(scheme, head)],
        Refusal::RepeatedHeader(name) => {
            step(format!("header=repeated:{name}"), format!("`{name}` came once: it stands in {}", lines(head, name)))
        }
        Refusal::RepeatedParameter(name) => {
            step(format!("parameter=repeated:{name}"), format!("`{name}` came once in the query"))
        }
        Refusal::MiscasedParameter(name) => {
            step(format!("parameter=case:{name}"), format!("the parameter of its query were written `{name}`"))
        }
        Refusal::MissingParts { carrier, parts } => missing(*carrier, parts, head),
        Refusal::MalformedAuthorization(fault) => vec![authorization(fault, &at(Carrier::Header))],
        Refusal::MalformedCredential { carrier, fault } => vec![credential(fault, &at(*carrier))],
        Refusal::MalformedSignature { got } if is_v2(head) => step(
            "signature=form".into(),
            format!(
                "the signature were base64 of an HMAC-SHA1 for S3, of an HMAC of its SignatureMethod else, in place of `{got}`"
            ),
        ),
        Refusal::MalformedSignature { got } => step(
            "signature=form".into(),
            format!("the signature were 64 digits from 0 to 9 and a to f, in place of `{got}`"),
        ),
        Refusal::MalformedDate { carrier, got } => step(
            "date=form".into(),
            format!("the time of signing were written `20260102T030405Z`, in place of `{got}` {}", at(*carrier)),
        ),
        Refusal::MalformedExpires { got } => step(
            "expires=form".into(),
            format!("X-Amz-Expires were a whole number of seconds from 1 to 604800, in place of `{got}`"),
        ),
        Refusal::MalformedTarget(fault) => vec![target(*fault, head)],
        Refusal::SignedHeaders(fault) => vec![signed_headers(fault)],
        Refusal::Form(fault) => form(fault),
        Refusal::SignatureV2(fault) => vec![v2(fault)],
        Refusal::IllegalContentSha256 { got } => step(
            "payload=illegal".into(),
            format!(
                "x-amz-content-sha256 were a hash, UNSIGNED-PAYLOAD or a streaming kind that goes with it, in place of \
                 `{got}` in {}",
                lines(head, "x-amz-content-sha256")
            ),
        ),
        _ => Vec::new(),
    }
}

/// Whether credentials of Signature V2 stand in the head, in its header or its query.
fn is_v2(head: &RequestHead<'_>) -> bool {
    let in_header = head.headers().iter().any(|header| {
        header.name.eq_ignore_ascii_case(b"authorization") && header.value.trim_ascii_start().starts_with(b"AWS ")
    });
    in_header || memchr::memmem::find(head.target(), b"AWSAccessKeyId=").is_some()
}

fn place(carrier: Carrier, head: &RequestHead<'_>) -> String {
    match carrier {
        Carrier::Header => format!("in {}", lines(head, "authorization")),
        Carrier::Query => "in the query".into(),
        Carrier::Form => "in the form".into(),
    }
}

/// Where a header stands: `line 4`, or `lines 4 and 6`.
fn lines(head: &RequestHead<'_>, name: &str) -> String {
    let headers = head.headers().iter().enumerate();
    let named = headers.filter(|(_, header)| header.name.eq_ignore_ascii_case(name.as_bytes()));
    let numbers: Vec<_> = named.map(|(index, _)| header_line(head, index).to_string()).collect();
    match &numbers[..] {
        [] => "no line".into(),
        [one] => format!("line {one}"),
        several => format!("lines {}", several.join(" and ")),
    }
}

/// The places in which credentials stand.
fn kinds(head: &RequestHead<'_>) -> Vec<String> {
    let query = head.target().split(|byte| *byte == b'?').nth(1).unwrap_or_default();
    let has =
        |name: &str| query.split(|byte| *byte == b'&').any(|pair| pair.starts_with(format!("{name}=").as_bytes()));
    let header = head.headers().iter().any(|header| header.name.eq_ignore_ascii_case(b"authorization"));
    let places = [
        (header, format!("the Authorization header in {}", lines(head, "authorization"))),
        (has("X-Amz-Signature") || has("X-Amz-Algorithm"), "the X-Amz- parameters of its query".to_owned()),
        (has("Signature") || has("AWSAccessKeyId"), "Signature and AWSAccessKeyId in its query".to_owned()),
    ];
    let found: Vec<_> = places.into_iter().filter(|(is_there, _)| *is_there).map(|(_, place)| place).collect();
    if found.len() > 1 { found } else { vec!["there are some in its head and some in its form".into()] }
}

fn scheme_step(scheme: &Scheme, head: &RequestHead<'_>) -> Step {
    let (name, condition) = match scheme {
        Scheme::V2(_) => ("v2", "it were signed with Signature V4: V2 is off unless a service is named for it".into()),
        Scheme::V3 => ("v3", "it were signed with Signature V4: nobody takes V3 any more".into()),
        Scheme::V4a(_) => ("v4a", "it were signed with Signature V4 here, and not with V4A".into()),
        Scheme::PostForm => {
            ("form", "the form that holds its credentials were there: the head of a form alone signs nothing".into())
        }
        Scheme::Other(carrier, got) => {
            ("other", format!("the algorithm were AWS4-HMAC-SHA256, in place of `{got}` {}", place(*carrier, head)))
        }
    };
    Step::new(format!("scheme={name}"), condition)
}

fn missing(carrier: Carrier, parts: &[&'static str], head: &RequestHead<'_>) -> Vec<Step> {
    let step = |part: &&'static str| match (carrier, *part) {
        (Carrier::Header, "X-Amz-Date") => {
            Step::new("date=missing", "it had an x-amz-date header, or a Date header that can be read")
        }
        _ => Step::new(format!("credentials=missing:{part}"), format!("`{part}` stood {}", place(carrier, head))),
    };
    parts.iter().map(step).collect()
}

fn authorization(fault: &AuthorizationFault, at: &str) -> Step {
    let (name, condition) = match fault {
        AuthorizationFault::NotNameValue(part) => ("form", format!("`{part}` {at} were `name=value`")),
        AuthorizationFault::UnknownPart(part) => ("unknown", format!("`{part}` were not {at}: V4 has no such part")),
        AuthorizationFault::RepeatedPart(part) => ("repeated", format!("`{part}` came once {at}")),
    };
    Step::new(format!("authorization={name}"), condition)
}

fn credential(fault: &CredentialFault, at: &str) -> Step {
    let (name, wanted, got) = match fault {
        CredentialFault::NotFiveParts(got) => {
            ("parts", "the Credential were `id/yyyymmdd/region/service/aws4_request`", got)
        }
        CredentialFault::AccessKeyId(got) => ("id", "its key id had 1 to 128 letters, digits and underscores", got),
        CredentialFault::Scope(ScopePart::Date, got) => ("date", "the date of its scope were eight digits", got),
        CredentialFault::Scope(ScopePart::Region, got) => {
            ("region", "the region of its scope had 1 to 32 letters, digits and hyphens", got)
        }
        CredentialFault::Scope(ScopePart::Service, got) => {
            ("service", "the service of its scope had 1 to 32 letters, digits and hyphens", got)
        }
        CredentialFault::Terminator(got) => ("terminator", "its scope ended in `aws4_request`", got),
    };
    Step::new(format!("credential={name}"), format!("{wanted}, in place of `{got}` {at}"))
}

fn target(fault: TargetFault, head: &RequestHead<'_>) -> Step {
    let (name, condition) = match fault {
        TargetFault::NotAPath => ("path", "its target began with `/`, or were an http URL".to_owned()),
        TargetFault::BrokenEscape { in_query } => {
            let part = if in_query { "query" } else { "path" };
            (
                "escape",
                format!("every `%` of its {part} had two hexadecimal digits after it: see byte {}", escape(head)),
            )
        }
        TargetFault::Nul => ("nul", "its target held no NUL, escaped or not".to_owned()),
        TargetFault::Forbidden => {
            ("forbidden", format!("the character at byte {} of its target were escaped", forbidden(head)))
        }
        TargetFault::AboveRoot => ("above-root", "its path had no `..` that leads above its root".to_owned()),
        TargetFault::AuthorityIsNotHost => {
            ("authority", format!("the host in its target were that of the Host header in {}", lines(head, "host")))
        }
    };
    Step::new(format!("target={name}"), condition)
}

/// The number of the first byte, from 1, at which an escape is broken.
fn escape(head: &RequestHead<'_>) -> usize {
    let target = head.target();
    let is_broken = |at: &usize| {
        target[*at] == b'%'
            && !target.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    (0..target.len()).find(is_broken).map_or(target.len(), |at| at + 1)
}

/// The number of the first byte, from 1, that no target can hold.
fn forbidden(head: &RequestHead<'_>) -> usize {
    let is_forbidden = |byte: &u8| *byte <= b' ' || *byte == 0x7f || *byte == b'#';
    head.target().iter().position(is_forbidden).map_or(head.target().len(), |at| at + 1)
}

fn signed_headers(fault: &SignedHeadersFault) -> Step {
    match fault {
        SignedHeadersFault::Absent(name) => Step::new(
            format!("signed-headers=absent:{name}"),
            format!("the header `{name}` were there, in lower case in the list: it is listed as signed"),
        ),
        SignedHeadersFault::NotSorted => {
            Step::new("signed-headers=unsorted", "the list of signed headers were in order, each name once")
        }
    }
}

fn v2(fault: &V2Fault) -> Step {
    let (name, condition) = match fault {
        V2Fault::UnknownHost(host) => ("host", format!("`{host}` were a name by which the service is known")),
        V2Fault::AmbiguousParameter(parameter) => {
            ("parameter", format!("the parameter `{parameter}` could mean one thing alone"))
        }
        V2Fault::FoldedHeader(header) => ("folded", format!("the header `{header}` stood in one line")),
        V2Fault::TooLong { limit } => ("long", format!("what it signs had at most {limit} bytes")),
    };
    Step::new(format!("v2={name}"), condition)
}

/// What a form has to be, whether or not its signature is right.
pub(super) fn form(fault: &FormFault) -> Vec<Step> {
    let (name, condition): (String, String) = match fault {
        FormFault::NotMultipart => ("type".into(), "its Content-Type were multipart/form-data with a boundary".into()),
        FormFault::NotToABucket => ("bucket".into(), "its path or its host named a bucket and no more".into()),
        FormFault::Query => ("query".into(), "its target had no query: the signature of a form covers none".into()),
        FormFault::Malformed(why) => ("multipart".into(), format!("its body were multipart/form-data: {why}")),
        FormFault::FieldsTooLong => ("long".into(), "it had at most 20 KiB and 100 fields in front of its file".into()),
        FormFault::NotOneFile => ("file".into(), "it had one file, as its last field".into()),
        FormFault::RepeatedField(name) => (format!("repeated:{name}"), format!("its field `{name}` came once")),
        FormFault::MissingField(name) => {
            (format!("missing:{name}"), format!("it had the field `{name}` in front of its file"))
        }
        FormFault::NoFileName => ("file-name".into(), "its file had a name, for its key says ${filename}".into()),
        FormFault::KeyTooLong { length, limit } => {
            ("key".into(), format!("its key had at most {limit} bytes, and not {length}"))
        }
        FormFault::Policy(why) => ("policy".into(), format!("its policy could be read: {why}")),
        FormFault::Expired => return vec![Step::new("clock=expired", "its policy had not expired")],
        FormFault::ConditionFailed(text) => ("condition".into(), format!("it met the condition {text} of its policy")),
        FormFault::ExtraFields(names) => {
            let one = |name: &String| {
                let condition = format!("its policy had a condition for the field `{name}`, or it were left out");
                Step::new(format!("form=extra:{name}"), condition)
            };
            return names.iter().map(one).collect();
        }
        FormFault::FileTooSmall { size, least } => {
            ("size".into(), format!("its file had at least {least} bytes, as its policy says, and not {size}"))
        }
        FormFault::FileTooLarge { size, most } => {
            ("size".into(), format!("its file had at most {most} bytes, as its policy says, and not {size}"))
        }
    };
    vec![Step::new(format!("form={name}"), condition)]
}
