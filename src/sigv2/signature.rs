//! The string to sign, and its comparison.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::sigv4::Refusal;

/// The hash of the HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

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

/// Whether `signature` is the HMAC of `text`, in constant time.
pub(crate) fn is_right(hash: Hash, secret: &[u8], text: &[u8], signature: &[u8]) -> bool {
    match hash {
        Hash::Sha1 => {
            let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
            mac.update(text);
            mac.finalize().into_bytes()[..].ct_eq(signature).into()
        }
        Hash::Sha256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
            mac.update(text);
            mac.finalize().into_bytes()[..].ct_eq(signature).into()
        }
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
