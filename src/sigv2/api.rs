//! Signature V2 of the query APIs: `SignatureVersion=2`, over all parameters of query and form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::date::parse_timestamp;
use super::parameters::{Parameter, has_broken_escape, only, parameters};
use rederive_hsm::sigv2::Hash;

use super::signature::{Signed, StringToSign};
use crate::sigv4::head_v2::HeadV2;
use crate::sigv4::{
    AmzDate, Carrier, PayloadStatus, Refusal, RequestHead, UnixSeconds, V2Fault, put_encoded, shown, split_authority,
};

/// How far the time of a request may be off, in seconds.
const SKEW: i64 = 15 * 60;

/// A request to a query API with credentials of Signature V2 that are well formed.
pub struct ApiRequest<'r, 'a> {
    head: &'r RequestHead<'a>,
    parameters: Vec<Parameter>,
    access_key_id: String,
    signature: Vec<u8>,
    hash: Hash,
    time: Time,
    has_session_token: bool,
}

#[derive(Clone, Copy)]
enum Time {
    Signed(UnixSeconds),
    Expires(UnixSeconds),
}

/// A request whose time is right.
#[derive(Clone, Copy)]
pub struct TimelyApiRequest<'s, 'r, 'a>(&'s ApiRequest<'r, 'a>);

impl<'r, 'a> ApiRequest<'r, 'a> {
    /// Whether a request is signed in this way, as far as one can see at a glance. `form` is its body.
    pub fn is_one(head: &RequestHead<'_>, form: &[u8]) -> bool {
        all_parameters(head, form).iter().any(|parameter| parameter.name == b"SignatureVersion")
    }

    /// Finds the credentials and reads them, in the query and in `form`, the body of a POST.
    ///
    /// # Errors
    /// If one is missing, not well formed, or came twice; if the version is not 2.
    pub fn parse(head: &'r RequestHead<'a>, form: &[u8]) -> Result<Self, Refusal> {
        let carrier = Carrier::Query;
        let HeadV2 { has_session_token, .. } = HeadV2::read(head)?;
        let parameters = all_parameters(head, form);
        let has_session_token = has_session_token || parameters.iter().any(|p| p.name == b"SecurityToken");
        if head.headers().iter().any(|header| header.name.eq_ignore_ascii_case(b"authorization")) {
            return Err(Refusal::SeveralCredentials);
        }
        let names = ["AWSAccessKeyId", "SignatureVersion", "SignatureMethod", "Signature"];
        let mut values = [&b""[..]; 4];
        for (value, name) in values.iter_mut().zip(names) {
            *value = only(&parameters, name)?.unwrap_or_default();
        }
        let [id, version, method, signature] = values;
        let missing: Vec<_> = names.into_iter().zip(values).filter(|(_, v)| v.is_empty()).map(|(n, _)| n).collect();
        if !missing.is_empty() {
            return Err(Refusal::MissingParts { carrier, parts: missing });
        }
        let hash = match (version, method) {
            (b"2", b"HmacSHA256") => Hash::Sha256,
            (b"2", b"HmacSHA1") => Hash::Sha1,
            _ => return Err(Refusal::UnsupportedScheme(crate::sigv4::Scheme::V2(carrier))),
        };
        let size = if hash == Hash::Sha1 { 20 } else { 32 };
        let got = || String::from_utf8_lossy(signature).into_owned();
        let signature = STANDARD.decode(signature).ok().filter(|bytes| bytes.len() == size);
        let signature = signature.ok_or_else(|| Refusal::MalformedSignature { got: got() })?;
        check_parameters(&parameters, form)?;
        let (access_key_id, time) = (String::from_utf8_lossy(id).into_owned(), read_time(&parameters)?);
        Ok(Self { head, access_key_id, signature, hash, time, has_session_token, parameters })
    }

    /// Whether a session token came.
    pub fn has_session_token(&self) -> bool {
        self.has_session_token
    }

