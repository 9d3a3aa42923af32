//! What an operator does: a node from a configuration, accounts, generations, doctor, backup, and what is refused.

mod api;
mod audit_log;
#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use common::{Dev, Pair, REDERIVE, sign};
use rederive_hsm::client::admin;
use rederive_hsm::config::{PinSource, TokenConfig};
use rederive_hsm::worker::AdminRequest;

fn rederive(arguments: &[&str], config: &Path) -> Output {
    Command::new(REDERIVE).args(arguments).arg("--config").arg(config).output().expect("rederive runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a command printed, expected to work.
fn done(arguments: &[&str], config: &Path) -> String {
    let output = rederive(arguments, config);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    assert!(!text(&output).contains("ERROR"), "a command that succeeds has nothing to complain of: {}", text(&output));
    text(&output)
}

/// What a command printed, expected to fail.
fn fails(arguments: &[&str], config: &Path) -> String {
    let output = rederive(arguments, config);
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

/// Runs a statement on a registry past rederive.
fn sql(registry: &Path, statement: &str) {
    let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
    let status = Command::new("python3").args(["-c", script]).arg(registry).arg(statement).status();
    assert!(status.expect("python3 runs").success(), "{statement}");
}

fn root_pair(printed: &str) -> Pair {
    Pair { access_key_id: field(printed, "access key id"), secret_access_key: field(printed, "secret access key") }
}

/// The value behind a label of `account create`.
fn field(printed: &str, label: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in {printed}")).trim().to_owned()
}

#[test]
fn a_running_node_notices_a_new_account_and_a_new_generation() {
    let dev = Dev::start();
    let config = dev.state.join("rederive.toml");
    let printed = done(&["account", "create", "--number", "000000000042"], &config);
    let root = root_pair(&printed);
    let identity = dev.aws_json(&root, "sts get-caller-identity");
    assert_eq!(identity["Arn"], "arn:aws:iam::000000000042:root");
    let again = rederive(&["account", "create", "--number", "000000000042"], &config);
    assert!(!again.status.success() && text(&again).contains("exists already"), "{}", text(&again));
    assert!(done(&["account", "list"], &config).contains("000000000042"));

    let before = dev.user("before");
    assert!(done(&["generation", "create", "--class", "copyable"], &config).contains("generation   1  issuing"));
    let listed = done(&["generation", "list"], &config);
    assert!(listed.contains("class strict") && listed.contains("class copyable"), "{listed}");
    let generation = |pair: &Pair| {
        let output = Command::new(REDERIVE).args(["key", "decode", &pair.access_key_id]).output().expect("runs");
        field(&text(&output), "generation")
    };
    common::wait_until("a key of the new generation", || {
        let name = format!("u{}", sign::now());
        dev.aws(&dev.ready.root, &format!("iam create-user --user-name {name}"));
        let created = dev.aws(&dev.ready.root, &format!("iam create-access-key --user-name {name}"));
        let created: serde_json::Value = serde_json::from_slice(&created.stdout).unwrap_or_default();
        serde_json::from_value::<Pair>(created["AccessKey"].clone()).is_ok_and(|pair| {
            let works = dev.verify(&sign::s3_get(&pair, "local", "h", "/b/k").call()).1["decision"] == "accept";
            generation(&pair) == "1" && works
        })
    });
    dev.aws_json(&before, "sts get-caller-identity");
    dev.aws_json(&root, "sts get-caller-identity");
}

#[test]
fn what_an_operator_denies_is_refused_until_it_is_lifted() {
    let dev = Dev::start();
    let config = dev.state.join("rederive.toml");
    let (root, alice, bob) = (&dev.ready.root, dev.user("alice"), dev.user("bob"));
    let refused = |pair: &Pair| dev.verify(&sign::s3_get(pair, "local", "h", "/b/k").call()).1["decision"] == "refuse";
    let soon = |what: &str, holds: &dyn Fn() -> bool| common::wait_until(what, holds);
    assert!(![root, &alice, &bob].into_iter().any(refused), "the control");

    let user = ["deny", "user", "--account", &dev.ready.account, "alice"];
    assert!(done(&user, &config).contains("alice denied"));
    soon("alice refused", &|| refused(&alice));
    assert!(done(&user, &config).contains("already"));
    assert!(done(&["deny", "list"], &config).contains("user:AIDA"));
    dev.aws_refused(root, "iam create-access-key --user-name alice", "AccessDenied");
    let update = format!("iam update-access-key --user-name alice --access-key-id {} --status", alice.access_key_id);
    dev.aws_json(root, &format!("{update} Inactive"));
    dev.aws_json(root, &format!("{update} Active"));
    assert!(refused(&alice), "that a key is active lifts no denial");
    assert!(!refused(&bob));
    done(&[&user[..], &["--lift"]].concat(), &config);
    soon("alice accepted", &|| !refused(&alice));

    let account = ["deny", "account", &dev.ready.account];
    done(&account, &config);
    soon("everybody refused", &|| [root, &alice, &bob].into_iter().all(refused));
    done(&[&account[..], &["--lift"]].concat(), &config);
    soon("everybody accepted", &|| ![root, &alice, &bob].into_iter().any(refused));

    let key = ["deny", "key", &bob.access_key_id];
    done(&key, &config);
    soon("bob refused", &|| refused(&bob));
    done(&[&key[..], &["--lift"]].concat(), &config);
    soon("bob accepted", &|| !refused(&bob));
    let of_alice = ["deny", "sessions", "--account", &dev.ready.account, "--user", "alice"];
    let told = done(&[&of_alice[..], &["--issued-before", "2026-01-02T03:04:05Z"]].concat(), &config);
    assert!(told.starts_with("sessions of user:AIDA") && told.contains("issued before 2026-01-02T03:04:05Z denied"));
    assert!(done(&of_alice, &config).contains(" denied"), "up to now");
    let earlier = done(&[&of_alice[..], &["--issued-before", "2026-01-02T03:04:05Z"]].concat(), &config);
    assert!(earlier.contains("already"), "{earlier}");
    done(&["deny", "sessions", "--key", &bob.access_key_id], &config);
    done(&["deny", "sessions", "--account", &dev.ready.account], &config);
    let list = done(&["deny", "list"], &config);
    for subject in ["user:AIDA", &format!("key:{}", bob.access_key_id), &format!("account:{}", dev.ready.account)] {
        assert!(list.contains(&format!("sessions of {subject}")), "{list}");
    }
    let ahead = [&of_alice[..], &["--issued-before", "2999-01-02T03:04:05Z"]].concat();
    assert!(fails(&ahead, &config).contains("lies ahead"));
    assert!(![root, &alice, &bob].into_iter().any(refused), "keys stay as they are");
    assert!(done(&[&of_alice[..], &["--lift"]].concat(), &config).contains("lifted"));
    assert!(!done(&["deny", "list"], &config).contains("sessions of user:"));
    assert!(fails(&["deny", "user", "--account", &dev.ready.account, "carol"], &config).contains("no user carol"));
    assert!(fails(&["deny", "account", "000000000099"], &config).contains("no account"));
}

#[test]
fn serve_runs_what_dev_has_made() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(directory.path());
    let (root, alice) = (dev.ready.root.clone(), dev.user("alice"));
    drop(dev);
    let config = directory.path().join("rederive.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let pin = std::fs::read_to_string(directory.path().join("pin")).expect("a PIN");
    let line = text.lines().find(|line| line.starts_with("pin_file")).expect("a PIN file");
    std::fs::write(&config, text.replace(line, "pin_env = \"TOKEN_PIN\"")).expect("writable");
    let log = directory.path().join("serve.log");
    let mut serve = Command::new(REDERIVE)
        .args(["serve", "--config"])
        .arg(&config)
        .env("TOKEN_PIN", pin.trim())
        .env("REDERIVE_LOG__FORMAT", "json")
        .stderr(common::new_log(&log))
        .spawn()
        .expect("rederive starts");
    let endpoints = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find(|line| line.contains("\"rpc_endpoint\""))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["fields"]["rpc_endpoint"].as_str().map(str::to_owned)
    };
    common::wait_until("serving", || endpoints().is_some());
    let rpc = endpoints().expect("told");
    common::wait_until("ready", || common::get(&format!("{rpc}/readyz")).0 == 200);
    for pair in [&root, &alice] {
        let call = sign::s3_get(pair, "local", "h", "/b/k").call();
        assert_eq!(common::post_json(&format!("{rpc}/v1/verify"), &call).1["decision"], "accept");
    }
    common::kill(serve.id(), "TERM");
    assert!(serve.wait().expect("it ends").success());
}

#[test]
fn doctor_tells_what_is_wrong() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(Dev::start_in(directory.path()));
    let config = directory.path().join("rederive.toml");
    let healthy = done(&["doctor"], &config);
    assert!(
        !healthy.contains("FAIL") && healthy.contains("attributes and check values of 1 generations are right"),
        "{healthy}"
    );
    let original = std::fs::read_to_string(&config).expect("a configuration");
    let sick = |from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        std::fs::write(&config, original.replace(from, to)).expect("writable");
        let output = rederive(&["doctor"], &config);
        assert!(!output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert!(
        sick("label = \"rederive-dev\"", "label = \"other\"").contains("label 'rederive-dev'"),
        "it lists what is there"
    );
    assert!(sick("libsofthsm2.so", "libnosuch.so").contains("cannot load the PKCS#11 module"));
    assert!(sick("/pin\"", "/nopin\"").contains("cannot read the PIN"));
    assert!(sick("[rpc]", "[rpc]\nunknown_key = 1").contains("unknown_key"));
}

#[test]
fn dev_makes_the_control_key_that_an_older_state_lacks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(Dev::start_in(directory.path()));
    let objects = || {
        let tokens = std::fs::read_dir(directory.path().join("tokens")).expect("a store").flatten();
        let files = tokens.flat_map(|token| std::fs::read_dir(token.path()).expect("a token").flatten());
        let objects = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|it| it == "object"));
        let mut objects: Vec<_> = objects.filter(|path| !path.ends_with("token.object")).collect();
        objects.sort_by_key(|path| path.metadata().and_then(|data| data.modified()).expect("a time"));
        objects
    };
    // The master was made first, the key pair after it.
    let [_, halves @ ..] = &objects()[..] else { panic!("no master") };
    assert_eq!(halves.len(), 2);
    halves.iter().for_each(|half| std::fs::remove_file(half).expect("removed"));
    let dev = Dev::start_in(directory.path());
    assert_eq!(objects().len(), 3);
    dev.user("alice");
}

