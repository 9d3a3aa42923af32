//! A signed request, from its credentials to its string to sign: steps 1, 4 and 5 of a verification.

use std::borrow::Cow;

use super::authorization::{Authorization, Carrier, Scheme};
use super::canonical::{CanonicalParts, CanonicalRequest, Coverage, PathStyle, climbs_above_root, is_same_authority};
use super::form::{PostForm, SignedForm};
use super::head::RequestHead;
use super::headers::NamedHeaders;
use super::payload::{Body, ContentSha256, Payload};
use super::presigned::is_token;
use super::refusal::{Refusal, ScopeFault};
use super::scope::{CredentialScope, Family};
use super::shape::Shape;
use super::sink::HashSink;
use super::string_to_sign::{Hashes, SKEW, StringToSign, StringToSignError, string_to_sign_text};
use super::target::{Target, TargetFault};
use super::time::{AmzDate, UnixSeconds};

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
    pub(super) head: &'r RequestHead<'a>,
    pub(super) named: NamedHeaders<'a>,
    pub(super) target: Target<'a>,
    pub(super) authorization: Authorization<'a>,
    /// Where the credentials stand in a form.
    pub(super) form: Option<Box<SignedForm<'a>>>,
    /// By which it was read, if it was.
    pub(super) shape: Option<&'r Shape>,
}

impl<'r, 'a> SignedRequest<'r, 'a> {
    /// Step 1: finds the credentials and reads them.
    ///
    /// # Errors
    /// If there are none, more than one kind, or one that is not well formed.
    #[inline]
    pub fn parse(head: &'r RequestHead<'a>) -> Result<Self, Refusal> {
        let (named, target) = Self::read_head(head)?;
        let authorization = Authorization::find(head, &named, &target)?;
        Ok(Self::from_parts(head, named, target, authorization))
    }

    /// Step 1 for a form with a POST policy: finds the credentials among its fields, and reads the policy.
    ///
    /// # Errors
    /// If there are credentials elsewhere, or a part of them, the form or its policy is not well formed.
    pub fn parse_form(head: &'r RequestHead<'a>, form: &PostForm<'a>) -> Result<Self, Refusal> {
        let (named, target) = Self::read_head(head)?;
        Authorization::find_none(&named, &target)?;
        let form = SignedForm::read(head, &named, &target, form)?;
        let authorization = Authorization::from_form(form.fields(), form.expiration())?;
        Ok(Self { head, named, target, authorization, form: Some(Box::new(form)), shape: None })
    }

    /// What is read before the credentials.
    #[inline]
    pub(super) fn read_head(head: &RequestHead<'a>) -> Result<(NamedHeaders<'a>, Target<'a>), Refusal> {
        let mut named = NamedHeaders::default();
        named.read(head)?;
        let target = read_target(head, &named)?;
        Ok((named, target))
    }

    /// A request whose credentials were read, wherever that was.
    #[inline]
    pub(super) fn from_parts(
        head: &'r RequestHead<'a>,
        named: NamedHeaders<'a>,
        target: Target<'a>,
        authorization: Authorization<'a>,
    ) -> Self {
        Self { head, named, target, authorization, form: None, shape: None }
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

    /// Whether a session token came.
    pub(crate) fn has_session_token(&self) -> bool {
        self.authorization.session_token.is_some()
    }

    /// The credentials as read, for `explain`, which tries other readings of the rest.
    pub(crate) fn authorization(&self) -> &Authorization<'a> {
        &self.authorization
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
        let family = Family::of(expectation.service);
        if self.form.is_some() && family != Family::S3 {
            return Err(Refusal::UnsupportedScheme(Scheme::PostForm));
        }
        self.check_time(family, now)?;
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
        if let Some(form) = &self.form {
            form.check_expiration(now)?;
        }
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
        if scope.date().as_bytes() != &date.as_bytes()[..8] {
            faults.push(ScopeFault::Date { got: scope.date().to_owned(), signed: *date });
        }
        faults
    }

    /// The canonical request in the manner of a family of services, whether or not it covers all it must. For people:
    /// nothing is accepted by it.
    ///
    /// # Errors
    /// If x-amz-content-sha256 or the path is not allowed, or the body is needed.
    pub fn canonical_request(&self, family: Family, body: Body<'_>) -> Result<CanonicalRequest, StringToSignError> {
        self.canonical_request_with(PathStyle::of(family), family, body)
    }

    /// The same with another path style than the family's, to find out how a signer deviates.
    ///
    /// # Errors
    /// As [`Self::canonical_request`].
    pub fn canonical_request_with(
        &self,
        path_style: PathStyle,
        family: Family,
        body: Body<'_>,
    ) -> Result<CanonicalRequest, StringToSignError> {
        let mut text = Vec::new();
        let coverage = self.canonical_parts(path_style)?.put_to(&mut text);
        self.payload(family, &coverage, body)?.put_to(&mut text);
        Ok(CanonicalRequest::new(text))
    }

    /// The string to sign over a canonical request with this SHA-256. For people.
    pub fn string_to_sign_text(&self, canonical_request: &[u8; 32]) -> String {
        string_to_sign_text(&self.authorization.date, &self.authorization.scope, canonical_request)
    }

