//! Verification in its order; each step is a type that only the step before can build.
//!
//! 1. [`SignedRequest::parse`]: the credentials, from bytes;
//! 2. and 3. whether the key can be one of ours, and whether it is denied: the authority's, by
//!    [`SignedRequest::access_key_id`];
//! 4. [`SignedRequest::check_scope_and_time`];
//! 5. [`ScopedRequest::string_to_sign`]: the canonical request, and that it covers what it must;
//! 6. the signing key for [`StringToSign::scope`]: the authority's;
//! 7. [`StringToSign::verify`]: the comparison, and [`Verified`], which nothing else can build.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::authorization::{ALGORITHM, Authorization, Carrier};
use super::canonical::{CanonicalRequest, PathStyle, SignedLines, climbs_above_root, is_same_authority};
use super::head::RequestHead;
use super::headers::NamedHeaders;
use super::hex;
use super::key::PreparedSigningKey;
use super::payload::{Body, ContentSha256, Line, Payload, PayloadStatus};
use super::refusal::{Refusal, ScopeFault};
use super::scope::{CredentialScope, Family, TERMINATOR};
use super::signed_headers::SignedHeaders;
use super::target::{Target, TargetFault};
use super::time::{AmzDate, UnixSeconds};

/// How old a header-signed request may be, and how far ahead one to S3 may be: 15 minutes.
const SKEW: i64 = 15 * 60;
/// How far ahead a request to another service than S3 may be: 5 minutes, as AWS has it.
const SKEW_AHEAD_QUERY: i64 = 5 * 60;

/// What a verifier verifies for: it must know, for a signature for another service is no signature.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'e> {
    /// The signing name of the service.
    pub service: &'e str,
    /// The regions it serves.
    pub regions: Regions<'e>,
}

