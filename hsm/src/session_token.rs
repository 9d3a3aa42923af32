//! The session token: what a temporary key carries, sealed by an issuer's worker and opened by every worker.
//!
//! ```text
//! token = 0x01 ‖ generation (1) ‖ nonce (24)
//!         ‖ XChaCha20-Poly1305(subkey("session-token"), nonce, claims, aad = 0x01 ‖ generation ‖ id (20))
//! text  = standard base64 of the token, with padding
//! ```
//!
//! The claims are JSON. The temporary secret commits to the token's hash, see [`crate::derivation`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::access_key_id::{AccessKeyId, Generation};
use crate::secret::Secret32;

/// The version of the format, the token's first byte.
const VERSION: u8 = 1;
/// Bytes of nonce.
const NONCE: usize = 24;
/// The longest token text that is looked at.
pub const MAX_TEXT: usize = 8192;

/// What a session may say of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// When it was issued, in seconds since 1970.
    pub issued_at: i64,
    /// From when on it is refused, in seconds since 1970.
    pub expires_at: i64,
    /// Whose session it is.
    pub principal: Principal,
    /// The key that asked for it.
    pub parent: String,
    /// The long-term key at the start of the chain of roles.
    pub root_parent: String,
    /// A policy that narrows the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Session tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Whether it was made with a second factor.
    #[serde(default)]
    pub mfa: bool,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The account, twelve digits; the one in the id.
    pub account: String,
    /// The ARN.
    pub arn: String,
    /// The unique id.
    pub user_id: String,
    /// The name of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
}

/// Why a token is not one, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not base64, or another base64 than its own re-encoding.
    #[error("the session token is not strict base64")]
    Text,
    /// Too short, or of another version.
    #[error("the session token has another format")]
    Format,
    /// Its generation is not the id's.
    #[error("the session token is of another generation than the access key id")]
    Generation,
    /// It was not sealed for this id by this generation.
    #[error("the session token does not open: edited, or made for another key")]
    Seal,
    /// What it holds are no claims.
    #[error("the session token holds no claims")]
    Claims,
}

/// The decoded bytes of a token's text; it must re-encode to itself.
pub fn decode_text(text: &str) -> Result<Vec<u8>, BadToken> {
    if text.len() > MAX_TEXT {
        return Err(BadToken::Text);
    }
    let token = STANDARD.decode(text).map_err(|_| BadToken::Text)?;
    if STANDARD.encode(&token) == text { Ok(token) } else { Err(BadToken::Text) }
}

/// The text of a token.
pub fn encode_text(token: &[u8]) -> String {
    STANDARD.encode(token)
}

/// Seals claims for an id. `key` is the subkey `session-token` of the id's generation.
pub fn seal(key: &Secret32, id: &AccessKeyId, nonce: &[u8; NONCE], claims: &Claims) -> Vec<u8> {
    let generation = id.fields().generation();
    let plain = serde_json::to_vec(claims).expect("claims are strings, numbers and maps of strings");
    let aad = associated(generation, id);
    let sealed = XChaCha20Poly1305::new(key.expose().into())
        .encrypt(&XNonce::from(*nonce), Payload { msg: &plain, aad: &aad })
        .expect("claims are far smaller than the cipher's limit");
    [&[VERSION, generation.number()], nonce.as_slice(), &sealed].concat()
}

/// Opens a token that came with an id. Whether it has expired is the caller's to judge.
pub fn open(key: &Secret32, id: &AccessKeyId, token: &[u8]) -> Result<Claims, BadToken> {
    let [VERSION, generation, rest @ ..] = token else { return Err(BadToken::Format) };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(BadToken::Format)?;
    let of_id = id.fields().generation();
    if *generation != of_id.number() {
        return Err(BadToken::Generation);
    }
    let aad = associated(of_id, id);
    let plain = XChaCha20Poly1305::new(key.expose().into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad })
        .map_err(|_| BadToken::Seal)?;
    serde_json::from_slice(&plain).map_err(|_| BadToken::Claims)
}

fn associated(generation: Generation, id: &AccessKeyId) -> Vec<u8> {
    [&[VERSION, generation.number()], id.as_bytes().as_slice()].concat()
}
