//! The derivation: every message that is ever put under a master key, and what is made of the answers.
//!
//! The normative text, with vectors, is `docs/derivation.md`. The three shapes of message cannot collide: an id is 20
//! bytes; an id with a token hash is 53 bytes with 0x00 as the 21st; every other message begins with 0x00, which no id does.

use sha2::{Digest, Sha256};

use crate::access_key_id::{AccessKeyId, Account, ID_LEN, Layout};
use crate::secret::{Secret32, SecretAccessKey};

/// Starts every message that is not an id.
const DOMAIN: &[u8] = b"\x00rederive/v1/";

/// What a subkey is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The key of the tags in access key ids.
    AccessKeyIdTag,
    /// The key that seals session tokens. Never leaves the worker.
    SessionToken,
    /// The check value, recorded when a generation is created and compared on every connect.
    CheckValue,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::AccessKeyIdTag => b"access-key-id-tag",
            Self::SessionToken => b"session-token",
            Self::CheckValue => b"check-value",
        }
    }
}

/// SHA-256 of a session token, decoded: what a temporary secret commits to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes the decoded bytes of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// A message for the master: `id`, or `id ‖ 0x00 ‖ SHA-256(token)` for a session.
pub fn secret_message(id: &AccessKeyId, token: Option<&TokenHash>) -> Vec<u8> {
    let mut message = Vec::with_capacity(ID_LEN + 33);
    message.extend_from_slice(id.as_bytes());
    if let Some(token) = token {
        message.push(0);
        message.extend_from_slice(&token.0);
    }
    message
}

/// A message for the master: `0x00 ‖ "rederive/v1/" ‖ purpose`.
pub fn subkey_message(purpose: Purpose) -> Vec<u8> {
    [DOMAIN, purpose.label()].concat()
}

/// A message for the master: `0x00 ‖ "rederive/v1/serial/" ‖ account (8 bytes, big-endian) ‖ nonce`.
pub fn serial_message(account: Account, nonce: &[u8; 32]) -> Vec<u8> {
    [DOMAIN, b"serial/", &account.number().to_be_bytes(), nonce].concat()
}

/// The serial number: the leading bits of the master's answer to [`serial_message`].
pub fn serial(answer: &Secret32, layout: Layout) -> u64 {
    let leading: [u8; 8] = answer.expose()[..8].try_into().expect("32 bytes have 8");
    u64::from_be_bytes(leading) >> (64 - layout.serial_bits())
}

/// The secret access key: base64 of the first 30 bytes of the master's answer to [`secret_message`].
pub fn secret_access_key(answer: &Secret32) -> SecretAccessKey {
    SecretAccessKey::from_derived(answer)
}

/// `share(account)`: the first two bytes of SHA-256("rederive/v1/share" ‖ account as 8 bytes, big-endian).
pub fn share(account: Account) -> u16 {
    let hash = Sha256::new().chain_update(b"rederive/v1/share").chain_update(account.number().to_be_bytes()).finalize();
    u16::from_be_bytes([hash[0], hash[1]])
}
