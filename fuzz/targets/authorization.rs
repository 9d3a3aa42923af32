//! The Authorization header: any bytes in its place are parsed or refused, and never panic.
#![no_main]

use rederive::sigv4::{Limits, RequestHead, SignedRequest};

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    let headers = [
        (b"host".as_slice(), b"s3.example.test".as_slice()),
        (b"x-amz-date".as_slice(), b"20260102T030405Z".as_slice()),
        (b"authorization".as_slice(), value),
    ];
    if let Ok(head) = RequestHead::from_fields(b"GET", b"/b/k", headers, &Limits::default()) {
        let _ = SignedRequest::parse(&head);
    }
});
