//! The operator's API: automation does what the commands do.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{self, Dev, REDERIVE};

/// A request to the operator's socket: status and JSON, or nothing where it is closed without an answer.
fn ask(socket: &Path, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: operator\r\ncontent-length: {}\r\n\r\n", body.len());
    // It may be closed already.
    let _ = stream.write_all((head + &body).as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).expect("JSON")))
}

/// Automation does what the commands do, over a socket of this machine, as a user who is named and as nobody else.
#[test]
fn operators_have_an_api_of_their_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(directory.path());
    let (alice, account) = (dev.user("alice"), dev.ready.account.clone());
    drop(dev);
    let config = directory.path().join("rederive.toml");
    let original = std::fs::read_to_string(&config).expect("a configuration");
    let socket = directory.path().join("operator.sock");
    let log = directory.path().join("serve.log");
    let start = |users: &str| {
        std::fs::write(&config, format!("{original}\n[operator]\nsocket = {socket:?}\nusers = {users}\n"))
            .expect("writable");
        let mut command = Command::new(REDERIVE);
        command.args(["serve", "--config"]).arg(&config).stderr(common::new_log(&log));
        let serve = command.spawn().expect("rederive starts");
        common::wait_until("a socket", || UnixStream::connect(&socket).is_ok());
        serve
    };
    let end = |mut serve: std::process::Child| {
        common::kill(serve.id(), "TERM");
        assert!(serve.wait().expect("it ends").success());
    };
    let serve = start("[\"nobody\"]");
    let since = std::time::Instant::now();
    (0..300).for_each(|_| assert_eq!(ask(&socket, "GET", "/v1/accounts", &Value::Null), None));
    let alarms = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.contains("was turned away from the operator's socket")).count()
    };
    common::wait_until("an alarm", || alarms() > 0);
    // One before the clock was read, one a second, and one of a second that has begun.
    assert!(alarms() as u64 <= 3 + since.elapsed().as_secs(), "{} alarms for 300 connections", alarms());
    end(serve);

    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&config).expect("there"));
    let serve = start(&format!("[{uid}]"));
    let done = |method: &str, path: &str, body: &Value| {
        let (status, answer) = ask(&socket, method, path, body).expect("an answer");
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    };
    let refused = |method: &str, path: &str, body: &Value, status: u16| {
        let (was, answer) = ask(&socket, method, path, body).expect("an answer");
        assert!(was == status && answer["message"].is_string(), "{method} {path} {body}: {was} {answer}");
    };
    common::wait_until("a worker", || {
        ask(&socket, "POST", "/v1/accounts", &json!({ "number": "000000000042" })).expect("an answer").0 == 201
    });
    refused("POST", "/v1/accounts", &json!({ "number": "000000000042" }), 409);
    refused("POST", "/v1/accounts", &json!({ "number": "42" }), 400);
    refused("POST", "/v1/accounts", &json!({ "name": "x" }), 400);
    refused("POST", "/v1/accounts/000000000043/root-keys", &Value::Null, 404);
    refused("GET", "/v2/accounts", &Value::Null, 404);
    refused("DELETE", "/v1/accounts", &Value::Null, 404);
    assert!(done("POST", "/v1/accounts/000000000042/root-keys", &Value::Null)["secret_access_key"].is_string());
    let drawn = done("POST", "/v1/accounts", &Value::Null);
    let drawn = drawn["account"].as_str().expect("a number");

    let keys = format!("/v1/accounts/{account}/keys");
    let new = json!({ "user": "alice", "services": "s3", "regions": "eu-*", "expires_at": "2100-01-01T00:00:00Z", "description": "nightly" });
    let made = done("POST", &keys, &new);
    assert_eq!((&made["services"], &made["expires_at"]), (&json!("s3"), &json!("2100-01-01T00:00:00Z")));
    refused("POST", &keys, &new, 409);
    done("PUT", &format!("/v1/accounts/{account}/quota"), &json!({ "keys_per_user": 3 }));
    for wrong in
        [json!({ "user": "alice", "services": "s*" }), json!({ "user": "alice", "expires_at": "2001-01-01T00:00:00Z" })]
    {
        refused("POST", &keys, &wrong, 400);
    }
    refused("POST", &keys, &json!({ "user": "carol" }), 404);
    let plain = done("POST", &keys, &json!({ "user": "alice" }));
    let listed = done("GET", &keys, &Value::Null);
    let ids: Vec<_> =
        listed["keys"].as_array().expect("a list").iter().map(|key| key["access_key_id"].clone()).collect();
    assert!(
        [&made, &plain].iter().all(|key| ids.contains(&key["access_key_id"]))
            && ids.contains(&json!(alice.access_key_id))
    );
    assert!(!listed.to_string().contains("secret"));
    done("PUT", &format!("/v1/accounts/{drawn}/key-age"), &json!({ "max_days": 90, "warn_days": 7 }));
    let accounts = done("GET", "/v1/accounts", &Value::Null);
    let row = accounts["accounts"].as_array().and_then(|rows| rows.iter().find(|row| row["account"] == drawn));
    assert_eq!(row.expect("listed")["max_key_age_days"], 90);
    end(serve);

    let audit = std::fs::read_to_string(directory.path().join("audit.log")).expect("a log");
    for name in ["CreateAccount", "CreateRootKey", "CreateAccessKey", "SetAccountQuota", "SetAccountKeyAge"] {
        let event = audit.lines().rfind(|line| line.contains(&format!("\"eventName\":\"{name}\""))).expect(name);
        assert!(event.contains(&format!("\"principalId\":\"uid:{uid}\"")), "{event}");
    }
    assert!(!audit.contains(made["secret_access_key"].as_str().expect("a secret")));
}