    /// The id that the request claims.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The request was signed for now.
    ///
    /// # Errors
    /// If its time is more than 15 minutes off, or it has expired.
    pub fn check_time(&self, now: UnixSeconds) -> Result<TimelyApiRequest<'_, 'r, 'a>, Refusal> {
        match self.time {
            Time::Signed(time) if now.saturating_sub(time).abs() > SKEW => {
                Err(Refusal::Skewed { signed: AmzDate::at(time), now, tolerance: SKEW })
            }
            Time::Expires(time) if now > time => Err(Refusal::Expired { signed: AmzDate::at(time), expires: 0, now }),
            Time::Signed(_) | Time::Expires(_) => Ok(TimelyApiRequest(self)),
        }
    }

    /// The string to sign, with another host than was received if one is given.
    pub(crate) fn read(&self, host: Option<&[u8]>) -> StringToSign<'_> {
        let host = host.unwrap_or_else(|| self.host()).to_ascii_lowercase();
        let (_, target) = split_authority(self.head.target());
        let path = target.split(|byte| *byte == b'?').next().filter(|path| !path.is_empty()).unwrap_or(b"/");
        let mut sorted: Vec<_> = self.parameters.iter().filter(|p| p.name != b"Signature").collect();
        sorted.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
        let mut text = [self.head.method(), &host, path].join(&b'\n');
        for (index, Parameter { name, value }) in sorted.into_iter().enumerate() {
            text.push(if index == 0 { b'\n' } else { b'&' });
            put_encoded(&mut text, name);
            text.push(b'=');
            put_encoded(&mut text, value.as_deref().unwrap_or_default());
        }
        let (access_key_id, hash, signature) = (&self.access_key_id, self.hash, &self.signature);
        StringToSign { access_key_id, text, hash, signature, signed: self.signed() }
    }

    fn signed(&self) -> Signed {
        let valid_until = match self.time {
            Time::Signed(time) => time.saturating_add(SKEW),
            Time::Expires(time) => time,
        };
        let payload = if self.head.method() == b"POST" { PayloadStatus::Checked } else { PayloadStatus::Unsigned };
        Signed { headers: vec!["host".to_owned()], valid_until, payload, form: None }
    }

    pub(crate) fn host(&self) -> &'a [u8] {
        let host = self.head.headers().iter().find(|header| header.name.eq_ignore_ascii_case(b"host"));
        host.map_or(b"", |header| header.value)
    }
}

impl<'s> TimelyApiRequest<'s, '_, '_> {
    /// The string to sign: method, host, path, and all parameters but the signature, sorted.
    pub fn string_to_sign(&self) -> StringToSign<'s> {
        self.0.read(None)
    }
}

/// The signature covers the set of the parameters and not their order: of two with one name, a reader takes the first or
/// the last.
fn check_parameters(parameters: &[Parameter], form: &[u8]) -> Result<(), Refusal> {
    let ambiguous = |name| Err(Refusal::SignatureV2(V2Fault::AmbiguousParameter(name)));
    let mut names: Vec<_> = parameters.iter().map(|parameter| &parameter.name).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return ambiguous(shown(twice[0]));
    }
    let broken = form.split(|byte| *byte == b'&').find(|piece| has_broken_escape(piece));
    broken.map_or(Ok(()), |piece| ambiguous(shown(piece)))
}

fn all_parameters(head: &RequestHead<'_>, form: &[u8]) -> Vec<Parameter> {
    let target = head.target();
    let query = memchr::memchr(b'?', target).map_or(&[][..], |mark| &target[mark + 1..]);
    let mut all = parameters(query);
    if head.method() == b"POST" {
        all.extend(parameters(form));
    }
    all
}

fn read_time(parameters: &[Parameter]) -> Result<Time, Refusal> {
    let carrier = Carrier::Query;
    let (timestamp, expires) = (only(parameters, "Timestamp")?, only(parameters, "Expires")?);
    let text = timestamp.or(expires).ok_or(Refusal::MissingParts { carrier, parts: vec!["Timestamp"] })?;
    let time = parse_timestamp(text)
        .ok_or_else(|| Refusal::MalformedDate { carrier, got: String::from_utf8_lossy(text).into_owned() })?;
    Ok(if timestamp.is_some() { Time::Signed(time) } else { Time::Expires(time) })
}
