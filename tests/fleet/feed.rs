//! The deny feed, from an issuer's registry to every verifier's answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{self, Pair, sign};
use crate::support::{Fleet, Node, pair, spawn};

#[test]
fn denials_reach_every_verifier_and_new_keys_need_no_news() {
    let fleet = Fleet::start();
    let verifiers = [fleet.verifier("one", ""), fleet.verifier("two", "")];
    let alice = fleet.user("alice");
    for verifier in &verifiers {
        let (status, answer) = verifier.ask(&sign::s3_get(&alice, "local", "h", "/b/k"));
        assert_eq!((status, &answer["decision"]), (200, &"accept".into()), "the very next request: {answer}");
        assert_eq!((&answer["account"], &answer["principal"]), (&"123456789012".into(), &Value::Null));
        assert_eq!(answer["principal_source"], "none", "somebody's of the account, never its root's");
        assert_eq!(verifier.says(&fleet.root), "accept");
        let (status, answer) = verifier.ask(&sign::query(&alice, "local", "h", "sts", "Action=GetCallerIdentity"));
        assert_eq!(status, 503, "users manage keys at issuers: {answer}");
    }

    let mut delays = Vec::new();
    for _ in 0..if common::long() { 500 } else { 5 } {
        fleet.set_status("alice", &alice, "Inactive");
        let since = Instant::now();
        for verifier in &verifiers {
            common::wait_until("refused", || verifier.says(&alice) == "refuse");
        }
        delays.push(since.elapsed());
        fleet.set_status("alice", &alice, "Active");
        verifiers.iter().for_each(|verifier| verifier.soon_says(&alice, "accept"));
    }
    delays.sort();
    println!(
        "acknowledged to refused on both verifiers: median {:?}, worst {:?}",
        delays[delays.len() / 2],
        delays.last()
    );

    let denied = ["deny", "user", "--account", "123456789012", "alice"];
    fleet.operator(&denied);
    verifiers.iter().for_each(|verifier| verifier.soon_says(&alice, "refuse"));
    fleet.operator(&[&denied[..], &["--lift"]].concat());
    verifiers.iter().for_each(|verifier| verifier.soon_says(&alice, "accept"));
    fleet.operator(&["deny", "account", "123456789012"]);
    verifiers.iter().for_each(|verifier| verifier.soon_says(&fleet.root, "refuse"));
    fleet.operator(&["deny", "account", "123456789012", "--lift"]);
    verifiers.iter().chain([fleet.issuer()]).for_each(|node| node.soon_says(&fleet.root, "accept"));

    fleet.wire.cut();
    let bob = fleet.user("bob");
    for verifier in &verifiers {
        assert_eq!(verifier.says(&bob), "accept", "with the feed cut off");
    }
}

#[test]
fn nothing_is_decided_by_denials_that_are_too_old() {
    let mut fleet = Fleet::start();
    let (alice, bob) = (fleet.user("alice"), fleet.user("bob"));
    let verifier = fleet.verifier("verifier", "max_staleness_s = 3");
    assert_eq!(verifier.says(&alice), "accept");
    fleet.wire.cut();
    fleet.set_status("alice", &alice, "Inactive");
    verifier.soon_says(&alice, "unavailable");
    for _ in 0..20 {
        assert_eq!((verifier.says(&alice), verifier.says(&bob)), ("unavailable".into(), "unavailable".into()));
    }
    let mut made_up = bob.clone();
    made_up.access_key_id = "AKIAIOSFODNN7EXAMPLE".into();
    assert_eq!(verifier.says(&made_up), "refuse", "what is no id at all needs no list");
    fleet.issuer().kill_by_hand();
    fleet.start_issuer();
    verifier.soon_says(&bob, "accept");
    assert_eq!(verifier.says(&alice), "refuse");
}

/// The verifier is killed at any moment while denials come; its copy opens each time, and nothing that it knew is forgotten.
#[test]
fn a_copy_outlives_any_kill() {
    let fleet = Fleet::start();
    let alice = fleet.user("alice");
    let mut verifier = fleet.verifier("verifier", "");
    for round in 0..if common::long() { 50 } else { 6 } {
        fleet.set_status("alice", &alice, "Inactive");
        verifier.soon_says(&alice, "refuse");
        fleet.wire.cut();
        verifier.kill();
        verifier = Node::start(&fleet.path("verifier.toml"), "verifier", &fleet.path("verifier.log"));
        common::wait_until("a decision from the copy alone", || verifier.says(&alice) == "refuse");
        assert_eq!(verifier.says(&fleet.root), "accept", "the control: the rest is good");
        fleet.wire.lead_to(&fleet.issuer().rpc);
        fleet.set_status("alice", &alice, "Active");
        if round % 2 == 0 {
            verifier.soon_says(&alice, "accept");
        }
        // In the middle of what comes now.
        std::thread::sleep(Duration::from_millis(round * 13));
        verifier.kill();
        verifier = Node::start(&fleet.path("verifier.toml"), "verifier", &fleet.path("verifier.log"));
        verifier.soon_says(&alice, "accept");
    }
}

