//! One entry of the feed.

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// 1 and up, without gaps.
    pub seq: i64,
    /// When it was made, by the clock of who made it: seconds since 1970.
    pub at: i64,
    /// What happened.
    pub kind: ChangeKind,
    /// To what: an access key id, a generation's number, an account's twelve digits, a user id.
    pub subject: String,
    /// What the subject does not tell, as far as verifiers must know it; empty for most kinds.
    pub detail: String,
}

/// What can happen to something that verifiers care about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ChangeKind {
    AccountCreated,
    UserCreated,
    UserDeleted,
    KeyActivated,
    KeyDeactivated,
    KeyDeleted,
    /// A key was made that is good under terms, which the detail tells: `KeyTerms::encode`.
    KeyTerms,
    GenerationCreated,
    GenerationIssuing,
    GenerationVerifying,
    GenerationClosed,
    /// By an operator, or because its owner was, or because nobody issued it.
    KeyDenied,
    /// Nothing denies the key any more.
    KeyLifted,
    UserDenied,
    UserLifted,
    AccountDenied,
    AccountLifted,
    /// Sessions that were issued before a time, which the detail tells: `SessionDenials::detail`. Of what stands behind `key:`, `user:`
    /// or `account:` in the subject.
    SessionsDenied,
    SessionsLifted,
    /// An audit log has come so far: its id, and in the detail number and hash of its newest entry. Nothing to a verifier but to keep.
    AuditCheckpoint,
}

const NAMES: [(ChangeKind, &str); 20] = [
    (ChangeKind::AccountCreated, "account-created"),
    (ChangeKind::UserCreated, "user-created"),
    (ChangeKind::UserDeleted, "user-deleted"),
    (ChangeKind::KeyActivated, "key-activated"),
    (ChangeKind::KeyDeactivated, "key-deactivated"),
    (ChangeKind::KeyDeleted, "key-deleted"),
    (ChangeKind::KeyTerms, "key-terms"),
    (ChangeKind::GenerationCreated, "generation-created"),
    (ChangeKind::GenerationIssuing, "generation-issuing"),
    (ChangeKind::GenerationVerifying, "generation-verifying"),
    (ChangeKind::GenerationClosed, "generation-closed"),
    (ChangeKind::KeyDenied, "key-denied"),
    (ChangeKind::KeyLifted, "key-lifted"),
    (ChangeKind::UserDenied, "user-denied"),
    (ChangeKind::UserLifted, "user-lifted"),
    (ChangeKind::AccountDenied, "account-denied"),
    (ChangeKind::AccountLifted, "account-lifted"),
    (ChangeKind::SessionsDenied, "sessions-denied"),
    (ChangeKind::SessionsLifted, "sessions-lifted"),
    (ChangeKind::AuditCheckpoint, "audit-checkpoint"),
];

impl ChangeKind {
    /// The name in registry, feed and copies.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).expect("every kind has a name").1
    }

    /// The kind of that name. Who follows the feed and meets a name that it does not know must stop: it cannot tell what it
    /// would overlook.
    pub fn parse(text: &str) -> Option<Self> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind)
    }

    /// Whether it tells of a generation.
    pub fn is_of_generation(self) -> bool {
        matches!(
            self,
            Self::GenerationCreated | Self::GenerationIssuing | Self::GenerationVerifying | Self::GenerationClosed
        )
    }
}

impl Change {
    /// The bytes that its hash covers: number and time in 8 bytes each, big-endian; kind, subject and detail, each behind its
    /// length in 2 bytes.
    ///
    /// `None` for a text of more than 65,535 bytes, which no registry writes.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let texts = [self.kind.as_str(), &self.subject, &self.detail];
        let mut bytes = Vec::with_capacity(22 + texts.iter().map(|text| text.len()).sum::<usize>());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&self.at.to_be_bytes());
        for text in texts {
            bytes.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Some(bytes)
    }

    /// Reads what [`encode`](Self::encode) gives, and nothing behind it; `None` if it is anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk()?;
        let (at, mut rest) = rest.split_first_chunk()?;
        let mut text = || {
            let (length, after) = rest.split_first_chunk()?;
            let (text, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = after;
            std::str::from_utf8(text).ok()
        };
        let (kind, subject, detail) = (ChangeKind::parse(text()?)?, text()?.to_owned(), text()?.to_owned());
        let (seq, at) = (i64::from_be_bytes(*seq), i64::from_be_bytes(*at));
        rest.is_empty().then_some(Self { seq, at, kind, subject, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_and_nothing_else_does() {
        for (kind, _) in NAMES {
            let change = Change { seq: 7, at: -1, kind, subject: "AKIA".into(), detail: "é".into() };
            let bytes = change.encode().expect("short");
            assert_eq!(Change::decode(&bytes).as_ref(), Some(&change));
            assert_eq!(Change::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Change::decode(&[&bytes[..], b"x"].concat()), None);
        }
        let long =
            Change { seq: 1, at: 1, kind: ChangeKind::KeyDenied, subject: "x".repeat(65_536), detail: "".into() };
        assert_eq!(long.encode(), None);
    }
}
