//! S3's Signature V2, in the Authorization header or in a URL.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memrchr;

use super::ambiguous;
use super::date::parse_http_date;
use super::parameters::{Parameter, as_sent, only, parameters, parameters_in};
use rederive_hsm::sigv2::Hash;

use super::signature::{Signed, StringToSign};
use super::sub_resources::is_sub_resource;
use crate::sigv4::head_v2::HeadV2;
use crate::sigv4::{
    AmzDate, AuthorizationFault, Carrier, PayloadStatus, Place, Refusal, RequestHead, UnixSeconds, V2Fault, shown,
    split_authority,
};

/// How far the time of a request may be off, in seconds.
const SKEW: i64 = 15 * 60;

/// The end of the year 9999: later times cannot be written.
const LATEST: UnixSeconds = 253_402_300_799;

/// A request to S3 with credentials of Signature V2 that are well formed, nothing of which has been verified.
pub struct S3Request<'r, 'a> {
    head: &'r RequestHead<'a>,
    access_key_id: String,
    signature: Vec<u8>,
    time: Time,
    path: &'a [u8],
    parameters: Vec<Parameter>,
    has_session_token: bool,
}

/// What time the credentials name.
#[derive(Clone, Copy)]
enum Time {
    /// In the header: when it was signed.
    Signed(UnixSeconds),
    /// In a URL: up to when it is good.
    Expires(UnixSeconds),
}

/// A request whose time is right.
#[derive(Clone, Copy)]
pub struct TimelyS3Request<'s, 'r, 'a>(&'s S3Request<'r, 'a>);

/// How the string to sign is read from a request. The default is what the documentation says; the rest is for finding
/// out what a signer does otherwise.
#[derive(Clone, Default)]
pub(crate) struct Reading<'x> {
    /// The bucket, if the host names it.
    pub bucket: Option<&'x [u8]>,
    /// Another method.
    pub method: Option<&'x [u8]>,
    /// Another path.
    pub path: Option<&'x [u8]>,
    /// What stands in the line of the date though there is an x-amz-date.
    pub date_line: DateLine,
    /// Another Content-Type.
    pub content_type: Option<&'x [u8]>,
    /// A header, in lower case, that is taken for absent.
    pub without_header: Option<&'x [u8]>,
    /// A sub-resource that is taken for absent.
    pub without_parameter: Option<&'x [u8]>,
    /// A sub-resource with an empty value has an equals sign, if it was sent with one. Servers differ, clients as well.
    pub equals_before_nothing: bool,
    /// A parameter that is taken for a sub-resource.
    pub with_parameter: Option<&'x [u8]>,
    /// Sub-resources stay in the order that they were sent in.
    pub unsorted: bool,
    /// Every parameter is taken for a sub-resource.
    pub all_parameters: bool,
    /// How sub-resources are decoded.
    pub values: Values,
}

/// The line of the date where there is an x-amz-date.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DateLine {
    #[default]
    Empty,
    /// The value of x-amz-date, which does not stand among the headers then.
    AmzDate,
    /// The value of Date.
    Date,
}

/// How the sub-resources of a query are read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Values {
    /// Decoded, `+` into a blank.
    #[default]
    Decoded,
    /// Decoded, `+` kept.
    LiteralPlus,
    AsSent,
}

impl<'r, 'a> S3Request<'r, 'a> {
    /// Finds the credentials and reads them.
    ///
    /// # Errors
    /// If there are none, more than one kind, or one that is not well formed.
    pub fn parse(head: &'r RequestHead<'a>) -> Result<Self, Refusal> {
        let (_, target) = split_authority(head.target());
        let mark = memchr::memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = (&target[..mark], target.get(mark + 1..).unwrap_or_default());
        let parameters = parameters(query);
        let HeadV2 { carrier, has_session_token } = HeadV2::read(head)?;
        ambiguous::check(head, &parameters)?;
        let request = match carrier {
            Some(Carrier::Header) => Self::from_header(head, path, parameters),
            Some(Carrier::Query) => Self::from_query(head, path, parameters),
            Some(Carrier::Form) | None => Err(Refusal::MissingCredentials),
        };
        request.map(|request| Self { has_session_token, ..request })
    }

