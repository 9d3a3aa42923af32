//! The pure core of Signature V4: bytes, time and keys in, a decision out; no I/O, no clock.
//!
//! [`RequestHead`] reads a head. Then verification has its order, and each step is a type that only the step before can
//! build:
//!
//! 1. [`SignedRequest::parse`]: the credentials, from bytes ([`SignedRequest::parse_form`] where a form holds them);
//! 2. and 3. whether the key can be one of ours, and whether it is denied: the authority's, by
//!    [`SignedRequest::access_key_id`];
//! 4. [`SignedRequest::check_scope_and_time`];
//! 5. [`ScopedRequest::string_to_sign`]: the canonical request, and that it covers what it must;
//! 6. the signing key for [`StringToSign::scope`]: the authority's;
//! 7. [`StringToSign::verify`]: the comparison, and [`Verified`], which nothing else can build.
//!
//! A [`Refusal`] names a cause; [`Refusal::outside`] is what the client is told of it.
//!
//! ```
//! use rederive::sigv4::{Body, Expectation, Limits, PreparedSigningKey, Regions, RequestHead, SignedRequest};
//! use rederive_hsm::signing_key::SigningKey;
//!
//! // A worked example of the S3 documentation.
//! let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
//! let bytes = format!(
//!     "GET /?lifecycle HTTP/1.1\r\n\
//!      Host: examplebucket.s3.amazonaws.com\r\n\
//!      x-amz-date: 20130524T000000Z\r\n\
//!      x-amz-content-sha256: {hash}\r\n\
//!      Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
//!      SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
//!      Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543\r\n\r\n"
//! );
//! let (head, _body_starts) = RequestHead::parse(bytes.as_bytes(), &Limits::default())?;
//! let request = SignedRequest::parse(&head).expect("well formed");
//! let expectation = Expectation { service: "s3", regions: Regions::Any };
//! let scoped = request.check_scope_and_time(&expectation, 1369353600).expect("signed for this service, and now");
//! let string_to_sign = scoped.string_to_sign(Body::Bytes(b"")).expect("all that must be signed is listed");
//!
//! let secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
//! let key = SigningKey::derive_from_text(secret, b"20130524", "us-east-1", "s3");
//! let verified = string_to_sign.verify(&PreparedSigningKey::new(key)).expect("the signature is right");
//! assert_eq!(verified.access_key_id(), "AKIAIOSFODNN7EXAMPLE");
//! assert_eq!(verified.valid_until(), 1369353600 + 15 * 60);
//! # Ok::<(), rederive::sigv4::HeadError>(())
//! ```

mod ascii;
mod authorization;
mod canonical;
mod credential;
mod encode;
mod form;
pub(crate) mod form_v2;
mod head;
pub(crate) mod head_v2;
mod headers;
mod hex;
mod hmac;
mod key;
mod names;
mod outside;
mod payload;
mod presigned;
mod refusal;
mod request;
mod scan;
mod scope;
mod sha256;
mod shape;
mod signed_headers;
mod sink;
mod streaming_kind;
mod string_to_sign;
mod target;
mod time;
pub(crate) mod v4a;

pub use authorization::{ALGORITHM, Carrier, Scheme};
pub(crate) use authorization::{Algorithm, Authorization};
pub use canonical::{CanonicalRequest, PathStyle};
pub use credential::CredentialText;
pub(crate) use encode::{Place, decode, put_encoded, put_reencoded};
pub use form::{FormContent, FormFile, MAX_FORM_FIELDS, PostForm, VerifiedForm};
pub use head::{HeadError, HeadPlace, Header, Limits, MAX_HEADERS, RequestHead};
pub(crate) use hex::encode as lower_hex;
pub use key::PreparedSigningKey;
pub use outside::Outside;
pub use payload::{Body, PayloadStatus};
pub use presigned::MAX_EXPIRES;
pub(crate) use refusal::shown;
pub use refusal::{AuthorizationFault, CredentialFault, FormFault, Refusal, ScopeFault, SignedHeadersFault, V2Fault};
pub use request::{Expectation, Regions, ScopedRequest, SignedRequest};
pub use scope::{CredentialScope, Family, ScopePart, TERMINATOR};
pub use shape::{Claimed, Shape};
pub use signed_headers::SignedHeaders;
pub use streaming_kind::StreamingKind;
pub use string_to_sign::{StringToSign, StringToSignError, Verified};
pub use target::TargetFault;
pub(crate) use target::split_authority;
pub use time::{AmzDate, UnixSeconds};
