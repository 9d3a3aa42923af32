//! The credentials of a request, read once into typed parts, from wherever they stand.
//!
//! Source: "Signing AWS API requests"; S3's "Authenticating Requests: Using the Authorization Header" and "Using Query
//! Parameters".

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::credential::Credential;
use super::encode::{Place, decode};
use super::form::Fields;
use super::head::{RequestHead, trim_blanks};
use super::headers::NamedHeaders;
use super::hex::Digits;
use super::presigned::{MAX_EXPIRES, Part, Parts, QueryCredentials, read_expires};
use super::refusal::{AuthorizationFault, Refusal, shown};
use super::scan::{Byte, places};
use super::scope::CredentialScope;
use super::signed_headers::SignedHeaders;
use super::target::Target;
use super::time::AmzDate;
use crate::sigv4a;

/// The algorithm of Signature Version 4.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Where in a request the credentials stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// In the Authorization header.
    Header,
    /// In the query of a presigned URL.
    Query,
    /// Among the fields of a form with a POST policy.
    Form,
}

/// What a signature is made with. A body in chunks is signed in the same way as its request, or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    /// Signature V4.
    HmacSha256,
    /// Signature V4A.
    EcdsaP256Sha256,
}

/// A kind of credentials that is known and is no Signature V4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Signature V4A, with ECDSA.
    V4a(Carrier),
    /// Signature V2: `AWS id:signature`, the query parameter AWSAccessKeyId, or the field of a form.
    V2(Carrier),
    /// Signature V3: `AWS3` and `AWS3-HTTPS`.
    V3,
    /// A form with a POST policy, where none is taken: its service is not S3, or its fields are not at hand.
    PostForm,
    /// Anything else, by the name it gives itself.
    Other(Carrier, String),
}

/// The parts of a Signature V4, and the date that it was made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authorization<'a> {
    pub algorithm: Algorithm,
    pub carrier: Carrier,
    pub access_key_id: &'a str,
    pub scope: CredentialScope<'a>,
    pub signed_headers: SignedHeaders<'a>,
    pub signature: Digits<'a>,
    pub date: AmzDate,
    /// Seconds; `None` in a header.
    pub expires: Option<u32>,
    pub session_token: Option<SessionToken<'a>>,
    /// X-Amz-Content-Sha256 in a presigned query.
    pub content_sha256: Option<&'a [u8]>,
}

/// A session token as it stands in the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionToken<'a> {
    pub raw: &'a [u8],
    pub carrier: Carrier,
}

impl<'a> SessionToken<'a> {
    pub fn text(&self) -> Cow<'a, [u8]> {
        match self.carrier {
            Carrier::Header | Carrier::Form => Cow::Borrowed(self.raw),
            Carrier::Query => decode(self.raw, Place::Query),
        }
    }
}

impl<'a> Authorization<'a> {
    /// Finds the credentials; there must be exactly one kind of them, and it must be Signature V4.
    #[inline]
    pub(super) fn find(head: &RequestHead<'a>, named: &NamedHeaders<'a>, target: &Target<'a>) -> Result<Self, Refusal> {
        let header = named.authorization.filter(|value| !value.is_empty());
        let query = QueryCredentials::find(target)?;
        // A gateway may choose its way by the header's being there, whatever it says.
        if header.is_none() && named.authorization.is_some() && !matches!(query, QueryCredentials::None) {
            return Err(Refusal::SeveralCredentials);
        }
        match (header, query) {
            (Some(header), QueryCredentials::None) => Self::from_header(header, named),
            (None, QueryCredentials::V4(parts)) => Self::from_query(&parts, named),
            (None, QueryCredentials::V2) => Err(Refusal::UnsupportedScheme(Scheme::V2(Carrier::Query))),
            (None, QueryCredentials::None) if is_form(head) => Err(Refusal::UnsupportedScheme(Scheme::PostForm)),
            (None, QueryCredentials::None) => Err(Refusal::MissingCredentials),
            (Some(_), QueryCredentials::V4(_) | QueryCredentials::V2) | (_, QueryCredentials::Several) => {
                Err(Refusal::SeveralCredentials)
            }
        }
    }

    /// A form's credentials stand in its fields alone: none may be in the head.
    pub(super) fn find_none(named: &NamedHeaders<'a>, target: &Target<'a>) -> Result<(), Refusal> {
        match (named.authorization, QueryCredentials::find(target)?) {
            (None, QueryCredentials::None) => Ok(()),
            (Some(_), _) | (_, QueryCredentials::V4(_) | QueryCredentials::V2 | QueryCredentials::Several) => {
                Err(Refusal::SeveralCredentials)
            }
        }
    }

