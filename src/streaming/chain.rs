//! The chain of signatures: that of the request, of each chunk, of the trailer.
//!
//! Nothing outside this file knows how a chunk is signed, or how long a signature is.

use std::fmt::Write as _;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::sigv4::{AmzDate, CredentialScope, PreparedSigningKey, lower_hex};

/// Hexadecimal SHA-256 of nothing: the place in a chunk's string to sign that was meant for headers.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// AWS4-HMAC-SHA256: each signature covers the one before it.
pub(super) struct Chain {
    key: Arc<PreparedSigningKey>,
    /// The second and third line of every string to sign, and their line breaks.
    date_and_scope: String,
    /// In hexadecimal, as the next string to sign holds it.
    previous: [u8; 64],
    string_to_sign: String,
}

impl Chain {
    pub fn new(
        key: Arc<PreparedSigningKey>,
        date: &AmzDate,
        scope: &CredentialScope<'_>,
        signature: &[u8; 32],
    ) -> Self {
        let date_and_scope = format!("{date}\n{scope}\n");
        Self { key, date_and_scope, previous: lower_hex(signature), string_to_sign: String::with_capacity(384) }
    }

    /// Whether the next link is a chunk whose data have this SHA-256. After a `false`, no other link fits, either.
    pub fn accepts_chunk(&mut self, data: &[u8; 32], signature: &[u8]) -> bool {
        self.accepts("AWS4-HMAC-SHA256-PAYLOAD", &[EMPTY.as_bytes(), &lower_hex(data)], signature)
    }

    /// Whether the last link is a trailer whose canonical form has this SHA-256.
    pub fn accepts_trailer(&mut self, canonical: &[u8; 32], signature: &[u8]) -> bool {
        self.accepts("AWS4-HMAC-SHA256-TRAILER", &[&lower_hex(canonical)], signature)
    }

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

fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("hexadecimal digits")
}
