//! What a decoder needs of the request that a body belongs to.

use std::sync::Arc;

use super::chain::Chain;
use crate::sigv4::{Algorithm, AmzDate, CredentialScope, PayloadStatus, PreparedSigningKey, StreamingKind, Verified};
use crate::sigv4a::{PublicKey, VerifiedV4a};

/// What the decoder of a body needs of the request that the body belongs to. One seed is good for one body.
///
/// The request must have been verified, whatever the kind: an unsigned body of a request that nobody signed is the
/// oldest way around a signature (CVE-2025-31489).
pub struct Seed {
    pub(super) kind: StreamingKind,
    /// For the kinds that sign chunks.
    pub(super) chain: Option<Chain>,
}

impl Seed {
    /// Of a request that was verified with `key`; `None` if its body does not come in chunks.
    pub fn of(verified: &Verified<'_>, key: Arc<PreparedSigningKey>) -> Option<Self> {
        match verified.payload() {
            PayloadStatus::Streaming(kind) => {
                Self::new(kind, key, &verified.date(), &verified.scope(), &verified.signature())
            }
            PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
        }
    }

    /// The same of a request of Signature V4A.
    pub fn of_v4a(verified: &VerifiedV4a<'_>, key: &PublicKey) -> Option<Self> {
        match verified.payload() {
            PayloadStatus::Streaming(kind) => {
                Self::new_v4a(kind, key, &verified.date(), &verified.scope(), verified.signature())
            }
            PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
        }
    }

    /// From its parts: the kind that x-amz-content-sha256 names, and the time, scope and signature of the request that
    /// was accepted. `None` for a kind that is signed in another way than with a signing key.
    pub fn new(
        kind: StreamingKind,
        key: Arc<PreparedSigningKey>,
        date: &AmzDate,
        scope: &CredentialScope<'_>,
        signature: &[u8; 32],
    ) -> Option<Self> {
        match kind.algorithm() {
            Some(Algorithm::HmacSha256) => Some(Self { kind, chain: Some(Chain::hmac(key, date, scope, signature)) }),
            Some(Algorithm::EcdsaP256Sha256) => None,
            None => Some(Self { kind, chain: None }),
        }
    }

    /// The same of a request of Signature V4A, whose signature is DER. `None` for a kind that is signed in another way than
    /// with such a key.
    pub fn new_v4a(
        kind: StreamingKind,
        key: &PublicKey,
        date: &AmzDate,
        scope: &CredentialScope<'_>,
        signature: &[u8],
    ) -> Option<Self> {
        match kind.algorithm() {
            Some(Algorithm::EcdsaP256Sha256) => {
                Some(Self { kind, chain: Some(Chain::ecdsa(key.clone(), date, scope, signature)) })
            }
            Some(Algorithm::HmacSha256) => None,
            None => Some(Self { kind, chain: None }),
        }
    }

    /// For [`StreamingKind::UnsignedWithTrailer`], which no key can vouch for.
    pub fn unsigned_with_trailer() -> Self {
        Self { kind: StreamingKind::UnsignedWithTrailer, chain: None }
    }
}
