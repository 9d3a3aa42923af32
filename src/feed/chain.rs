//! The chain of hashes.

use sha2::{Digest, Sha256};

use super::Change;

/// Sixteen random bytes, drawn when a feed begins.
pub type Epoch = [u8; 16];
/// The hash of an entry, which covers it and all before it.
pub type Hash = [u8; 32];

const LABEL: &[u8] = b"rederive/v1/deny-feed\0";

/// How far a feed goes: a number, and the hash that belongs to it.
///
/// ```text
/// hash(0) = SHA-256("rederive/v1/deny-feed" ‖ 0x00 ‖ epoch)
/// hash(n) = SHA-256(hash(n - 1) ‖ entry n)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The number of the newest entry, 0 before the first.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
}

/// An entry that does not follow on the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {found} of the deny feed does not follow on entry {after}")]
pub struct OutOfOrder {
    /// The number before it.
    pub after: i64,
    /// Its own.
    pub found: i64,
}

/// Bytes that are not the next entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNext {
    /// It is another one.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// It does not read. A kind that this version does not know is such a one, and must not be passed over.
    #[error("the entry after {after} of the deny feed does not read: an issuer of a newer version may have written it")]
    Unreadable {
        /// The number before it.
        after: i64,
    },
}

impl Chain {
    /// Before the first entry of an epoch.
    pub fn begin(epoch: &Epoch) -> Self {
        Self { number: 0, hash: Sha256::new().chain_update(LABEL).chain_update(epoch).finalize().into() }
    }

    /// With one more entry.
    pub fn with(&self, change: &Change) -> Result<Self, OutOfOrder> {
        let wrong = OutOfOrder { after: self.number, found: change.seq };
        let bytes = change.encode().filter(|_| change.seq == self.number + 1).ok_or(wrong)?;
        Ok(Self { number: change.seq, hash: self.hash_with(&bytes) })
    }

    /// With one more entry, given as it came: the entry, too.
    pub fn with_entry(&self, entry: &[u8]) -> Result<(Self, Change), NotNext> {
        let change = Change::decode(entry).ok_or(NotNext::Unreadable { after: self.number })?;
        if change.seq != self.number + 1 {
            return Err(OutOfOrder { after: self.number, found: change.seq }.into());
        }
        Ok((Self { number: change.seq, hash: self.hash_with(entry) }, change))
    }

    /// The hash of an entry, given as [`Change::encode`] gives it, that follows.
    fn hash_with(&self, entry: &[u8]) -> Hash {
        Sha256::new().chain_update(self.hash).chain_update(entry).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChangeKind;
    use super::*;

    fn change(seq: i64) -> Change {
        Change { seq, at: 1, kind: ChangeKind::KeyDenied, subject: "AKIA".into(), detail: String::new() }
    }

    #[test]
    fn a_hash_covers_everything_before_it() {
        let start = Chain::begin(&[0; 16]);
        let first = start.with(&change(1)).expect("follows");
        let second = first.with(&change(2)).expect("follows");
        assert_eq!(second.number, 2);
        assert_eq!(second, first.with(&change(2)).expect("follows"));
        let altered = start.with(&Change { subject: "AKIB".into(), ..change(1) }).expect("follows");
        assert_ne!(altered.with(&change(2)).expect("follows"), second);
        assert_ne!(Chain::begin(&[1; 16]), start);
        assert_eq!(first.with(&change(3)), Err(OutOfOrder { after: 1, found: 3 }));
        assert_eq!(first.with(&change(1)), Err(OutOfOrder { after: 1, found: 1 }));
    }
}
