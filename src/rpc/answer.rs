//! The JSON of answers.

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::callers::NotGranted;
use super::{Accepted, Decision, HeaderNames, Malformed, Refused, Streaming};
use crate::explain::Deviation;
use crate::http::{BodyError, RequestId, Response, full};
use crate::sigv4::{PreparedSigningKey, UnixSeconds};
use crate::sigv4a::PublicKey;

#[derive(Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
enum Verdict<'a> {
    Accept(Box<Acceptance<'a>>),
    Refuse(Refusal<'a>),
    Unavailable { reason: &'a str, retry_after_ms: u64, request_id: &'a str },
}

#[derive(Serialize)]
struct Refusal<'a> {
    code: &'a str,
    message: &'a str,
    http_status: u16,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    elements: &'a [(&'static str, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    deviations: Option<&'a [Deviation]>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Acceptance<'a> {
    signature_version: &'static str,
    access_key_id: &'a str,
    account: &'a str,
    principal: Option<Principal<'a>>,
    principal_source: &'static str,
    credential_scope: &'a str,
    #[serde(serialize_with = "names")]
    signed_headers: &'a HeaderNames<'a>,
    payload: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<Form<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "streaming")]
    streaming: Option<&'a Streaming>,
    /// Secret: the bytes of an answer are wiped when they are freed, like all memory.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_of_key")]
    signing_key: Option<&'a PreparedSigningKey>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_of_point")]
    public_key: Option<&'a PublicKey>,
    #[serde(serialize_with = "rfc3339")]
    valid_until: UnixSeconds,
    #[serde(serialize_with = "rfc3339")]
    deny_list_as_of: UnixSeconds,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Form<'a> {
    bucket: &'a str,
    key: &'a str,
    content_length_range: Option<(u64, u64)>,
}

#[derive(Serialize)]
struct Principal<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    arn: &'a str,
    user_id: &'a str,
}

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    request_id: &'a str,
}

fn rfc3339<S: Serializer>(time: &UnixSeconds, serializer: S) -> Result<S::Ok, S::Error> {
    let time = OffsetDateTime::from_unix_timestamp(*time).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&time.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
}

fn names<S: Serializer>(names: &HeaderNames<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter())
}

/// In time that does not depend on the bytes.
fn hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    let mut digits = Zeroizing::new([0; 64]);
    let digits = base16ct::lower::encode_str(bytes, &mut *digits).expect("twice as many digits as bytes");
    serializer.serialize_str(digits)
}

fn streaming<S: Serializer>(streaming: &Option<&Streaming>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields<'a> {
        kind: &'static str,
        date: &'a str,
        seed_signature: String,
    }
    streaming
        .map(|it| Fields {
            kind: it.kind.as_str(),
            date: it.date.as_str(),
            seed_signature: base16ct::lower::encode_string(&it.seed_signature),
        })
        .serialize(serializer)
}

fn hex_of_key<S: Serializer>(key: &Option<&PreparedSigningKey>, serializer: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => hex(key.signing_key().expose(), serializer),
        None => serializer.serialize_none(),
    }
}

/// As SEC 1 has it, uncompressed.
fn hex_of_point<S: Serializer>(key: &Option<&PublicKey>, serializer: S) -> Result<S::Ok, S::Error> {
    key.map(|key| base16ct::lower::encode_string(&key.to_sec1())).serialize(serializer)
}

/// 200 with a verdict, 503 when there is none, 400 for a call that lacks something.
pub(super) fn decided(decision: &Decision<'_>, id: &RequestId) -> Response {
    let request_id = id.as_str();
    match decision {
        Decision::Accept(accepted) => {
            json(StatusCode::OK, &Verdict::Accept(Box::new(acceptance(accepted, request_id))))
        }
        Decision::Refuse(refused) => json(StatusCode::OK, &Verdict::Refuse(refusal(refused, request_id))),
        Decision::Unavailable { reason, retry_after_ms } => {
            let verdict = Verdict::Unavailable { reason, retry_after_ms: *retry_after_ms, request_id };
            let seconds = retry_after_ms.div_ceil(1000);
            with(json(StatusCode::SERVICE_UNAVAILABLE, &verdict), RETRY_AFTER, HeaderValue::from(seconds))
        }
        Decision::Malformed(what) => malformed(what, id),
    }
}