/// The regions that a verifier accepts.
#[derive(Clone, Copy, Debug)]
pub enum Regions<'e> {
    /// Any that is well formed.
    Any,
    /// One.
    Named(&'e str),
    /// One of several; error messages name the first.
    OneOf(&'e [String]),
}

/// A request with credentials that are well formed, nothing of which has been verified. It borrows a head (`'r`), and
/// the bytes that the head borrows (`'a`).
#[derive(Debug)]
pub struct SignedRequest<'r, 'a> {
    head: &'r RequestHead<'a>,
    named: NamedHeaders<'a>,
    target: Target<'a>,
    authorization: Authorization<'a>,
}

impl<'r, 'a> SignedRequest<'r, 'a> {
    /// Step 1: finds the credentials and reads them.
    ///
    /// # Errors
    /// If there are none, more than one kind, or one that is not well formed.
    pub fn parse(head: &'r RequestHead<'a>) -> Result<Self, Refusal> {
        let named = NamedHeaders::find(head)?;
        let target = Target::parse(head.target()).map_err(Refusal::MalformedTarget)?;
        if target.authority.is_some_and(|authority| !is_same_authority(named.host, authority)) {
            return Err(Refusal::MalformedTarget(TargetFault::AuthorityIsNotHost));
        }
        let authorization = Authorization::find(head, &named, &target)?;
        Ok(Self { head, named, target, authorization })
    }

    /// The id that the request claims, 1 to 128 letters, digits and underscores.
    pub fn access_key_id(&self) -> &'a str {
        self.authorization.access_key_id
    }

    /// The scope that the request claims.
    pub fn scope(&self) -> CredentialScope<'a> {
        self.authorization.scope
    }

    /// Where the credentials stand.
    pub fn carrier(&self) -> Carrier {
        self.authorization.carrier
    }

    /// The time that the request claims.
    pub fn date(&self) -> AmzDate {
        self.authorization.date
    }

    /// The session token, if one came.
    pub fn session_token(&self) -> Option<Cow<'a, [u8]>> {
        self.authorization.session_token.map(|token| token.text())
    }

    /// Step 4: the request was signed for this verifier, and for now.
    ///
    /// # Errors
    /// If the time is off, or region, service or date of the scope are others than expected.
    pub fn check_scope_and_time(
        &'r self,
        expectation: &Expectation<'_>,
        now: UnixSeconds,
    ) -> Result<ScopedRequest<'r, 'a>, Refusal> {
        self.check_time(Family::of(expectation.service), now)?;
        let faults = self.scope_faults(expectation);
        match faults.is_empty() {
            true => Ok(ScopedRequest(self)),
            false => Err(Refusal::WrongScope { carrier: self.carrier(), faults }),
        }
    }

    fn check_time(&self, family: Family, now: UnixSeconds) -> Result<(), Refusal> {
        let signed = self.authorization.date;
        let age = now.saturating_sub(signed.unix());
        let ahead = if family == Family::S3 { SKEW } else { SKEW_AHEAD_QUERY };
        match self.authorization.expires {
            None if age > SKEW => Err(Refusal::Skewed { signed, now, tolerance: SKEW }),
            None if age < -ahead => Err(Refusal::Skewed { signed, now, tolerance: ahead }),
            Some(expires) if age > i64::from(expires) => Err(Refusal::Expired { signed, expires, now }),
            Some(_) if age < -ahead => Err(Refusal::NotYetValid { signed, now, tolerance: ahead }),
            None | Some(_) => Ok(()),
        }
    }

    fn scope_faults(&self, expectation: &Expectation<'_>) -> Vec<ScopeFault> {
        let Authorization { scope, date, .. } = &self.authorization;
        let mut faults = Vec::new();
        let expected_region = match expectation.regions {
            Regions::Any => None,
            Regions::Named(name) => (scope.region() != name).then_some(name),
            Regions::OneOf(names) if names.iter().any(|name| scope.region() == name) => None,
            Regions::OneOf(names) => Some(names.first().map_or("", String::as_str)),
        };
        if let Some(expected) = expected_region {
            faults.push(ScopeFault::Region { got: scope.region().to_owned(), expected: expected.to_owned() });
        }
        if scope.service() != expectation.service {
            let (got, expected) = (scope.service().to_owned(), expectation.service.to_owned());
            faults.push(ScopeFault::Service { got, expected });
        }
        if scope.date() != date.date() {
            faults.push(ScopeFault::Date { got: scope.date().to_owned(), signed: *date });
        }
        faults
    }

    /// The canonical request as the service's family has it, whether or not it covers all it must. For people and for
    /// [`ScopedRequest::string_to_sign`]: nothing is accepted by it alone.
    ///
    /// # Errors
    /// If x-amz-content-sha256 or the path is not allowed, or the body is needed.
    pub fn canonical_request(
        &'r self,
        family: Family,
        body: Body<'_>,
    ) -> Result<CanonicalRequest<'r, 'a>, StringToSignError> {
        let lines = SignedLines::locate(self.head, self.authorization.signed_headers);
        let payload = self.payload(family, &lines, body)?;
        self.with_payload(family, lines, payload.line)
    }

    /// The string to sign over a canonical request with this SHA-256. For people.
    pub fn string_to_sign_text(&self, canonical_request: &[u8; 32]) -> String {
        let (text, length) = write_string_to_sign(&self.date(), &self.scope(), canonical_request);
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    fn payload(&self, family: Family, lines: &SignedLines, body: Body<'_>) -> Result<Payload<'a>, StringToSignError> {
        let given = ContentSha256 {
            header: self.named.content_sha256,
            header_is_signed: lines.signed & self.named.content_sha256_bit != 0,
            parameter: self.authorization.content_sha256,
        };
        Payload::resolve(family, self.carrier(), given, body)
    }

    fn with_payload(
        &'r self,
        family: Family,
        lines: SignedLines,
        payload: Line<'a>,
    ) -> Result<CanonicalRequest<'r, 'a>, StringToSignError> {
        let path_style = PathStyle::of(family);
        if path_style == PathStyle::Normalized && climbs_above_root(self.target.path.raw) {
            return Err(Refusal::MalformedTarget(TargetFault::AboveRoot).into());
        }
        let Self { head, target, authorization, .. } = self;
        let signed_headers = authorization.signed_headers;
        Ok(CanonicalRequest { head, target, path_style, lines, signed_headers, payload })
    }

    /// `host` and every received `x-amz-…` must be signed, and what is listed must be there. Only
    /// x-amz-content-sha256 may stay unsigned, for `payload` never believes it then.
    fn check_coverage(&self, lines: &SignedLines) -> Result<(), Refusal> {
        if let Some(fault) = &lines.fault {
            return Err(Refusal::SignedHeaders(fault.clone()));
        }
        let unsigned = self.named.amz & !lines.signed & !self.named.content_sha256_bit;
        if !lines.has_host || unsigned != 0 {
            let host = (!lines.has_host).then(|| "host".to_owned());
            let headers = self.head.headers().iter().enumerate();
            let amz = headers.filter(|(index, _)| unsigned >> index & 1 == 1);
            let names = amz.map(|(_, header)| String::from_utf8_lossy(header.name).to_ascii_lowercase());
            return Err(Refusal::HeadersNotSigned(host.into_iter().chain(names).collect()));
        }
        Ok(())
    }
}

/// A request signed for this verifier and for now, if it is signed at all.
#[derive(Clone, Copy, Debug)]
pub struct ScopedRequest<'r, 'a>(&'r SignedRequest<'r, 'a>);

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

impl<'a> ScopedRequest<'_, 'a> {
    /// Step 5: hashes the canonical request.
    ///
    /// # Errors
    /// If the signature does not cover all it must, or the body is needed.
    pub fn string_to_sign(&self, body: Body<'a>) -> Result<StringToSign<'a>, StringToSignError> {
        let request = self.0;
        let family = Family::of(request.scope().service());
        let lines = SignedLines::locate(request.head, request.authorization.signed_headers);
        request.check_coverage(&lines)?;
        let payload = request.payload(family, &lines, body)?;
        let claimed = payload.claimed.map(|hash| (hash, body));
        let hash = request.with_payload(family, lines, payload.line)?.sha256();
        Ok(StringToSign { authorization: request.authorization, hash, status: payload.status, claimed })
    }
}

/// What the client has signed, if it has: step 6 gets the key for its scope.
pub struct StringToSign<'a> {
    authorization: Authorization<'a>,
    hash: [u8; 32],
    status: PayloadStatus,
    /// A hash that the body must have, and the body. Compared last: a body is not hashed for a forged request.
    claimed: Option<([u8; 32], Body<'a>)>,
}

impl<'a> StringToSign<'a> {
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
        let (text, length) = write_string_to_sign(&self.authorization.date, &self.authorization.scope, &self.hash);
        let expected = key.sign(&text[..length]);
        if !is_same(&expected, &self.authorization.signature) {
            return Err(self.does_not_match());
        }
        self.check_body()?;
        Ok(Verified { authorization: self.authorization, payload: self.status })
    }

    #[cold]
    fn does_not_match(&self) -> Refusal {
        Refusal::SignatureDoesNotMatch {
            access_key_id: self.access_key_id().to_owned(),
            provided: String::from_utf8_lossy(&hex::encode(&self.authorization.signature)).into_owned(),
        }
    }

    fn check_body(&self) -> Result<(), Refusal> {
        let Some((claimed, body)) = &self.claimed else { return Ok(()) };
        match body.sha256() {
            Some(computed) if computed != *claimed => Err(Refusal::BodyMismatch { claimed: *claimed, computed }),
            Some(_) | None => Ok(()),
        }
    }
}

/// In constant time, by words: byte by byte takes as long as two hash blocks.
fn is_same(expected: &[u8; 32], provided: &[u8; 32]) -> bool {
    let (expected, provided) = (expected.as_chunks::<8>().0.iter(), provided.as_chunks::<8>().0);
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    expected.zip(provided).fold(Choice::from(1), |same, (a, b)| same & word(a).ct_eq(&word(b))).into()
}

/// The longest string to sign: the algorithm, a time, the longest scope, a hash, and three line breaks.
const LONGEST: usize = ALGORITHM.len() + 16 + (8 + 32 + 32 + TERMINATOR.len() + 3) + 64 + 3;

/// Algorithm, time, scope and the hash of the canonical request, with line breaks between them.
fn write_string_to_sign(date: &AmzDate, scope: &CredentialScope<'_>, hash: &[u8; 32]) -> ([u8; LONGEST], usize) {
    let (mut text, mut length) = ([0; LONGEST], 0);
    let mut put = |piece: &[u8]| {
        text[length..length + piece.len()].copy_from_slice(piece);
        length += piece.len();
    };
    put(ALGORITHM.as_bytes());
    put(b"\n");
    put(date.as_bytes());
    put(b"\n");
    put(scope.date().as_bytes());
    for part in [scope.region(), scope.service(), TERMINATOR] {
        put(b"/");
        put(part.as_bytes());
    }
    put(b"\n");
    put(&hex::encode(hash));
    (text, length)
}

/// A request whose signature was made with the key that its id names. There is no other way to build one than
/// [`StringToSign::verify`].
#[derive(Debug)]
pub struct Verified<'a> {
    authorization: Authorization<'a>,
    payload: PayloadStatus,
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

    /// Where the credentials stood.
    pub fn carrier(&self) -> Carrier {
        self.authorization.carrier
    }

    /// When it was signed.
    pub fn date(&self) -> AmzDate {
        self.authorization.date
    }

    /// SHA-256 of the signature: tells one use of a signature from another, and is no signature itself.
    pub fn signature_hash(&self) -> [u8; 32] {
        Sha256::digest(self.authorization.signature).into()
    }

    /// The last second in which the same request would be accepted again.
    pub fn valid_until(&self) -> UnixSeconds {
        self.authorization.date.unix() + self.authorization.expires.map_or(SKEW, i64::from)
    }
}
