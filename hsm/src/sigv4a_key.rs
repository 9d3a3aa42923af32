//! The key pair that Signature V4A makes of a secret access key. Only its public half leaves this file.
//!
//! Source: awslabs/aws-c-auth `key_derivation.c`; smithy-rs `aws-sigv4` (`sign/v4a.rs`).

use hmac::Mac as _;
use p256::SecretKey;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use zeroize::Zeroizing;

use crate::secret::hmac_sha256;

/// The algorithm of Signature V4A.
pub const ALGORITHM: &str = "AWS4-ECDSA-P256-SHA256";

/// The key that signatures of one access key are verified with. Not secret: nobody can sign with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The bytes of a point: its two coordinates, 32 bytes each.
pub const POINT_LEN: usize = 64;

impl PublicKey {
    /// The public key of a secret access key.
    ///
    /// The private key is drawn as in NIST SP 800-108 (counter mode, HMAC-SHA256 under `AWS4A` and the secret), from
    /// the id and a counter; a number beyond the group's order is drawn again with the next one. `None` if all 254 are
    /// beyond it, which is never.
    pub fn derive(secret: &[u8], access_key_id: &str) -> Option<Self> {
        let key = Zeroizing::new([b"AWS4A", secret].concat());
        (1..=254).find_map(|counter| private_key(&key, access_key_id, counter)).map(|key| Self(public_half(&key)))
    }

    /// From its two coordinates, 32 bytes each; `None` if they are no point of the curve.
    pub fn from_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        Self::from_sec1(&[&[4][..], x, y].concat())
    }

    /// The point as SEC 1 writes it, uncompressed: 0x04 and the two coordinates.
    pub fn to_sec1(&self) -> [u8; POINT_LEN + 1] {
        self.0.to_sec1_point(false).as_bytes().try_into().expect("65 bytes")
    }

    /// From a point as SEC 1 writes it, compressed or not; `None` if it is none of the curve.
    pub fn from_sec1(bytes: &[u8]) -> Option<Self> {
        VerifyingKey::from_sec1_bytes(bytes).ok().map(Self)
    }

    /// Its two coordinates: the uncompressed point of SEC 1 without its first byte.
    pub fn coordinates(&self) -> ([u8; 32], [u8; 32]) {
        let point = self.to_sec1();
        let half = |range: std::ops::Range<usize>| point[range].try_into().expect("32 bytes");
        (half(1..33), half(33..65))
    }

    /// Whether `signature`, DER and nothing after it, is one of `message` by this key. Signatures with a high s are
    /// right as well: signers of AWS make them.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

fn public_half(key: &SecretKey) -> VerifyingKey {
    VerifyingKey::from(key.public_key())
}

/// The candidate of one counter plus one, if it is below the order of the group.
fn private_key(key: &[u8], access_key_id: &str, counter: u8) -> Option<SecretKey> {
    let mut mac = hmac_sha256(key);
    mac.update(&1_u32.to_be_bytes());
    mac.update(ALGORITHM.as_bytes());
    mac.update(&[0]);
    mac.update(access_key_id.as_bytes());
    mac.update(&[counter]);
    // The length of the result, in bits.
    mac.update(&256_u32.to_be_bytes());
    let mut number = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
    add_one(&mut number)?;
    SecretKey::from_slice(&*number).ok()
}

/// `None` on overflow. Every byte is looked at, whatever they are.
fn add_one(number: &mut [u8; 32]) -> Option<()> {
    let mut carry = 1_u16;
    for byte in number.iter_mut().rev() {
        carry += u16::from(*byte);
        *byte = carry.to_be_bytes()[1];
        carry >>= 8;
    }
    (carry == 0).then_some(())
}
