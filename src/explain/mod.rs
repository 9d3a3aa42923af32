//! What a signed request looks like to a verifier: canonical request, string to sign and verdict, offline.
//!
//! The same core as in [`crate::sigv4`], run on a request file. It knows no keys of ours: a secret is given or there is
//! none, and whether the id is well tagged, denied or has a session token that belongs to it is not looked at.
//!
//! Where a signature is not right, the known ways in which signers, libraries and proxies deviate are tried, and the
//! fewest of them are named under which it would be. Nothing is ever accepted by that.

mod checks;
mod deviations;
mod effort;
mod form;
mod gateway;
mod given;
mod headers;
mod host;
mod path;
mod payload;
mod query;
mod seals;
mod search;
mod unread;
mod v2;
mod v4a;
mod variants;

use memchr::memmem;
use rederive_hsm::signing_key::SigningKey;
use serde::Serialize;

use crate::sigv4::{
    Body, CanonicalRequest, Expectation, Family, FormContent, HeadError, Limits, PostForm, PreparedSigningKey, Refusal,
    Regions, RequestHead, Scheme, SignedRequest, StringToSign, StringToSignError, UnixSeconds,
};

pub use deviations::Deviation;
pub(crate) use deviations::{readable_if, with_key};
pub(crate) use form::with_key as form_with_key;

/// How to look at a request.
#[derive(Clone, Copy, Default)]
pub struct ExplainOptions<'a> {
    /// The secret access key that should have signed it, if it is known.
    pub secret: Option<&'a [u8]>,
    /// The time of the verifier.
    pub at: UnixSeconds,
    /// The service it is verified for; the one of its credential scope if `None`.
    pub service: Option<&'a str>,
    /// The region it is verified for; the one of its credential scope if `None`.
    pub region: Option<&'a str>,
    /// Names, with their ports, that the service is known by: the signer may have used one of them.
    pub hosts: &'a [String],
    /// Secrets of other keys, which may have been mistaken for this one.
    pub other_secrets: &'a [&'a [u8]],
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The verdict.
    pub decision: Decision,
    /// The AWS error code of a refusal.
    pub code: Option<String>,
    /// Why it is refused, or cannot be decided.
    pub message: Option<String>,
    /// As far as it can be built. Bytes that are not UTF-8 are shown as U+FFFD.
    pub canonical_request: Option<String>,
    /// As far as it can be built.
    pub string_to_sign: Option<String>,
    /// Whether a verifier refuses it, whatever the decision here says, unless it is told otherwise: Signature V2.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refused_by_default: bool,
    /// What would have to be otherwise, all together, for a refused request to be right. None if that is not known.
    pub deviations: Vec<Deviation>,
    /// What else is worth knowing.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// A verdict on a request file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The signature is right.
    Accept,
    /// A verifier would refuse it.
    Refuse,
    /// The secret or the body is missing, or the file is no request.
    Undecided,
}

/// Explains a raw HTTP/1.1 request, head and body, with line ends of CRLF or LF.
pub fn explain(request: &[u8], options: &ExplainOptions<'_>) -> Explanation {
    let (head, body_starts) = match RequestHead::parse(request, &Limits::default()) {
        Ok(parsed) => parsed,
        Err(error) => return Explanation::not_a_request(&error),
    };
    let mut explanation = Explanation::undecided();
    let body = find_body(&head, &request[body_starts..], &mut explanation.notes);
    let service = options.service.unwrap_or_else(|| claimed_service(&head));
    if let Err(error) = explain_steps(&head, body, service, options, &mut explanation) {
        match error {
            StringToSignError::Refused(refusal) => {
                explanation.refuse(&refusal, Family::of(service));
                if explanation.deviations.is_empty() {
                    explanation.deviations = deviations::readable_if(&refusal, &head);
                }
            }
            StringToSignError::BodyRequired => {
                explanation.message = Some("the signature covers a hash of the body, and the body is not there".into());
            }
        }
    }
    explanation
}

