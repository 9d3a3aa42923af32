//! A signing key made ready to verify with.

use std::fmt;

use rederive_hsm::signing_key::SigningKey;
use rederive_memory::Locked;
use subtle::ConstantTimeEq as _;

use super::hmac::HmacKey;
use super::sink::{HashSink, Sink as _};

/// `HMAC(signing key, …)` with the key's own two compressions already done: a third of the work of a short message.
///
/// As secret as the signing key itself: wiped when dropped, never printed, never copied. It stays in one
/// place, so that moving it leaves nothing behind, and that is in no core dump.
pub struct PreparedSigningKey(Locked<Prepared>);

struct Prepared {
    hmac: HmacKey,
    key: SigningKey,
}

impl PreparedSigningKey {
    /// Does the part of the HMAC that depends on the key alone.
    pub fn new(key: SigningKey) -> Self {
        Self(Locked::new(Prepared { hmac: HmacKey::new(key.expose()), key }))
    }

    /// The key itself, for a gateway that checks the signatures of chunks and is granted it.
    pub fn signing_key(&self) -> &SigningKey {
        &self.0.key
    }

    /// Whether `signature` is the one of `message`, in constant time.
    pub(crate) fn matches(&self, message: &[u8], signature: &[u8; 32]) -> bool {
        self.sign(message).ct_eq(signature).into()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.sign_written(|sink| sink.put(message))
    }

    /// The signature of what `put` writes.
    #[inline]
    pub(super) fn sign_written(&self, put: impl FnOnce(&mut HashSink)) -> [u8; 32] {
        self.0.hmac.sign(put)
    }
}

impl fmt::Debug for PreparedSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedSigningKey(redacted)")
    }
}
