//! The chain of signatures: that of the request, of each chunk, of the trailer.
//!
//! Nothing outside this file knows how a chunk is signed, or how long a signature is.

use std::fmt::Write as _;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::sigv4::{AmzDate, CredentialScope, PreparedSigningKey, lower_hex};
use crate::sigv4a::{ChunkScope, PADDED_SIGNATURE, PublicKey, unpadded};

/// Hexadecimal SHA-256 of nothing: the place in a chunk's string to sign that was meant for headers.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Each signature covers the one before it.
pub(super) enum Chain {
    /// AWS4-HMAC-SHA256.
    Hmac(HmacChain),
    /// AWS4-ECDSA-P256-SHA256.
    Ecdsa(EcdsaChain),
}

impl Chain {
    pub fn hmac(
        key: Arc<PreparedSigningKey>,
        date: &AmzDate,
        scope: &CredentialScope<'_>,
        signature: &[u8; 32],
    ) -> Self {
        let date_and_scope = format!("{date}\n{scope}\n");
        let previous = lower_hex(signature);
        Self::Hmac(HmacChain { key, date_and_scope, previous, string_to_sign: String::with_capacity(384) })
    }

    /// `signature` is DER.
    pub fn ecdsa(key: PublicKey, date: &AmzDate, scope: &CredentialScope<'_>, signature: &[u8]) -> Self {
        let previous = base16ct::lower::encode_string(signature);
        Self::Ecdsa(EcdsaChain { key, date: *date, scope: scope.to_string(), previous })
    }

    /// Whether the next link is a chunk whose data have this SHA-256. After a `false`, no other link fits, either.
    pub fn accepts_chunk(&mut self, data: &[u8; 32], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(chain) => {
                chain.accepts("AWS4-HMAC-SHA256-PAYLOAD", &[EMPTY.as_bytes(), &lower_hex(data)], signature)
            }
            Self::Ecdsa(chain) => chain.accepts(|scope, previous| scope.chunk(previous, data), signature),
        }
    }

    /// Whether the last link is a trailer whose canonical form has this SHA-256.
    pub fn accepts_trailer(&mut self, canonical: &[u8; 32], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(chain) => chain.accepts("AWS4-HMAC-SHA256-TRAILER", &[&lower_hex(canonical)], signature),
            Self::Ecdsa(chain) => chain.accepts(|scope, previous| scope.trailer(previous, canonical), signature),
        }
    }
}

pub(super) struct HmacChain {
    key: Arc<PreparedSigningKey>,
    /// The second and third line of every string to sign, and their line breaks.
    date_and_scope: String,
    /// In hexadecimal, as the next string to sign holds it.
    previous: [u8; 64],
    string_to_sign: String,
}

impl HmacChain {
    fn accepts(&mut self, algorithm: &str, hashes: &[&[u8]], signature: &[u8]) -> bool {
        let text = &mut self.string_to_sign;
        text.clear();
        write!(text, "{algorithm}\n{}{}", self.date_and_scope, ascii(&self.previous)).expect("a String takes any text");
        for hash in hashes {
            write!(text, "\n{}", ascii(hash)).expect("a String takes any text");
        }
        self.previous = lower_hex(&self.key.sign(text.as_bytes()));
        self.previous.ct_eq(signature).into()
    }
}

pub(super) struct EcdsaChain {
    key: PublicKey,
    date: AmzDate,
    scope: String,
    /// In hexadecimal, without padding. What is expected next cannot be computed here, only verified.
    previous: String,
}

impl EcdsaChain {
    fn accepts(&mut self, string_to_sign: impl FnOnce(&ChunkScope<'_>, &str) -> String, signature: &[u8]) -> bool {
        let text = string_to_sign(&ChunkScope { date: self.date, scope: &self.scope }, &self.previous);
        let digits = if signature.len() <= PADDED_SIGNATURE { unpadded(signature) } else { b"" };
        let mut der = [0; PADDED_SIGNATURE / 2];
        let is_right =
            base16ct::lower::decode(digits, &mut der).is_ok_and(|der| self.key.verifies(text.as_bytes(), der));
        // Nothing follows a wrong one: no signature covers this text.
        self.previous = if is_right { String::from_utf8_lossy(digits).into_owned() } else { String::new() };
        is_right
    }
}

fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("hexadecimal digits")
}
