//! Rules that a refusal follows, row by row in `tests/vectors/rules`; what a verified request says; what is no call.

mod sigv4_support;

use std::collections::BTreeMap;

use rederive::sigv4::{
    AmzDate, Body, Carrier, Expectation, Family, HeadError, Limits, PayloadStatus, PreparedSigningKey, Refusal,
    Regions, RequestHead, SignedRequest, StreamingKind, StringToSignError, V2Fault,
};
use rederive_hsm::signing_key::SigningKey;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sigv4_support::{RequestCases, Results, Verdict, Verifier, read_text, tests_path, unix};

const NOW: &str = "20260102T030405Z";
const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    case: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    service: String,
    request: String,
    code: String,
    http_status: u16,
    /// The whole of it.
    message: Option<String>,
    #[serde(default)]
    elements: BTreeMap<String, String>,
}

/// A request with what `{…}` stands for.
fn raw(service: &str, request: &str) -> String {
    let scope = format!("20260102/local/{service}/aws4_request");
    let presigned = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ID}%2F{}&X-Amz-Date={NOW}&X-Amz-Expires=600&\
             X-Amz-SignedHeaders=host&X-Amz-Signature={{sig}}",
        scope.replace('/', "%2F")
    );
    let text = request.replace("{presigned}", &presigned).replace("{id}", ID).replace("{scope}", &scope);
    text.replace("{hash}", HASH_OF_NOTHING).replace("{sig}", &"0".repeat(64))
}

impl Rule {
    fn raw(&self) -> String {
        raw(&self.service, &self.request)
    }

    /// Steps 1, 4 and 5, which must refuse it.
    fn refusal(&self, raw: &str) -> Result<(), StringToSignError> {
        let (head, body) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a request");
        let request = SignedRequest::parse(&head)?;
        let expectation = Expectation { service: &self.service, regions: Regions::Named("local") };
        let scoped = request.check_scope_and_time(&expectation, unix(NOW))?;
        scoped.string_to_sign(Body::Bytes(&raw.as_bytes()[body..])).map(|_| ())
    }

    fn check(&self) -> Result<(), String> {
        let Err(StringToSignError::Refused(refusal)) = self.refusal(&self.raw()) else {
            return Err("it is not refused".to_owned());
        };
        let outside = refusal.outside(Family::of(&self.service));
        let elements: BTreeMap<_, _> = outside.elements.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let has = |(name, value): (&String, &String)| elements.get(name.as_str()) == Some(&value.as_str());
        let is_right = outside.code == self.code
            && outside.http_status == self.http_status
            && !outside.message.is_empty()
            && self.message.as_ref().is_none_or(|message| *message == outside.message)
            && self.elements.iter().all(has);
        if is_right { Ok(()) } else { Err(format!("{refusal:?}, {outside:?}")) }
    }
}

#[test]
fn refusals_are_told_as_aws_tells_them() {
    let text = read_text(&tests_path("vectors/rules/refusals.toml"));
    let rules: Rules = toml::from_str(&text).expect("rules");
    let mut results = Results::default();
    for rule in &rules.case {
        results.add(rule.name.clone(), rule.check());
    }
    assert!(rules.case.len() >= 59);
    results.check_against("vectors/rules/divergences.toml");
}

#[test]
fn refusals_of_signature_v2_say_what_is_wrong() {
    for (fault, says) in [
        (V2Fault::UnknownHost("a.b".into()), "'a.b' is not a host"),
        (V2Fault::AmbiguousParameter("x".into()), "parameter 'x'"),
        (V2Fault::FoldedHeader("Date"), "header Date is folded"),
        (V2Fault::TooLong { limit: 7 }, "7 bytes"),
    ] {
        let outside = Refusal::SignatureV2(fault).outside(Family::S3);
        assert!(outside.message.contains(says), "{outside:?}");
    }
    let signed = AmzDate::parse(NOW.as_bytes()).expect("a time");
    let expired = Refusal::Expired { signed, expires: 0, now: unix(NOW) }.outside(Family::S3);
    let missing = Refusal::MissingParts { carrier: Carrier::Query, parts: vec!["Expires"] }.outside(Family::S3);
    assert_eq!(missing.code, "AccessDenied", "{missing:?}");
    assert_eq!(expired.elements.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["Expires", "ServerTime"]);
}

