//! Requests of Signature V4A: read here, for they share all but credentials and signature with Signature V4.

use memchr::memchr2;

use super::authorization::{Algorithm, Authorization, Carrier, HeaderParts, Scheme, SessionToken};
use super::credential::Credential;
use super::encode::{Place, decode};
use super::head::RequestHead;
use super::headers::NamedHeaders;
use super::hex::{self, Digits};
use super::payload::{Body, PayloadStatus};
use super::presigned::{Part, Parts, QueryCredentials, read_expires};
use super::refusal::{Refusal, ScopeFault, shown};
use super::request::{Expectation, Regions, ScopedRequest, SignedRequest};
use super::signed_headers::SignedHeaders;
use super::string_to_sign::{SKEW, StringToSign, StringToSignError};
use super::target::Target;
use super::time::{AmzDate, UnixSeconds};
use super::{CanonicalRequest, CredentialScope, Family};
use crate::sigv4a::{ALGORITHM, PublicKey, RegionSet};

const REGION_SET: &str = "X-Amz-Region-Set";

/// Stands in the place of a Signature V4.
const NONE: Digits<'static> = Digits::ZEROS;

/// A request with credentials of Signature V4A that are well formed, nothing of which has been verified.
#[derive(Debug)]
pub struct V4aRequest<'r, 'a> {
    /// Its scope names no region, and its signature is none.
    request: SignedRequest<'r, 'a>,
    region_set: RegionSet,
    /// DER.
    signature: Vec<u8>,
}

/// A request signed for this verifier and for now, if it is signed at all.
#[derive(Clone, Copy, Debug)]
pub struct ScopedV4aRequest<'r, 'a> {
    scoped: ScopedRequest<'r, 'a>,
    of: &'r V4aRequest<'r, 'a>,
}

/// What the client has signed, if it has.
pub struct V4aStringToSign<'r, 'a> {
    of: &'r V4aRequest<'r, 'a>,
    /// As it would be in Signature V4, whose canonical request it shares.
    shared: StringToSign<'r, 'a>,
}

/// A request whose signature was made with the private key that its id names. There is no other way to build one than
/// [`V4aStringToSign::verify`].
#[derive(Debug)]
pub struct VerifiedV4a<'a> {
    /// The signature is not in here.
    authorization: Authorization<'a>,
    region_set: RegionSet,
    signature: Vec<u8>,
    payload: PayloadStatus,
}

impl<'r, 'a> V4aRequest<'r, 'a> {
    /// Finds the credentials and reads them.
    ///
    /// # Errors
    /// If there are none, more than one kind, or one that is not well formed.
    pub fn parse(head: &'r RequestHead<'a>) -> Result<Self, Refusal> {
        let (named, target) = SignedRequest::read_head(head)?;
        match Authorization::find(head, &named, &target) {
            Err(Refusal::UnsupportedScheme(Scheme::V4a(Carrier::Header))) => Self::from_header(head, named, target),
            Err(Refusal::UnsupportedScheme(Scheme::V4a(_))) => Self::from_query(head, named, target),
            Err(refusal) => Err(refusal),
            Ok(authorization) => {
                let name = super::ALGORITHM.to_owned();
                Err(Refusal::UnsupportedScheme(Scheme::Other(authorization.carrier, name)))
            }
        }
    }

    fn from_header(head: &'r RequestHead<'a>, named: NamedHeaders<'a>, target: Target<'a>) -> Result<Self, Refusal> {
        let carrier = Carrier::Header;
        let value = named.authorization.unwrap_or_default();
        let parts = HeaderParts::read(&value[memchr2(b' ', b'\t', value).unwrap_or(value.len())..])?;
        let date_text = named.amz_date.or(named.date);
        let (Some(credential), Some(signed_headers), Some(signature), Some(date_text)) =
            (parts.credential, parts.signed_headers, parts.signature, date_text)
        else {
            return Err(parts.missing(date_text.is_some()));
        };
        let date =
            if named.amz_date.is_some() { AmzDate::parse(date_text) } else { AmzDate::parse_date_header(date_text) };
        let Credential { access_key_id, scope } = Credential::read_without_region(credential, carrier)?;
        let authorization = Authorization {
            algorithm: Algorithm::EcdsaP256Sha256,
            carrier,
            access_key_id,
            scope,
            signed_headers: SignedHeaders::plain(signed_headers),
            signature: NONE,
            date: date.ok_or_else(|| Refusal::MalformedDate { carrier, got: shown(date_text) })?,
            expires: None,
            session_token: named.session_token.map(|raw| SessionToken { raw, carrier }),
            content_sha256: None,
        };
        let region_set = read_region_set(region_set_header(head)?, carrier)?;
        let request = SignedRequest::from_parts(head, named, target, authorization);
        Ok(Self { request, region_set, signature: read_signature(signature)? })
    }

