//! Secret values: zeroized when dropped, never printed, never compared in variable time.

use std::fmt;

use hmac::{Hmac, KeyInit};
use rederive_memory::Locked;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::hmac::{hmac_sha256_in_place, hmac_sha256_into};

/// 32 secret bytes: an HMAC output, and whatever is derived from one.
///
/// They stay in one place from birth to drop, so that moving the value leaves no copies behind. It is memory that is neither swapped
/// nor dumped, and wiped when dropped.
pub struct Secret32(Locked<[u8; 32]>);

impl Secret32 {
    /// Moves 32 bytes in, wiping `source`.
    pub fn take(source: &mut [u8; 32]) -> Self {
        let mut secret = Self(Locked::new([0; 32]));
        secret.0.copy_from_slice(source);
        source.zeroize();
        secret
    }

    /// Moves the bytes of a slice in, wiping it; `None` (and wiped all the same) unless it is exactly 32 bytes long.
    pub fn take_slice(source: &mut [u8]) -> Option<Self> {
        let secret = (source.len() == 32).then(|| {
            let mut secret = Self(Locked::new([0; 32]));
            secret.0.copy_from_slice(source);
            secret
        });
        source.zeroize();
        secret
    }

    /// The bytes, for the one computation that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `HMAC-SHA256(self, message)`.
    pub fn hmac(&self, message: &[u8]) -> Self {
        Self::hmac_with(&[self.expose()], message)
    }

    /// The same in its own place, where nobody needs `self` any more.
    pub(crate) fn into_hmac(mut self, message: &[u8]) -> Self {
        hmac_sha256_in_place(&mut self.0, message);
        self
    }

    /// `HMAC-SHA256(key, message)`, with a key that is these parts one after the other.
    pub(crate) fn hmac_with(key: &[&[u8]], message: &[u8]) -> Self {
        let mut secret = Self(Locked::new([0; 32]));
        hmac_sha256_into(key, message, &mut secret.0);
        secret
    }

    /// Whether two secrets are the same, in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(redacted)")
    }
}

/// A secret access key: 40 characters of standard base64, in memory as that of [`Secret32`].
pub struct SecretAccessKey(Locked<[u8; 40]>);

impl SecretAccessKey {
    /// The first 30 bytes of a derived value as base64, encoded without secret-indexed table look-ups.
    pub fn from_derived(derived: &Secret32) -> Self {
        let mut text = Self(Locked::new([0; 40]));
        base64ct::Encoder::<base64ct::Base64>::new(text.0.as_mut_slice())
            .and_then(|mut encoder| {
                encoder.encode(&derived.expose()[..30])?;
                encoder.finish().map(|_| ())
            })
            .expect("30 bytes are 40 characters of base64");
        text
    }

    /// Moves the text in, wiping `source`; `None` unless it is 40 characters long.
    pub fn take_slice(source: &mut [u8]) -> Option<Self> {
        let key = (source.len() == 40 && source.is_ascii()).then(|| {
            let mut key = Self(Locked::new([0; 40]));
            key.0.copy_from_slice(source);
            key
        });
        source.zeroize();
        key
    }

    /// The text, for the one answer that hands it out and for the first step of the signing-key chain.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.as_slice()).expect("built from ASCII only")
    }

    /// Whether two secrets are the same, in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl fmt::Debug for SecretAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretAccessKey(redacted)")
    }
}

/// A keyed HMAC-SHA256 state, which takes keys of any length, for messages in parts.
pub fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}