#[test]
fn a_backup_opens_and_a_registry_from_the_future_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(directory.path());
    dev.user("alice");
    let config = directory.path().join("rederive.toml");
    let [of_running, copy] = ["running.sqlite", "copy.sqlite"].map(|name| directory.path().join(name));
    let back_up_to = |copy: &Path| rederive(&["backup", "--to", copy.to_str().expect("a path")], &config);
    assert!(back_up_to(&of_running).status.success());
    assert!(!back_up_to(&of_running).status.success(), "a backup never overwrites");
    drop(dev);
    // The feed may have grown since by a checkpoint of the audit log: an older copy would be noticed.
    assert!(back_up_to(&copy).status.success());
    let registry = directory.path().join("registry.sqlite");
    // A log that stayed behind belongs to the old file.
    for beside in ["registry.sqlite-wal", "registry.sqlite-shm"] {
        let _ = std::fs::remove_file(directory.path().join(beside));
    }
    std::fs::copy(&copy, &registry).expect("copied");
    let dev = Dev::start_in(directory.path());
    dev.aws_json(&dev.ready.root, "iam get-user --user-name alice");
    drop(dev);
    sql(&registry, "insert into _sqlx_migrations values (9999,'later',current_timestamp,1,x'00',0)");
    let refused = rederive(&["doctor"], &config);
    assert!(!refused.status.success() && text(&refused).contains("9999"), "{}", text(&refused));
}