    fn from_query(head: &'r RequestHead<'a>, named: NamedHeaders<'a>, target: Target<'a>) -> Result<Self, Refusal> {
        let carrier = Carrier::Query;
        let QueryCredentials::V4(parts) = QueryCredentials::find(&target)? else {
            return Err(Refusal::MissingCredentials);
        };
        let authorization = Self::authorization_of(&parts, &named)?;
        let signature = read_signature(parts.get(Part::Signature).unwrap_or_default())?;
        let mut sets = target.parameters.iter().filter(|p| *p.name.decoded(Place::Query) == *REGION_SET.as_bytes());
        let set = sets.next().map(|parameter| decode(parameter.value.raw, Place::Query));
        if sets.next().is_some() {
            return Err(Refusal::RepeatedParameter(REGION_SET));
        }
        if region_set_header(head)?.is_some() {
            return Err(Refusal::RepeatedHeader("x-amz-region-set"));
        }
        let region_set = read_region_set(set.as_deref(), carrier)?;
        let request = SignedRequest::from_parts(head, named, target, authorization);
        Ok(Self { request, region_set, signature })
    }

    fn authorization_of(parts: &Parts<'a>, named: &NamedHeaders<'a>) -> Result<Authorization<'a>, Refusal> {
        let carrier = Carrier::Query;
        let required = parts.required()?;
        let token = parts.get(Part::SecurityToken).map(|raw| SessionToken { raw, carrier });
        if token.is_some() && named.session_token.is_some() {
            return Err(Refusal::RepeatedHeader("x-amz-security-token"));
        }
        let Credential { access_key_id, scope } = Credential::read_without_region(required.credential, carrier)?;
        let date = AmzDate::parse(required.date);
        Ok(Authorization {
            algorithm: Algorithm::EcdsaP256Sha256,
            carrier,
            access_key_id,
            scope,
            signed_headers: SignedHeaders::in_query(required.signed_headers),
            signature: NONE,
            date: date.ok_or_else(|| Refusal::MalformedDate { carrier, got: shown(required.date) })?,
            expires: Some(read_expires(required.expires)?),
            session_token: token.or(named.session_token.map(|raw| SessionToken { raw, carrier: Carrier::Header })),
            content_sha256: parts.get(Part::ContentSha256),
        })
    }

    /// The id that the request claims.
    pub fn access_key_id(&self) -> &'a str {
        self.request.access_key_id()
    }

    /// The scope that the request claims, which has no region.
    pub fn scope(&self) -> CredentialScope<'a> {
        self.request.scope()
    }

    /// The regions that it is good for.
    pub fn region_set(&self) -> &RegionSet {
        &self.region_set
    }

    pub(crate) fn unsigned(&self) -> &SignedRequest<'r, 'a> {
        &self.request
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The request was signed for this verifier, and for now.
    ///
    /// # Errors
    /// If the time is off, or the service, the date or all regions are others than expected.
    pub fn check_scope_and_time(
        &'r self,
        expectation: &Expectation<'_>,
        now: UnixSeconds,
    ) -> Result<ScopedV4aRequest<'r, 'a>, Refusal> {
        let any_region = Expectation { service: expectation.service, regions: Regions::Any };
        let scoped = self.request.check_scope_and_time(&any_region, now)?;
        if meets(&self.region_set, expectation.regions) {
            return Ok(ScopedV4aRequest { scoped, of: self });
        }
        let expected = match expectation.regions {
            Regions::Any => "",
            Regions::Named(region) => region,
            Regions::OneOf(regions) => regions.first().map_or("", String::as_str),
        };
        let fault = ScopeFault::Region { got: self.region_set.to_string(), expected: expected.to_owned() };
        Err(Refusal::WrongScope { carrier: self.request.carrier(), faults: vec![fault] })
    }

    /// The canonical request, for people.
    ///
    /// # Errors
    /// As [`SignedRequest::canonical_request`].
    pub fn canonical_request(&self, family: Family, body: Body<'_>) -> Result<CanonicalRequest, StringToSignError> {
        self.request.canonical_request(family, body)
    }

    /// The string to sign over a canonical request with this SHA-256, for people.
    pub fn string_to_sign_text(&self, canonical_request: &[u8; 32]) -> String {
        let (date, scope) = (self.request.date(), self.scope());
        format!("{ALGORITHM}\n{date}\n{scope}\n{}", String::from_utf8_lossy(&hex::encode(canonical_request)))
    }
}

