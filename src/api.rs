//! The door for users: the IAM and STS query APIs over HTTP, each request verified by its signature.
//!
//! IAM takes Signature V4. STS takes V4A as well, as AWS lists it for STS alone: nothing of STS here changes or gives anything, while
//! CreateAccessKey tells one use of a signature from another, which an ECDSA signature does not allow: anybody can make a second
//! one of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{StatusCode, Version};
use rederive_hsm::access_key_id::AccessKeyId;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use crate::audit::{Audit, Event, UserIdentity};
use crate::authority::{AcceptedBy, Authority, Content, Holder, NotAccepted};
use crate::config::Limits;
use crate::http::{Context, Handler, Request, RequestId, Response, full, read_body};
use crate::iam::{
    Answer, ApiError, Caller, Origin, Parameters, Principal, Service, SignaturePlace, Signed, answer, timestamp,
};
use crate::registry::KeyRow;
use crate::rpc::Metrics;
use crate::sigv4::{self, Body, Carrier, Expectation, Family, Regions, RequestHead, SignedHeaders, SignedRequest};
use crate::sigv4a::V4aRequest;

/// The most bytes of a body: far above any call of these APIs.
const MAX_BODY: usize = 64 * 1024;
/// Parameters of CreateAccessKey, for clients that cannot send parameters of their own. They must be signed.
const PARAMETERS: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("x-rederive-client-token"), "ClientToken"),
    (HeaderName::from_static("x-rederive-description"), "Description"),
    (HeaderName::from_static("x-rederive-expires-at"), "ExpiresAt"),
    (HeaderName::from_static("x-rederive-services"), "Services"),
    (HeaderName::from_static("x-rederive-regions"), "Regions"),
];
/// When the key that signed will be over, if that is soon.
const KEY_ENDS_AT: HeaderName = HeaderName::from_static("x-rederive-key-expires");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The handler of the door for users.
pub struct ApiDoor {
    authority: Arc<Authority>,
    audit: Audit,
    metrics: Arc<Metrics>,
    body_timeout: Duration,
}

/// A request that has come in whole.
struct Whole {
    head: http::request::Parts,
    body: Bytes,
    /// Where it came from.
    address: String,
}

impl ApiDoor {
    /// Of its bounds on time, `limits` gives the one on bodies.
    pub fn new(authority: Arc<Authority>, audit: Audit, metrics: Arc<Metrics>, limits: &Limits) -> Self {
        Self { authority, audit, metrics, body_timeout: Duration::from_millis(limits.body_timeout_ms) }
    }

    async fn serve(&self, request: Request, context: &Context) -> Answer {
        let id = &context.request_id;
        let (head, body) = request.into_parts();
        let body = match read_body(body, MAX_BODY, self.body_timeout).await {
            Ok(body) => body,
            Err(error) => {
                let refused = ApiError::sender(error.status().as_u16(), "InvalidRequest", error.to_string());
                return refused.answer(Service::Iam, id.as_str());
            }
        };
        let address = context.peer.address.ip().to_string();
        self.verify_and_do(&Whole { head, body, address }, id).await
    }