#[test]
fn a_key_that_is_weaker_than_its_class_is_named_and_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(directory.path());
    let config = directory.path().join("rederive.toml");
    done(&["generation", "create", "--class", "copyable"], &config);
    drop(dev);
    // The registry is made to say that the copyable key is a strict one.
    sql(&directory.path().join("registry.sqlite"), "update generations set class='strict' where number=1");
    let refused = rederive(&["doctor"], &config);
    assert!(!refused.status.success() && text(&refused).contains("CKA_MODIFIABLE"), "{}", text(&refused));
}

#[test]
fn key_decode_reads_ids_and_says_what_is_none() {
    let decode = |id: &str| Command::new(REDERIVE).args(["key", "decode", id]).output().expect("runs");
    assert_eq!(field(&text(&decode("AKIARZPUZDIKAAERULUU")), "account"), "123456789012");
    assert_eq!(field(&text(&decode("AKIAIBYKXTPPCI2GDM7A")), "generation"), "3");
    let none = decode("AKIAIOSFODNN7EXAMPLE");
    assert!(!none.status.success() && text(&none).contains("no access key id of ours"));
}

/// A limit on the size of its files stands in for a full disk: every write beyond it fails.
#[test]
fn a_full_disk_stops_changes_only_for_as_long_as_it_is_full() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Else the system ends a process that meets the limit.
    let mut patient = Command::new("sh");
    patient.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", REDERIVE]);
    let dev = Dev::start_by(patient, directory.path());
    let alice = dev.user("alice");
    // Another user: a request like the one for alice's key has its signature if it comes within the same second.
    dev.aws_json(&dev.ready.root, "iam create-user --user-name carol");
    let readyz = || common::get(&format!("{}/readyz", dev.ready.rpc_endpoint));
    let verified = || dev.verify(&sign::s3_get(&alice, "local", "h", "/b/k").call()).1["decision"] == "accept";
    let disk = |limit: &str| {
        // The soft limit only: nobody but root may raise a hard one again.
        let limit = format!("--fsize={limit}:");
        let status = Command::new("prlimit").args(["--pid", &dev.process.id().to_string(), &limit]).status();
        assert!(status.expect("prlimit runs").success());
    };
    assert!(verified());

    disk("1");
    for _ in 0..3 {
        dev.aws_refused(&dev.ready.root, "iam create-user --user-name bob", "ServiceUnavailable");
        dev.aws_refused(&dev.ready.root, "iam create-access-key --user-name carol", "ServiceUnavailable");
        assert!(verified(), "what is known goes on");
    }
    common::wait_until("not ready", || readyz().0 == 503);
    assert!(readyz().1.contains("the registry cannot be written"), "{}", readyz().1);
    // By now the uses of alice's key were to be written, too.
    disk("unlimited");
    dev.aws_json(&dev.ready.root, "iam create-user --user-name bob");
    let second = dev.key("alice");
    dev.aws_json(&second, "sts get-caller-identity");
    let id = &alice.access_key_id;
    dev.aws_json(
        &dev.ready.root,
        &format!("iam update-access-key --user-name alice --access-key-id {id} --status Inactive"),
    );
    dev.aws_refused(&alice, "sts get-caller-identity", "InvalidClientTokenId");
    common::wait_until("ready", || readyz().0 == 200);
}

