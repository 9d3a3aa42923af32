//! The last line of a canonical request: what the signature says about the body.
//!
//! Sources: "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk" and "…
//! Multiple Chunks"; botocore `auth.py` for what signers do.

use sha2::{Digest, Sha256};

use super::authorization::{Algorithm, Authorization, Carrier, Scheme};
use super::hex::{self, Digits};
use super::refusal::{Refusal, shown};
use super::scope::Family;
use super::sink::Sink;
use super::streaming_kind::StreamingKind;
use super::string_to_sign::StringToSignError;

/// The body of the request, as far as the caller has it.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// All of it.
    Bytes(&'a [u8]),
    /// Its SHA-256, computed by a caller who vouches for it.
    Sha256([u8; 32]),
    /// Not at hand, which is not the same as empty.
    Absent,
}

/// What a verified signature says about the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadStatus {
    /// The body is the one that was signed.
    Checked,
    /// The signature does not cover the body.
    Unsigned,
    /// A hash of the body is signed, and there was no body to compare it with: whoever reads the body must.
    NotChecked,
    /// The body comes in chunks with signatures or checksums of their own: whoever reads the body must check them.
    Streaming(StreamingKind),
}

impl PayloadStatus {
    /// `checked`, `unsigned`, `not_checked` or `streaming`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Unsigned => "unsigned",
            Self::NotChecked => "not_checked",
            Self::Streaming(_) => "streaming",
        }
    }
}

/// What x-amz-content-sha256 says. Every value there is has its name here; there is no "anything else".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim<'a> {
    Hash(Digits<'a>),
    Unsigned,
    Streaming(StreamingKind),
    StreamingEvents,
}

const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";
/// A form has no canonical request: what it signs is its policy.
const NO_PAYLOAD_LINE: Refusal = Refusal::UnsupportedScheme(Scheme::PostForm);

impl<'a> Claim<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        if let Some(hash) = Digits::read(text) {
            return Some(Self::Hash(hash));
        }
        if let Some(kind) = StreamingKind::parse(text) {
            return Some(Self::Streaming(kind));
        }
        Some(match text {
            UNSIGNED => Self::Unsigned,
            b"STREAMING-AWS4-HMAC-SHA256-EVENTS" => Self::StreamingEvents,
            _ => return None,
        })
    }
}

/// The value of x-amz-content-sha256, and where it came from.
#[derive(Clone, Copy, Default)]
pub(super) struct ContentSha256<'a> {
    /// The header.
    pub header: Option<&'a [u8]>,
    /// Whether the header is among the signed ones.
    pub header_is_signed: bool,
    /// The parameter of a presigned query, which is signed like all of them.
    pub parameter: Option<&'a [u8]>,
}

/// The payload line, and what is left to do once the signature has proved right.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    line: Line<'a>,
    /// A hash that the body must have.
    pub claimed: Option<Digits<'a>>,
    pub status: PayloadStatus,
}

/// The last line of the canonical request.
#[derive(Clone, Copy)]
enum Line<'a> {
    Text(&'a [u8]),
    Hash([u8; 32]),
}

impl<'a> Payload<'a> {
    /// Writes the payload line.
    pub fn put_to(&self, sink: &mut impl Sink) {
        match &self.line {
            Line::Text(text) => sink.put(text),
            Line::Hash(hash) => sink.put(&hex::encode(hash)),
        }
    }

    /// Applies the rules of the service's family.
    pub fn resolve(
        family: Family,
        &Authorization { carrier, algorithm, .. }: &Authorization<'_>,
        given: ContentSha256<'a>,
        body: Body<'_>,
    ) -> Result<Self, StringToSignError> {
        let stated = given.stated()?;
        match family {
            Family::S3 => Self::resolve_s3(carrier, algorithm, stated, body).map_err(StringToSignError::Refused),
            Family::Query => Self::resolve_other(carrier, stated, body),
        }
    }

