//! Properties of the signature core over random requests.

mod sigv4_support;

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode,
};
use proptest::prelude::*;
use rederive::sigv4::{Body, Family, Limits, RequestHead, SignedRequest, UnixSeconds};
use sigv4_support::Verifier;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW: UnixSeconds = 1_767_323_045;
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request as a client would have it before it is signed.
#[derive(Clone, Debug)]
struct Unsigned {
    service: &'static str,
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    in_query: bool,
    token: Option<String>,
}

/// The encoding of the documentation, written anew so that the code under test does not check itself.
fn uri_encode(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Text with all that is awkward in keys and parameters.
fn awkward() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zA-Z0-9 +%/&=;:@!$'()*,?~_.äß語\\-]{1,12}").expect("a pattern")
}

fn unsigned() -> impl Strategy<Value = Unsigned> {
    let segment = awkward().prop_filter("dot segments are the vectors' part", |s| s != "." && s != "..");
    let headers = proptest::collection::btree_map(
        "x-amz-meta-[a-z]{1,6}|my-[a-z]{1,8}",
        "[!-~]{1,8}( {1,3}[!-~]{1,8}){0,2}",
        0..5,
    );
    (
        prop_oneof![Just("s3"), Just("iam"), Just("execute-api")],
        prop_oneof![Just("GET"), Just("PUT"), Just("POST"), Just("DELETE")],
        proptest::collection::vec(prop_oneof![4 => segment, 1 => Just(String::new())], 0..4),
        proptest::collection::vec((awkward(), prop_oneof![awkward(), Just(String::new())]), 0..4),
        headers,
        proptest::collection::vec(any::<u8>(), 0..40),
        any::<bool>(),
        proptest::option::of("[A-Za-z0-9+/]{20,40}=="),
    )
        .prop_map(|(service, method, segments, query, headers, body, in_query, token)| Unsigned {
            service,
            method,
            path: format!("/{}", segments.iter().map(|s| uri_encode(s)).collect::<Vec<_>>().join("/")),
            query,
            headers: headers.into_iter().collect(),
            body,
            in_query,
            token,
        })
}

fn settings(request: &Unsigned) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if request.service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    if request.in_query {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(600));
    }
    settings
}

/// Signs with the signer of AWS's own Rust SDK, and writes the request as it goes over the wire.
fn sign(request: &Unsigned) -> Vec<u8> {
    let identity = Credentials::new(ID, SECRET, request.token.clone(), None, "test").into();
    let parameters = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region("local")
        .name(request.service)
        .time(UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs()))
        .settings(settings(request))
        .build()
        .expect("all that is needed")
        .into();
    let query: Vec<_> =
        request.query.iter().map(|(name, value)| format!("{}={}", uri_encode(name), uri_encode(value))).collect();
    let mut target = request.path.clone();
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let headers = || request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = match (request.service, request.in_query) {
        ("s3", true) => SignableBody::UnsignedPayload,
        _ => SignableBody::Bytes(&request.body),
    };
    let signable = SignableRequest::new(request.method, format!("http://host.example{target}"), headers(), body);
    let signed = aws_sigv4::http_request::sign(signable.expect("a request"), &parameters).expect("it signs");
    let (instructions, _) = signed.into_parts();
    for (name, value) in instructions.params() {
        let mark = if target.contains('?') { '&' } else { '?' };
        target = format!("{target}{mark}{name}={}", uri_encode(value));
    }
    let mut raw = format!("{} {target} HTTP/1.1\r\nHost: host.example\r\n", request.method);
    for (name, value) in headers().chain(instructions.headers()) {
        raw += &format!("{name}: {value}\r\n");
    }
    [format!("{raw}\r\n").into_bytes(), request.body.clone()].concat()
}

/// A head signed with nonsense, for looking at its canonical form.
fn canonical_lines(target: &str, service: &str) -> Option<(String, String)> {
    let raw = format!(
        "GET {target} HTTP/1.1\nHost: h\nx-amz-date: 20260102T030405Z\nx-amz-content-sha256: {HASH_OF_NOTHING}\n\
         Authorization: AWS4-HMAC-SHA256 Credential={ID}/20260102/local/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={HASH_OF_NOTHING}\n\n"
    );
    let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).ok()?;
    let request = SignedRequest::parse(&head).ok()?;
    let canonical = request.canonical_request(Family::of(service), Body::Bytes(b"")).ok()?;
    let text = String::from_utf8(canonical.text().to_vec()).expect("encoded");
    let mut lines = text.lines().skip(1).map(str::to_owned);
    lines.next().zip(lines.next())
}

