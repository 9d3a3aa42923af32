//! The string to sign, its comparison, and what proves that it came out right: step 7 of a verification.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::authorization::{ALGORITHM, Authorization, Carrier};
use super::form::VerifiedForm;
use super::hex::{self, Digits};
use super::key::PreparedSigningKey;
use super::payload::{Body, Payload, PayloadStatus};
use super::refusal::Refusal;
use super::scope::{CredentialScope, TERMINATOR};
use super::signed_headers::SignedHeaders;
use super::sink::Sink;
use super::time::{AmzDate, UnixSeconds};

/// How old a header-signed request may be, and how far ahead one to S3 may be: 15 minutes.
pub(super) const SKEW: i64 = 15 * 60;

/// Why there is no string to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringToSignError {
    /// The request is refused.
    Refused(Refusal),
    /// The signature covers a hash of the body, which is neither in the request nor given by the caller. That is the
    /// caller's fault, not the client's.
    BodyRequired,
}

impl From<Refusal> for StringToSignError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What the client has signed, if it has: step 6 gets the key for its scope.
pub struct StringToSign<'r, 'a> {
    authorization: &'r Authorization<'a>,
    message: Message<'a>,
    status: PayloadStatus,
    /// A hash that the body must have, and the body. Compared last: a body is not hashed for a forged request.
    claimed: Option<(Digits<'a>, Body<'a>)>,
}

/// SHA-256 of the canonical request.
pub(super) struct Hashes {
    /// As S3 has it, and most services.
    pub canonical_request: [u8; 32],
    /// Without the session token in the query, where a signer may have put it there after signing.
    pub without_token: Option<[u8; 32]>,
}

/// What was signed.
enum Message<'a> {
    /// The text over the canonical request.
    CanonicalRequest(Hashes),
    /// The policy of a form, and what it says of the file.
    Policy(&'a str, VerifiedForm),
}

impl<'r, 'a> StringToSign<'r, 'a> {
    pub(super) fn new(
        authorization: &'r Authorization<'a>,
        hashes: Hashes,
        payload: &Payload<'a>,
        body: Body<'a>,
    ) -> Self {
        let (message, claimed) = (Message::CanonicalRequest(hashes), payload.claimed.map(|hash| (hash, body)));
        Self { authorization, message, status: payload.status, claimed }
    }

    /// A form whose fields are what its policy demands.
    pub(super) fn of_form(authorization: &'r Authorization<'a>, policy: &'a str, form: VerifiedForm) -> Self {
        let message = Message::Policy(policy, form);
        Self { authorization, message, status: PayloadStatus::Unsigned, claimed: None }
    }