/// The control: what the rows are variations of passes the same steps.
#[test]
fn the_plain_requests_are_not_refused() {
    for (service, request) in [
        ("s3", "GET /b/k?{presigned} HTTP/1.1\nHost: h\n\n"),
        ("sts", "GET /?{presigned} HTTP/1.1\nHost: h\n\n"),
        (
            "s3",
            "GET /b/k HTTP/1.1\nHost: h\nX-Amz-Date: 20260102T030405Z\nx-amz-content-sha256: {hash}\nAuthorization: \
             AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature={sig}\n\n",
        ),
        (
            "iam",
            "POST / HTTP/1.1\nHost: h\nX-Amz-Date: 20260102T030405Z\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={id}/{scope}, SignedHeaders=host;x-amz-date, Signature={sig}\n\n",
        ),
        // Separators of both kinds, and an absolute target without a path.
        (
            "s3",
            "GET http://h?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={id}/{scope}&X-Amz-Date=20260102T030405Z&\
             X-Amz-Expires=600&X-Amz-SignedHeaders=a%3Bb;host%3bx-amz-meta-c;x-amz-meta-d&X-Amz-Signature={sig} HTTP/1.1\n\
             Host: h\na: 1\nb: 2\nx-amz-meta-c: 3\nx-amz-meta-d: 4\n\n",
        ),
        // Names that are not quite those of which there may be one.
        (
            "s3",
            "GET /b/k HTTP/1.1\nHost: h\nHoss: h\nDate: Fri, 02 Jan 2026 03:04:05 GMT\nDart: d\nAuthorisation: a\n\
             X-Amz-Date: 20260102T030405Z\nX-Amz-Dale: d\nx-amz-content-sha256: {hash}\nx-amz-content-sha257: c\n\
             x-amz-security-token: t\nx-amz-security-taken: t\nx-amz-s3session-taken: t\nAuthorization: \
             AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-content-sha257;\
             x-amz-dale;x-amz-date;x-amz-s3session-taken;x-amz-security-taken;x-amz-security-token, Signature={sig},\n\n",
        ),
    ] {
        let rule = Rule {
            name: String::new(),
            service: service.to_owned(),
            request: request.to_owned(),
            code: String::new(),
            http_status: 0,
            message: None,
            elements: BTreeMap::new(),
        };
        assert_eq!(rule.refusal(&rule.raw()), Ok(()), "{service}: {request}");
    }
}

/// Runs a row of request-cases.json with a body that is known in another way.
fn verify_with(id: &str, body: BodyOf) -> Verdict {
    let cases = RequestCases::read();
    let case = cases.cases.iter().find(|case| case.id == id).expect("a case");
    let raw = case.raw();
    let (head, starts) = RequestHead::parse(&raw, &Limits::default()).expect("a request");
    let verifier = Verifier { secret: &cases.secret, service: &case.service, now: case.now() };
    verifier.verify_head(&head, body(&raw[starts..]))
}

/// The authority opens the token: it must be the one that was sent, wherever it stood.
#[test]
fn session_tokens_are_given_as_they_were_meant() {
    let token = "AQoD/YXdz+EPT==";
    let header = "GET /b/k HTTP/1.1\nHost: h\nX-Amz-Date: 20260102T030405Z\n{name}: AQoD/YXdz+EPT==\nAuthorization: \
                  AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host, Signature={sig}\n\n";
    let query = "GET /b/k?{presigned}&{name}=AQoD%2FYXdz%2BEPT%3D%3D HTTP/1.1\nHost: h\n\n";
    for (request, name) in [
        (header, "x-amz-security-token"),
        (header, "X-Amz-S3session-Token"),
        (query, "X-Amz-Security-Token"),
        (query, "x-amz-security-token"),
        (query, "X-Amz-S3session-Token"),
    ] {
        let raw = raw("s3", &request.replace("{name}", name));
        let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a request");
        let request = SignedRequest::parse(&head).expect("well formed");
        assert_eq!(request.session_token().as_deref(), Some(token.as_bytes()), "{raw}");
    }
    let blank = raw("s3", "GET /b/k?{presigned}&X-Amz-Security-Token=+ HTTP/1.1\nHost: h\n\n");
    let (head, _) = RequestHead::parse(blank.as_bytes(), &Limits::default()).expect("a request");
    assert_eq!(SignedRequest::parse(&head).expect("well formed").session_token().as_deref(), Some(&b" "[..]));
}

