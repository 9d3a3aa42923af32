//! `rederive.v1.Verifier`: the same calls and decisions in protobuf.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::call::{GivenForm, form_of, head_of_bytes, head_of_fields};
use super::decide::Decider;
use super::v1::verify_request::{Payload as RequestPayload, RequestHead};
use super::written::Written;
use super::{Decision, Grants, MAX_BODY, Malformed, Refused, Verifier, VerifyCall, asked, many, v1};
use crate::explain::Deviation;
use crate::http::RequestId;
use crate::sigv4::{self, Body, HeadPlace};

/// The server of `Verifier`, of `build.rs`.
#[allow(clippy::default_constructed_unit_structs, reason = "the build makes every codec so")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/rederive.v1.Verifier.rs"));
}
use generated::verifier_server;
pub(super) use generated::verifier_server::VerifierServer;

/// The most bytes of a message: a body and a head of the largest size, with room for the rest.
const MAX_MESSAGE: usize = MAX_BODY + 128 * 1024;

/// Who asks; the door puts it among the extensions of a request.
#[derive(Clone)]
pub(super) struct Asking {
    pub caller: Arc<Grants>,
    pub request_id: RequestId,
}

/// The gRPC service in front of an authority.
pub(super) struct Grpc<A>(Arc<Decider<A>>);

impl<A: Verifier> Grpc<A> {
    pub fn server(decider: Arc<Decider<A>>) -> VerifierServer<Self> {
        VerifierServer::new(Self(decider)).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl<A: Verifier> verifier_server::Verifier for Grpc<A> {
    async fn verify(&self, request: tonic::Request<Bytes>) -> Result<tonic::Response<Written>, Status> {
        let (_, extensions, message) = request.into_parts();
        let message = asked::decode(message)?;
        let Asking { caller, request_id } = extensions.get().expect("the door lets nothing in without it");
        let mut place = HeadPlace::default();
        let call = verify_call(&message, &mut place).map_err(|what| malformed(&what))?;
        caller.check(&call).map_err(|denied| Status::permission_denied(denied.message))?;
        match self.0.decide(&call, caller, request_id).await {
            Decision::Accept(accepted) => {
                Ok(tonic::Response::new(Written::accepted_response(&accepted, request_id.as_str())))
            }
            Decision::Refuse(refused) => {
                let decision = Some(v1::verify_response::Decision::Refuse(refuse(refused)));
                let response = v1::VerifyResponse { decision, request_id: request_id.to_string() };
                Ok(tonic::Response::new(Written::of(&response)))
            }
            Decision::Unavailable { reason, retry_after_ms } => Err(unavailable(reason, retry_after_ms)),
            Decision::Malformed(what) => Err(malformed(&what)),
        }
    }

    async fn verify_batch(&self, request: tonic::Request<Bytes>) -> Result<tonic::Response<Written>, Status> {
        let (_, extensions, message) = request.into_parts();
        let asking: &Asking = extensions.get().expect("the door lets nothing in without it");
        many::batch(&self.0, asking, &message).await.map(tonic::Response::new)
    }

    type VerifyStreamStream = many::Outcomes<A>;

    async fn verify_stream(
        &self,
        request: tonic::Request<tonic::Streaming<Bytes>>,
    ) -> Result<tonic::Response<Self::VerifyStreamStream>, Status> {
        let (_, extensions, messages) = request.into_parts();
        let asking: &Asking = extensions.get().expect("the door lets nothing in without it");
        Ok(tonic::Response::new(many::Outcomes::new(self.0.clone(), asking.clone(), messages)))
    }
}

/// The call that a message stands for, its head in that place.
pub(super) fn verify_call<'h, 'a>(
    message: &'a v1::VerifyRequest,
    place: &'h mut HeadPlace<'a>,
) -> Result<VerifyCall<'h, 'a>, Malformed> {
    let expect = message.expect.as_ref().ok_or_else(|| Malformed::missing("expect", "say what it is verified for"))?;
    let (head, body) = (head(message, place)?, body(message)?);
    let call = VerifyCall {
        form: form_of(message.form.as_deref().map(given_form), head, body, &expect.service)?,
        head,
        body,
        expect_service: &expect.service,
        expect_region: expect.region.as_deref(),
        want_signing_key: message.want_signing_key,
        explain: message.explain,
    };
    call.check()?;
    Ok(call)
}

fn head<'h, 'a>(
    message: &'a v1::VerifyRequest,
    place: &'h mut HeadPlace<'a>,
) -> Result<&'h sigv4::RequestHead<'a>, Malformed> {
    match &message.request_head {
        None => Err(Malformed::missing("request_head", "set fields or head")),
        Some(RequestHead::Head(bytes)) => head_of_bytes(place, bytes),
        Some(RequestHead::Fields(fields)) => {
            let headers = fields.headers.iter().map(|header| (&header.name[..], &header.value[..]));
            head_of_fields(place, fields.method.as_bytes(), &fields.target, headers)
        }
    }
}

fn body(message: &v1::VerifyRequest) -> Result<Body<'_>, Malformed> {
    match &message.payload {
        None => Ok(Body::Absent),
        Some(RequestPayload::Body(bytes)) => Ok(Body::Bytes(bytes)),
        Some(RequestPayload::PayloadSha256(hash)) => {
            let hash = hash[..].try_into().map_err(|_| Malformed::bad("payload_sha256", "is not 32 bytes"))?;
            Ok(Body::Sha256(hash))
        }
    }
}

fn given_form(form: &v1::PostForm) -> GivenForm<'_> {
    let fields = form.fields.iter().map(|field| (&field.name[..], &field.value[..]));
    GivenForm {
        bucket: form.bucket.as_deref(),
        fields: (!form.fields.is_empty()).then(|| fields.collect()),
        file: sigv4::FormFile { name: form.file_name.as_deref(), size: form.file_size },
    }
}

pub(super) fn refuse(refused: Refused) -> v1::Refuse {
    let elements = refused.elements.into_iter();
    v1::Refuse {
        code: refused.code.into_owned(),
        message: refused.message,
        http_status: refused.http_status.into(),
        elements: elements.map(|(name, value)| v1::Element { name: name.into(), value }).collect(),
        deviations: refused.deviations.into_iter().flatten().map(deviation).collect(),
    }
}

/// What the build leaves out, for an acceptance may hold a signing key.
impl fmt::Debug for v1::Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("access_key_id", &self.access_key_id)
            .field("credential_scope", &self.credential_scope)
            .finish_non_exhaustive()
    }
}

fn deviation(deviation: Deviation) -> v1::Deviation {
    let Deviation { name, message, same_as } = deviation;
    v1::Deviation { name, message, same_as }
}

/// The pushback is of gRPC's retry design (gRFC A6).
fn unavailable(reason: Cow<'static, str>, retry_after_ms: u64) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-retry-pushback-ms", retry_after_ms.into());
    Status::with_metadata(Code::Unavailable, reason, metadata)
}

pub(super) fn malformed(what: &Malformed) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("rederive-error", MetadataValue::from_static(what.code));
    if let Some(at) = what.at.as_deref().and_then(|at| MetadataValue::try_from(at).ok()) {
        metadata.insert("rederive-at", at);
    }
    let message = match &what.at {
        Some(at) => format!("{at}: {}", what.message),
        None => what.message.clone(),
    };
    Status::with_metadata(Code::InvalidArgument, message, metadata)
}
