//! What a write that was cut short has left behind. Pure.

use base16ct::lower::encode_string as to_hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes at the end of a log that are no entry: how many, and their hash. The next entry tells of them, so that they cannot be
/// changed afterwards either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Torn {
    torn_bytes: u64,
    torn_sha256: String,
}

impl Torn {
    /// Of a line without its line break.
    pub fn of(bytes: &[u8]) -> Self {
        Self { torn_bytes: bytes.len() as u64, torn_sha256: to_hex(&Sha256::digest(bytes)) }
    }

    /// Whether an event, without its braces, tells of these bytes.
    pub fn is_told_by(&self, fields: &[u8]) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            service_event_details: Torn,
        }
        let event = [b"{", fields, b"}"].concat();
        serde_json::from_slice(&event).is_ok_and(|told: Told| told.service_event_details == *self)
    }
}