#[test]
fn what_a_verified_request_says() {
    let raw = read_text(&tests_path("vectors/strictness/query-expires-edited/control.http"));
    let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a request");
    let request = SignedRequest::parse(&head).expect("well formed");
    let expectation = Expectation { service: "s3", regions: Regions::Any };
    let scoped = request.check_scope_and_time(&expectation, unix(NOW)).expect("in time");
    let string_to_sign = scoped.string_to_sign(Body::Absent).expect("all is signed");
    assert_eq!((string_to_sign.access_key_id(), string_to_sign.scope()), (ID, request.scope()));
    let secret = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let key = SigningKey::derive_from_text(secret, b"20260102", "local", "s3");
    let verified = string_to_sign.verify(&PreparedSigningKey::new(key)).expect("right");
    let scope = verified.scope().to_string();
    assert_eq!((verified.access_key_id(), scope.as_str()), (ID, "20260102/local/s3/aws4_request"));
    assert_eq!(verified.signed_headers().iter().collect::<Vec<_>>(), [b"host"]);
    assert_eq!((verified.carrier(), verified.date().as_str()), (Carrier::Query, NOW));
    assert_eq!(verified.valid_until(), unix(NOW) + 600);
    assert_eq!((verified.payload(), verified.form()), (PayloadStatus::Unsigned, None));
    let digits = raw.split("X-Amz-Signature=").nth(1).and_then(|rest| rest.get(..64)).expect("a signature");
    let mut signature = [0; 32];
    base16ct::lower::decode(digits, &mut signature).expect("64 digits");
    assert_eq!(verified.signature(), signature);
    assert_eq!(verified.signature_hash(), <[u8; 32]>::from(Sha256::digest(signature)));
}