    fn resolve_s3(
        carrier: Carrier,
        algorithm: Algorithm,
        stated: Option<Stated<'a>>,
        body: Body<'_>,
    ) -> Result<Self, Refusal> {
        let Some(stated) = stated else {
            return match carrier {
                Carrier::Header => Err(Refusal::MissingContentSha256),
                Carrier::Query => {
                    Ok(Self { line: Line::Text(UNSIGNED), claimed: None, status: PayloadStatus::Unsigned })
                }
                Carrier::Form => Err(NO_PAYLOAD_LINE),
            };
        };
        let line = Line::Text(stated.text);
        match (stated.claim, carrier) {
            (_, Carrier::Form) => Err(NO_PAYLOAD_LINE),
            // In a header-signed request the payload line is this text, so that the signature covers it in any case.
            (Claim::Hash(hash), Carrier::Header) => Ok(Self::with_hash(line, hash, body)),
            (Claim::Hash(hash), Carrier::Query) if stated.is_signed => Ok(Self::with_hash(line, hash, body)),
            (Claim::Hash(hash), Carrier::Query) => {
                Ok(Self { line: Line::Text(UNSIGNED), claimed: Some(hash), status: PayloadStatus::Unsigned })
            }
            (Claim::Unsigned, Carrier::Query) => Ok(Self { line, claimed: None, status: PayloadStatus::Unsigned }),
            (Claim::Unsigned, Carrier::Header) => stated.signed(line, PayloadStatus::Unsigned),
            // Chunks that are signed are chained to the signature of the request, and signed as it is.
            (Claim::Streaming(kind), Carrier::Header) if kind.algorithm().is_none_or(|chunks| chunks == algorithm) => {
                stated.signed(line, PayloadStatus::Streaming(kind))
            }
            (Claim::Streaming(_), Carrier::Header) => Err(stated.illegal()),
            // A presigned URL has no place for the signatures that a chunk would follow.
            (Claim::Streaming(_), Carrier::Query) => Err(stated.illegal()),
            (Claim::StreamingEvents, _) => Err(stated.illegal()),
        }
    }

    fn resolve_other(carrier: Carrier, stated: Option<Stated<'a>>, body: Body<'_>) -> Result<Self, StringToSignError> {
        match stated {
            None => Self::hash_of_body(carrier, None, body),
            Some(stated) => match stated.claim {
                Claim::Hash(hash) if stated.is_signed => Ok(Self::with_hash(Line::Text(stated.text), hash, body)),
                // Whoever sends the request can set an unsigned header: it is compared with the body, never believed.
                Claim::Hash(hash) => Self::hash_of_body(carrier, Some(hash), body),
                Claim::Unsigned | Claim::Streaming(_) | Claim::StreamingEvents => {
                    Err(StringToSignError::Refused(stated.illegal()))
                }
            },
        }
    }

    fn with_hash(line: Line<'a>, hash: Digits<'a>, body: Body<'_>) -> Self {
        let status = if matches!(body, Body::Absent) { PayloadStatus::NotChecked } else { PayloadStatus::Checked };
        Self { line, claimed: Some(hash), status }
    }

    /// The payload line of a request that does not state it.
    fn hash_of_body(carrier: Carrier, claimed: Option<Digits<'a>>, body: Body<'_>) -> Result<Self, StringToSignError> {
        let (hash, status) = match (body.sha256(), carrier) {
            (_, Carrier::Form) => return Err(NO_PAYLOAD_LINE.into()),
            (Some(hash), Carrier::Header | Carrier::Query) => (hash, PayloadStatus::Checked),
            // What a presigned URL signs is the empty body.
            (None, Carrier::Query) => (Sha256::digest(b"").into(), PayloadStatus::NotChecked),
            (None, Carrier::Header) => return Err(StringToSignError::BodyRequired),
        };
        Ok(Self { line: Line::Hash(hash), claimed, status })
    }
}

impl Body<'_> {
    /// SHA-256 of the body, where it can be known.
    pub(crate) fn sha256(&self) -> Option<[u8; 32]> {
        match self {
            Self::Bytes(bytes) => Some(Sha256::digest(bytes).into()),
            Self::Sha256(hash) => Some(*hash),
            Self::Absent => None,
        }
    }
}

/// A value of x-amz-content-sha256 that is well formed.
#[derive(Clone, Copy)]
struct Stated<'a> {
    text: &'a [u8],
    claim: Claim<'a>,
    is_signed: bool,
}

impl<'a> ContentSha256<'a> {
    fn stated(&self) -> Result<Option<Stated<'a>>, Refusal> {
        let (text, is_signed) = match (self.parameter, self.header) {
            (None, None) => return Ok(None),
            (None, Some(header)) => (header, self.header_is_signed),
            (Some(parameter), None) => (parameter, true),
            (Some(parameter), Some(header)) if parameter == header => (parameter, true),
            (Some(_), Some(header)) => return Err(Refusal::IllegalContentSha256 { got: shown(header) }),
        };
        let claim = Claim::read(text).ok_or_else(|| Refusal::IllegalContentSha256 { got: shown(text) })?;
        Ok(Some(Stated { text, claim, is_signed }))
    }
}

impl<'a> Stated<'a> {
    fn illegal(&self) -> Refusal {
        Refusal::IllegalContentSha256 { got: shown(self.text) }
    }

    /// A value that chooses how the body is read: good only if the header itself is signed.
    fn signed(&self, line: Line<'a>, status: PayloadStatus) -> Result<Payload<'a>, Refusal> {
        if self.is_signed {
            Ok(Payload { line, claimed: None, status })
        } else {
            Err(Refusal::HeadersNotSigned(vec!["x-amz-content-sha256".to_owned()]))
        }
    }
}
