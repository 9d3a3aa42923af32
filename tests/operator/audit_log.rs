//! An audit log against the checkpoints in the deny feed.

use std::process::Command;

use rederive::audit::chain::{Entry, Link, LogId, seal};

use crate::common::{self, Dev, REDERIVE};
use crate::{done, fails, text};

/// Whoever can write the log can make a whole new chain. The deny feed, signed and kept by verifiers, knows how far the old one went.
#[test]
fn an_audit_log_that_was_made_anew_is_noticed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut dev = Dev::start_in(directory.path());
    dev.user("mallory");
    common::kill(dev.process.id(), "TERM");
    dev.process.wait().expect("it ends");
    let (config, log) = (directory.path().join("rederive.toml"), directory.path().join("audit.log"));
    let original = std::fs::read(&log).expect("a log");
    let path = log.to_str().expect("a path").to_owned();
    let verify = ["audit", "verify", &path];
    assert!(done(&verify, &config).contains("sound: entries 1 to "), "by the registry's feed");

    // Every entry anew, with its own hash, without the user.
    let again = |id: Option<LogId>| {
        let mut after = Link::START;
        let lines = original.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.flat_map(|line| {
            let entry = Entry::read(line).expect("an entry");
            let fields = String::from_utf8(entry.fields.to_vec()).expect("text").replace("mallory", "alice");
            let (line, link) = seal(&id.unwrap_or(entry.log), &after, format!("{{{fields}}}").as_bytes());
            after = link;
            [line, b"\n".to_vec()].concat()
        });
        lines.collect::<Vec<u8>>()
    };
    for (bytes, why) in [
        (again(None), "the log was rewritten from there or from before"),
        (again(Some([7; 16])), "the deny feed knows no checkpoint of the log 0707"),
        (original.split_inclusive(|byte| *byte == b'\n').take(3).flatten().copied().collect(), "its end was cut off"),
    ] {
        std::fs::write(&log, bytes).expect("writable");
        let alone = Command::new(REDERIVE).args(verify).output().expect("runs");
        assert!(alone.status.success(), "the control, by itself it is sound: {}", text(&alone));
        let refused = fails(&verify, &config);
        assert!(refused.contains(why), "{why}: {refused}");
    }
}
