//! A raw HTTP/1.1 request, as `explain` takes it.
#![no_main]

use rederive::explain::{ExplainOptions, explain};

libfuzzer_sys::fuzz_target!(|request: &[u8]| {
    let secret = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".as_slice();
    for secret in [None, Some(secret)] {
        let _ = explain(request, &ExplainOptions { secret, at: 1_767_323_045, ..ExplainOptions::default() });
    }
});
