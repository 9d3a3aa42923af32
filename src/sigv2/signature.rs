//! The string to sign, and its comparison.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rederive_hsm::sigv2::{Hash, is_right};

use crate::sigv4::Refusal;

/// What the client has signed, if it has, and the signature that it sent.
pub struct StringToSign<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) text: Vec<u8>,
    pub(super) hash: Hash,
    pub(super) signature: &'a [u8],
}

impl<'a> StringToSign<'a> {
    /// The id whose secret is needed.
    pub fn access_key_id(&self) -> &'a str {
        self.access_key_id
    }

    /// The text. Header values may hold any bytes.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Compares the signatures in constant time. `secret` is the secret access key itself: there is no key derived of it.
    ///
    /// # Errors
    /// If the signature is another.
    pub fn verify(self, secret: &[u8]) -> Result<VerifiedV2<'a>, Refusal> {
        let Self { access_key_id, .. } = self;
        match self.is_right(secret) {
            true => Ok(VerifiedV2 { access_key_id }),
            false => Err(Refusal::SignatureDoesNotMatch {
                access_key_id: access_key_id.to_owned(),
                provided: STANDARD.encode(self.signature),
                string_to_sign: String::from_utf8_lossy(&self.text).into_owned(),
            }),
        }
    }

    fn is_right(&self, secret: &[u8]) -> bool {
        is_right(self.hash, secret, &self.text, self.signature)
    }
}

/// A request whose Signature V2 was made with the secret that its id names. There is no other way to build one than
/// [`StringToSign::verify`].
#[derive(Debug)]
pub struct VerifiedV2<'a> {
    access_key_id: &'a str,
}

impl<'a> VerifiedV2<'a> {
    /// The key that signed.
    pub fn access_key_id(&self) -> &'a str {
        self.access_key_id
    }
}
