//! Requests of Signature V4A.

use std::sync::Arc;

use super::effort::Effort;
use super::search::{Seal, search};
use super::variants::Step;
use super::{ExplainOptions, Explanation, deviations, seals};
use crate::sigv4::{Body, Expectation, Family, Regions, RequestHead, StringToSignError, lower_hex};
use crate::sigv4a::{ALGORITHM, PublicKey, V4aRequest};

/// Judges a request, and looks for what deviates where its signature does not match.
pub(super) fn explain<'a>(
    head: &RequestHead<'a>,
    body: Body<'a>,
    service: &str,
    options: &ExplainOptions<'_>,
    to: &mut Explanation,
) -> Result<(), StringToSignError> {
    let request = V4aRequest::parse(head)?;
    let judged = judge(&request, body, service, options, to);
    if let Err(StringToSignError::Refused(refusal)) = &judged {
        let given = deviations::given(request.unsigned(), head, body, options.hosts);
        let found = search(deviations::forms(&given, request.unsigned()), &keys(&request, options), Effort::COSTLY);
        let regions = options.region.map_or(Regions::Any, Regions::Named);
        let expectation = Expectation { service, regions };
        let check = |at| request.check_scope_and_time(&expectation, at).err();
        let signed = request.unsigned().date().unix();
        to.deviations = found.map_or(Vec::new(), |found| {
            let mut steps = deviations::refused_for_time_and_scope(check, signed, options.at, &given);
            steps.extend(deviations::refused_for_content(refusal, &given));
            deviations::describe(steps, found)
        });
    }
    judged
}

fn judge<'a>(
    request: &V4aRequest<'_, 'a>,
    body: Body<'a>,
    service: &str,
    options: &ExplainOptions<'_>,
    to: &mut Explanation,
) -> Result<(), StringToSignError> {
    if let Ok(canonical) = request.canonical_request(Family::of(service), body) {
        to.canonical_request = Some(String::from_utf8_lossy(canonical.text()).into_owned());
        to.string_to_sign = Some(request.string_to_sign_text(&canonical.sha256()));
    }
    let regions = options.region.map_or(Regions::Any, Regions::Named);
    let scoped = request.check_scope_and_time(&Expectation { service, regions }, options.at)?;
    let string_to_sign = scoped.string_to_sign(body)?;
    let Some(key) = options.secret.and_then(|secret| PublicKey::derive(secret, request.access_key_id())) else {
        to.message = Some("every check passes that needs no key; the signature is not checked".to_owned());
        return Ok(());
    };
    let verified = string_to_sign.verify(&key)?;
    to.accept();
    to.notes.push(format!("payload: {}", verified.payload().as_str()));
    Ok(())
}

/// The keys of the secrets that there are.
fn keys(request: &V4aRequest<'_, '_>, options: &ExplainOptions<'_>) -> Vec<Seal> {
    let Some(secret) = options.secret else { return Vec::new() };
    let start = format!("{ALGORITHM}\n{}\n{}\n", request.unsigned().date(), request.scope());
    let signature: Arc<[u8]> = request.signature().into();
    let seal = |secret: &[u8], steps: Vec<Step>| {
        let (start, signature) = (start.clone(), signature.clone());
        let key = PublicKey::derive(secret, request.access_key_id())?;
        let is_right = move |hash: &[u8; 32]| key.verifies(&[start.as_bytes(), &lower_hex(hash)].concat(), &signature);
        Some(Seal { is_right: Box::new(is_right), steps })
    };
    let others = seals::other_secrets(secret, options);
    let others = others.into_iter().filter_map(|(other, step)| seal(&other, vec![step]));
    seal(secret, vec![]).into_iter().chain(others).collect()
}