#[test]
fn an_edited_copy_is_refused_and_says_what_to_do() {
    let fleet = Fleet::start();
    let alice = fleet.user("alice");
    let mut verifier = fleet.verifier("verifier", "");
    fleet.set_status("alice", &alice, "Inactive");
    verifier.soon_says(&alice, "refuse");
    verifier.kill();
    let (log, head) = (fleet.path("verifier/feed.log"), fleet.path("verifier/feed.head"));
    let original = (std::fs::read(&log).expect("a copy"), std::fs::read(&head).expect("a copy"));
    let restore = || {
        std::fs::write(&log, &original.0).expect("writable");
        std::fs::write(&head, &original.1).expect("writable");
    };
    let id = alice.access_key_id.as_bytes();
    let at = original.0.windows(id.len()).rposition(|window| window == id).expect("it is in there");
    let refused = |config: &Path, why: &str| {
        let mut process = spawn(config, "verifier", &fleet.path("refused.log"));
        common::wait_until("its end", || process.try_wait().is_ok_and(|ended| ended.is_some()));
        let text = std::fs::read_to_string(fleet.path("refused.log")).expect("a log");
        assert!(text.contains(why), "{why} is not in {text}");
        assert!(text.contains("remove feed.log and feed.head"), "{text}");
        restore();
    };
    let config = fleet.path("verifier.toml");
    let edit = |file: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(file).expect("readable");
        change(&mut bytes);
        std::fs::write(file, bytes).expect("writable");
    };
    edit(&log, &|bytes| bytes[at + 19] ^= 1);
    refused(&config, "not the ones that were signed");
    edit(&log, &|bytes| bytes.truncate(at));
    refused(&config, "the log ends before the head");
    edit(&head, &|bytes| bytes[90] ^= 1);
    refused(&config, "damaged or was edited");
    edit(&head, &|bytes| bytes.truncate(20));
    refused(&config, "the head does not read");
    std::fs::remove_file(&log).expect("removed");
    refused(&config, "the log is gone");
    let other = fleet.verifier_config("verifier", "", &"0".repeat(64));
    refused(&other, "not among the pinned ones");

    // What is not covered by the head was being written when the process ended.
    fleet.verifier_config("verifier", "", &fleet.public_key);
    edit(&log, &|bytes| bytes.extend([0, 0, 0, 9, 1, 2, 3]));
    let verifier = Node::start(&config, "verifier", &fleet.path("verifier.log"));
    verifier.soon_says(&alice, "refuse");
    fleet.set_status("alice", &alice, "Active");
    verifier.soon_says(&alice, "accept");
}

/// The registry goes on from an old copy: what verifiers have followed is another feed.
#[test]
fn a_registry_from_an_old_copy_is_refused() {
    let mut fleet = Fleet::start();
    let alice = fleet.user("alice");
    let copy = fleet.path("copy.sqlite");
    fleet.operator(&["backup", "--to", copy.to_str().expect("a path")]);
    let verifier = fleet.verifier("verifier", "max_staleness_s = 3");
    fleet.set_status("alice", &alice, "Inactive");
    verifier.soon_says(&alice, "refuse");

    fleet.wire.cut();
    fleet.issuer().kill_by_hand();
    for beside in ["registry.sqlite-wal", "registry.sqlite-shm"] {
        let _ = std::fs::remove_file(fleet.path(beside));
    }
    std::fs::copy(&copy, fleet.path("registry.sqlite")).expect("copied");
    // With it the issuer would notice by itself.
    std::fs::remove_dir_all(fleet.path("feed")).expect("lost with the disk");
    fleet.start_issuer();
    common::wait_until("an alarm", || verifier.log().contains("its registry is an old copy"));
    assert_ne!(verifier.says(&alice), "accept");
    // It overtakes the verifier with other entries.
    fleet.user("bob");
    fleet.user("carol");
    common::wait_until("an alarm", || verifier.log().contains("have forked"));
    assert!(verifier.log().contains("remove feed.log and feed.head"), "it says what to do");
    verifier.soon_says(&fleet.root, "unavailable");
    assert_ne!(verifier.says(&alice), "accept");
}

