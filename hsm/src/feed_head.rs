//! The head of the deny feed, as issuers sign it: up to which entry the feed goes, and when that was true.

/// Bytes of an epoch.
pub const EPOCH_LEN: usize = 16;
/// Bytes of a [`FeedHead::message`].
pub const MESSAGE_LEN: usize = LABEL.len() + EPOCH_LEN + 8 + 32 + 8;
/// Bytes of an Ed25519 signature (RFC 8032).
pub const SIGNATURE_LEN: usize = 64;
/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_LEN: usize = 32;

const LABEL: &[u8; 27] = b"rederive/v1/deny-feed-head\0";

/// What the control key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedHead {
    /// Drawn when the feed began. Numbers of two epochs have nothing to do with each other.
    pub epoch: [u8; EPOCH_LEN],
    /// The number of the newest entry, 0 if there is none.
    pub number: u64,
    /// The hash that covers every entry up to that one.
    pub hash: [u8; 32],
    /// Seconds since 1970 at which this was the newest entry.
    pub time: i64,
}

impl FeedHead {
    /// `"rederive/v1/deny-feed-head" ‖ 0x00 ‖ epoch ‖ number ‖ hash ‖ time`, integers in 8 bytes, big-endian.
    pub fn message(&self) -> [u8; MESSAGE_LEN] {
        let mut message = [0; MESSAGE_LEN];
        let parts = [&LABEL[..], &self.epoch, &self.number.to_be_bytes(), &self.hash, &self.time.to_be_bytes()];
        let mut at = 0;
        for part in parts {
            message[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_the_message() {
        let head = FeedHead { epoch: [1; 16], number: 2, hash: [3; 32], time: 4 };
        let others = [
            FeedHead { epoch: [9; 16], ..head },
            FeedHead { number: 9, ..head },
            FeedHead { hash: [9; 32], ..head },
            FeedHead { time: 9, ..head },
        ];
        assert_eq!(head.message(), FeedHead { ..head }.message());
        assert!(others.iter().all(|other| other.message() != head.message()));
        assert!(head.message().starts_with(b"rederive/v1/deny-feed-head\0\x01"));
    }
}
