//! A request that has the shape of one before: read by that shape, it comes to what it comes to when it is read from the
//! beginning.
#![no_main]

use rederive::sigv4::{
    Body, Claimed, CredentialText, Expectation, Limits, PreparedSigningKey, Regions, RequestHead, Shape, SignedRequest,
    StringToSignError,
};
use rederive_hsm::signing_key::SigningKey;

/// What the input follows: headers, so that a short input makes a request.
const BEFORE: &str = "GET /b/k HTTP/1.1\nHost: s3.example\nRange: bytes=0-1\nX-Amz-Date: 20260102T030405Z\n\
     x-amz-content-sha256: UNSIGNED-PAYLOAD\n\
     Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/local/s3/aws4_request, \
     SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
     Signature=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n";

/// What is decided of a request. That its signature is not the right one is told together with the string to sign.
fn decided(request: &SignedRequest<'_, '_>, key: &PreparedSigningKey) -> (String, String) {
    let expectation = Expectation { service: "s3", regions: Regions::Any };
    let said = format!("{} {} {}", request.access_key_id(), request.scope(), request.date());
    let outcome = request
        .check_scope_and_time(&expectation, 1_767_323_045)
        .map_err(StringToSignError::from)
        .and_then(|scoped| scoped.string_to_sign(Body::Absent))
        .and_then(|string| string.verify(key).map_err(StringToSignError::from));
    (said, format!("{outcome:?}"))
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let (before, _) = RequestHead::parse(BEFORE.as_bytes(), &limits).expect("a head");
    let before = SignedRequest::parse(&before).expect("well formed");
    let shape = Shape::of(&before, usize::MAX).expect("of a common kind");
    let known = CredentialText::new(before.access_key_id(), &before.scope());
    // Each line of the input takes the place of the value of one of the lines.
    let mut values = input.split(|byte| *byte == b'\n');
    let mut raw = Vec::new();
    for line in BEFORE.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_at(line.find(' ').map_or(line.len(), |at| at + 1));
        raw.extend_from_slice(name.as_bytes());
        raw.extend_from_slice(values.next().filter(|value| !value.is_empty()).unwrap_or(value.as_bytes()));
        raw.push(b'\n');
    }
    raw.push(b'\n');
    let Ok((head, _)) = RequestHead::parse(&raw, &limits) else { return };
    let Some(claimed) = Claimed::find(&head) else { return };
    if let Some(alike) = shape.read(&head, &claimed, &known) {
        let read = SignedRequest::parse(&head).expect("what reads by its shape reads from the beginning");
        let key = PreparedSigningKey::new(SigningKey::derive_from_text(b"secret", b"20260102", "local", "s3"));
        assert_eq!(decided(&read, &key), decided(&alike, &key), "{}", String::from_utf8_lossy(&raw));
    }
});
