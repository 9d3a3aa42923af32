//! Requests with the verdict and the AWS code that a strict verifier gives: `tests/vectors/computed/request-cases.json`.
//!
//! `known-errors.toml` lists rows that come out otherwise; `choices.toml` says what was chosen where the row leaves it
//! open.

mod sigv4_support;

use std::collections::BTreeMap;

use serde::Deserialize;
use sigv4_support::{Expect, RequestCases, Results, Verdict, Verifier, read_text, tests_path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choices {
    choice: Vec<Choice>,
}

/// What comes out where a row leaves it open.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    case: String,
    /// `accept`, or the code of the refusal.
    verdict: String,
    reason: String,
}

fn choices() -> BTreeMap<String, String> {
    let choices: Choices = toml::from_str(&read_text(&tests_path("vectors/computed/choices.toml"))).expect("choices");
    assert!(choices.choice.iter().all(|choice| choice.reason.len() > 20), "a choice needs a reason");
    choices.choice.into_iter().map(|choice| (choice.case, choice.verdict)).collect()
}

fn accepted(verdict: &Verdict) -> Result<(), String> {
    if verdict.is_accepted() { Ok(()) } else { Err(format!("{verdict:?}")) }
}

fn refused_with(verdict: &Verdict, codes: &str) -> Result<(), String> {
    let mut codes = codes.split('|').map(|code| code.split(" (").next().unwrap_or(code));
    match verdict.code() {
        Some(code) if codes.any(|expected| expected == code) => Ok(()),
        _ => Err(format!("{verdict:?}")),
    }
}

#[test]
fn requests_get_their_verdict_and_code() {
    let cases = RequestCases::read();
    let (mut results, mut choices) = (Results::default(), choices());
    for case in &cases.cases {
        let raw = case.raw();
        let verifier = Verifier { secret: &cases.secret, service: &case.service, now: case.now() };
        let verdict = verifier.verify(&raw);
        let result = match case.expect {
            Expect::Accept => accepted(&verdict),
            Expect::Reject | Expect::RejectAtBody => refused_with(&verdict, &case.code),
            Expect::Policy | Expect::AcceptOrReject => match choices.remove(&case.id).as_deref() {
                Some("accept") => accepted(&verdict),
                Some(code) => refused_with(&verdict, code),
                None => Err(format!("no choice is made in choices.toml; {verdict:?}")),
            },
        };
        results.add(format!("request-cases/{}", case.id), result);
    }
    assert!(choices.is_empty(), "choices for rows that leave nothing open: {choices:?}");
    assert!(results.count("request-cases/ok-") >= 13 && results.count("request-cases/bad-") >= 50);
    results.check_against("vectors/computed/known-errors.toml");
}
