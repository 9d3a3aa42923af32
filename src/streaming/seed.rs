//! What a decoder needs of the request that a body belongs to.

use std::sync::Arc;

use super::chain::Chain;
use crate::sigv4::{AmzDate, CredentialScope, PayloadStatus, PreparedSigningKey, StreamingKind, Verified};

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
                Some(Self::new(kind, key, &verified.date(), &verified.scope(), &verified.signature()))
            }
            PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
        }
    }

    /// From its parts: the kind that x-amz-content-sha256 names, and the time, scope and signature of the request that
    /// was accepted.
    pub fn new(
        kind: StreamingKind,
        key: Arc<PreparedSigningKey>,
        date: &AmzDate,
        scope: &CredentialScope<'_>,
        signature: &[u8; 32],
    ) -> Self {
        Self { kind, chain: kind.is_signed().then(|| Chain::new(key, date, scope, signature)) }
    }

    /// For [`StreamingKind::UnsignedWithTrailer`], which no key can vouch for.
    pub fn unsigned_with_trailer() -> Self {
        Self { kind: StreamingKind::UnsignedWithTrailer, chain: None }
    }
}
