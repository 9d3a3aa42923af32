//! A verification of Signature V2, step by step, for services that an operator has opted in. The steps are those of
//! [`super::verify`]; there is no key: a worker, which has the secret, compares the signature of each request.

use rederive_hsm::access_key_id::AccessKeyId;

use super::Authority;
use super::verify::{Content, Holder, NotAccepted, undecided};
use crate::sigv2::{ApiRequest, FormRequest, S3Request, StringToSign, VerifiedV2};
use crate::sigv4::{Body, Expectation, Family, Refusal, Regions, RequestHead, UnixSeconds};

/// A request whose Signature V2 is right, by a key that is good.
pub struct AcceptedV2 {
    /// What was verified; only [`crate::sigv2`] can build it.
    pub verified: VerifiedV2,
    /// Up to when denials were known, in seconds since 1970.
    pub deny_list_as_of: i64,
    /// Whose key it is.
    pub holder: Holder,
}

/// A request of Signature V2, in one of its three forms.
enum V2Request<'r, 'a> {
    S3(S3Request<'r, 'a>),
    Form(FormRequest<'a>),
    Api(ApiRequest<'r, 'a>),
}

impl Authority {
    /// Verifies a request of Signature V2 to a service that takes it. Every step before 6 costs the HSM nothing.
    ///
    /// Such a signature covers neither a region nor the service: what keeps it from being good for another service is that
    /// no other takes it.
    pub(super) async fn verify_v2<'a>(
        &self,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        expectation: &Expectation<'_>,
    ) -> Result<AcceptedV2, NotAccepted> {
        let (now, change) = (self.clock.now().map_err(undecided)?, self.change());
        // 1. The credentials: header, query, or a form of either kind.
        let request = V2Request::parse(head, content, expectation.service)?;
        let id = self.our_long_term_id(request.access_key_id(), request.has_session_token())?;
        // 2. The id, and 3. the deny list.
        let deny_list_as_of = self.fresh_as_of(now)?;
        self.filter(&id)?;
        self.not_denied(&id)?;
        // 4. The time, and 5. the string to sign: two where signers differ, nearly always one.
        let strings_to_sign = request.strings_to_sign(now, &self.policy.s3_hosts)?;
        // 6. The key's row.
        let holder = self.holder(&id).await?;
        self.account_not_denied(&id, holder.account())?;
        self.admit_cold(&id, holder.account(), now)?;
        // 7. The comparison, in the worker; and whether the id is still good after what was waited for.
        let verified = self.compare(id, strings_to_sign, expectation.service).await?;
        self.still_good(change, &id, &holder)?;
        // The signature covers no region, so that whoever asks has to name the one that it serves.
        let region = if let Regions::Named(region) = expectation.regions { Some(region) } else { None };
        holder.check_scope(expectation.service, region)?;
        self.note_use(id, now, expectation.service, region.unwrap_or("N/A"));
        Ok(AcceptedV2 { verified, deny_list_as_of, holder })
    }

    async fn compare(
        &self,
        id: AccessKeyId,
        strings_to_sign: Vec<StringToSign<'_>>,
        service: &str,
    ) -> Result<VerifiedV2, NotAccepted> {
        let mut first_refusal = None;
        for string_to_sign in strings_to_sign {
            let answer = self.hsm.matches_v2(string_to_sign.question(id, service)?).await.map_err(undecided)?;
            match string_to_sign.verify_answered(answer.as_ref()) {
                Ok(verified) => return Ok(verified),
                Err(refusal) => drop(first_refusal.get_or_insert(refusal)),
            }
        }
        Err(NotAccepted::Refused(first_refusal.unwrap_or(Refusal::MissingCredentials)))
    }
}

impl<'r, 'a> V2Request<'r, 'a> {
    fn parse(head: &'r RequestHead<'a>, content: Content<'_, 'a>, service: &str) -> Result<Self, NotAccepted> {
        match (content, Family::of(service)) {
            (Content::Form(form), Family::S3) => Ok(Self::Form(FormRequest::parse(head, form)?)),
            (Content::Body(_), Family::S3) => Ok(Self::S3(S3Request::parse(head)?)),
            (Content::Body(body), Family::Query) => Ok(Self::Api(ApiRequest::parse(head, form_of(head, body)?)?)),
            (Content::Form(_), Family::Query) => Err(NotAccepted::Refused(Refusal::MissingCredentials)),
        }
    }

    fn access_key_id(&self) -> &str {
        match self {
            Self::S3(request) => request.access_key_id(),
            Self::Form(request) => request.access_key_id(),
            Self::Api(request) => request.access_key_id(),
        }
    }

    fn has_session_token(&self) -> bool {
        match self {
            Self::S3(request) => request.has_session_token(),
            Self::Form(request) => request.has_session_token(),
            Self::Api(request) => request.has_session_token(),
        }
    }

    fn strings_to_sign(&self, now: UnixSeconds, s3_hosts: &[String]) -> Result<Vec<StringToSign<'_>>, Refusal> {
        match self {
            Self::S3(request) => request.check_time(now)?.strings_to_sign_at(s3_hosts),
            Self::Form(request) => Ok(vec![request.string_to_sign(now)?]),
            Self::Api(request) => Ok(vec![request.check_time(now)?.string_to_sign()]),
        }
    }
}

/// The parameters in the body of a POST, all of which are signed; no other method has any.
fn form_of<'b>(head: &RequestHead<'_>, body: Body<'b>) -> Result<&'b [u8], NotAccepted> {
    match body {
        Body::Bytes(bytes) => Ok(bytes),
        Body::Sha256(_) | Body::Absent if head.method() == b"POST" => Err(NotAccepted::BodyRequired),
        Body::Sha256(_) | Body::Absent => Ok(b""),
    }
}