/// Two faults do not make up for each other: both differ from what is right in the same bits.
#[test]
fn two_wrong_digits_are_not_one_right_signature() {
    let raw = read_text(&tests_path("vectors/strictness/query-expires-edited/control.http"));
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let verifier = Verifier { secret, service: "s3", now: unix(NOW) };
    assert!(verifier.verify(raw.as_bytes()).is_accepted(), "the control");
    let starts = raw.find("X-Amz-Signature=").expect("a signature") + "X-Amz-Signature=".len();
    let (mut tried, mut raw) = (0, raw.into_bytes());
    for (first, second) in
        (0..64).flat_map(|first| (first + 4..64).step_by(4).map(move |second| (starts + first, starts + second)))
    {
        for bits in 1..16 {
            let changed = [raw[first] ^ bits, raw[second] ^ bits];
            if changed.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                let right = [raw[first], raw[second]];
                [raw[first], raw[second]] = changed;
                assert_eq!(verifier.verify(&raw).code(), Some("SignatureDoesNotMatch"), "{first} and {second}");
                [raw[first], raw[second]] = right;
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

/// The last second in which a request is good, and the first in which it is.
#[test]
fn times_are_bounded_to_the_second() {
    let header = "GET / HTTP/1.1\nHost: h\nX-Amz-Date: 20260102T030405Z\nAuthorization: AWS4-HMAC-SHA256 \
                  Credential={id}/{scope}, SignedHeaders=host;x-amz-date, Signature={sig}\n\n";
    let query = "GET /?{presigned} HTTP/1.1\nHost: h\n\n";
    for (service, request, first, last) in
        [("s3", header, -900, 900), ("iam", header, -300, 900), ("s3", query, -900, 600), ("iam", query, -300, 600)]
    {
        let raw = raw(service, request);
        let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a request");
        let request = SignedRequest::parse(&head).expect("well formed");
        let expectation = Expectation { service, regions: Regions::Any };
        let is_good = |after: i64| request.check_scope_and_time(&expectation, unix(NOW) + after).is_ok();
        assert_eq!([first - 1, first, last, last + 1].map(is_good), [false, true, true, false], "{raw}");
    }
}

/// Ids have letters, digits and underscores, those of 20 characters as well as others.
#[test]
fn ids_are_words() {
    let read = |id: &str| {
        let request = raw(
            "s3",
            "GET /b/k HTTP/1.1\nHost: h\nX-Amz-Date: 20260102T030405Z\nAuthorization: \
            AWS4-HMAC-SHA256 Credential={other}/{scope}, SignedHeaders=host, Signature={sig}\n\n",
        );
        let request = request.replace("{other}", id);
        let (head, _) = RequestHead::parse(request.as_bytes(), &Limits::default()).expect("a request");
        SignedRequest::parse(&head).map(|_| ())
    };
    for good in ["A", "z", "0", "9", "_", "Za"] {
        for length in [1, 2, 10, 64] {
            assert_eq!(read(&good.repeat(length)), Ok(()), "{good} {length} times");
        }
    }
    for odd in ["{", "[", "`", "@", ":", "-", ".", "^", "\u{e9}"] {
        for filler in ["A", "z", "7"] {
            for count in [1, 2, 19] {
                let id = filler.repeat(20 - count) + &odd.repeat(count);
                assert!(matches!(read(&id), Err(Refusal::MalformedCredential { .. })), "{id}: {:?}", read(&id));
            }
        }
    }
}

#[test]
fn of_several_regions_any_is_taken_and_the_first_is_named() {
    let raw = raw("s3", "GET /b/k?{presigned} HTTP/1.1\nHost: h\n\n");
    let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a request");
    let request = SignedRequest::parse(&head).expect("well formed");
    let outcome = |names: [&str; 2]| {
        let names = names.map(str::to_owned);
        let expectation = Expectation { service: "s3", regions: Regions::OneOf(&names) };
        request.check_scope_and_time(&expectation, unix(NOW)).map(|_| ()).map_err(|refusal| refusal.outside(Family::S3))
    };
    assert!(outcome(["local", "other"]).is_ok() && outcome(["other", "local"]).is_ok());
    let refused = outcome(["first", "second"]).expect_err("neither");
    assert_eq!(refused.elements, [("Region", "first".to_owned())]);
}

type BodyOf = fn(&[u8]) -> Body<'_>;

fn whole(body: &[u8]) -> Body<'_> {
    Body::Bytes(body)
}

fn hashed(body: &[u8]) -> Body<'_> {
    Body::Sha256(Sha256::digest(body).into())
}

fn absent(_: &[u8]) -> Body<'_> {
    Body::Absent
}

fn another(_: &[u8]) -> Body<'_> {
    hashed(b"another")
}

fn status(verdict: &Verdict) -> Option<PayloadStatus> {
    match verdict {
        Verdict::Accepted(status) => Some(*status),
        _ => None,
    }
}

#[test]
fn what_is_known_of_the_body_decides_the_payload_status() {
    let rows: [(&str, BodyOf, PayloadStatus); 9] = [
        ("ok-no-space-after-comma", whole, PayloadStatus::Checked),
        ("ok-no-space-after-comma", hashed, PayloadStatus::Checked),
        ("ok-no-space-after-comma", absent, PayloadStatus::NotChecked),
        ("ok-unsigned-payload", whole, PayloadStatus::Unsigned),
        ("ok-presigned", whole, PayloadStatus::Unsigned),
        ("ok-presigned", absent, PayloadStatus::Unsigned),
        ("ok-signed-trailer", absent, PayloadStatus::Streaming(StreamingKind::SignedChunksAndTrailer)),
        ("ok-iam-query", whole, PayloadStatus::Checked),
        ("ok-iam-query", hashed, PayloadStatus::Checked),
    ];
    for (id, body, expected) in rows {
        let verdict = verify_with(id, body);
        assert_eq!(status(&verdict), Some(expected), "{id}: {verdict:?}");
    }
    let texts = [PayloadStatus::Checked, PayloadStatus::Unsigned, PayloadStatus::NotChecked].map(PayloadStatus::as_str);
    assert_eq!(texts, ["checked", "unsigned", "not_checked"]);
}

