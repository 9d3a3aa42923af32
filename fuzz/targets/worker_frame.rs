//! The frames between authority and worker, both ways.
#![no_main]

use rederive_hsm::wire::{Answer, Hello, Request};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    if let Ok((number, request)) = Request::decode(body) {
        assert_eq!(request.encode(number), body, "a frame has one reading and one writing");
    }
    let _ = Hello::decode(body);
    let _ = Answer::decode(&mut body.to_vec());
});
