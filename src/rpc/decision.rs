//! The four outcomes of a call.

use std::borrow::Cow;
use std::sync::Arc;

use crate::authority::Identity;
use crate::explain::Deviation;
use crate::sigv4::{
    AmzDate, PayloadStatus, PreparedSigningKey, SignedHeaders, StreamingKind, UnixSeconds, VerifiedForm,
};
use crate::sigv4a::PublicKey;

/// What a caller is told.
#[derive(Clone, Debug)]
pub enum Decision<'a> {
    /// The signature is right, by a key that is good.
    Accept(Accepted<'a>),
    /// The request must not be served.
    Refuse(Refused),
    /// Trouble of ours: nothing is known about the request.
    Unavailable {
        /// For people; says no more than which part is missing.
        reason: Cow<'static, str>,
        /// When to ask again.
        retry_after_ms: u64,
    },
    /// The call cannot be understood, or lacks what a decision needs. Says nothing about the request.
    Malformed(Malformed),
}

/// Why a request must not be served, as AWS tells it: safe to hand on to the client.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error code of AWS for the expected service.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// The HTTP status that AWS sends with this code.
    pub http_status: u16,
    /// Further elements of S3's error body, in their order; some clients act on them.
    pub elements: Vec<(&'static str, String)>,
    /// What would have to be otherwise, if that was asked for. Not for the client.
    pub deviations: Option<Vec<Deviation>>,
}

/// What is wrong with a call.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// Such as `body_required`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// The field of the call, where one can be named.
    pub at: Option<String>,
}

/// Which of the signature versions a request was verified by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureVersion {
    /// AWS4-HMAC-SHA256.
    V4,
    /// AWS4-ECDSA-P256-SHA256.
    V4a,
    /// HMAC of the request under the secret itself: legacy, and covers little of a request.
    V2,
}

/// What is known about a request that was accepted. What stands in the request is borrowed from it.
#[derive(Clone, Debug)]
pub struct Accepted<'a> {
    /// How it was signed.
    pub signature_version: SignatureVersion,
    /// Who signed it, and for what.
    pub identity: Arc<Identity>,
    /// Names of the headers that the signature covers, in order.
    pub signed_headers: HeaderNames<'a>,
    /// What the signature says about the body.
    pub payload: PayloadStatus,
    /// What the policy says, if the credentials stood in a form.
    pub form: Option<Box<VerifiedForm>>,
    /// What a decoder of the body needs to know, if it comes in chunks.
    pub streaming: Option<Box<Streaming>>,
    /// The signing key of the scope, if it was asked for.
    pub signing_key: Option<Arc<PreparedSigningKey>>,
    /// The key that a Signature V4A was verified with.
    pub public_key: Option<Box<PublicKey>>,
    /// When the signature stops being good.
    pub valid_until: UnixSeconds,
    /// Up to when denials are known.
    pub deny_list_as_of: UnixSeconds,
    /// Whether the signing key was not at hand. Counted, and not told.
    pub waited_for_hsm: bool,
}

/// What a decoder of a body in chunks needs to know of its request, beside signing key and scope.
#[derive(Clone, Debug)]
pub struct Streaming {
    /// How the body is signed.
    pub kind: StreamingKind,
    /// When the request was signed.
    pub date: AmzDate,
    /// The signature of the request: 32 bytes, or DER for Signature V4A.
    pub seed_signature: Vec<u8>,
}

/// Names of headers.
#[derive(Clone, Debug)]
pub enum HeaderNames<'a> {
    /// As the request lists them.
    Listed(SignedHeaders<'a>),
    /// Where it has no list.
    Named(Vec<String>),
}

impl Malformed {
    /// The code of what is over a limit in bytes; its status is 413.
    pub(super) const TOO_LARGE: &'static str = "too_large";

    /// Something is wrong with one field.
    pub fn new(code: &'static str, at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), at: Some(at.into()) }
    }

    pub(super) fn missing(at: &str, message: &str) -> Self {
        Self::new("missing_field", at, message)
    }

    pub(super) fn bad(at: &str, message: impl Into<String>) -> Self {
        Self::new("bad_field", at, message)
    }

    pub(super) fn too_large(at: &str, message: String) -> Self {
        Self::new(Self::TOO_LARGE, at, message)
    }
}

impl SignatureVersion {
    /// As the answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V4a => "v4a",
            Self::V2 => "v2",
        }
    }
}

impl HeaderNames<'_> {
    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let (listed, named) = match self {
            Self::Listed(headers) => (Some(headers.iter()), None),
            Self::Named(names) => (None, Some(names)),
        };
        let named = named.into_iter().flatten().map(|name| Cow::Borrowed(&**name));
        listed.into_iter().flatten().map(String::from_utf8_lossy).chain(named)
    }

    /// Gives the bytes of each name, in order, which are UTF-8. Nearly all are ASCII, which is seen sooner.
    pub(super) fn for_each(&self, mut put: impl FnMut(&[u8])) {
        match self {
            Self::Named(names) => names.iter().for_each(|name| put(name.as_bytes())),
            Self::Listed(headers) => headers.iter().for_each(|name| match name.is_ascii() {
                true => put(name),
                false => put(String::from_utf8_lossy(name).as_bytes()),
            }),
        }
    }
}