/// Text that comes near to a request, so that it reaches the depths of the parsers.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("Host".to_owned()),
        Just("X-Amz-Date".to_owned()),
        Just("x-amz-content-sha256".to_owned()),
        Just("Authorization".to_owned()),
        Just("Date".to_owned()),
        Just("x-amz-security-token".to_owned()),
        "[!-~]{0,10}"
    ];
    let value = prop_oneof![
        Just(format!(
            "AWS4-HMAC-SHA256 Credential={ID}/20260102/local/s3/aws4_request, SignedHeaders=host;x-amz-date, \
             Signature={HASH_OF_NOTHING}"
        )),
        Just("20260102T030405Z".to_owned()),
        Just(HASH_OF_NOTHING.to_owned()),
        "AWS4-HMAC-SHA256 [ -~]{0,60}",
        "\\PC{0,40}"
    ];
    let parameter = prop_oneof![
        "X-Amz-(Date|Expires|Credential|Signature|SignedHeaders|Algorithm|Security-Token)=[ -~]{0,30}",
        Just("X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned()),
        "[%&=+#a-z0-9]{0,20}"
    ];
    let target = ("(http://h|)/[ -~]{0,30}", proptest::collection::vec(parameter, 0..9));
    let headers = proptest::collection::vec((name, value), 0..8);
    (target, headers).prop_map(|((path, parameters), headers)| {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {path}?{} HTTP/1.1\r\n{headers}\r\n", parameters.join("&")).into_bytes()
    })
}

fn verify_in_all_families(raw: &[u8]) {
    for service in ["s3", "iam"] {
        Verifier { secret: SECRET, service, now: NOW }.verify(raw);
    }
}

proptest! {
    #[test]
    fn what_the_sdk_signs_is_accepted_and_nothing_else(request in unsigned()) {
        let verifier = Verifier { secret: SECRET, service: request.service, now: NOW };
        let raw = sign(&request);
        let verdict = verifier.verify(&raw);
        prop_assert!(verdict.is_accepted(), "{verdict:?}\n{}", String::from_utf8_lossy(&raw));
        let other = Verifier { secret: "another", ..verifier };
        prop_assert!(!other.verify(&raw).is_accepted());
        let other_path = String::from_utf8_lossy(&raw).replacen(" /", " /z", 1);
        prop_assert!(!verifier.verify(other_path.as_bytes()).is_accepted());
    }

    #[test]
    fn the_canonical_form_of_s3_is_its_own_canonical_form(path in awkward(), query in "[a-zA-Z0-9+%&=;:!~ä/]{0,30}") {
        if let Some((path, query)) = canonical_lines(&format!("/{path}?{query}"), "s3") {
            prop_assert_eq!(canonical_lines(&format!("{path}?{query}"), "s3"), Some((path, query)));
        }
    }

    #[test]
    fn the_order_of_parameters_does_not_matter(
        parameters in proptest::collection::vec(("[a-c%+ä]{1,3}", "[a-c%+ä]{0,2}"), 1..6).prop_shuffle()
    ) {
        let encode = |(name, value): &(String, String)| format!("{}={}", uri_encode(name), uri_encode(value));
        let given: Vec<_> = parameters.iter().map(encode).collect();
        let mut sorted = parameters.clone();
        sorted.sort_by_key(|(name, value)| (uri_encode(name), uri_encode(value)));
        let sorted: Vec<_> = sorted.iter().map(encode).collect();
        let lines = canonical_lines(&format!("/?{}", given.join("&")), "s3");
        prop_assert_eq!(lines, Some(("/".to_owned(), sorted.join("&"))));
    }

    #[test]
    fn normalized_paths_have_no_dot_segments(segments in proptest::collection::vec("[a-z]|[.]|[.][.]|", 1..9)) {
        if let Some((path, _)) = canonical_lines(&format!("/{}", segments.join("/")), "iam") {
            prop_assert!(path.starts_with('/') && !path.contains("//"), "{path}");
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
        }
    }

    #[test]
    fn random_bytes_are_no_trouble(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        verify_in_all_families(&raw);
    }

    #[test]
    fn what_is_nearly_a_request_is_no_trouble(raw in nearly_a_request()) {
        verify_in_all_families(&raw);
    }

    #[test]
    fn fields_and_raw_heads_are_the_same(request in unsigned()) {
        let raw = sign(&request);
        let (head, body) = RequestHead::parse(&raw, &Limits::default()).expect("a request");
        let fields = head.headers().iter().map(|header| (header.name, header.value));
        let from_fields = RequestHead::from_fields(head.method(), head.target(), fields, &Limits::default());
        let verifier = Verifier { secret: SECRET, service: request.service, now: NOW };
        let verdict = verifier.verify_head(&from_fields.expect("a request"), Body::Bytes(&raw[body..]));
        prop_assert!(verdict.is_accepted(), "{verdict:?}");
    }
}

/// The control of the properties that may skip a target: a common one is not skipped.
#[test]
fn common_targets_have_a_canonical_form() {
    let lines = |path: &str, query: &str| Some((path.to_owned(), query.to_owned()));
    assert_eq!(canonical_lines("/a b/%7e//..?b=+&a", "s3"), lines("/a%20b/~//..", "a=&b=%20"));
    assert_eq!(canonical_lines("/a//b/../%7e/", "iam"), lines("/a/%257e/", ""));
    assert_eq!(canonical_lines("/a/../..", "iam"), None);
    assert_eq!(canonical_lines("/a%2", "s3"), None);
}
