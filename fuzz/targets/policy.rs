//! A policy document: any text is one or is refused, and what is one gives the same verdict twice.
#![no_main]

use rederive::policy::{Context, Policy, Request, evaluate};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(policy) = Policy::parse(text) else { return };
    let context = Context::at(1_795_348_800).with("aws:username", "alice").with("aws:SourceIp", "192.0.2.1");
    for (action, resource) in [("iam:GetUser", "arn:aws:iam::123456789012:user/eng/alice"), ("sts:GetAccessKeyInfo", "*")] {
        let request = Request { action, resource, context: &context };
        assert_eq!(evaluate([&policy], &request), evaluate([&policy, &policy], &request));
    }
});