    /// Whether a session token came.
    pub fn has_session_token(&self) -> bool {
        self.has_session_token
    }

    /// `AWS id:signature`.
    fn from_header(head: &'r RequestHead<'a>, path: &'a [u8], parameters: Vec<Parameter>) -> Result<Self, Refusal> {
        let carrier = Carrier::Header;
        let value = header(head, "authorization")?.unwrap_or_default();
        let malformed =
            || Refusal::MalformedAuthorization(AuthorizationFault::NotNameValue("AWS id:signature is expected".into()));
        let credential = value.strip_prefix(b"AWS ").ok_or_else(malformed)?.trim_ascii();
        // An id may hold a colon: OpenStack puts a tenant there.
        let colon = memrchr(b':', credential).ok_or_else(malformed)?;
        let access_key_id = std::str::from_utf8(&credential[..colon]).map_err(|_| malformed())?;
        let date = header(head, "x-amz-date")?.or(header(head, "date")?);
        let date = date.ok_or(Refusal::MissingParts { carrier, parts: vec!["Date"] })?;
        let time = parse_http_date(date)
            .ok_or_else(|| Refusal::MalformedDate { carrier, got: String::from_utf8_lossy(date).into_owned() })?;
        let signature = read_signature(&credential[colon + 1..])?;
        let access_key_id = access_key_id.to_owned();
        let time = Time::Signed(time);
        Ok(Self { head, access_key_id, signature, time, path, parameters, has_session_token: false })
    }

    /// AWSAccessKeyId, Expires and Signature.
    fn from_query(head: &'r RequestHead<'a>, path: &'a [u8], parameters: Vec<Parameter>) -> Result<Self, Refusal> {
        let carrier = Carrier::Query;
        let names = ["AWSAccessKeyId", "Expires", "Signature"];
        let mut values = [None; 3];
        for (value, name) in values.iter_mut().zip(names) {
            *value = only(&parameters, name)?.filter(|value| !value.is_empty());
        }
        let [Some(id), Some(expires), Some(signature)] = values else {
            let missing = names.iter().zip(values).filter(|(_, value)| value.is_none()).map(|(name, _)| *name);
            return Err(Refusal::MissingParts { carrier, parts: missing.collect() });
        };
        let expires = std::str::from_utf8(expires).unwrap_or_default();
        let is_time = |time: &UnixSeconds| *time <= LATEST && expires.bytes().all(|byte| byte.is_ascii_digit());
        let time = expires.parse().ok().filter(is_time);
        let time = time.ok_or_else(|| Refusal::MalformedExpires { got: shown(expires.as_bytes()) })?;
        let (access_key_id, signature) = (String::from_utf8_lossy(id).into_owned(), read_signature(signature)?);
        let time = Time::Expires(time);
        Ok(Self { head, access_key_id, signature, time, path, parameters, has_session_token: false })
    }