    /// The fields of a form with a POST policy, which is good until `expiration`, for 7 days at most.
    pub(super) fn from_form(fields: &Fields<'a>, expiration: AmzDate) -> Result<Self, Refusal> {
        let carrier = Carrier::Form;
        if fields.get("AWSAccessKeyId").is_some() || fields.get("signature").is_some() {
            return Err(match fields.get(FORM_PARTS[1]).or(fields.get(FORM_PARTS[3])) {
                Some(_) => Refusal::SeveralCredentials,
                None => Refusal::UnsupportedScheme(Scheme::V2(carrier)),
            });
        }
        if let Some(algorithm) = fields.get(FORM_PARTS[0]) {
            check_algorithm(algorithm.as_bytes(), carrier)?;
        }
        let part = |name: &&str| fields.get(name).filter(|value| !value.is_empty()).map(str::as_bytes);
        let [Some(_), Some(credential), Some(date_text), Some(signature)] = FORM_PARTS.each_ref().map(part) else {
            let parts = FORM_PARTS.into_iter().filter(|name| part(name).is_none()).collect();
            return Err(Refusal::MissingParts { carrier, parts });
        };
        let credential = Credential::read(credential, carrier)?;
        let date = AmzDate::parse(date_text);
        let date = date.ok_or_else(|| Refusal::MalformedDate { carrier, got: shown(date_text) })?;
        let seconds = expiration.unix().saturating_sub(date.unix()).clamp(0, i64::from(MAX_EXPIRES));
        let token = fields.get("x-amz-security-token").map(str::as_bytes);
        Ok(Self {
            algorithm: Algorithm::HmacSha256,
            carrier,
            access_key_id: credential.access_key_id,
            scope: credential.scope,
            signed_headers: SignedHeaders::none(),
            signature: read_signature(signature)?,
            date,
            expires: Some(u32::try_from(seconds).expect("at most 7 days")),
            session_token: token.map(|raw| SessionToken { raw, carrier }),
            content_sha256: None,
        })
    }

    /// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`; the blanks after the commas may be missing.
    #[inline]
    fn from_header(value: &'a [u8], named: &NamedHeaders<'a>) -> Result<Self, Refusal> {
        let rest = after_algorithm(value)?;
        let parts = HeaderParts::read(rest)?;
        let date = named.amz_date.or(named.date);
        let (Some(credential), Some(signed_headers), Some(signature), Some(date_text)) =
            (parts.credential, parts.signed_headers, parts.signature, date)
        else {
            return Err(parts.missing(date.is_some()));
        };
        let date =
            if named.amz_date.is_some() { AmzDate::parse(date_text) } else { AmzDate::parse_date_header(date_text) };
        let carrier = Carrier::Header;
        let credential = Credential::read(credential, carrier)?;
        Ok(Self {
            algorithm: Algorithm::HmacSha256,
            carrier,
            access_key_id: credential.access_key_id,
            scope: credential.scope,
            signed_headers: SignedHeaders::plain(signed_headers),
            signature: read_signature(signature)?,
            date: date.ok_or_else(|| Refusal::MalformedDate { carrier, got: shown(date_text) })?,
            expires: None,
            session_token: named.session_token.map(|raw| SessionToken { raw, carrier }),
            content_sha256: None,
        })
    }

    /// The parameters X-Amz-… of a presigned URL.
    fn from_query(parts: &Parts<'a>, named: &NamedHeaders<'a>) -> Result<Self, Refusal> {
        let carrier = Carrier::Query;
        if let Some(algorithm) = parts.get(Part::Algorithm) {
            check_algorithm(algorithm, carrier)?;
        }
        let required = parts.required()?;
        let token = parts.get(Part::SecurityToken).map(|raw| SessionToken { raw, carrier });
        if token.is_some() && named.session_token.is_some() {
            return Err(Refusal::RepeatedHeader("x-amz-security-token"));
        }
        let credential = Credential::read(required.credential, carrier)?;
        let date = AmzDate::parse(required.date);
        Ok(Self {
            algorithm: Algorithm::HmacSha256,
            carrier,
            access_key_id: credential.access_key_id,
            scope: credential.scope,
            signed_headers: SignedHeaders::in_query(required.signed_headers),
            signature: read_signature(required.signature)?,
            date: date.ok_or_else(|| Refusal::MalformedDate { carrier, got: shown(required.date) })?,
            expires: Some(read_expires(required.expires)?),
            session_token: token.or(named.session_token.map(|raw| SessionToken { raw, carrier: Carrier::Header })),
            content_sha256: parts.get(Part::ContentSha256),
        })
    }
}

