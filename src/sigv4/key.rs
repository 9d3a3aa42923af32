//! A signing key made ready to verify with.

use hmac::{Hmac, KeyInit, Mac};
use rederive_hsm::signing_key::SigningKey;
use sha2::Sha256;

/// `HMAC(signing key, …)` with the key's own two compressions already done: a third of the work of a short message.
///
/// As secret as the signing key itself: wiped when dropped, never printed, never copied. It stays in one heap
/// allocation, so that moving it leaves nothing behind.
pub struct PreparedSigningKey(Box<Hmac<Sha256>>);

impl PreparedSigningKey {
    /// Does the part of the HMAC that depends on the key alone. The key itself is wiped.
    pub fn new(key: SigningKey) -> Self {
        Self(Box::new(Hmac::new_from_slice(key.expose()).expect("HMAC takes keys of any length")))
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.0.as_ref().clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}
