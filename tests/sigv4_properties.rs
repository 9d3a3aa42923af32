//! Properties of the signature core over random requests.

mod sigv4_support;

#[path = "sigv4_support/mutations.rs"]
mod mutations;
#[path = "sigv4_support/sdk_signer.rs"]
mod sdk_signer;

use proptest::prelude::*;
use rederive::sigv4::{Body, Family, Limits, RequestHead, SignedRequest};
use sdk_signer::{ID, NOW, SECRET, awkward, sign, unsigned, uri_encode};
use sigv4_support::Verifier;

const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

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

/// The last line of the canonical request, where there is no body: what the signature says of it.
#[test]
fn the_payload_line_is_what_is_signed() {
    let hash = format!("x-amz-content-sha256: {HASH_OF_NOTHING}\n");
    let presigned = |signed: &str, more: &str| {
        format!(
            "GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ID}/20260102/local/s3/aws4_request&X-Amz-Date=\
             20260102T030405Z&X-Amz-Expires=60&X-Amz-SignedHeaders={signed}&X-Amz-Signature={HASH_OF_NOTHING}{more} HTTP/1.1\n"
        )
    };
    let in_header = |signed: &str| {
        format!(
            "GET / HTTP/1.1\nx-amz-date: 20260102T030405Z\nAuthorization: AWS4-HMAC-SHA256 Credential={ID}/20260102/local/iam/\
             aws4_request, SignedHeaders={signed}, Signature={HASH_OF_NOTHING}\n"
        )
    };
    let parameter = format!("&X-Amz-Content-Sha256={HASH_OF_NOTHING}");
    let all = "host;x-amz-content-sha256;x-amz-date";
    for (start, hash, family, line) in [
        (presigned("host", ""), "", Family::S3, Some("UNSIGNED-PAYLOAD")),
        (presigned("host", ""), &*hash, Family::S3, Some("UNSIGNED-PAYLOAD")),
        (presigned("host;x-amz-content-sha256", ""), &*hash, Family::S3, Some(HASH_OF_NOTHING)),
        (presigned("host", &parameter), "", Family::S3, Some(HASH_OF_NOTHING)),
        (presigned("host", &parameter), &*hash, Family::S3, Some(HASH_OF_NOTHING)),
        (presigned("host", &parameter.replace("e3b0", "e3b1")), &*hash, Family::S3, None),
        (in_header(all), &*hash, Family::Query, Some(HASH_OF_NOTHING)),
        // Whoever sends the request can set an unsigned header.
        (in_header("host;x-amz-date"), &*hash, Family::Query, None),
    ] {
        let raw = format!("{start}Host: h\n{hash}\n");
        let (head, _) = RequestHead::parse(raw.as_bytes(), &Limits::default()).expect("a head");
        let request = SignedRequest::parse(&head).expect("well formed");
        let canonical = request.canonical_request(family, Body::Absent).ok();
        let text = canonical.map(|canonical| String::from_utf8(canonical.text().to_vec()).expect("text"));
        assert_eq!(text.as_deref().and_then(|text| text.lines().last()), line, "{raw}");
    }
}

/// The control of the properties that may skip a target: a common one is not skipped.
#[test]
fn common_targets_have_a_canonical_form() {
    let lines = |path: &str, query: &str| Some((path.to_owned(), query.to_owned()));
    assert_eq!(canonical_lines("/a b/%7e//..?b=+&a", "s3"), lines("/a%20b/~//..", "a=&b=%20"));
    // One thing alone that is not canonical, each in its turn.
    for (sent, path, query) in [
        ("/%7e", "/~", ""),
        ("/%41?%2E", "/A", ".="),
        ("/%c3%A4", "/%C3%A4", ""),
        ("/a%20+b", "/a%20%2Bb", ""),
        ("/a+b/%41", "/a%2Bb/A", ""),
        ("/a%2fb%2F/", "/a%2Fb%2F/", ""),
        ("/?a=/&b=%2f", "/", "a=%2F&b=%2F"),
    ] {
        assert_eq!(canonical_lines(sent, "s3"), lines(path, query), "{sent}");
    }
    assert_eq!(canonical_lines("/a//b/../%7e/", "iam"), lines("/a/%257e/", ""));
    assert_eq!(canonical_lines("/a/../..", "iam"), None);
    assert_eq!(canonical_lines("/a%2", "s3"), None);
}