#[test]
fn a_body_that_only_its_hash_could_speak_for_is_required() {
    assert!(matches!(verify_with("ok-iam-query", absent), Verdict::BodyRequired));
}

#[test]
fn another_body_is_refused_however_it_is_known() {
    let verdict = verify_with("ok-no-space-after-comma", another);
    assert_eq!(verdict.code(), Some("XAmzContentSHA256Mismatch"), "{verdict:?}");
    assert_eq!(verify_with("ok-iam-query", another).code(), Some("SignatureDoesNotMatch"));
}

#[test]
fn no_text_outside_tells_the_right_signature() {
    let verdict = verify_with("bad-secret", whole);
    let Verdict::Refused(Refusal::SignatureDoesNotMatch { .. }, outside) = verdict else { panic!("{verdict:?}") };
    let right = "126dd5cbabe8c17e4b670872d17560655f0b2812d26b32250ac7506224490957";
    assert!(!format!("{outside:?}").contains(right), "{outside:?}");
    let element = |name: &str| outside.elements.iter().find(|(given, _)| *given == name).map(|(_, text)| text.as_str());
    let string_to_sign = element("StringToSign").expect("S3 tells it");
    assert!(string_to_sign.starts_with("AWS4-HMAC-SHA256\n20260102T030405Z\n20260102/"), "{string_to_sign}");
    assert_eq!(element("StringToSignBytes").map(|bytes| &bytes[..11]), Some("41 57 53 34"));
    assert_eq!(outside.elements.len(), 4);
    assert!(verify_with("ok-no-space-after-comma", whole).is_accepted(), "the right one of these bytes");
}

fn fields<'a>(headers: &[(&'a str, &'a str)]) -> Result<RequestHead<'a>, HeadError> {
    let fields = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    RequestHead::from_fields(b"GET", b"/", fields, &Limits::default())
}