/// The steps of a verification; what each of them shows goes into `explanation`.
fn explain_steps<'a>(
    head: &RequestHead<'a>,
    body: Body<'a>,
    service: &str,
    options: &ExplainOptions<'_>,
    explanation: &mut Explanation,
) -> Result<(), StringToSignError> {
    let request = match SignedRequest::parse(head) {
        Ok(request) => request,
        Err(Refusal::UnsupportedScheme(Scheme::V4a(_))) => {
            return v4a::explain(head, body, service, options, explanation);
        }
        Err(Refusal::UnsupportedScheme(Scheme::V2(_)) | Refusal::MissingCredentials) if v2::is_api(head, body) => {
            v2::explain_api(head, body, options, explanation);
            return Ok(());
        }
        Err(Refusal::UnsupportedScheme(Scheme::V2(_))) => {
            v2::explain_s3(head, options, explanation);
            return Ok(());
        }
        Err(refusal) => {
            let form = posted_form(head, body, options.hosts).ok_or(refusal)?;
            match SignedRequest::parse_form(head, &form) {
                Err(Refusal::UnsupportedScheme(Scheme::V2(_))) => {
                    v2::explain_form(head, &form, options, explanation);
                    return Ok(());
                }
                request => request?,
            }
        }
    };
    explanation.string_to_sign = request.policy().map(str::to_owned);
    let judged = judge(&request, body, service, options, explanation);
    if let Err(StringToSignError::Refused(refusal)) = &judged {
        explanation.deviations = match request.policy() {
            None => deviations::offline(&request, head, body, service, options, refusal),
            Some(policy) => form::offline(&request, head, policy, service, options, refusal),
        };
    }
    judged
}

fn judge<'a>(
    request: &SignedRequest<'_, 'a>,
    body: Body<'a>,
    service: &str,
    options: &ExplainOptions<'_>,
    explanation: &mut Explanation,
) -> Result<(), StringToSignError> {
    // Shown even if a check refuses the request: that is when people need it.
    if let Ok(canonical) = request.canonical_request(Family::of(service), body) {
        explanation.show(request, &canonical);
    }
    let regions = options.region.map_or(Regions::Any, Regions::Named);
    let scoped = request.check_scope_and_time(&Expectation { service, regions }, options.at)?;
    let string_to_sign = scoped.string_to_sign(body)?;
    let Some(secret) = options.secret else {
        explanation.message = Some("every check passes that needs no key; the signature is not checked".to_owned());
        return Ok(());
    };
    let verified = string_to_sign.verify(&signing_key(secret, &string_to_sign))?;
    explanation.accept();
    explanation.notes.push(format!("payload: {}", verified.payload().as_str()));
    Ok(())
}

/// The form that the body is, if the credentials can stand nowhere else. Where the path names no bucket, the host does: of
/// the names that it may be, the one that the policy takes.
fn posted_form<'a>(head: &RequestHead<'a>, body: Body<'a>, hosts: &[String]) -> Option<PostForm<'a>> {
    let (Err(Refusal::UnsupportedScheme(Scheme::PostForm)), Body::Bytes(body)) = (SignedRequest::parse(head), body)
    else {
        return None;
    };
    let form = |bucket| PostForm { content: FormContent::Body(body), bucket };
    let buckets = buckets_of_form(head, hosts);
    let forms = || buckets.iter().map(|bucket| form(Some(*bucket)));
    let right = forms().find(|form| is_as_its_policy_demands(head, form));
    Some(right.or_else(|| forms().next()).unwrap_or_else(|| form(None)))
}

/// The buckets that the host may name, where the path names none.
fn buckets_of_form<'a>(head: &RequestHead<'a>, hosts: &[String]) -> Vec<&'a str> {
    let (path, _) = given::split_target(head.target());
    let host = header(head, "host").filter(|_| path == b"/").unwrap_or_default();
    let lengths = host::buckets(host, hosts).into_iter().flatten().map(|bucket| bucket.len());
    lengths.filter_map(|length| std::str::from_utf8(&host[..length]).ok()).collect()
}

/// Whether a form was what its policy demands when it was signed.
fn is_as_its_policy_demands<'a>(head: &RequestHead<'a>, form: &PostForm<'a>) -> bool {
    match SignedRequest::parse_form(head, form) {
        Ok(request) => {
            let expectation = Expectation { service: request.scope().service(), regions: Regions::Any };
            let scoped = request.check_scope_and_time(&expectation, request.date().unix());
            scoped.is_ok_and(|scoped| scoped.string_to_sign(Body::Absent).is_ok())
        }
        Err(Refusal::UnsupportedScheme(Scheme::V2(_))) => v2::is_as_its_policy_demands(head, form),
        Err(_) => false,
    }
}