    /// The id that the request claims.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The request was signed for now.
    ///
    /// # Errors
    /// If its time is more than 15 minutes off, or its URL has expired.
    pub fn check_time(&self, now: UnixSeconds) -> Result<TimelyS3Request<'_, 'r, 'a>, Refusal> {
        match self.time {
            Time::Signed(time) if now.saturating_sub(time).abs() > SKEW => {
                Err(Refusal::Skewed { signed: AmzDate::at(time), now, tolerance: SKEW })
            }
            Time::Expires(time) if now > time => Err(Refusal::Expired { signed: AmzDate::at(time), expires: 0, now }),
            Time::Signed(_) | Time::Expires(_) => Ok(TimelyS3Request(self)),
        }
    }

    /// The Host header.
    pub fn host(&self) -> Option<&'a [u8]> {
        header(self.head, "host").ok().flatten()
    }

    pub(crate) fn path(&self) -> &'a [u8] {
        self.path
    }

    fn query(&self) -> &'a [u8] {
        let target = self.head.target();
        memchr::memchr(b'?', target).map_or(&[], |mark| &target[mark + 1..])
    }

    pub(crate) fn parameter_names(&self) -> impl Iterator<Item = &[u8]> {
        self.parameters.iter().map(|parameter| &parameter.name[..])
    }

    /// The string to sign in a certain reading.
    pub(crate) fn read(&self, reading: &Reading<'_>) -> StringToSign<'_> {
        let mut text = Vec::new();
        let method = reading.method.unwrap_or(self.head.method());
        let line = |name: &'static str| match header(self.head, name) {
            Ok(Some(value)) if reading.without_header != Some(name.as_bytes()) => value,
            _ => b"",
        };
        let content_type = reading.content_type.unwrap_or_else(|| line("content-type"));
        for value in [method, line("content-md5"), content_type] {
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        text.extend(self.date_line(reading));
        text.push(b'\n');
        self.put_amz_headers(&mut text, reading);
        self.put_resource(&mut text, reading);
        let (access_key_id, signature) = (&self.access_key_id, &self.signature);
        StringToSign { access_key_id, text, hash: Hash::Sha1, signature, signed: self.signed() }
    }

    fn signed(&self) -> Signed {
        let (valid_until, lines) = match self.time {
            Time::Signed(time) => (time.saturating_add(SKEW), &["content-md5", "content-type", "date"][..]),
            Time::Expires(time) => (time, &["content-md5", "content-type"][..]),
        };
        let names = self.head.headers().iter().map(|header| String::from_utf8_lossy(header.name).to_ascii_lowercase());
        let is_signed = |name: &String| name.starts_with("x-amz-") || lines.contains(&&**name);
        let mut headers: Vec<_> = names.filter(is_signed).collect();
        headers.sort();
        headers.dedup();
        // The date has its place in the text only where no x-amz-date stands among the headers.
        headers.retain({
            let has_amz_date = headers.iter().any(|name| name == "x-amz-date");
            move |name| name != "date" || !has_amz_date
        });
        Signed { headers, valid_until, payload: PayloadStatus::Unsigned, form: None }
    }

    /// Expires of a URL; the date, unless an x-amz-date stands among the headers.
    fn date_line(&self, reading: &Reading<'_>) -> Vec<u8> {
        if matches!(self.time, Time::Expires(_)) {
            return only(&self.parameters, "Expires").ok().flatten().unwrap_or_default().to_vec();
        }
        let of = |name: &'static str| header(self.head, name).ok().flatten();
        match of("x-amz-date").filter(|_| reading.without_header != Some(b"x-amz-date")) {
            Some(date) if reading.date_line == DateLine::AmzDate => date.to_vec(),
            Some(_) if reading.date_line == DateLine::Empty => Vec::new(),
            _ => of("date").unwrap_or_default().to_vec(),
        }
    }

    /// `x-amz-…` headers, and parameters of that name, which stand for headers: `name:value`, sorted.
    fn put_amz_headers(&self, text: &mut Vec<u8>, reading: &Reading<'_>) {
        let mut lines: BTreeMap<Vec<u8>, Vec<&[u8]>> = BTreeMap::new();
        let headers = self.head.headers().iter().map(|header| (header.name, header.value));
        let parameters = self.parameters.iter().map(|p| (&p.name[..], p.value.as_deref().unwrap_or_default()));
        for (name, value) in headers.chain(parameters) {
            let name = name.to_ascii_lowercase();
            let is_taken_out = reading.without_header == Some(&name[..])
                || (reading.date_line == DateLine::AmzDate && name == b"x-amz-date");
            if name.starts_with(b"x-amz-") && !is_taken_out {
                lines.entry(name).or_default().push(value);
            }
        }
        for (name, values) in lines {
            let values: Vec<_> = values.into_iter().map(unfolded).collect();
            text.extend(name);
            text.push(b':');
            text.extend(values.join(&b','));
            text.push(b'\n');
        }
    }

    fn put_resource(&self, text: &mut Vec<u8>, reading: &Reading<'_>) {
        if let Some(bucket) = reading.bucket {
            text.push(b'/');
            text.extend_from_slice(bucket);
        }
        text.extend_from_slice(reading.path.unwrap_or(if self.path.is_empty() { b"/" } else { self.path }));
        let is_signed = |parameter: &&Parameter| {
            let name = &parameter.name[..];
            let is_credential = [&b"AWSAccessKeyId"[..], b"Expires", b"Signature"].contains(&name);
            let is_added = reading.all_parameters || reading.with_parameter == Some(name);
            let is_wanted = is_sub_resource(name) || (is_added && !is_credential);
            is_wanted && reading.without_parameter != Some(name)
        };
        let parameters = match reading.values {
            Values::Decoded => Cow::Borrowed(&self.parameters),
            Values::LiteralPlus => Cow::Owned(parameters_in(self.query(), Place::Path)),
            Values::AsSent => Cow::Owned(as_sent(self.query())),
        };
        let mut signed: Vec<_> = parameters.iter().filter(is_signed).collect();
        if !reading.unsorted {
            signed.sort_by(|a, b| a.name.cmp(&b.name));
        }
        for (index, Parameter { name, value }) in signed.into_iter().enumerate() {
            text.push(if index == 0 { b'?' } else { b'&' });
            text.extend_from_slice(name);
            let value = value.as_deref().filter(|value| !value.is_empty() || reading.equals_before_nothing);
            if let Some(value) = value {
                text.push(b'=');
                text.extend_from_slice(value);
            }
        }
    }
}