#[test]
fn an_account_is_made_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(Dev::start_in(directory.path()));
    let config = directory.path().join("rederive.toml");
    let original = std::fs::read_to_string(&config).expect("a configuration");
    let create = ["account", "create", "--number", "000000000042"];

    // The same token, an empty registry.
    let empty = directory.path().join("empty");
    let line = original.lines().find(|line| line.starts_with("state_dir")).expect("a state directory");
    let elsewhere = original.replace(line, &format!("state_dir = \"{}\"", empty.display()));
    std::fs::write(&config, elsewhere).expect("writable");
    assert!(fails(&["account", "list"], &config).contains("run 'rederive generation create'"));
    assert!(fails(&create, &config).contains("run 'rederive generation create"));
    assert_eq!(done(&["account", "list"], &config), "");

    for (from, to, why) in [
        ("libsofthsm2.so", "libnosuch.so", "cannot load the PKCS#11 module"),
        ("/pin\"", "/wrong\"", "refused the PIN"),
    ] {
        std::fs::write(directory.path().join("wrong"), "00000000").expect("writable");
        std::fs::write(&config, original.replace(from, to)).expect("writable");
        let failed = fails(&create, &config);
        assert!(failed.contains(why) && !failed.contains("secret"), "{failed}");
        assert!(!done(&["account", "list"], &config).contains("000000000042"));
    }
    // The right PIN alone does not help: who mended it has to say so.
    std::fs::write(&config, &original).expect("writable");
    assert!(fails(&create, &config).contains("refused the PIN"));
    assert!(done(&["token", "list"], &config).contains("latched: it refused the PIN (PinIncorrect)"));
    assert!(done(&["token", "unlatch", "rederive-dev"], &config).contains("unlatched"));
    assert!(done(&["token", "list"], &config).contains("not latched"));
    assert!(fails(&["token", "unlatch", "other"], &config).contains("there is no [[token]] 'other'"));

    std::fs::write(&config, &original).expect("writable");
    let first = root_pair(&done(&create, &config));
    let further = ["account", "root-key", "--number", "000000000042"];
    let second = root_pair(&done(&further, &config));
    assert!(fails(&further, &config).contains("the owner has 2 access keys already"));
    assert!(fails(&["account", "root-key", "--number", "000000000043"], &config).contains("account create"));
    let dev = Dev::start_in(directory.path());
    for pair in [first, second] {
        assert_eq!(dev.aws_json(&pair, "sts get-caller-identity")["Account"], "000000000042");
    }
}