#[test]
fn a_key_that_nobody_issued_is_denied_everywhere() {
    let fleet = Fleet::start();
    let (alice, mallory) = (fleet.user("alice"), fleet.user("mallory"));
    let verifiers = [fleet.verifier("one", ""), fleet.verifier("two", "")];
    // As if a thief of the master had made it up.
    fleet.sql(&format!("DELETE FROM access_keys WHERE id = '{}'", mallory.access_key_id));
    assert_eq!(verifiers[0].says(&mallory), "accept", "its secret is right, and a verifier has no registry");
    assert_eq!(verifiers[0].says(&alice), "accept");
    verifiers.iter().for_each(|verifier| verifier.soon_says(&mallory, "refuse"));
    let alarm = |node: &Node| node.log().contains("ALARM") && node.log().contains(&mallory.access_key_id);
    common::wait_until("alarms", || alarm(fleet.issuer()) && alarm(&verifiers[0]));
    assert!(fleet.operator(&["deny", "list"]).contains(&mallory.access_key_id));
    assert_eq!(verifiers[0].says(&alice), "accept", "the control: an issued one is reported, and good");
    assert!(!fleet.operator(&["deny", "list"]).contains(&alice.access_key_id));
}

#[test]
fn an_id_that_needs_its_row_is_not_decided_without_a_registry() {
    let fleet = Fleet::start_with(&[("REDERIVE_ISSUING__LAYOUT", "opaque")]);
    let verifier = fleet.verifier("verifier", "");
    assert_eq!(fleet.issuer().says(&fleet.root), "accept", "the control");
    let (status, answer) = verifier.ask(&sign::s3_get(&fleet.root, "local", "h", "/b/k"));
    assert_eq!(status, 503, "{answer}");
    fleet.operator(&["deny", "key", &fleet.root.access_key_id]);
    verifier.soon_says(&fleet.root, "refuse");
}

/// Keys with an end or a scope: a verifier decides about them by what the feed tells, and about none that it has not heard of.
#[test]
fn keys_under_terms_are_decided_once_they_were_heard_of() {
    let fleet = Fleet::start();
    let mut verifier = fleet.verifier("verifier", "");
    fleet.iam("Action=CreateUser&UserName=alice");
    fleet.iam("Action=CreateUser&UserName=bob");
    let create = |user: &str, terms: &str| pair(&fleet.iam(&format!("Action=CreateAccessKey&UserName={user}&{terms}")));
    let code = |node: &Node, pair: &Pair, region: &str| {
        let (_, answer) = node.ask(&sign::s3_get(pair, region, "h", "/b/k"));
        answer["code"].as_str().unwrap_or_else(|| answer["decision"].as_str().expect("one")).to_owned()
    };
    let scoped = create("alice", "Services=s3&Regions=eu-*");
    let decides = |verifier: &Node| {
        assert_eq!(code(verifier, &scoped, "us-1"), "AccessDenied");
        assert_eq!(code(verifier, &scoped, "eu-1"), "accept");
    };
    assert_eq!(code(fleet.issuer(), &scoped, "eu-1"), "accept", "the very next request");
    common::wait_until("heard of", || code(&verifier, &scoped, "eu-1") == "accept");
    decides(&verifier);

    let end = sign::now() + 5;
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let text = time::OffsetDateTime::from_unix_timestamp(end).expect("a time").format(&format).expect("a text");
    let ending = create("alice", &format!("ExpiresAt={text}"));
    common::wait_until("heard of, or over", || verifier.says(&ending) != "unavailable");
    if sign::now() < end - 1 {
        assert_eq!(verifier.says(&ending), "accept");
    }

    // Neither a restart nor a cut feed makes it forget; what was made meanwhile it has not heard of.
    fleet.wire.cut();
    let unheard = create("bob", "Services=s3");
    verifier.kill();
    verifier = Node::start(&fleet.path("verifier.toml"), "verifier", &fleet.path("verifier.log"));
    common::wait_until("a decision by the copy", || code(&verifier, &scoped, "eu-1") == "accept");
    decides(&verifier);
    assert_eq!(verifier.says(&unheard), "unavailable");
    // By its own clock: nobody can tell it.
    verifier.soon_says(&ending, "refuse");
    fleet.wire.lead_to(&fleet.issuer().rpc);
    verifier.soon_says(&unheard, "accept");
    fleet.set_status("alice", &scoped, "Inactive");
    verifier.soon_says(&scoped, "refuse");
    fleet.set_status("alice", &scoped, "Active");
    common::wait_until("good again", || code(&verifier, &scoped, "eu-1") == "accept");
    decides(&verifier);
}