fn signing_key(secret: &[u8], string_to_sign: &StringToSign<'_, '_>) -> PreparedSigningKey {
    let scope = string_to_sign.scope();
    let date = scope.date().as_bytes().try_into().expect("a scope's date is eight digits");
    PreparedSigningKey::new(SigningKey::derive_from_text(secret, date, scope.region(), scope.service()))
}

impl Explanation {
    fn undecided() -> Self {
        Self {
            decision: Decision::Undecided,
            code: None,
            message: None,
            canonical_request: None,
            string_to_sign: None,
            refused_by_default: false,
            deviations: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn not_a_request(error: &HeadError) -> Self {
        Self { message: Some(format!("this is not an HTTP request: {error}")), ..Self::undecided() }
    }

    fn show(&mut self, request: &SignedRequest<'_, '_>, canonical: &CanonicalRequest) {
        self.canonical_request = Some(String::from_utf8_lossy(canonical.text()).into_owned());
        self.string_to_sign = Some(request.string_to_sign_text(&canonical.sha256()));
    }

    fn show_string_to_sign(&mut self, text: &[u8]) {
        self.string_to_sign = Some(String::from_utf8_lossy(text).into_owned());
    }

    /// The signature is right under the secret that was given.
    fn accept(&mut self) {
        self.decision = Decision::Accept;
        self.notes.push("the tag of the access key id and the session token are not checked".to_owned());
    }

    fn refuse(&mut self, refusal: &Refusal, family: Family) {
        let outside = refusal.outside(family);
        self.decision = Decision::Refuse;
        self.code = Some(outside.code.to_owned());
        self.message = Some(outside.message);
        self.notes.extend(outside.elements.into_iter().map(|(name, value)| format!("{name}: {value}")));
    }
}

/// The body: as much of the rest as Content-Length says.
fn find_body<'a>(head: &RequestHead<'a>, rest: &'a [u8], notes: &mut Vec<String>) -> Body<'a> {
    if header(head, "transfer-encoding").is_some() {
        notes.push("the body is framed by Transfer-Encoding, which is not taken off: it is not checked".to_owned());
        return Body::Absent;
    }
    let length = header(head, "content-length").map(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
    match length {
        None => Body::Bytes(rest),
        Some(Some(length)) if length <= rest.len() => Body::Bytes(&rest[..length]),
        Some(Some(length)) => {
            notes.push(format!("Content-Length is {length}, and {} bytes follow the head", rest.len()));
            Body::Bytes(rest)
        }
        Some(None) => {
            notes.push("Content-Length is not a number: the body is all that follows the head".to_owned());
            Body::Bytes(rest)
        }
    }
}

fn header<'a>(head: &RequestHead<'a>, name: &str) -> Option<&'a [u8]> {
    head.headers().iter().find(|header| header.name.eq_ignore_ascii_case(name.as_bytes())).map(|header| header.value)
}

/// The number of the line that a header begins in, the request line being the first.
fn header_line(head: &RequestHead<'_>, index: usize) -> usize {
    let folds = |value: &[u8]| value.iter().filter(|byte| **byte == b'\n').count();
    2 + head.headers()[..index].iter().map(|header| 1 + folds(header.value)).sum::<usize>()
}

/// The service of the credential, wherever it stands, even if the credentials cannot be read as a whole: the words of a
/// refusal depend on it. Requests without one are taken for S3's.
fn claimed_service<'a>(head: &RequestHead<'a>) -> &'a str {
    let from = |text: &'a [u8], slash: &str| {
        let end = memmem::find(text, format!("{slash}aws4_request").as_bytes())?;
        let start = memmem::rfind(&text[..end], slash.as_bytes())? + slash.len();
        std::str::from_utf8(&text[start..end]).ok()
    };
    let in_header = header(head, "authorization").and_then(|value| from(value, "/"));
    let in_query = || ["%2F", "%2f", "/"].iter().find_map(|slash| from(head.target(), slash));
    in_header.or_else(in_query).unwrap_or("s3")
}