#[test]
fn a_generation_whose_row_was_lost_is_skipped() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(Dev::start_in(directory.path()));
    let config = directory.path().join("rederive.toml");
    assert!(done(&["generation", "create"], &config).contains("generation   1  issuing"));
    sql(&directory.path().join("registry.sqlite"), "delete from generations where number=1");
    let made = done(&["generation", "create"], &config);
    assert!(made.contains("generation   2  issuing") && made.contains("generation 1 is skipped"), "{made}");
    let next = done(&["generation", "create"], &config);
    assert!(next.contains("generation   3  issuing") && !next.contains("skipped"), "{next}");
    done(&["doctor"], &config);
}

#[test]
fn an_administrative_request_that_hangs_is_given_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Whoever opens a pipe for reading waits until somebody writes to it.
    let module = directory.path().join("module.so");
    assert!(Command::new("mkfifo").arg(&module).status().expect("mkfifo runs").success());
    let token = TokenConfig {
        name: "hung".into(),
        module,
        label: Some("none".into()),
        serial: None,
        pin: PinSource::Env("NONE".into()),
        sessions: 1,
        classes: Default::default(),
        session_copies: Default::default(),
        cannot_tell: Default::default(),
        latch: None,
    };
    let request = AdminRequest::Examine { token, generations: Vec::new() };
    let given_up = admin(Path::new(REDERIVE), &[], &request, Duration::from_millis(500)).expect_err("no answer");
    assert_eq!(given_up.kind(), std::io::ErrorKind::TimedOut, "{given_up}");
}

