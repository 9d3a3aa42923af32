//! Signed heads: how far the feed goes, and when that was true, by the word of an issuer's control key.

use rederive_hsm::feed_head::{FeedHead, PUBLIC_KEY_LEN, SIGNATURE_LEN};
use rederive_hsm::pkcs11::hex;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{Chain, Epoch};

/// An Ed25519 public key, 32 bytes.
pub type PublicKey = [u8; PUBLIC_KEY_LEN];

/// A head with a signature that was checked: there is no other way to one than [`SignedHead::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHead {
    head: FeedHead,
    public_key: PublicKey,
    signature: [u8; SIGNATURE_LEN],
}

/// A head that no key of ours signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// Its key is none of those that are pinned.
    #[error("the head of the deny feed is signed by the control key {}, which is not among the pinned ones", hex(.0))]
    UnknownKey(PublicKey),
    /// The signature is not that key's.
    #[error("the signature on the head of the deny feed is wrong")]
    Signature,
}

impl SignedHead {
    /// Checks a signature (Ed25519, RFC 8032) by a key that is among the pinned ones.
    pub fn check(
        head: FeedHead,
        public_key: PublicKey,
        signature: [u8; SIGNATURE_LEN],
        pinned: &[PublicKey],
    ) -> Result<Self, NotSigned> {
        if !pinned.contains(&public_key) {
            return Err(NotSigned::UnknownKey(public_key));
        }
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        key.verify(&head.message(), &signature).map_err(|_| NotSigned::Signature)?;
        Ok(Self { head, public_key, signature })
    }

    /// The feed's epoch.
    pub fn epoch(&self) -> &Epoch {
        &self.head.epoch
    }

    /// How far the feed goes.
    pub fn chain(&self) -> Chain {
        // The numbers of a registry are positive.
        Chain { number: i64::try_from(self.head.number).unwrap_or(i64::MAX), hash: self.head.hash }
    }

    /// When that was true: seconds since 1970.
    pub fn time(&self) -> i64 {
        self.head.time
    }

    /// What was signed.
    pub fn head(&self) -> &FeedHead {
        &self.head
    }

    /// Whose signature it is.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The signature.
    pub fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    #[test]
    fn only_a_pinned_key_signs_and_only_what_it_signed() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
        let public_key: PublicKey = pair.public_key().as_ref().try_into().expect("32 bytes");
        let head = FeedHead { epoch: [1; 16], number: 2, hash: [3; 32], time: 4 };
        let signature = pair.sign(&head.message()).as_ref().try_into().expect("64 bytes");
        let signed = SignedHead::check(head, public_key, signature, &[[0; 32], public_key]).expect("signed");
        assert_eq!((signed.chain(), signed.time()), (Chain { number: 2, hash: [3; 32] }, 4));
        let unpinned = SignedHead::check(head, public_key, signature, &[[0; 32]]);
        assert_eq!(unpinned, Err(NotSigned::UnknownKey(public_key)));
        let later = SignedHead::check(FeedHead { time: 5, ..head }, public_key, signature, &[public_key]);
        assert_eq!(later, Err(NotSigned::Signature));
    }
}