fn refusal<'a>(refused: &'a Refused, request_id: &'a str) -> Refusal<'a> {
    let Refused { code, message, http_status, elements, deviations } = refused;
    Refusal { code, message, http_status: *http_status, elements, deviations: deviations.as_deref(), request_id }
}

fn acceptance<'a>(accepted: &'a Accepted<'a>, request_id: &'a str) -> Acceptance<'a> {
    let identity = &*accepted.identity;
    let principal = identity.principal.as_ref();
    Acceptance {
        signature_version: accepted.signature_version.as_str(),
        access_key_id: &identity.access_key_id,
        account: &identity.account,
        principal: principal.map(|it| Principal { kind: &it.kind, arn: &it.arn, user_id: &it.user_id }),
        principal_source: identity.principal_source.as_str(),
        credential_scope: &identity.credential_scope,
        signed_headers: &accepted.signed_headers,
        payload: accepted.payload.as_str(),
        form: accepted.form.as_ref().map(|form| Form {
            bucket: &form.bucket,
            key: &form.key,
            content_length_range: form.content_length_range,
        }),
        streaming: accepted.streaming.as_deref(),
        signing_key: accepted.signing_key.as_deref(),
        public_key: accepted.public_key.as_deref(),
        valid_until: accepted.valid_until,
        deny_list_as_of: accepted.deny_list_as_of,
        request_id,
    }
}

/// 413 for what is too large, else 400.
pub(super) fn malformed(malformed: &Malformed, id: &RequestId) -> Response {
    let too_large = malformed.code == Malformed::TOO_LARGE;
    let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    problem(status, malformed.code, &malformed.message, malformed.at.as_deref(), id)
}

/// 413, 408 or 400 for a call whose bytes did not arrive.
pub(super) fn unread(error: &BodyError, id: &RequestId) -> Response {
    let code = match error {
        BodyError::TooLarge { .. } => Malformed::TOO_LARGE,
        BodyError::Late => "too_late",
        BodyError::Broken(_) => "unreadable",
    };
    problem(error.status(), code, &error.to_string(), None, id)
}

pub(super) fn unauthenticated(message: &str, id: &RequestId) -> Response {
    let answer = problem(StatusCode::UNAUTHORIZED, "unauthenticated", message, None, id);
    with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

pub(super) fn not_granted(denied: &NotGranted, id: &RequestId) -> Response {
    problem(StatusCode::FORBIDDEN, "not_granted", &denied.message, Some(denied.at), id)
}

pub(super) fn not_found(id: &RequestId) -> Response {
    let message = "there is POST /v1/verify, GET /healthz, GET /readyz and GET /metrics here, and gRPC";
    problem(StatusCode::NOT_FOUND, "not_found", message, None, id)
}

pub(super) fn method_not_allowed(allowed: &Method, id: &RequestId) -> Response {
    let message = format!("this path takes {allowed}");
    let answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message, None, id);
    with(answer, ALLOW, HeaderValue::from_str(allowed.as_str()).expect("a method is a token"))
}

/// All that is told of an error that should not be.
pub(super) const OUR_ERROR: &str = "an error on our side: it is in our log";

pub(super) fn internal_error(id: &RequestId) -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", OUR_ERROR, None, id)
}

fn problem(status: StatusCode, error: &str, message: &str, at: Option<&str>, id: &RequestId) -> Response {
    json(status, &Problem { error, message, at, request_id: id.as_str() })
}

/// Plain text, a line each.
pub(super) fn text(status: StatusCode, text: String) -> Response {
    typed(status, "text/plain; charset=utf-8", text.into_bytes())
}

pub(super) fn typed(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    typed(status, "application/json", serde_json::to_vec(value).expect("strings and numbers under string keys"))
}

fn with(mut response: Response, name: hyper::header::HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}