    async fn verify_and_do(&self, request: &Whole, id: &RequestId) -> Answer {
        let (method, target) = (request.head.method.as_str(), request.target());
        let limits = sigv4::Limits::default();
        let head = RequestHead::from_fields(method.as_bytes(), target.as_bytes(), request.header_fields(), &limits);
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                return ApiError::sender(400, "InvalidRequest", error.to_string()).answer(Service::Iam, id.as_str());
            }
        };
        let service = service_of(&head);
        let since = Instant::now();
        let expectation = Expectation { service: service.name(), regions: Regions::Any };
        let outcome = self.verify(&head, service, &request.body, &expectation).await;
        let took = since.elapsed();
        match outcome {
            Ok(accepted) => {
                self.metrics.verified("accept", "", took, waited(&accepted));
                self.carry_out(request, service, &accepted, id).await
            }
            Err(NotAccepted::Refused(refusal)) => {
                let outside = refusal.outside(Family::Query);
                tracing::debug!(code = outside.code, message = outside.message, "refused");
                self.metrics.verified("refuse", outside.code, took, false);
                self.audit.refused(service.name(), outside.code, |at| {
                    let claimed = SignedRequest::parse(&head).ok().map(|request| request.access_key_id().to_owned());
                    let claimed = claimed.filter(|id| AccessKeyId::parse(id.as_bytes()).is_some());
                    let event =
                        Event::refused(UserIdentity::unknown(claimed.as_deref()), service.name(), outside.code, at);
                    let event = event.from_client(request.address.clone(), request.user_agent(), "unknown");
                    event.with_data("requestID", id.to_string())
                });
                ApiError::sender(outside.http_status, outside.code, outside.message).answer(service, id.as_str())
            }
            Err(NotAccepted::CannotDecide(trouble)) => {
                self.metrics.verified("unavailable", "", took, true);
                ApiError::unavailable(trouble).answer(service, id.as_str())
            }
            Err(NotAccepted::BodyRequired) => {
                ApiError::internal("the body was given, and is asked for").answer(service, id.as_str())
            }
        }
    }

    /// By the versions that the service takes.
    async fn verify<'a>(
        &self,
        head: &RequestHead<'a>,
        service: Service,
        body: &'a [u8],
        expectation: &Expectation<'_>,
    ) -> Result<AcceptedBy<'a>, NotAccepted> {
        let content = Content::Body(Body::Bytes(body));
        match service {
            Service::Iam => self.authority.verify(head, content, expectation).await.map(AcceptedBy::V4),
            Service::Sts => self.authority.verify_any(head, content, expectation).await,
        }
    }

    async fn carry_out(&self, request: &Whole, service: Service, accepted: &AcceptedBy<'_>, id: &RequestId) -> Answer {
        let now = match self.authority.clock().now() {
            Ok(now) => now,
            Err(jumped) => return ApiError::unavailable(jumped).answer(service, id.as_str()),
        };
        let Some(facts) = facts(accepted) else {
            return ApiError::internal("Signature V2 is never taken here").answer(service, id.as_str());
        };
        let parameters = match parameters(request, &facts.signed_headers) {
            Ok(parameters) => parameters,
            Err(error) => return error.answer(service, id.as_str()),
        };
        let Holder::Row(key) = facts.holder else {
            return ApiError::unavailable("a verifier has no API").answer(service, id.as_str());
        };
        let caller = caller(request, &facts, key, id);
        // In a task of its own: a client that goes away would else leave behind what is done and not recorded.
        let call = carry_out(self.authority.clone(), self.audit.clone(), service, caller, parameters, now);
        let done = tokio::spawn(call.in_current_span()).await;
        done.unwrap_or_else(|error| ApiError::internal(error).answer(service, id.as_str()))
    }
}

async fn carry_out(
    authority: Arc<Authority>,
    audit: Audit,
    service: Service,
    caller: Caller,
    parameters: Parameters,
    now: i64,
) -> Answer {
    let registry = match authority.registry() {
        Ok(registry) => registry,
        Err(error) => return ApiError::unavailable(error).answer(service, &caller.request_id),
    };
    // Uses are written in batches; who asks for one wants to see the last.
    if parameters.get("Action") == Some("GetAccessKeyLastUsed") {
        authority.write_uses().await;
    }
    let answer = answer(registry, &*authority, &audit, service, &caller, &parameters, now).await;
    // Read anew: the account's maximum age may have changed. A warning that is not to be had holds up no answer.
    let row = registry.key(&caller.access_key_id).await.ok().flatten();
    Answer { key_ends_at: row.and_then(|row| row.ends_soon(now)), ..answer }
}

impl Whole {
    /// The target as it came. HTTP/2 has its authority apart, where HTTP/1.1 has it in `Host`.
    fn target(&self) -> String {
        let uri = &self.head.uri;
        match (self.head.version, uri.path_and_query()) {
            (Version::HTTP_2, Some(target)) => target.to_string(),
            _ => uri.to_string(),
        }
    }

    fn user_agent(&self) -> Option<&str> {
        self.head.headers.get(USER_AGENT)?.to_str().ok()
    }

    fn header_fields(&self) -> Vec<(&[u8], &[u8])> {
        let given = self.head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let authority = self.head.uri.authority().filter(|_| self.head.version == Version::HTTP_2);
        authority
            .map(|authority| (b"host".as_slice(), authority.as_str().as_bytes()))
            .into_iter()
            .chain(given)
            .collect()
    }
}

/// Which of the two services a request is signed for; whether it is signed at all shows later.
fn service_of(head: &RequestHead<'_>) -> Service {
    let is_sts = match SignedRequest::parse(head) {
        Ok(request) => request.scope().service() == "sts",
        Err(_) => V4aRequest::parse(head).is_ok_and(|request| request.scope().service() == "sts"),
    };
    if is_sts { Service::Sts } else { Service::Iam }
}

