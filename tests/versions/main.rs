//! Signature V4A and Signature V2 at the public door, with keys of a real token, signed by AWS's own clients.

#[path = "../common/mod.rs"]
mod common;
mod v2;
mod v4a;

use std::process::Command;

use common::{Dev, Pair, REDERIVE};
use serde_json::Value;

/// What `rederive dev` is told beside its defaults.
fn dev(environment: &[(&str, &str)]) -> (Dev, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(REDERIVE);
    command.envs(environment.iter().copied());
    (Dev::start_by(command, &directory.path().join("state")), directory)
}

/// A call of `/v1/verify` that a script made.
fn signed(dev: &Dev, pair: &Pair, script: &str, arguments: &[&str]) -> Value {
    let script_path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = dev.client("python3", pair);
    let output =
        command.env_remove("BOTO_DISABLE_CRT").arg(script_path).args(arguments).output().expect("python3 runs");
    assert!(output.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The answer to a call, which must be a decision.
fn decide(dev: &Dev, call: &Value) -> Value {
    let (status, answer) = dev.verify(call);
    assert_eq!(status, 200, "{call}: {answer}");
    answer
}

fn accepted(dev: &Dev, call: &Value, version: &str) -> Value {
    let answer = decide(dev, call);
    assert_eq!(
        (&answer["decision"], &answer["signature_version"]),
        (&"accept".into(), &version.into()),
        "{call}: {answer}"
    );
    answer
}

/// The code of a refusal.
fn refused(dev: &Dev, call: &Value) -> String {
    let answer = decide(dev, call);
    assert_eq!(answer["decision"], "refuse", "{call}: {answer}");
    answer["code"].as_str().expect("a code").to_owned()
}

/// The call with one value in it changed.
fn with(call: &Value, pointer: &str, value: impl Into<Value>) -> Value {
    let mut call = call.clone();
    *call.pointer_mut(pointer).expect(pointer) = value.into();
    call
}

/// The call with one more header.
fn with_header(call: &Value, name: &str, value: &str) -> Value {
    let mut call = call.clone();
    call["headers"].as_array_mut().expect("headers").push(serde_json::json!([name, value]));
    call
}

/// The call with a text in its target replaced.
fn with_target(call: &Value, from: &str, to: &str) -> Value {
    let target = call["target"].as_str().expect("a target");
    assert!(target.contains(from), "{from} in {target}");
    with(call, "/target", target.replace(from, to))
}

/// A key of bob's under terms, such as `--regions eu-*`.
fn key_under(dev: &Dev, terms: &[&str]) -> Pair {
    dev.aws(&dev.ready.root, "iam create-user --user-name bob");
    let output = Command::new(REDERIVE)
        .args(["key", "create", "--account", &dev.ready.account, "--user", "bob", "--format", "csv", "--config"])
        .arg(dev.state.join("rederive.toml"))
        .args(terms)
        .output()
        .expect("rederive runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let cells: Vec<_> = printed.lines().nth(1).expect("a key").split(',').collect();
    Pair { access_key_id: cells[1].to_owned(), secret_access_key: cells[2].to_owned() }
}
