//! The request target, with a presigned query or without: parsed, canonicalised in both styles, or refused; never a panic.
#![no_main]

use rederive::sigv4::{Body, Family, Limits, RequestHead, SignedRequest};

const AUTHORIZATION: &[u8] = b"AWS4-HMAC-SHA256 Credential=AKIARZPUZDIKAAERULUU/20260102/local/s3/aws4_request, \
    SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000";

libfuzzer_sys::fuzz_target!(|target: &[u8]| {
    let host = (b"host".as_slice(), b"s3.example.test".as_slice());
    let date = (b"x-amz-date".as_slice(), b"20260102T030405Z".as_slice());
    let signed = vec![host, date, (b"authorization".as_slice(), AUTHORIZATION)];
    for headers in [vec![host], signed] {
        let Ok(head) = RequestHead::from_fields(b"GET", target, headers, &Limits::default()) else { continue };
        let Ok(request) = SignedRequest::parse(&head) else { continue };
        for family in [Family::S3, Family::Query] {
            let _ = request.canonical_request(family, Body::Bytes(b"")).map(|canonical| canonical.sha256());
        }
    }
});