/// The fields of a form that hold its credentials, beside the policy.
const FORM_PARTS: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];

/// What follows the algorithm in an Authorization header.
#[inline]
fn after_algorithm(value: &[u8]) -> Result<&[u8], Refusal> {
    match value.strip_prefix(ALGORITHM.as_bytes()) {
        Some(rest @ [b' ' | b'\t', ..]) => Ok(rest),
        _ => {
            let (scheme, rest) = value.split_at(memchr2(b' ', b'\t', value).unwrap_or(value.len()));
            check_algorithm(scheme, Carrier::Header).map(|()| rest)
        }
    }
}

/// Every scheme is named: what is not known by name is refused as well, and by the name it gives itself.
fn check_algorithm(name: &[u8], carrier: Carrier) -> Result<(), Refusal> {
    let scheme = match name {
        name if name == ALGORITHM.as_bytes() => return Ok(()),
        name if name == sigv4a::ALGORITHM.as_bytes() => Scheme::V4a(carrier),
        b"AWS" => Scheme::V2(carrier),
        b"AWS3" | b"AWS3-HTTPS" => Scheme::V3,
        _ => Scheme::Other(carrier, shown(name)),
    };
    Err(Refusal::UnsupportedScheme(scheme))
}

/// Whether this is a form as browsers post it, whose credentials stand in the body.
fn is_form(head: &RequestHead<'_>) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    let is_form_type = |value: &[u8]| value.get(..FORM.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM));
    head.method() == b"POST"
        && head.headers().iter().any(|h| h.name.eq_ignore_ascii_case(b"content-type") && is_form_type(h.value))
}

/// The parts of an Authorization header, as text.
#[derive(Default)]
pub(super) struct HeaderParts<'a> {
    pub credential: Option<&'a [u8]>,
    pub signed_headers: Option<&'a [u8]>,
    pub signature: Option<&'a [u8]>,
}

impl<'a> HeaderParts<'a> {
    pub fn read(list: &'a [u8]) -> Result<Self, Refusal> {
        let (mut parts, mut start, mut commas) = (Self::default(), 0, places(list, Byte(b',')));
        while start < list.len() {
            let end = commas.next().unwrap_or(list.len());
            parts.note(trim_blanks(&list[start..end])).map_err(Refusal::MalformedAuthorization)?;
            start = end + 1;
        }
        // A part without a value is as good as not there.
        for part in [&mut parts.credential, &mut parts.signed_headers, &mut parts.signature] {
            *part = part.filter(|value| !value.is_empty());
        }
        Ok(parts)
    }

    fn note(&mut self, part: &'a [u8]) -> Result<(), AuthorizationFault> {
        let (place, name, value) = if let Some(value) = part.strip_prefix(b"Credential=") {
            (&mut self.credential, "Credential", value)
        } else if let Some(value) = part.strip_prefix(b"SignedHeaders=") {
            (&mut self.signed_headers, "SignedHeaders", value)
        } else if let Some(value) = part.strip_prefix(b"Signature=") {
            (&mut self.signature, "Signature", value)
        } else {
            return Err(match memchr(b'=', part) {
                Some(mark) => AuthorizationFault::UnknownPart(shown(&part[..mark])),
                None => AuthorizationFault::NotNameValue(shown(part)),
            });
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(AuthorizationFault::RepeatedPart(name)),
        }
    }

    #[cold]
    pub fn missing(&self, has_date: bool) -> Refusal {
        let parts = [
            ("Credential", self.credential.is_some()),
            ("Signature", self.signature.is_some()),
            ("SignedHeaders", self.signed_headers.is_some()),
            ("X-Amz-Date", has_date),
        ];
        let parts = parts.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect();
        Refusal::MissingParts { carrier: Carrier::Header, parts }
    }
}

fn read_signature(text: &[u8]) -> Result<Digits<'_>, Refusal> {
    Digits::read(text).ok_or_else(|| Refusal::MalformedSignature { got: shown(text) })
}
