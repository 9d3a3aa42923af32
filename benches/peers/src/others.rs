//! The others, driven as their documentation says.

use std::future::{Ready, ready};
use std::pin::pin;
use std::str::FromStr as _;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Result, s3_error};
use scratchstack_aws_signature::{
    GetSigningKeyRequest, GetSigningKeyResponse, KSecretKey, NO_ADDITIONAL_SIGNED_HEADERS, SignatureOptions,
    service_for_signing_key_fn, sigv4_validate_request,
};
use tower::BoxError;

use crate::request::Typical;
use crate::{Pair, REGION};

/// Nothing here ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// `sigv4_validate_request` with the signing key at hand. It is given the request as hyper has read it: what reading costs is
/// not in its figure.
pub struct Scratchstack {
    /// Its finder of keys has to outlive everything.
    key: &'static GetSigningKeyResponse,
}

impl Scratchstack {
    pub fn new(pair: &Pair, typical: &Typical) -> Self {
        let text = std::str::from_utf8(typical.date_digits()).expect("digits");
        let date = NaiveDate::parse_from_str(text, "%Y%m%d").expect("a date");
        let secret: KSecretKey = KSecretKey::from_str(&pair.secret).expect("40 characters");
        let key = secret.to_ksigning(date, REGION, "s3");
        Self { key: Box::leak(Box::new(GetSigningKeyResponse::builder().signing_key(key).build().expect("a key"))) }
    }

    pub fn accepts(&self, request: http::Request<Bytes>, at: i64) -> bool {
        let key = self.key;
        let find = move |_: GetSigningKeyRequest| -> Ready<Result<_, BoxError>> { ready(Ok(key.clone())) };
        let mut find = service_for_signing_key_fn(find);
        let at: DateTime<Utc> = DateTime::from_timestamp(at, 0).expect("a time");
        let options = SignatureOptions::S3;
        now(sigv4_validate_request(request, REGION, "s3", &mut find, at, &NO_ADDITIONAL_SIGNED_HEADERS, options))
            .is_ok()
    }
}

/// A whole service, which ends each request when its signature has been looked at. Its verification cannot be called alone: its
/// share is the difference to the same request without a signature, which comes as far. Like rederive's core with the key
/// derived each time it makes the signing key from the secret, for it keeps none.
pub struct S3s(S3Service);

struct Nothing;

impl S3 for Nothing {}

/// Tells by the status whether somebody has signed.
struct EndsHere;

#[async_trait::async_trait]
impl S3Access for EndsHere {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        Err(if context.credentials().is_some() { s3_error!(SlowDown) } else { s3_error!(NoSuchKey) })
    }
}

impl S3s {
    pub fn new(pair: &Pair) -> Self {
        let mut builder = S3ServiceBuilder::new(Nothing);
        builder.set_auth(SimpleAuth::from_single(pair.id.as_str(), pair.secret.as_str()));
        builder.set_access(EndsHere);
        Self(builder.build())
    }

    fn status(&self, request: http::Request<Bytes>) -> u16 {
        now(self.0.call(request.map(s3s::Body::from))).map_or(0, |answer| answer.status().as_u16())
    }

    pub fn accepts(&self, request: http::Request<Bytes>) -> bool {
        self.status(request) == 503
    }

    /// Whether a request that nobody signed comes as far.
    pub fn answers(&self, request: http::Request<Bytes>) -> bool {
        self.status(request) == 404
    }
}
