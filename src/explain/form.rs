//! Forms with a POST policy, whose signature is one of the policy as it stands there in base64.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::deviations::{Deviation, describe_steps, given, refused_for_time_and_scope};
use super::seals::{self, Key};
use super::variants::{Part, Step};
use super::{ExplainOptions, unread};
use crate::sigv4::{
    ALGORITHM, Body, Expectation, PreparedSigningKey, Refusal, Regions, RequestHead, SignedRequest, lower_hex,
};

/// Length of a line of base64 in MIME (RFC 2045), which tools break it into.
const LINE: usize = 76;

/// With the secrets that the options give: what has to be otherwise for the signature to be right, and what the policy
/// demands beside it.
pub(super) fn offline<'a>(
    request: &SignedRequest<'_, 'a>,
    head: &RequestHead<'a>,
    policy: &str,
    service: &str,
    options: &ExplainOptions<'_>,
    refusal: &Refusal,
) -> Vec<Deviation> {
    let given = given(request, head, Body::Absent, options.hosts);
    let keys = seals::keys(&given, request.authorization(), options);
    let Some(found) = search(request, policy, &keys) else { return Vec::new() };
    let regions = options.region.map_or(Regions::Any, Regions::Named);
    let expectation = Expectation { service, regions };
    let check = |at| request.check_scope_and_time(&expectation, at).err();
    let mut steps = refused_for_time_and_scope(check, request.date().unix(), options.at, &given);
    if let Refusal::Form(fault) = refusal {
        let more = unread::form(fault).into_iter().filter(|step| steps.iter().all(|known| known.name != step.name));
        steps.extend(more.collect::<Vec<_>>());
    }
    describe_steps(found, steps)
}

/// With the signing key of the scope that the request states: another policy text alone.
pub(crate) fn with_key(request: &SignedRequest<'_, '_>, policy: &str, key: &Arc<PreparedSigningKey>) -> Vec<Deviation> {
    let key = Key { key: key.clone(), steps: Vec::new() };
    search(request, policy, &[key]).map_or(Vec::new(), |found| describe_steps(found, Vec::new()))
}

/// The fewest of what may be otherwise: the key, and what was signed of the policy.
fn search(request: &SignedRequest<'_, '_>, policy: &str, keys: &[Key]) -> Option<Vec<Step>> {
    let signature = request.authorization().signature.decode();
    let messages = messages(request, policy).into_sorted();
    let pairs = messages.iter().flat_map(|message| keys.iter().map(move |key| (message, key)));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by_key(|(message, key)| message.steps.len() + key.steps.len());
    let right = pairs.into_iter().find(|(message, key)| key.key.matches(&message.text, &signature));
    right.map(|(message, key)| message.steps.iter().chain(&key.steps).cloned().collect())
}

/// What may have been signed.
fn messages(request: &SignedRequest<'_, '_>, policy: &str) -> Part {
    let mut part = Part::with_base(policy);
    let mut add = |name: &str, text: Vec<u8>, condition: &str| {
        part.add(text, vec![Step::new(format!("policy={name}"), format!("{condition} had been signed"))]);
    };
    let compact: String = policy.split_ascii_whitespace().collect();
    add("without-line-ends", compact.clone().into_bytes(), "the policy without its line ends");
    add("line-end", [&compact, "\n"].concat().into_bytes(), "the policy with a line end after it");
    let lines: Vec<_> = compact.as_bytes().chunks(LINE).map(|line| [line, b"\n"].concat()).collect();
    add("lines", lines.concat(), "the policy in lines of 76 characters");
    add("unpadded", compact.trim_end_matches('=').as_bytes().to_vec(), "the policy without the `=` at its end");
    add("url-safe", compact.replace('+', "-").replace('/', "_").into_bytes(), "the policy in base64 for URLs");
    if let Ok(json) = STANDARD.decode(&compact) {
        add("decoded", json, "the policy's JSON, and not its base64,");
    }
    let hash = lower_hex(&Sha256::digest(policy).into());
    let scope = request.scope();
    let start = format!(
        "{ALGORITHM}\n{}\n{}/{}/{}/aws4_request\n",
        request.date(),
        scope.date(),
        scope.region(),
        scope.service()
    );
    add("string-to-sign", [start.as_bytes(), &hash].concat(), "a string to sign over the policy's hash");
    part
}