    /// The id whose signing key is needed.
    pub fn access_key_id(&self) -> &'a str {
        self.authorization.access_key_id
    }

    /// What the signing key must be good for.
    pub fn scope(&self) -> CredentialScope<'a> {
        self.authorization.scope
    }

    /// Step 7: compares the signatures in constant time.
    ///
    /// # Errors
    /// If the signature is another, or it is right and the body is not the one it was made for.
    pub fn verify(&self, key: &PreparedSigningKey) -> Result<Verified<'a>, Refusal> {
        if !self.is_signed_with(key) {
            return Err(self.does_not_match());
        }
        self.check_body()?;
        let form = match &self.message {
            Message::CanonicalRequest(_) => None,
            Message::Policy(_, form) => Some(Box::new(form.clone())),
        };
        Ok(Verified { authorization: *self.authorization, payload: self.status, form })
    }

    fn is_signed_with(&self, key: &PreparedSigningKey) -> bool {
        let Authorization { date, scope, signature, .. } = self.authorization;
        let is_given = |mac: [u8; 32]| is_same(&hex::encode(&mac), signature.as_bytes());
        let signs = |hash| is_given(key.sign_written(|sink| put_string_to_sign(sink, date, scope, hash)));
        match &self.message {
            Message::CanonicalRequest(Hashes { canonical_request, without_token }) => {
                signs(canonical_request) || without_token.as_ref().is_some_and(signs)
            }
            Message::Policy(policy, _) => is_given(key.sign(policy.as_bytes())),
        }
    }

    #[cold]
    fn does_not_match(&self) -> Refusal {
        Refusal::SignatureDoesNotMatch {
            access_key_id: self.access_key_id().to_owned(),
            provided: String::from_utf8_lossy(self.authorization.signature.as_bytes()).into_owned(),
            string_to_sign: self.text(),
        }
    }

    fn text(&self) -> String {
        let Authorization { date, scope, .. } = self.authorization;
        match &self.message {
            Message::CanonicalRequest(Hashes { canonical_request, .. }) => {
                string_to_sign_text(date, scope, canonical_request)
            }
            Message::Policy(policy, _) => (*policy).to_owned(),
        }
    }

    /// What may stand in the string to sign, one of them right; none for a form.
    pub(super) fn canonical_request_hashes(&self) -> impl Iterator<Item = &[u8; 32]> {
        let hashes = match &self.message {
            Message::CanonicalRequest(hashes) => Some(hashes),
            Message::Policy(..) => None,
        };
        hashes.into_iter().flat_map(|hashes| std::iter::once(&hashes.canonical_request).chain(&hashes.without_token))
    }

    pub(super) fn payload_status(&self) -> PayloadStatus {
        self.status
    }

    /// The body is the one that was signed, where it was.
    pub(super) fn check_body(&self) -> Result<(), Refusal> {
        let Some((claimed, body)) = &self.claimed else { return Ok(()) };
        match body.sha256() {
            Some(computed) if computed != claimed.decode() => {
                Err(Refusal::BodyMismatch { claimed: claimed.decode(), computed })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// In constant time, by words: byte by byte takes as long as two hash blocks.
fn is_same(expected: &[u8; 64], provided: &[u8; 64]) -> bool {
    let (expected, provided) = (expected.as_chunks::<8>().0.iter(), provided.as_chunks::<8>().0);
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    expected.zip(provided).fold(0, |differing, (a, b)| differing | (word(a) ^ word(b))).ct_eq(&0).into()
}

/// The string to sign over a canonical request with this SHA-256, for people.
pub(super) fn string_to_sign_text(date: &AmzDate, scope: &CredentialScope<'_>, hash: &[u8; 32]) -> String {
    let mut text = Vec::new();
    put_string_to_sign(&mut text, date, scope, hash);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes the string to sign over a canonical request with this SHA-256.
#[inline]
fn put_string_to_sign(sink: &mut impl Sink, date: &AmzDate, scope: &CredentialScope<'_>, hash: &[u8; 32]) {
    sink.put_pair(ALGORITHM.as_bytes(), b'\n', date.as_bytes(), b'\n');
    sink.put_pair(scope.date().as_bytes(), b'/', scope.region().as_bytes(), b'/');
    sink.put_pair(scope.service().as_bytes(), b'/', TERMINATOR.as_bytes(), b'\n');
    sink.put(&hex::encode(hash));
}

/// A request whose signature was made with the key that its id names. There is no other way to build one than
/// [`StringToSign::verify`].
#[derive(Debug)]
pub struct Verified<'a> {
    authorization: Authorization<'a>,
    payload: PayloadStatus,
    form: Option<Box<VerifiedForm>>,
}

impl<'a> Verified<'a> {
    /// The key that signed.
    pub fn access_key_id(&self) -> &'a str {
        self.authorization.access_key_id
    }

    /// What it signed for.
    pub fn scope(&self) -> CredentialScope<'a> {
        self.authorization.scope
    }

    /// The headers that it signed.
    pub fn signed_headers(&self) -> SignedHeaders<'a> {
        self.authorization.signed_headers
    }

    /// What the signature says about the body.
    pub fn payload(&self) -> PayloadStatus {
        self.payload
    }

    /// What the policy of a form says, if the credentials stood in one.
    pub fn form(&self) -> Option<&VerifiedForm> {
        self.form.as_deref()
    }

    /// Where the credentials stood.
    pub fn carrier(&self) -> Carrier {
        self.authorization.carrier
    }

    /// When it was signed.
    pub fn date(&self) -> AmzDate {
        self.authorization.date
    }

    /// The signature itself: the first link of the chain that the signatures of chunks make.
    pub fn signature(&self) -> [u8; 32] {
        self.authorization.signature.decode()
    }

    /// SHA-256 of the signature: tells one use of a signature from another, and is no signature itself.
    pub fn signature_hash(&self) -> [u8; 32] {
        Sha256::digest(self.authorization.signature.decode()).into()
    }

    /// The last second in which the same request would be accepted again.
    pub fn valid_until(&self) -> UnixSeconds {
        self.authorization.date.unix() + self.authorization.expires.map_or(SKEW, i64::from)
    }
}