/// What a call needs to know of its signature.
struct Facts<'a> {
    holder: &'a Holder,
    signed_headers: SignedHeaders<'a>,
    signed: SignedAt,
    region: String,
}

struct SignedAt {
    place: SignaturePlace,
    at: i64,
    hash: [u8; 32],
}

/// `None` for Signature V2.
fn facts<'a>(accepted: &'a AcceptedBy<'_>) -> Option<Facts<'a>> {
    match accepted {
        AcceptedBy::V4(accepted) => {
            let verified = &accepted.verified;
            let place = match verified.carrier() {
                Carrier::Header => SignaturePlace::Header,
                // No form comes through this door; if one did, it would have the lesser rights.
                Carrier::Query | Carrier::Form => SignaturePlace::Query,
            };
            Some(Facts {
                holder: accepted.holder(),
                signed_headers: verified.signed_headers(),
                signed: SignedAt { place, at: verified.date().unix(), hash: verified.signature_hash() },
                region: verified.scope().region().to_owned(),
            })
        }
        // It has the rights of a presigned URL wherever it stands: nothing is given for it.
        AcceptedBy::V4a(accepted) => {
            let verified = &accepted.verified;
            let hash = Sha256::digest(verified.signature()).into();
            Some(Facts {
                holder: &accepted.holder,
                signed_headers: verified.signed_headers(),
                signed: SignedAt { place: SignaturePlace::Query, at: verified.date().unix(), hash },
                region: verified.region_set().to_string(),
            })
        }
        AcceptedBy::V2(_) => None,
    }
}

fn waited(accepted: &AcceptedBy<'_>) -> bool {
    match accepted {
        AcceptedBy::V4(accepted) => accepted.waited,
        AcceptedBy::V4a(accepted) => accepted.waited,
        AcceptedBy::V2(_) => true,
    }
}

fn parameters(request: &Whole, signed_headers: &SignedHeaders<'_>) -> Result<Parameters, ApiError> {
    let mut parameters = Parameters::parse(&request.head.method, request.head.uri.query(), &request.body)?;
    for (header, parameter) in &PARAMETERS {
        let is_signed = signed_headers.iter().any(|name| name == header.as_str().as_bytes());
        for value in request.head.headers.get_all(header) {
            let Ok(value) = value.to_str() else {
                return Err(ApiError::sender(400, "ValidationError", format!("{header} is no text")));
            };
            if !is_signed {
                let text = format!("The header {header} must be signed");
                return Err(ApiError::sender(403, "SignatureDoesNotMatch", text));
            }
            parameters.add_from_header(parameter, value)?;
        }
    }
    Ok(parameters)
}

fn caller(request: &Whole, facts: &Facts<'_>, key: &KeyRow, id: &RequestId) -> Caller {
    let SignedAt { place, at, hash } = facts.signed;
    Caller {
        account: key.account,
        access_key_id: key.id,
        principal: key.user.clone().map_or(Principal::Root, Principal::User),
        signed: Signed { place, method: request.head.method.clone(), at, hash },
        origin: Origin {
            address: request.address.clone(),
            user_agent: request.user_agent().map(str::to_owned),
            region: facts.region.clone(),
        },
        request_id: id.to_string(),
    }
}

impl Handler for ApiDoor {
    /// Few, for each may hold a body before anybody knows who sends it; stock clients have one.
    const STREAMS: u32 = 16;

    async fn handle(&self, request: Request, context: Context) -> Response {
        let answer = self.serve(request, &context).await;
        response(answer, &context)
    }

    fn internal_error(&self, context: &Context) -> Response {
        response(ApiError::internal("a panic, told above").answer(Service::Iam, context.request_id.as_str()), context)
    }
}

fn response(answer: Answer, context: &Context) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(full(answer.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(end) = answer.key_ends_at.and_then(|end| HeaderValue::try_from(timestamp(end)).ok()) {
        headers.insert(KEY_ENDS_AT, end);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    headers.insert(REQUEST_ID, context.request_id.to_header());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if answer.holds_secret {
        // The connection's buffers have seen the secret: closing it frees them, which wipes them. (HTTP/2 has no such
        // header; a search of the process's memory beside an open HTTP/2 connection found no copy.)
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
