//! The unique id of a user.

use std::fmt;

use super::{RegistryError, Result, Trouble, TroubleKind};

const PREFIX: &str = "AIDA";
const LEN: usize = 21;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `AIDA` and 17 characters of base32. A user keeps it for life and nobody gets it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);

impl UserId {
    /// `None` unless the text has that shape.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        (text.len() == LEN && rest.bytes().all(|b| ALPHABET.contains(&b))).then(|| Self(text.into()))
    }

    /// Draws one: 85 random bits.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; LEN - PREFIX.len()];
        getrandom::fill(&mut bytes)
            .map_err(|error| RegistryError::Trouble(Trouble::new(TroubleKind::Io, error.to_string())))?;
        let rest = bytes.iter().map(|&byte| char::from(ALPHABET[usize::from(byte % 32)]));
        Ok(Self(PREFIX.chars().chain(rest).collect()))
    }

    /// The 21 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
