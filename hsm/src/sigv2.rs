//! Signature V2: an HMAC of the string to sign under the secret access key itself. There is no key narrowed to a day or a
//! service that could be handed out, so whether a signature is right is computed where the secret is.
//!
//! Source: "Signature Version 2 signing process" (AWS General Reference); S3's "Signing and Authenticating REST Requests".

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::access_key_id::AccessKeyId;
use crate::secret::hmac_sha256;

/// The longest string to sign, in bytes.
pub const MAX_TEXT: usize = 60 * 1024;

/// The hash of the HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hash {
    /// S3 and its forms; old clients of query APIs.
    Sha1,
    /// Query APIs.
    Sha256,
}

impl Hash {
    /// Bytes of a signature.
    pub fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        [Self::Sha1, Self::Sha256].into_iter().find(|hash| hash.code() == code)
    }
}

/// Whether `signature` is the HMAC of `text` under `secret`, in constant time.
pub fn is_right(hash: Hash, secret: &[u8], text: &[u8], signature: &[u8]) -> bool {
    match hash {
        Hash::Sha1 => {
            let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
            mac.update(text);
            mac.finalize().into_bytes()[..].ct_eq(signature).into()
        }
        Hash::Sha256 => {
            let mut mac = hmac_sha256(secret);
            mac.update(text);
            mac.finalize().into_bytes()[..].ct_eq(signature).into()
        }
    }
}

/// Is this the signature of this text by this key?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    id: AccessKeyId,
    service: String,
    hash: Hash,
    signature: Vec<u8>,
    text: Vec<u8>,
}

/// A question that was answered with yes, by a worker. Nothing but [`crate::client::Hsm::matches_v2`] builds one.
#[derive(Debug)]
pub struct Matched(Question);

impl Question {
    /// `None` if the signature is not of its hash's size, or the text is longer than [`MAX_TEXT`].
    pub fn new(id: AccessKeyId, service: String, hash: Hash, signature: Vec<u8>, text: Vec<u8>) -> Option<Self> {
        let is_one = signature.len() == hash.size() && text.len() <= MAX_TEXT;
        is_one.then_some(Self { id, service, hash, signature, text })
    }

    /// Whose signature it is said to be.
    pub fn id(&self) -> &AccessKeyId {
        &self.id
    }

    /// The service that it is verified for, which the signature does not cover.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The hash of the HMAC.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The signature in question.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The string to sign.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The answer, from the secret.
    pub fn is_answered_by(&self, secret: &[u8]) -> bool {
        is_right(self.hash, secret, &self.text, &self.signature)
    }
}

impl Matched {
    /// The worker said yes.
    pub(crate) fn new(question: Question) -> Self {
        Self(question)
    }

    /// What the worker said yes to.
    pub fn question(&self) -> &Question {
        &self.0
    }
}
