//! The string to sign, its comparison, and what proves that it came out right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::sigv2::{Hash, MAX_TEXT, Matched, Question, is_right};

use crate::sigv4::{PayloadStatus, Refusal, UnixSeconds, V2Fault, VerifiedForm};

/// What the client has signed, if it has, and the signature that it sent.
pub struct StringToSign<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) text: Vec<u8>,
    pub(super) hash: Hash,
    pub(super) signature: &'a [u8],
    pub(super) signed: Signed,
}

/// What a signature speaks for.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub headers: Vec<String>,
    pub valid_until: UnixSeconds,
    pub payload: PayloadStatus,
    pub form: Option<VerifiedForm>,
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
    pub fn verify(self, secret: &[u8]) -> Result<VerifiedV2, Refusal> {
        match is_right(self.hash, secret, &self.text, self.signature) {
            true => Ok(self.verified()),
            false => Err(self.does_not_match()),
        }
    }

    /// What a worker, which has the secret, is asked. `id` is the one that the request claims, `service` the one that it is
    /// verified for.
    ///
    /// # Errors
    /// If the text is longer than a worker takes.
    pub fn question(&self, id: AccessKeyId, service: &str) -> Result<Question, Refusal> {
        let question = Question::new(id, service.to_owned(), self.hash, self.signature.to_vec(), self.text.clone());
        question.ok_or(Refusal::SignatureV2(V2Fault::TooLong { limit: MAX_TEXT }))
    }

    /// The same as [`Self::verify`], by the word of a worker: `None` is its no.
    ///
    /// # Errors
    /// If it said no, or was asked something else.
    pub fn verify_answered(self, answer: Option<&Matched>) -> Result<VerifiedV2, Refusal> {
        let is_about_this = |question: &Question| {
            question.id().as_str() == self.access_key_id
                && question.hash() == self.hash
                && question.text() == self.text
                && question.signature() == self.signature
        };
        match answer {
            Some(matched) if is_about_this(matched.question()) => Ok(self.verified()),
            Some(_) | None => Err(self.does_not_match()),
        }
    }

    fn verified(self) -> VerifiedV2 {
        VerifiedV2 { access_key_id: self.access_key_id.to_owned(), signed: self.signed }
    }

    fn does_not_match(&self) -> Refusal {
        Refusal::SignatureDoesNotMatch {
            access_key_id: self.access_key_id.to_owned(),
            provided: STANDARD.encode(self.signature),
            string_to_sign: String::from_utf8_lossy(&self.text).into_owned(),
        }
    }
}

/// A request whose Signature V2 was made with the secret that its id names. There is no other way to build one than
/// [`StringToSign::verify`] and [`StringToSign::verify_answered`].
#[derive(Debug)]
pub struct VerifiedV2 {
    access_key_id: String,
    signed: Signed,
}

impl VerifiedV2 {
    /// The key that signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The headers that the signature covers, in lower case. Whatever else a head holds is signed by nobody.
    pub fn signed_headers(&self) -> &[String] {
        &self.signed.headers
    }

    /// What the signature says about the body.
    pub fn payload(&self) -> PayloadStatus {
        self.signed.payload
    }

    /// What the policy of a form says, if the credentials stood in one.
    pub fn form(&self) -> Option<&VerifiedForm> {
        self.signed.form.as_ref()
    }

    /// The last second in which the same request would be accepted again.
    pub fn valid_until(&self) -> UnixSeconds {
        self.signed.valid_until
    }
}
