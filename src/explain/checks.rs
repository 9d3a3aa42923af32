//! What a verifier refuses though the signature is right: where a request was not signed for this time, place or content.

use std::collections::BTreeSet;

use super::given::Given;
use super::payload::unchunked;
use super::variants::Step;
use crate::sigv4::{Body, Refusal, ScopeFault};

/// What a refusal demands to be otherwise; nothing where it says no more than that the signature is another.
pub(super) fn steps(refusal: &Refusal, given: &Given<'_, '_>) -> Vec<Step> {
    match refusal {
        Refusal::Skewed { signed, now, .. } => {
            let seconds = now - signed.unix();
            let (late, by) = if seconds < 0 { ("ahead of", -seconds) } else { ("behind", seconds) };
            vec![Step::new(
                "clock=skewed",
                format!("it were {signed} now: the client's clock is {by} s {late} ours, or the request was kept back"),
            )]
        }
        Refusal::Expired { signed, expires, .. } => {
            let condition = format!("the URL had not expired: it was good for {expires} s from {signed}");
            vec![Step::new("clock=expired", condition)]
        }
        Refusal::NotYetValid { signed, .. } => {
            vec![Step::new("clock=not-yet-valid", format!("it were {signed} now: the client's clock is ahead of ours"))]
        }
        Refusal::WrongScope { faults, .. } => faults.iter().map(scope_step).collect(),
        Refusal::HeadersNotSigned(names) => names.iter().map(|name| unsigned(name)).collect(),
        Refusal::BodyMismatch { claimed, .. } => vec![body_step(claimed, given)],
        _ => Vec::new(),
    }
}

fn scope_step(fault: &ScopeFault) -> Step {
    let wrong = |kind: &str, got: &str, expected: &str| {
        let condition = format!("the {kind} `{got}` were right here, where `{expected}` is expected");
        Step::new(format!("scope={kind}"), condition)
    };
    match fault {
        ScopeFault::Region { got, expected } => wrong("region", got, expected),
        ScopeFault::Service { got, expected } => wrong("service", got, expected),
        ScopeFault::Date { got, signed } => wrong("date", got, signed.date()),
    }
}

fn unsigned(name: &str) -> Step {
    let condition = format!("`{name}` need not be signed: it was added after signing, or the signer leaves it out");
    Step::new(format!("header=unsigned:{name}"), condition)
}

/// The signature is right, and the body is not the one of its hash.
fn body_step(claimed: &[u8; 32], given: &Given<'_, '_>) -> Step {
    let is_claimed = |bytes: &[u8]| Body::Bytes(bytes).sha256() == Some(*claimed);
    let Body::Bytes(body) = given.body else {
        return Step::new("body=changed", "the body were the one that was signed: it was changed on the way");
    };
    match body {
        _ if is_claimed(b"") => Step::new("body=added", "the body were empty, as it was when it was signed"),
        _ if unchunked(body).is_some_and(|plain| is_claimed(&plain)) => {
            Step::new("body=chunked", "the body had no aws-chunked framing, as it had none when it was signed")
        }
        b"" => Step::new("body=removed", "the body were there: it was signed with one, and has none"),
        _ => Step::new("body=changed", "the body were the one that was signed: it was changed on the way"),
    }
}

/// Names of received `x-amz-…` headers that are not signed, and `host` if it is not.
pub(super) fn not_signed(given: &Given<'_, '_>) -> Vec<Step> {
    let headers = given.head.headers().iter().map(|header| header.name.to_ascii_lowercase());
    let amz = headers.filter(|name| name.starts_with(b"x-amz-") && *name != b"x-amz-content-sha256");
    let names: BTreeSet<Vec<u8>> = amz.chain([b"host".to_vec()]).filter(|name| !given.is_signed(name)).collect();
    names.iter().map(|name| unsigned(&String::from_utf8_lossy(name))).collect()
}
