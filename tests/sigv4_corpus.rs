//! Requests that unchanged clients really sent, each with the verdict on its bytes: `tests/corpus/*.jsonl`.

mod sigv4_support;

use std::collections::BTreeSet;
use std::process::Command;

use base64::prelude::*;
use rederive::explain::{Decision, ExplainOptions, explain};
use rederive::sigv4::{AmzDate, Body, Family, Limits, RequestHead, SignedRequest};
use serde::Deserialize;
use sigv4_support::{Results, Verdict, Verifier, read_text, tests_path, unix};

/// A request of Signature V4. The README of the folder tells where it is from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    id: String,
    #[serde(rename = "client_version")]
    _client_version: String,
    secret_access_key: String,
    head_b64: String,
    body_b64: String,
    variant: String,
    service: String,
    #[serde(rename = "region")]
    _region: String,
    signed_at: String,
    expect: Expect,
    /// For `lenient`: the deviation from the documented canonical form under which the signature is right.
    needs: Vec<String>,
    string_to_sign: Option<String>,
}

#[derive(Deserialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Accept,
    Reject,
    Lenient,
}

fn recordings() -> Vec<Recording> {
    let folder = std::fs::read_dir(tests_path("corpus")).expect("the corpus");
    let files =
        folder.map(|entry| entry.expect("a file").path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
    let read_all = |path| {
        let text = read_text(path);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
            .collect()
    };
    let mut files: Vec<_> = files.collect();
    files.sort();
    files.iter().flat_map(|path| -> Vec<Recording> { read_all(path) }).collect()
}

impl Recording {
    fn request(&self) -> Vec<u8> {
        let decode = |text| BASE64_STANDARD.decode(text).expect("base64");
        [decode(&self.head_b64), decode(&self.body_b64)].concat()
    }

    fn options(&self) -> ExplainOptions<'_> {
        ExplainOptions {
            secret: Some(self.secret_access_key.as_bytes()),
            at: unix(&self.signed_at),
            service: Some(&*self.service).filter(|service| !service.is_empty()),
            ..ExplainOptions::default()
        }
    }
}

/// What verification says.
fn check(recording: &Recording) -> Result<(), String> {
    if !matches!(&*recording.variant, "sigv4-header" | "sigv4-query") {
        return Ok(());
    }
    let head = BASE64_STANDARD.decode(&recording.head_b64).expect("base64");
    let body = BASE64_STANDARD.decode(&recording.body_b64).expect("base64");
    let (head, _) = RequestHead::parse(&head, &Limits::default()).map_err(|error| error.to_string())?;
    let Recording { secret_access_key: secret, service, .. } = recording;
    let verifier = Verifier { secret, service, now: unix(&recording.signed_at) };
    let verdict = verifier.verify_head(&head, Body::Bytes(&body));
    match (recording.expect, &verdict) {
        (Expect::Accept, Verdict::Accepted(_)) => same_string_to_sign(recording, &head, &body),
        (Expect::Reject | Expect::Lenient, Verdict::Refused(..)) => Ok(()),
        _ => Err(format!("{verdict:?}; needs {:?}", recording.needs)),
    }
}

/// What `explain` says of the same bytes: the same verdict, and what the signer does otherwise.
fn check_explained(recording: &Recording) -> Result<(), String> {
    let explanation = explain(&recording.request(), &recording.options());
    let named: BTreeSet<_> = explanation.deviations.iter().map(|deviation| deviation.name.as_str()).collect();
    let needs: BTreeSet<_> = recording.needs.iter().map(String::as_str).collect();
    let is_v2 = recording.variant.starts_with("sigv2");
    let is_right = match recording.expect {
        Expect::Accept => {
            explanation.decision == Decision::Accept
                && named.is_empty()
                && (recording.string_to_sign.is_none() || explanation.string_to_sign == recording.string_to_sign)
        }
        Expect::Reject => explanation.decision == Decision::Refuse,
        // The corpus does not name what clients of Signature V2 need.
        Expect::Lenient if is_v2 => explanation.decision == Decision::Refuse && !named.is_empty(),
        Expect::Lenient => explanation.decision == Decision::Refuse && named == needs,
    };
    let is_right = is_right && explanation.refused_by_default == is_v2;
    if is_right {
        Ok(())
    } else {
        Err(format!("needs {needs:?}, and is explained by {:?}: {:?}", explanation.deviations, explanation))
    }
}

fn same_string_to_sign(recording: &Recording, head: &RequestHead<'_>, body: &[u8]) -> Result<(), String> {
    let request = SignedRequest::parse(head).expect("it was accepted");
    let canonical = request.canonical_request(Family::of(&recording.service), Body::Bytes(body)).expect("accepted");
    let got = request.string_to_sign_text(&canonical.sha256());
    if Some(&got) == recording.string_to_sign.as_ref() { Ok(()) } else { Err(format!("string to sign: {got}")) }
}

#[test]
fn requests_of_real_clients_get_their_verdict() {
    let mut results = Results::default();
    let mut counts = [0; 3];
    for recording in recordings() {
        counts[recording.expect as usize] += 1;
        results.add(recording.id.clone(), check(&recording).and_then(|()| check_explained(&recording)));
    }
    // Recordings that are not found would not fail: what the folder holds at least.
    assert!(counts[0] >= 1111 && counts[1] >= 24 && counts[2] >= 57, "{counts:?}");
    results.check_against("corpus/divergences.toml");
}

/// The command says what the library says: on one recording in 25, and on each that needs a deviation.
#[test]
fn the_command_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (request_file, secret_file) = (folder.path().join("request"), folder.path().join("secret"));
    let mut ran = 0;
    for (index, recording) in recordings().iter().enumerate() {
        if index % 25 != 0 && recording.expect != Expect::Lenient {
            continue;
        }
        let request = recording.request();
        std::fs::write(&request_file, &request).expect("written");
        std::fs::write(&secret_file, &recording.secret_access_key).expect("written");
        let at = AmzDate::parse(recording.signed_at.as_bytes()).expect("a time").extended();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rederive"));
        command.args(["explain", "--json", "--at", &at]);
        command.arg("--request").arg(&request_file).arg("--secret-file").arg(&secret_file);
        if !recording.service.is_empty() {
            command.args(["--service", &recording.service]);
        }
        let output = command.output().expect("it runs");
        let explanation = explain(&request, &recording.options());
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(said, serde_json::to_value(&explanation).expect("JSON"), "{}", recording.id);
        let status = [Decision::Accept, Decision::Refuse, Decision::Undecided];
        assert_eq!(output.status.code().and_then(|code| status.get(code as usize)), Some(&explanation.decision));
        ran += 1;
    }
    assert!(ran >= 100, "{ran} recordings");
}