/// Whoever had the master of a generation could sign as any of its keys, and have keys made under other masters.
#[test]
fn what_a_thief_has_made_goes_with_the_stolen_generation() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(directory.path());
    let config = directory.path().join("rederive.toml");
    let accepted = |pair: &Pair| dev.verify(&sign::s3_get(pair, "local", "h", "/b/k").call()).1["decision"] == "accept";
    let of_generation_1 = |pair: &Pair| {
        let output = Command::new(REDERIVE).args(["key", "decode", &pair.access_key_id]).output().expect("runs");
        field(&text(&output), "generation") == "1"
    };
    done(&["generation", "create", "--pending"], &config);
    done(&["generation", "promote", "1"], &config);
    let mut number = 0;
    let mut early = None;
    common::wait_until("a key of the new generation", || {
        number += 1;
        early = Some(dev.user(&format!("u{number}"))).filter(of_generation_1);
        early.is_some()
    });
    let early = early.expect("it came");
    let account = ["--account", &dev.ready.account, "--user", "u1"];
    done(&[&["key", "create"], &account[..]].concat(), &config);
    std::thread::sleep(Duration::from_millis(1100));
    let since = time::OffsetDateTime::now_utc();
    let since = since.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let late = dev.user("late");
    let listed = done(&["generation", "made-with", "0", "--since", &since], &config);
    assert!(listed.contains(&late.access_key_id) && !listed.contains(&early.access_key_id), "{listed}");
    assert!(listed.ends_with("1 active keys\n"), "{listed}");

    let progress = done(&["generation", "progress"], &config);
    let active = progress.lines().find_map(|line| line.strip_prefix("generation   0  issuing")).expect("a line");
    let breaks = active.trim_end_matches(" active keys").trim();
    let close = ["generation", "close", "0", "--breaks", breaks, "--since", &since];
    let refused = fails(&close, &config);
    assert!(refused.contains("say --switches-off 1") && accepted(&late), "{refused}");
    let closed = done(&[&close[..], &["--switches-off", "1"]].concat(), &config);
    assert!(
        closed.contains("is closed") && closed.contains(&format!("{} is switched off", late.access_key_id)),
        "{closed}"
    );
    common::wait_until("refusal", || !accepted(&late));
    assert!(accepted(&early), "what was made before stays");
}

#[test]
fn a_generation_goes_one_way_from_pending_to_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(directory.path());
    let config = directory.path().join("rederive.toml");
    let (old, other) = (dev.user("old"), dev.user("other"));
    let accepted = |pair: &Pair| dev.verify(&sign::s3_get(pair, "local", "h", "/b/k").call()).1["decision"] == "accept";
    let generation = |pair: &Pair| {
        let output = Command::new(REDERIVE).args(["key", "decode", &pair.access_key_id]).output().expect("runs");
        field(&text(&output), "generation")
    };
    assert!(fails(&["generation", "create", "--shares", "8000-7fff"], &config).contains("no range of shares"));
    assert!(done(&["generation", "create", "--pending"], &config).contains("generation   1  pending"));
    assert_eq!(generation(&dev.user("still-old")), "0", "a pending one makes no keys");

    assert!(done(&["generation", "promote", "1"], &config).contains("generation 1 is issuing"));
    let mut number = 0;
    let mut new = None;
    common::wait_until("a key of the new generation", || {
        number += 1;
        new = Some(dev.user(&format!("u{number}"))).filter(|pair| generation(pair) == "1");
        new.is_some()
    });
    let new = new.expect("it came");
    assert!(done(&["generation", "retire", "0"], &config).contains("generation 0 is verifying"));
    assert!(fails(&["generation", "promote", "0"], &config).contains("is verifying and can't become issuing"));
    assert!(accepted(&old) && accepted(&other) && accepted(&new));

    let progress = done(&["generation", "progress"], &config);
    let active = progress.lines().find_map(|line| line.strip_prefix("generation   0  verifying  ")).expect("a line");
    let active = active.trim_end_matches(" active keys").to_owned();
    assert!(progress.contains(&format!("account {}", dev.ready.account)), "{progress}");
    let refused = fails(&["generation", "close", "0"], &config);
    assert!(refused.contains(&format!("has {active} active keys")), "{refused}");
    assert!(accepted(&old), "the control: nothing was closed");

    assert!(done(&["generation", "close", "0", "--breaks", &active], &config).contains("is closed"));
    common::wait_until("refusal of its keys", || !accepted(&old) && !accepted(&other));
    let (_, answer) = dev.verify(&sign::s3_get(&old, "local", "h", "/b/k").call());
    assert_eq!(answer["code"], "InvalidAccessKeyId");
    dev.aws_refused(&old, "sts get-caller-identity", "InvalidClientTokenId");
    assert!(accepted(&new), "no other key notices");
    common::log_that_says(&directory.path().join("log"), "its generation is closed");
    assert!(fails(&["generation", "retire", "0"], &config).contains("is closed and can't become verifying"));
    let note = done(&["generation", "retire", "1"], &config);
    assert!(note.contains("no generation issues for 65536"), "{note}");
}