#[test]
fn what_is_no_head_is_said_to_be_none_and_where() {
    let long = "x".repeat(40 * 1024);
    let many = vec![("a", "b"); 129];
    let rows: [(Result<RequestHead<'_>, HeadError>, &str); 6] = [
        (fields(&[("a", &long)]), "longer than 32768 bytes"),
        (fields(&many), "more than 128 headers"),
        (fields(&[("a", "b"), ("c ", "d")]), "header 1 cannot be a header: its name"),
        (fields(&[("", "d")]), "header 0 cannot be a header: its name"),
        (fields(&[("a", "b\r\nx-amz-acl: c")]), "header 0 cannot be a header: its value holds a line break"),
        (fields(&[("a", "b\0")]), "header 0 cannot be a header: its value holds a NUL"),
    ];
    for (result, expected) in rows {
        let message = result.expect_err(expected).to_string();
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
    assert!(fields(&vec![("a", "b"); 128]).is_ok());
    // No limit makes room for more: there is one bit for each.
    let limits = Limits { headers: 500, ..Limits::default() };
    let head = |count| RequestHead::from_fields(b"GET", b"/", vec![(&b"a"[..], &b"b"[..]); count], &limits);
    assert!(head(128).is_ok() && head(129).is_err());
}

#[test]
fn lines_that_are_none_are_told_by_number() {
    let rows: [(&str, &str); 9] = [
        ("", "line 1"),
        ("GET /\n\n", "line 1 is not a request line: no HTTP version"),
        (" GET / HTTP/1.1\n\n", "line 1 is not a request line: a blank before the method"),
        ("GET / HTTP/1.1\nHost: h\nx-amz-acl : private\n\n", "line 3 is not a header line: its name"),
        ("GET / HTTP/1.1\nHost: h\nno colon\n\n", "line 3 is not a header line: no colon"),
        ("GET / HTTP/1.1\n : empty\n\n", "line 2"),
        ("GET / HTTP/1.1\nHost: a\rb\n\n", "line 2 is not a header line: its value holds a NUL byte or a lone CR"),
        ("G(T / HTTP/1.1\n\n", "the method"),
        ("GET / HTTP/9.9\n\n", "line 1 is not a request line: it does not end in an HTTP version"),
    ];
    for (raw, expected) in rows {
        let message = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect_err(raw).to_string();
        assert!(message.contains(expected), "{raw:?}: {message:?} does not say {expected:?}");
    }
    let long = format!("GET / HTTP/1.1\nHost: h\na: {}\n\n", "x".repeat(40 * 1024));
    let message = RequestHead::parse(long.as_bytes(), &Limits::default()).expect_err("too long").to_string();
    assert!(message.contains("longer than 32768 bytes"), "{message}");
}

#[test]
fn folded_lines_are_one_value() {
    let raw = b"GET / HTTP/1.1\r\nA: one\r\n  two\r\n\tthree\r\nHost: h\r\n\r\nbody";
    let (head, body) = RequestHead::parse(raw, &Limits::default()).expect("a head");
    assert_eq!(head.headers().len(), 2);
    assert_eq!((head.headers()[1].name, head.headers()[1].value), (&b"Host"[..], &b"h"[..]));
    assert_eq!(&raw[body..], b"body");
}

#[test]
fn signatures_are_64_digits_in_lower_case() {
    let read = |end: &str| {
        let sig = format!("{}{end}", "0".repeat(64 - end.len()));
        let request = raw("s3", "GET /b/k?{presigned} HTTP/1.1\nHost: h\n\n").replace(&"0".repeat(64), &sig);
        let (head, _) = RequestHead::parse(request.as_bytes(), &Limits::default()).expect("a request");
        SignedRequest::parse(&head).map(|_| ())
    };
    for end in ["0", "9", "a", "f", "0123456789abcdef"] {
        assert_eq!(read(end), Ok(()), "{end}");
    }
    for end in ["/", ":", "g", "gg", "A", "F", "`", "@", "-", "%3A"] {
        assert!(matches!(read(end), Err(Refusal::MalformedSignature { .. })), "{end}: {:?}", read(end));
    }
}

#[test]
fn values_are_trimmed_of_blanks_and_of_nothing_else() {
    for (line, value) in [
        ("A:b", "b"),
        ("A: b", "b"),
        ("A: \t b c \t ", "b c"),
        ("A:", ""),
        ("A: ", ""),
        ("A: \x01b\x02", "\x01b\x02"),
        ("A: \x7fb\x0c ", "\x7fb\x0c"),
    ] {
        let raw = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a head");
        assert_eq!(head.headers()[0].value, value.as_bytes(), "{line:?}");
    }
}

#[test]
fn the_bound_on_a_head_is_exact() {
    let raw = b"GET /ab HTTP/1.1\r\nHost: h\r\nA: bcd\r\n\r\n";
    let fields = [(&b"Host"[..], &b"h"[..]), (b"A", b"bcd")];
    let least = |fits: &dyn Fn(&Limits) -> bool| {
        (0..100).find(|head_bytes| fits(&Limits { head_bytes: *head_bytes, ..Limits::default() }))
    };
    assert_eq!(least(&|limits| RequestHead::parse(raw, limits).is_ok()), Some(raw.len()));
    let without_empty_line = raw.len() - 2;
    let from_fields = |limits: &Limits| RequestHead::from_fields(b"GET", b"/ab", fields, limits).is_ok();
    assert_eq!(least(&from_fields), Some(without_empty_line));
}

#[test]
fn session_tokens_of_signature_v2_are_seen() {
    let header =
        "Date: Fri, 02 Jan 2026 03:04:05 GMT\nAuthorization: AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=\n";
    let query = "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1767323105&Signature=qgk2%2B6Sv9%2FoM7G3qLEjTH1a1l1g%3D";
    for (query, lines, has_token) in [
        ("", header, false),
        ("", &*format!("{header}X-Amz-Security-Token: t\n"), true),
        (query, "", false),
        (&format!("{query}&x-amz-security-token=t"), "", true),
        (&format!("{query}&SecurityToken=t"), "", true),
        (&format!("{query}&securitytokens=t&x-amz-security=t"), "", false),
    ] {
        let raw = format!("GET /b/k?{query} HTTP/1.1\nHost: h\n{lines}\n");
        let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a request");
        let request = rederive::sigv2::S3Request::parse(&head).unwrap_or_else(|refusal| panic!("{raw}: {refusal:?}"));
        assert_eq!((request.access_key_id(), request.has_session_token()), (ID, has_token), "{raw}");
    }
}