/// The log was closed once before the verifier came: that is in the feed that it keeps, out of reach of whoever has the issuer's disk.
#[test]
fn an_audit_log_is_held_against_a_verifiers_copy() {
    let fleet = Fleet::start();
    let mut verifier = fleet.verifier("verifier", "");
    assert_eq!(verifier.says(&fleet.root), "accept");
    verifier.kill();
    let verify = |log: &Path| {
        let mut command = std::process::Command::new(common::REDERIVE);
        command.args(["audit", "verify", "--seen"]).arg(fleet.path("verifier")).arg(log);
        let output = command.output().expect("rederive runs");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (sound, text) = verify(&fleet.path("audit.log"));
    assert!(sound && text.contains("checkpoints in the deny feed: "), "{text}");
    let (line, _) =
        rederive::audit::chain::seal(&[7; 16], &rederive::audit::chain::Link::START, b"{\"eventName\":\"None\"}");
    let other = fleet.path("other.log");
    std::fs::write(&other, [line, b"\n".to_vec()].concat()).expect("writable");
    let (sound, text) = verify(&other);
    assert!(!sound && text.contains("knows no checkpoint"), "{text}");
}

/// The feed goes to who is granted it, over TLS in both directions, known by token or by certificate.
#[test]
fn the_feed_is_for_verifiers_that_are_granted_it() {
    let mut fleet = Fleet::start();
    let alice = fleet.user("alice");
    fleet.issuer().kill_by_hand();
    let (ca, issuer) = authority(&fleet);
    let (cert, key) = certificate(&fleet, &issuer, "localhost");
    let (client_cert, client_key) = certificate(&fleet, &issuer, "one.internal");
    let token = |name: &str| {
        let path = fleet.path(&format!("{name}.token"));
        std::fs::write(&path, format!("{name}-0123456789-0123456789-0123456789")).expect("writable");
        path
    };
    let tokens = [token("two"), token("three"), token("four")];
    let text = std::fs::read_to_string(fleet.config()).expect("a configuration");
    let caller = |name: &str, known_by: &str, deny_feed: bool| {
        format!(
            "[[caller]]\nname = \"{name}\"\n{known_by}\nservices = [\"*\"]\nregions = [\"*\"]\ndeny_feed = {deny_feed}\n"
        )
    };
    let lines = text.lines().filter(|line| !line.starts_with("anyone"));
    let text = lines.map(|line| format!("{line}\n")).collect::<String>();
    let text = text.replace("[rpc]\n", &format!("[rpc]\ntls_cert = {cert:?}\ntls_key = {key:?}\nclient_ca = {ca:?}\n"))
        + "\n"
        + &caller("one", "mtls_san = \"one.internal\"", true)
        + &caller("two", &format!("token_file = {:?}", tokens[0]), true)
        + &caller("three", &format!("token_file = {:?}", tokens[1]), false);
    std::fs::write(fleet.config(), text).expect("writable");
    fleet.issuer = Some(Node::start(&fleet.config(), "issuer", &fleet.path("issuer.log")));
    fleet.wire.lead_to(&fleet.issuer().rpc);

    let start = |name: &str, credentials: &str| {
        let config = fleet.verifier_config(name, "", &fleet.public_key);
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let plain = format!("url = \"http://{}\"", fleet.wire.address);
        let tls = format!("url = \"https://localhost:{}\"\nca = {ca:?}\n{credentials}", fleet.wire.address.port());
        std::fs::write(&config, text.replace(&plain, &tls)).expect("writable");
        Node::start(&config, "verifier", &fleet.path(&format!("{name}.log")))
    };
    let one = start("one", &format!("tls_cert = {client_cert:?}\ntls_key = {client_key:?}"));
    let two = start("two", &format!("token_file = {:?}", tokens[0]));
    for node in [&one, &two] {
        node.soon_says(&alice, "accept");
    }
    let three = start("three", &format!("token_file = {:?}", tokens[1]));
    let four = start("four", &format!("token_file = {:?}", tokens[2]));
    let five = start("five", "");
    for (node, why) in [(three, "not granted the deny feed"), (four, "not one of ours"), (five, "say who is asking")] {
        common::wait_until(why, || node.log().contains(why));
        assert_eq!(node.says(&alice), "unavailable");
    }
}

fn authority(fleet: &Fleet) -> (PathBuf, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let path = fleet.path("ca.pem");
    std::fs::write(&path, params.self_signed(&key).expect("signed").pem()).expect("writable");
    (path, rcgen::Issuer::new(params, key))
}

/// Certificate and key of a name.
fn certificate(fleet: &Fleet, issuer: &rcgen::Issuer<'static, rcgen::KeyPair>, name: &str) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new([name.to_owned()]).expect("a good name");
    let (cert_file, key_file) = (fleet.path(&format!("{name}.pem")), fleet.path(&format!("{name}.key")));
    std::fs::write(&cert_file, params.signed_by(&key, issuer).expect("signed").pem()).expect("writable");
    std::fs::write(&key_file, key.serialize_pem()).expect("writable");
    (cert_file, key_file)
}