impl<'s> TimelyS3Request<'s, '_, '_> {
    /// The strings to sign, of which one is right: signers differ in whether `?tagging=` is signed with its equals sign.
    /// `bucket` is the bucket that the host names, if it does: see [`bucket_of_host`].
    pub fn strings_to_sign(&self, bucket: Option<&[u8]>) -> [StringToSign<'s>; 2] {
        [false, true]
            .map(|equals_before_nothing| self.0.read(&Reading { bucket, equals_before_nothing, ..Reading::default() }))
    }

    /// The same for a service that is known by these names, in front of which a bucket may stand. There are two only where
    /// they differ.
    ///
    /// # Errors
    /// If the host is neither such a name nor under one nor an address. The signature does not cover it: what one client
    /// signed for a bucket in the path, another could send to a host that names a bucket.
    pub fn strings_to_sign_at(&self, names: &[String]) -> Result<Vec<StringToSign<'s>>, Refusal> {
        let host = self.0.host().unwrap_or_default();
        let bucket = bucket_of_host(host, names);
        if bucket.is_none() && !is_address(host) && !is_one_of(host, names) {
            return Err(Refusal::SignatureV2(V2Fault::UnknownHost(shown(host))));
        }
        let mut texts = Vec::from(self.strings_to_sign(bucket.as_deref()));
        texts.dedup_by(|a, b| a.text == b.text);
        Ok(texts)
    }
}

/// The bucket in front of one of the names that the service is known by (ports do not count), in lower case. `None` if
/// the host is one of the names itself, or has nothing to do with them.
pub fn bucket_of_host(host: &[u8], names: &[String]) -> Option<Vec<u8>> {
    if is_one_of(host, names) {
        return None;
    }
    let host = without_port(host).to_ascii_lowercase();
    let bucket = |name: &String| {
        let bucket = host.strip_suffix(&without_port(name.as_bytes()).to_ascii_lowercase()[..])?.strip_suffix(b".")?;
        (!bucket.is_empty()).then(|| bucket.to_vec())
    };
    // The longest name: `a.b.example` is bucket `a` of `b.example` rather than `a.b` of `example`.
    names.iter().filter_map(bucket).min_by_key(Vec::len)
}

fn is_one_of(host: &[u8], names: &[String]) -> bool {
    names.iter().any(|name| without_port(host).eq_ignore_ascii_case(without_port(name.as_bytes())))
}

/// An address names no bucket.
fn is_address(host: &[u8]) -> bool {
    let host = std::str::from_utf8(without_port(host)).unwrap_or_default();
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    match memrchr(b':', host) {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    }
}

/// The value of a header that may come once.
fn header<'a>(head: &RequestHead<'a>, name: &'static str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut found = head.headers().iter().filter(|header| header.name.eq_ignore_ascii_case(name.as_bytes()));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Refusal::RepeatedHeader(name)),
        (found, None) => Ok(found.map(|header| header.value)),
    }
}

/// A value that was folded over several lines, in one.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.collect::<Vec<_>>().join(&b' ')
}

/// Base64 of the 20 bytes of HMAC-SHA1.
pub(super) fn read_signature(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let decoded = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 20);
    decoded.ok_or_else(|| Refusal::MalformedSignature { got: String::from_utf8_lossy(text).into_owned() })
}
