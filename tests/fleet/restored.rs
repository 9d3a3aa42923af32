//! An old copy of the registry: noticed, refused until an operator names it, and then nothing comes back to life.

use std::path::Path;
use std::process::Command;

use crate::common::{self, Pair, REDERIVE};
use crate::postgres;
use crate::support::{Fleet, Node, pair, spawn};

/// Whether what the issuer keeps of its feed holds an id, up to the head that was signed.
fn has_seen(fleet: &Fleet, id: &str) -> bool {
    let head = std::fs::read(fleet.path("feed/feed.head")).unwrap_or_default();
    let log = std::fs::read(fleet.path("feed/feed.log")).unwrap_or_default();
    let Some(signed) = head.get(32..40).map(|number| u64::from_be_bytes(number.try_into().expect("8 bytes"))) else {
        return false;
    };
    let mut rest = log.get(32..).unwrap_or_default();
    let mut entries = (0..signed).map_while(|_| {
        let (length, after) = rest.split_first_chunk()?;
        let (entry, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after;
        Some(entry)
    });
    entries.any(|entry| entry.windows(id.len()).any(|window| window == id.as_bytes()))
}

fn delete(fleet: &Fleet, name: &str, key: &Pair) {
    fleet.iam(&format!("Action=DeleteAccessKey&UserName={name}&AccessKeyId={}", key.access_key_id));
}

/// Runs a command of the operator's; whether it worked, and what it says.
fn operate(fleet: &Fleet, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(REDERIVE);
    let output = command.args(arguments).arg("--config").arg(fleet.config()).output().expect("runs");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn put_back(fleet: &Fleet, copy: &Path) {
    for beside in ["registry.sqlite-wal", "registry.sqlite-shm"] {
        let _ = std::fs::remove_file(fleet.path(beside));
    }
    std::fs::copy(copy, fleet.path("registry.sqlite")).expect("copied");
}

#[test]
fn a_restored_copy_is_refused_until_it_is_named_and_brings_nothing_back() {
    let mut fleet = Fleet::start();
    let (alice, bob, dora) = (fleet.user("alice"), fleet.user("bob"), fleet.user("dora"));
    let copy = fleet.path("copy.sqlite");
    fleet.operator(&["backup", "--to", copy.to_str().expect("a path")]);
    delete(&fleet, "alice", &alice);
    fleet.set_status("bob", &bob, "Inactive");
    let (carol, erin) = (fleet.user("carol"), fleet.user("erin"));
    fleet.set_status("carol", &carol, "Inactive");
    fleet.operator(&["deny", "user", "--account", "123456789012", "dora"]);
    common::wait_until("the copy of the feed", || has_seen(&fleet, &dora.access_key_id));

    fleet.issuer().kill_by_hand();
    put_back(&fleet, &copy);
    let log = fleet.path("refused.log");
    let mut process = spawn(&fleet.config(), "issuer", &log);
    common::wait_until("its end", || process.try_wait().is_ok_and(|ended| ended.is_some()));
    let said = std::fs::read_to_string(&log).expect("a log");
    assert!(said.contains("the registry was set back"), "{said}");
    let head = said.split("--head ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a name").to_owned();
    for refused in [&["deny", "key", &bob.access_key_id][..], &["restored", "--head", "1-00000000"]] {
        let (worked, text) = operate(&fleet, refused);
        assert!(!worked && text.contains(&head), "{refused:?}: {text}");
    }

    let (worked, text) = operate(&fleet, &["restored", "--head", &head]);
    assert!(worked && text.contains("no more keys are made in generations: 0"), "{text}");
    assert!(!operate(&fleet, &["restored", "--head", &head]).0, "once");
    let staleness = [("REDERIVE_FEED__MAX_STALENESS_S", "1")];
    fleet.issuer = Some(Node::start_with(&fleet.config(), "issuer", &fleet.path("issuer.log"), &staleness));
    let says = |key: &Pair| fleet.issuer().says(key);
    common::wait_until("the root's key", || says(&fleet.root) == "accept");
    let gone = [&alice, &bob, &carol, &dora, &erin];
    assert!(gone.iter().all(|key| says(key) == "refuse"), "{:?}", gone.map(says));

    let create = "Action=CreateAccessKey&UserName=alice";
    assert_ne!(fleet.issuer().iam(&fleet.root, create).0, 200, "not in the generation of which ids are lost");
    fleet.operator(&["generation", "create"]);
    let mut made = None;
    common::wait_until("a key of the new generation", || {
        let (status, xml) = fleet.issuer().iam_with_patience(&fleet.root, create);
        made = (status == 200).then(|| pair(&xml));
        made.is_some()
    });
    let made = made.expect("made");
    let decoded = Command::new(REDERIVE).args(["key", "decode", &made.access_key_id]).output().expect("runs");
    let decoded = String::from_utf8_lossy(&decoded.stdout).into_owned();
    assert!(decoded.lines().any(|line| line.contains("generation") && line.ends_with(" 1")), "{decoded}");
    assert_eq!(says(&made), "accept");
    fleet.wire.lead_to(&fleet.issuer().rpc);
    let verifier = fleet.verifier("verifier", "");
    assert_eq!(verifier.says(&made), "accept");
    // Of erin's key nobody knows any more: a verifier reports it, and it is denied.
    gone.iter().for_each(|key| verifier.soon_says(key, "refuse"));
}

/// What issuers have not seen themselves, a verifier's copy tells.
#[test]
fn a_verifiers_copy_tells_what_was_denied_since() {
    let mut fleet = Fleet::start();
    let alice = fleet.user("alice");
    let copy = fleet.path("copy.sqlite");
    fleet.operator(&["backup", "--to", copy.to_str().expect("a path")]);
    let mut verifier = fleet.verifier("verifier", "");
    delete(&fleet, "alice", &alice);
    verifier.soon_says(&alice, "refuse");
    verifier.kill();
    fleet.issuer().kill_by_hand();
    std::fs::remove_dir_all(fleet.path("feed")).expect("lost with the rest of the disk");
    put_back(&fleet, &copy);

    let (worked, text) = operate(&fleet, &["restored", "--head", "1-00000000"]);
    assert!(!worked && text.contains("--seen"), "{text}");
    let seen = fleet.path("verifier");
    let seen = seen.to_str().expect("a path");
    let (_, text) = operate(&fleet, &["restored", "--head", "1-00000000", "--seen", seen]);
    let head = text.split("feed is at ").nth(1).and_then(|rest| rest.split(':').next()).expect("a name").to_owned();
    assert!(operate(&fleet, &["restored", "--head", &head, "--seen", seen]).0);
    fleet.start_issuer();
    fleet.issuer().soon_says(&fleet.root, "accept");
    assert_eq!(fleet.issuer().says(&alice), "refuse");
}

/// A database that lacks the last changes takes over while issuers run.
#[test]
fn a_registry_that_is_set_back_meanwhile_is_not_worked_with() {
    let url = postgres::database();
    let fleet = Fleet::on_postgres(&url);
    let issuer = fleet.another_issuer("two", &[("REDERIVE_FEED__MAX_STALENESS_S", "2")]);
    let (alice, bob) = (fleet.user("alice"), fleet.user("bob"));
    for (name, key) in [("bob", &bob), ("alice", &alice)] {
        assert_eq!(issuer.says(key), "accept");
        delete(&fleet, name, key);
        issuer.soon_says(key, "refuse");
    }
    assert_eq!(issuer.says(&fleet.root), "accept");
    let set_back = format!(
        "BEGIN; UPDATE access_keys SET status = 'active' WHERE id = '{}'; \
         DELETE FROM changes WHERE seq = (SELECT last FROM change_counter); \
         UPDATE change_counter SET last = last - 1; \
         UPDATE feed_head SET number = (SELECT max(seq) FROM changes), \
                              hash = (SELECT hash FROM changes ORDER BY seq DESC LIMIT 1); COMMIT",
        alice.access_key_id
    );
    postgres::sql(&url, &set_back);
    common::wait_until("an alarm", || issuer.log().contains("ALARM"));
    assert_eq!(issuer.iam(&fleet.root, "Action=CreateUser&UserName=carol").0, 503);
    // Other entries come in the place of those that are lost. It must not go on with them.
    postgres::sql(
        &url,
        "BEGIN; INSERT INTO changes (seq, at, kind, subject) SELECT last + 1, 1, 'user-created', 'x' FROM change_counter; \
         UPDATE change_counter SET last = last + 1; COMMIT",
    );
    issuer.soon_says(&fleet.root, "unavailable");
    assert_eq!(issuer.says(&alice), "unavailable");
    assert_eq!(issuer.says(&bob), "unavailable");
}