impl<'r, 'a> ScopedV4aRequest<'r, 'a> {
    /// Hashes the canonical request.
    ///
    /// # Errors
    /// If the signature does not cover all it must, or the body is needed.
    pub fn string_to_sign(&self, body: Body<'a>) -> Result<V4aStringToSign<'r, 'a>, StringToSignError> {
        Ok(V4aStringToSign { of: self.of, shared: self.scoped.string_to_sign(body)? })
    }
}

impl<'a> V4aStringToSign<'_, 'a> {
    /// Verifies the signature.
    ///
    /// # Errors
    /// If it is another, or it is right and the body is not the one it was made for.
    pub fn verify(&self, key: &PublicKey) -> Result<VerifiedV4a<'a>, Refusal> {
        let is_right = |hash| key.verifies(self.of.string_to_sign_text(hash).as_bytes(), &self.of.signature);
        if !self.shared.canonical_request_hashes().any(is_right) {
            let provided = base16ct::lower::encode_string(&self.of.signature);
            let string_to_sign =
                self.shared.canonical_request_hashes().next().map(|hash| self.of.string_to_sign_text(hash));
            return Err(Refusal::SignatureDoesNotMatch {
                access_key_id: self.of.access_key_id().to_owned(),
                provided,
                string_to_sign: string_to_sign.unwrap_or_default(),
            });
        }
        self.shared.check_body()?;
        Ok(VerifiedV4a {
            authorization: *self.of.request.authorization(),
            region_set: self.of.region_set.clone(),
            signature: self.of.signature.clone(),
            payload: self.shared.payload_status(),
        })
    }
}

impl<'a> VerifiedV4a<'a> {
    /// The key that signed.
    pub fn access_key_id(&self) -> &'a str {
        self.authorization.access_key_id
    }

    /// What it signed for; a scope of Signature V4A has no region.
    pub fn scope(&self) -> CredentialScope<'a> {
        self.authorization.scope
    }

    /// The regions that it signed for.
    pub fn region_set(&self) -> &RegionSet {
        &self.region_set
    }

    /// The headers that it signed.
    pub fn signed_headers(&self) -> SignedHeaders<'a> {
        self.authorization.signed_headers
    }

    /// What the signature says about the body.
    pub fn payload(&self) -> PayloadStatus {
        self.payload
    }

    /// When it was signed.
    pub fn date(&self) -> AmzDate {
        self.authorization.date
    }

    /// The signature itself, in DER: the first link of the chain that the signatures of chunks make.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The last second in which the same request would be accepted again.
    pub fn valid_until(&self) -> UnixSeconds {
        self.authorization.date.unix() + self.authorization.expires.map_or(SKEW, i64::from)
    }
}

/// Whether a verifier for these regions is meant.
fn meets(set: &RegionSet, regions: Regions<'_>) -> bool {
    match regions {
        Regions::Any => true,
        Regions::Named(region) => set.contains(region),
        Regions::OneOf(regions) => regions.iter().any(|region| set.contains(region)),
    }
}

fn region_set_header<'a>(head: &RequestHead<'a>) -> Result<Option<&'a [u8]>, Refusal> {
    let mut found = head.headers().iter().filter(|header| header.name.eq_ignore_ascii_case(REGION_SET.as_bytes()));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Refusal::RepeatedHeader("x-amz-region-set")),
        (found, None) => Ok(found.map(|header| header.value)),
    }
}

fn read_region_set(text: Option<&[u8]>, carrier: Carrier) -> Result<RegionSet, Refusal> {
    let missing = || Refusal::MissingParts { carrier, parts: vec![REGION_SET] };
    text.and_then(RegionSet::parse).ok_or_else(missing)
}

/// Hexadecimal, of DER: 8 to 72 bytes.
fn read_signature(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut decoded = vec![0; text.len() / 2];
    match base16ct::lower::decode(text, &mut decoded) {
        Ok(bytes) if (8..=72).contains(&bytes.len()) => Ok(decoded),
        _ => Err(Refusal::MalformedSignature { got: shown(text) }),
    }
}