    /// The canonical request of a signer that puts the session token into the query after signing, as AWS documents for
    /// services other than S3; `None` if it could not be one. For people.
    ///
    /// # Errors
    /// As [`Self::canonical_request`].
    pub fn canonical_request_without_token(
        &self,
        family: Family,
        body: Body<'_>,
    ) -> Result<Option<CanonicalRequest>, StringToSignError> {
        let Some(target) = self.target_without_token(family) else { return Ok(None) };
        let (mut text, parts) = (Vec::new(), self.canonical_parts(PathStyle::of(family))?);
        let coverage = CanonicalParts { target: &target, ..parts }.put_to(&mut text);
        self.payload(family, &coverage, body)?.put_to(&mut text);
        Ok(Some(CanonicalRequest::new(text)))
    }

    /// The target as it was before a session token was put into its query. S3 signs the token, always.
    fn target_without_token(&self, family: Family) -> Option<Target<'a>> {
        let token = self.authorization.session_token?;
        match (family, token.carrier) {
            (Family::S3, _) | (Family::Query, Carrier::Header | Carrier::Form) => None,
            (Family::Query, Carrier::Query) => Some(self.target.without(is_token)),
        }
    }

    /// What a form signs: its policy, as it stands there in base64. A form has no canonical request.
    pub fn policy(&self) -> Option<&'a str> {
        self.form.as_ref().map(|form| form.policy_text())
    }

    fn canonical_parts(&self, path_style: PathStyle) -> Result<CanonicalParts<'_, 'a>, Refusal> {
        let Self { head, target, authorization, form, shape, .. } = self;
        if form.is_some() {
            return Err(Refusal::UnsupportedScheme(Scheme::PostForm));
        }
        if path_style == PathStyle::Normalized && climbs_above_root(target.path.raw) {
            return Err(Refusal::MalformedTarget(TargetFault::AboveRoot));
        }
        Ok(CanonicalParts { head, target, path_style, signed_headers: authorization.signed_headers, shape: *shape })
    }

    /// The hash of the canonical request with another target, for a service other than S3.
    #[cold]
    fn hash_of(&self, target: &Target<'a>, payload: &Payload<'a>) -> Result<[u8; 32], Refusal> {
        let (mut sink, parts) = (HashSink::default(), self.canonical_parts(PathStyle::Normalized)?);
        CanonicalParts { target, ..parts }.put_to(&mut sink);
        payload.put_to(&mut sink);
        Ok(sink.finish())
    }

    fn payload(&self, family: Family, coverage: &Coverage, body: Body<'_>) -> Result<Payload<'a>, StringToSignError> {
        let given = ContentSha256 {
            header: self.named.content_sha256,
            header_is_signed: coverage.signed & self.named.content_sha256_bit != 0,
            parameter: self.authorization.content_sha256,
        };
        Payload::resolve(family, &self.authorization, given, body)
    }

    /// `host` and every received `x-amz-…` must be signed, and what is listed must be there. Only
    /// x-amz-content-sha256 may stay unsigned, for `payload` never believes it then.
    fn check_coverage(&self, coverage: &Coverage) -> Result<(), Refusal> {
        if let Some(fault) = &coverage.fault {
            return Err(Refusal::SignedHeaders(fault.clone()));
        }
        let unsigned = self.named.amz & !coverage.signed & !self.named.content_sha256_bit;
        if !coverage.has_host || unsigned != 0 {
            let host = (!coverage.has_host).then(|| "host".to_owned());
            let headers = self.head.headers().iter().enumerate();
            let amz = headers.filter(|(index, _)| unsigned >> index & 1 == 1);
            let names = amz.map(|(_, header)| String::from_utf8_lossy(header.name).to_ascii_lowercase());
            return Err(Refusal::HeadersNotSigned(host.into_iter().chain(names).collect()));
        }
        Ok(())
    }
}

/// The target, whose authority is the Host header's if it has one.
#[inline]
pub(super) fn read_target<'a>(head: &RequestHead<'a>, named: &NamedHeaders<'a>) -> Result<Target<'a>, Refusal> {
    let target = Target::parse(head.target()).map_err(Refusal::MalformedTarget)?;
    if target.authority.is_some_and(|authority| !is_same_authority(named.host, authority)) {
        return Err(Refusal::MalformedTarget(TargetFault::AuthorityIsNotHost));
    }
    Ok(target)
}

/// A request signed for this verifier and for now, if it is signed at all.
#[derive(Clone, Copy, Debug)]
pub struct ScopedRequest<'r, 'a>(&'r SignedRequest<'r, 'a>);

impl<'r, 'a> ScopedRequest<'r, 'a> {
    /// Step 5: hashes the canonical request. A form has its policy in its place, and has to be what that demands.
    ///
    /// # Errors
    /// If the signature does not cover all it must, or the body is needed.
    pub fn string_to_sign(&self, body: Body<'a>) -> Result<StringToSign<'r, 'a>, StringToSignError> {
        let request = self.0;
        if let Some(form) = &request.form {
            let (policy, verified) = (form.policy_text(), form.check_conditions()?);
            return Ok(StringToSign::of_form(&request.authorization, policy, verified));
        }
        let family = Family::of(request.scope().service());
        let mut sink = HashSink::default();
        let coverage = request.canonical_parts(PathStyle::of(family))?.put_to(&mut sink);
        request.check_coverage(&coverage)?;
        let payload = request.payload(family, &coverage, body)?;
        payload.put_to(&mut sink);
        let without_token = request.target_without_token(family).map(|target| request.hash_of(&target, &payload));
        let hashes = Hashes { canonical_request: sink.finish(), without_token: without_token.transpose()? };
        Ok(StringToSign::new(&request.authorization, hashes, &payload, body))
    }
}
