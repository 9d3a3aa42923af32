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
use super::{
    Accepted, Decision, Grants, MAX_BODY, Malformed, PrincipalSource, Refused, SignatureVersion, Verifier, VerifyCall,
    many, v1,
};
use crate::explain::Deviation;
use crate::http::RequestId;
use crate::sigv4::{self, Body, PayloadStatus, PreparedSigningKey};

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
    pub fn server(decider: Arc<Decider<A>>) -> v1::verifier_server::VerifierServer<Self> {
        v1::verifier_server::VerifierServer::new(Self(decider)).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl<A: Verifier> v1::verifier_server::Verifier for Grpc<A> {
    async fn verify(
        &self,
        request: tonic::Request<v1::VerifyRequest>,
    ) -> Result<tonic::Response<v1::VerifyResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let Asking { caller, request_id } = extensions.get().expect("the door lets nothing in without it");
        let call = verify_call(&message).map_err(|what| malformed(&what))?;
        caller.check(&call).map_err(|denied| Status::permission_denied(denied.message))?;
        let decision = match self.0.decide(call, caller, request_id).await {
            Decision::Accept(accepted) => v1::verify_response::Decision::Accept(Box::new(accept(*accepted))),
            Decision::Refuse(refused) => v1::verify_response::Decision::Refuse(refuse(refused)),
            Decision::Unavailable { reason, retry_after_ms } => return Err(unavailable(reason, retry_after_ms)),
            Decision::Malformed(what) => return Err(malformed(&what)),
        };
        let request_id = request_id.to_string();
        Ok(tonic::Response::new(v1::VerifyResponse { decision: Some(decision), request_id }))
    }

    async fn verify_batch(
        &self,
        request: tonic::Request<v1::VerifyBatchRequest>,
    ) -> Result<tonic::Response<v1::VerifyBatchResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let asking: &Asking = extensions.get().expect("the door lets nothing in without it");
        let outcomes = many::batch(&self.0, asking, &message.requests).await.map_err(|what| malformed(&what))?;
        let request_id = asking.request_id.to_string();
        Ok(tonic::Response::new(v1::VerifyBatchResponse { outcomes, request_id }))
    }

    type VerifyStreamStream = many::Outcomes;

    async fn verify_stream(
        &self,
        request: tonic::Request<tonic::Streaming<v1::VerifyRequest>>,
    ) -> Result<tonic::Response<Self::VerifyStreamStream>, Status> {
        let (_, extensions, messages) = request.into_parts();
        let asking: &Asking = extensions.get().expect("the door lets nothing in without it");
        Ok(tonic::Response::new(many::stream(self.0.clone(), asking.clone(), messages)))
    }
}

pub(super) fn verify_call(message: &v1::VerifyRequest) -> Result<VerifyCall<'_>, Malformed> {
    let expect = message.expect.as_ref().ok_or_else(|| Malformed::missing("expect", "say what it is verified for"))?;
    let (head, body) = (head(message)?, body(message)?);
    let call = VerifyCall {
        form: form_of(message.form.as_ref().map(given_form), &head, body, &expect.service)?,
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

fn head(message: &v1::VerifyRequest) -> Result<sigv4::RequestHead<'_>, Malformed> {
    match &message.request_head {
        None => Err(Malformed::missing("request_head", "set fields or head")),
        Some(RequestHead::Head(bytes)) => head_of_bytes(bytes),
        Some(RequestHead::Fields(fields)) => {
            let headers = fields.headers.iter().map(|header| (&header.name[..], &header.value[..]));
            head_of_fields(fields.method.as_bytes(), &fields.target, headers)
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

fn verified_form(form: sigv4::VerifiedForm) -> v1::VerifiedForm {
    v1::VerifiedForm {
        bucket: form.bucket,
        key: form.key,
        content_length_range: form.content_length_range.map(|(least, most)| v1::ContentLengthRange { least, most }),
    }
}

pub(super) fn accept(accepted: Accepted) -> v1::Accept {
    v1::Accept {
        streaming: accepted.streaming.as_ref().map(streaming),
        signing_key: accepted.signing_key.as_deref().map(signing_key).unwrap_or_default(),
        access_key_id: accepted.access_key_id,
        account: accepted.account,
        principal: accepted.principal.map(|it| v1::Principal {
            r#type: it.kind.into_owned(),
            arn: it.arn,
            user_id: it.user_id,
        }),
        signature_version: match accepted.signature_version {
            SignatureVersion::V4 => v1::SignatureVersion::V4.into(),
            SignatureVersion::V4a => v1::SignatureVersion::V4a.into(),
            SignatureVersion::V2 => v1::SignatureVersion::V2.into(),
        },
        public_key: accepted.public_key.as_ref().map(|key| key.to_sec1().to_vec().into()).unwrap_or_default(),
        principal_source: match accepted.principal_source {
            PrincipalSource::Registry => v1::PrincipalSource::Registry.into(),
            PrincipalSource::Token => v1::PrincipalSource::Token.into(),
            PrincipalSource::None => v1::PrincipalSource::None.into(),
        },
        credential_scope: accepted.credential_scope,
        signed_headers: accepted.signed_headers,
        payload: match accepted.payload {
            PayloadStatus::Checked => v1::Payload::Checked.into(),
            PayloadStatus::Unsigned => v1::Payload::Unsigned.into(),
            PayloadStatus::NotChecked => v1::Payload::NotChecked.into(),
            PayloadStatus::Streaming(_) => v1::Payload::Streaming.into(),
        },
        valid_until: Some(accepted.valid_until.into()),
        deny_list_as_of: Some(accepted.deny_list_as_of.into()),
        form: accepted.form.map(verified_form).map(Box::new),
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

fn streaming(streaming: &super::Streaming) -> v1::Streaming {
    v1::Streaming {
        kind: streaming.kind.as_str().into(),
        date: streaming.date.as_str().into(),
        seed_signature: streaming.seed_signature.clone().into(),
    }
}

fn signing_key(key: &PreparedSigningKey) -> Bytes {
    Bytes::copy_from_slice(key.signing_key().expose())
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

fn malformed(what: &Malformed) -> Status {
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
