//! A signing key made ready to verify with.

use rederive_hsm::signing_key::SigningKey;
use subtle::ConstantTimeEq as _;

use super::sha256::HmacKey;

/// `HMAC(signing key, …)` with the key's own two compressions already done: a third of the work of a short message.
///
/// As secret as the signing key itself: wiped when dropped, never printed, never copied. It stays in one heap
/// allocation, so that moving it leaves nothing behind.
pub struct PreparedSigningKey(Box<HmacKey>);

impl PreparedSigningKey {
    /// Does the part of the HMAC that depends on the key alone. The key itself is wiped.
    pub fn new(key: SigningKey) -> Self {
        Self(Box::new(HmacKey::new(key.expose())))
    }

    /// Whether `signature` is the one of `message`, in constant time.
    pub(crate) fn matches(&self, message: &[u8], signature: &[u8; 32]) -> bool {
        self.sign(message).ct_eq(signature).into()
    }

    #[inline]
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.0.sign(message)
    }
}
