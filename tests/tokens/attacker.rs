//! A `serve` that has been taken over, at the wire of a worker of its own: it has the right user and every byte of its choice.
//!
//! Each attack is made twice: on a worker without the right, which refuses it, and on one with it, where the same bytes succeed.
//! The wire is written here by hand, apart from the client that `serve` has.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Prefix, TagKey};
use rederive_hsm::derivation::{Purpose, secret_access_key, secret_message, subkey_message};
use rederive_hsm::feed_head::FeedHead;
use rederive_hsm::region_set::RegionSet;
use rederive_hsm::signing_key::{ScopeDate, SigningKey};
use rederive_hsm::sigv2::{Hash, Question};
use rederive_hsm::wire::{Answer, Hello, Reason, Request, body_length, length_prefix};

use crate::common::{self, REDERIVE, sign};
use crate::own_worker::ISSUER;
use crate::place::master;
use crate::split::Split;

const VERIFIER: &str =
    "issue = false\nservices = [\"s3\"]\nregions = [\"local\"]\npresigned = []\nsignature_v2 = [\"s3\"]";

/// One connection of the attacker's.
struct Wire(UnixStream);

impl Wire {
    fn open(socket: &Path) -> Self {
        let mut wire = Self(UnixStream::connect(socket).expect("connects"));
        wire.0.set_read_timeout(Some(common::LONG)).expect("settable");
        let hello = wire.frame().expect("a hello");
        assert!(matches!(Hello::decode(&hello), Ok(Hello::Ready(_))));
        wire
    }

    fn frame(&mut self) -> Result<Vec<u8>, std::io::Error> {
        let mut prefix = [0; 4];
        self.0.read_exact(&mut prefix)?;
        let mut body = vec![0; body_length(prefix).expect("a length")];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    fn send(&mut self, body: &[u8]) {
        self.0.write_all(&[&length_prefix(body)[..], body].concat()).expect("sent");
    }

    fn ask(&mut self, request: &Request) -> Answer {
        self.send(&request.encode(1));
        Answer::decode(&mut self.frame().expect("an answer")).expect("well-formed").1
    }
}

fn account() -> Account {
    Account::parse(crate::place::ACCOUNT).expect("twelve digits")
}

fn generation(number: u8) -> Generation {
    Generation::new(number).expect("in range")
}

/// An id with the right tag: whoever has the tag key can make them, and `serve` has it.
fn id(prefix: &str, of: u8) -> AccessKeyId {
    let tag_key = TagKey::new(&master().hmac(&subkey_message(Purpose::AccessKeyIdTag)));
    let fields = Fields::Account { account: account(), generation: generation(of), needs_row: false, serial: 7 };
    AccessKeyId::assemble(Prefix::parse(prefix).expect("letters"), &fields, &tag_key)
}

fn day(offset: i64) -> [u8; 8] {
    *ScopeDate::of_day(sign::now().div_euclid(86_400) + offset).expect("a day").digits()
}

fn key(id: AccessKeyId, date: [u8; 8], region: &str, service: &str) -> Request {
    Request::SigningKey { id, date, region: region.into(), service: service.into() }
}

fn public_key(date: [u8; 8], regions: &str, service: &str) -> Request {
    let regions = RegionSet::parse(regions.as_bytes()).expect("a set");
    Request::SigV4aPublicKey { id: id("AKIA", 0), date, service: service.into(), regions }
}

fn matches(service: &str) -> Request {
    let question = Question::new(id("AKIA", 0), service.into(), Hash::Sha1, vec![0; 20], b"text".to_vec());
    Request::MatchesV2(question.expect("a question"))
}

fn issue(of: u8) -> Request {
    Request::Issue { generation: generation(of), account: account(), needs_row: false, nonce: [7; 32] }
}

fn head(number: u64, hash: u8, time: i64) -> Request {
    Request::SignHead(FeedHead { epoch: [1; 16], number, hash: [hash; 32], time })
}

fn refused(answer: &Answer) -> Option<Reason> {
    if let Answer::Refused(reason) = answer { Some(*reason) } else { None }
}

/// The same attacks on a pure verifier's worker and, as the control, on one that has the right.
#[test]
fn a_serve_that_was_taken_over_gets_nothing_beyond_the_rights() {
    let all = "issue = true\nservices = [\"*\"]\nregions = [\"*\"]\nsignature_v2 = [\"s3\", \"sqs\"]";
    let (verifier, issuer) = (Split::new(VERIFIER), Split::new(all));
    let (_verifier, _issuer) = (verifier.start(), issuer.start());
    let mut narrow = Wire::open(&verifier.path("hsm.sock"));
    let mut wide = Wire::open(&issuer.path("hsm.sock"));
    let good = id("AKIA", 0);
    let mut wrong_tag = good.as_str().to_owned();
    wrong_tag.replace_range(19.., if good.as_str().ends_with('A') { "B" } else { "A" });
    let wrong_tag = AccessKeyId::parse(wrong_tag.as_bytes()).expect("well-formed");
    // Not before the workers run: a head of some seconds ago is refused for its time.
    let now = sign::now();
    // What is asked, what a verifier's worker says, and whether a worker with every right that there is gives it.
    let rows = [
        ("what it is for", key(good, day(0), "local", "s3"), None, true),
        ("another service", key(good, day(0), "local", "sqs"), Some(Reason::Service), true),
        ("iam", key(good, day(0), "local", "iam"), Some(Reason::Service), true),
        ("sts", key(good, day(0), "local", "sts"), Some(Reason::Service), true),
        ("another region", key(good, day(0), "elsewhere", "s3"), Some(Reason::Region), true),
        ("a date of last week", key(good, day(-5), "local", "s3"), Some(Reason::Date), true),
        ("a date long past", key(good, day(-9), "local", "s3"), Some(Reason::Date), false),
        ("a date to come", key(good, day(2), "local", "s3"), Some(Reason::Date), false),
        ("no date", key(good, *b"20260230", "local", "s3"), Some(Reason::Date), false),
        ("a made-up id", key(wrong_tag, day(0), "local", "s3"), Some(Reason::Tag), false),
        ("a temporary id", key(id("ASIA", 0), day(0), "local", "s3"), Some(Reason::Prefix), false),
        ("another generation", key(id("AKIA", 9), day(0), "local", "s3"), Some(Reason::Generation), false),
        ("a public key of another service", public_key(day(0), "local", "sqs"), Some(Reason::Service), true),
        ("a public key of iam", public_key(day(0), "local", "iam"), Some(Reason::Service), true),
        ("a public key of another region", public_key(day(0), "elsewhere", "s3"), Some(Reason::Region), true),
        ("a public key of another date", public_key(day(-9), "local", "s3"), Some(Reason::Date), false),
        ("an oracle for V2 of iam", matches("iam"), Some(Reason::Service), false),
        ("an oracle for V2 of another service", matches("sqs"), Some(Reason::Service), true),
        ("a new key", issue(0), Some(Reason::NotIssuer), true),
        ("a new key of another generation", issue(9), Some(Reason::NotIssuer), false),
        ("a head of the deny feed", head(5, 1, now), Some(Reason::NotIssuer), true),
        ("a head that goes back", head(4, 1, now), Some(Reason::NotIssuer), false),
        ("a head that forks", head(5, 2, now), Some(Reason::NotIssuer), false),
        ("a head of another time", head(6, 1, now + 60), Some(Reason::NotIssuer), false),
        ("a tag key of another generation", Request::TagKey(generation(9)), Some(Reason::Generation), false),
        ("a check of another generation", Request::Check(generation(9)), Some(Reason::Generation), false),
    ];
    let mut reasons = BTreeSet::new();
    for (what, request, reason, has_right) in rows {
        let answer = narrow.ask(&request);
        assert_eq!(refused(&answer), reason, "{what}: {answer:?}");
        reasons.extend(reason.map(Reason::word));
        let answer = wide.ask(&request);
        // The token of this test has no control key, which is told only after the rules have said yes.
        let is_allowed = matches!(refused(&answer), None | Some(Reason::NoControlKey));
        assert_eq!(is_allowed, has_right, "{what}, the control: {answer:?}");
    }
    assert!(reasons.len() >= 7, "{reasons:?}");
}

/// What is answered is never the secret of an id that the attacker has chosen.
#[test]
fn no_answer_holds_the_secret_of_an_id_that_was_named() {
    let split = Split::new(ISSUER);
    let _watchdog = split.start();
    let mut wire = Wire::open(&split.path("hsm.sock"));
    let victim = id("AKIA", 0);
    let secret = secret_access_key(&master().hmac(&secret_message(&victim, None)));
    let holds_it =
        |bytes: &[u8]| bytes.windows(16).any(|window| secret.expose().as_bytes().windows(16).any(|of| of == window));
    let mut frames = Vec::new();
    // The nonces that somebody would choose: the victim's id, its serial, every byte the same.
    let mut chosen = [0; 32];
    chosen[..20].copy_from_slice(victim.as_bytes());
    let issued = |nonce| Request::Issue { generation: generation(0), account: account(), needs_row: false, nonce };
    let requests = (0..=255).map(|byte| issued([byte; 32])).chain([issued(chosen)]);
    let own = [key(victim, day(0), "local", "s3"), public_key(day(0), "local", "s3"), Request::TagKey(generation(0))];
    for request in requests.chain(own) {
        wire.send(&request.encode(1));
        let frame = wire.frame().expect("an answer");
        assert!(!holds_it(&frame), "{request:?}");
        frames.push(frame);
    }
    assert!(holds_it(&[b"..", secret.expose().as_bytes()].concat()), "the control: it would be found");
    let first = Answer::decode(&mut frames[0].clone()).expect("well-formed").1;
    let Answer::Issued(id, pair) = first else { panic!("the control: {first:?}") };
    assert_eq!(pair.expose(), secret_access_key(&master().hmac(&secret_message(&id, None))).expose());
    let key = Answer::decode(&mut frames[257].clone()).expect("well-formed").1;
    let Answer::Key(key) = key else { panic!("the control: {key:?}") };
    assert!(SigningKey::from_secret(key).ct_eq(&SigningKey::derive(&secret, &day(0), "local", "s3")));
}

/// Bytes that are no request end the connection, and nothing else.
#[test]
fn what_is_no_request_ends_its_connection_alone() {
    let split = Split::new(ISSUER);
    let watchdog = split.start();
    let worker = watchdog.worker();
    let good = key(id("AKIA", 0), day(0), "local", "s3").encode(1);
    let mut beside = Wire::open(&split.path("hsm.sock"));
    let torn: [&[u8]; 7] = [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\x01\x00\x01",
        b"\0\0\0\x09\0\0\0\0\0\0\0\x01\x09",
        b"\0\0\0\x09\0\0\0\0\0\0\0\x01\x00",
        b"\0\0\0\x0a\0\0\0\0\0\0\0\x01\x02\x80",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in torn {
        let mut wire = Wire::open(&split.path("hsm.sock"));
        wire.0.write_all(bytes).expect("sent");
        assert!(wire.frame().is_err(), "{bytes:?} is answered");
    }
    beside.send(&good);
    assert!(beside.frame().is_ok(), "the control");
    assert_eq!(watchdog.worker(), worker, "the same process");
}

#[test]
fn a_cap_bounds_it_and_its_alarm_is_seen() {
    let split = Split::new(&format!("{ISSUER}\nsigning_keys_per_second = 20\nissues_per_account_a_day = 30"));
    let metrics = split.path("worker.prom");
    split.change("state_dir", &format!("metrics_file = {metrics:?}\nstate_dir"));
    let watchdog = split.start();
    let metric = |name: &str| {
        let text = std::fs::read_to_string(&metrics).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let mut wire = Wire::open(&split.path("hsm.sock"));
    let request = key(id("AKIA", 0), day(0), "local", "s3");
    let allowed = |wire: &mut Wire, request: &Request| refused(&wire.ask(request)).is_none();
    let begun = sign::now();
    let given = (0..500).filter(|_| allowed(&mut wire, &request)).count();
    let seconds = usize::try_from(sign::now() - begun + 1).expect("forwards");
    assert!(given <= 20 * seconds, "{given} within {seconds} s");
    assert!(given > 0, "the control");
    // Another connection has no allowance of its own.
    let new = (0..100).filter(|_| allowed(&mut wire, &issue(0))).count();
    let more = (0..100).filter(|_| allowed(&mut Wire::open(&split.path("hsm.sock")), &issue(0))).count();
    assert_eq!((new, more), (30, 0), "new keys of one account a day");
    watchdog.tells("ALARM: asked for more a second than the cap allows", 0);
    watchdog.tells("ALARM: asked for more new keys a day than one account may have", 0);
    common::wait_until("the metric", || metric("rederive_worker_refusals_total{token=\"a\",reason=\"rate\"}") > 100);
    let uses = "rederive_worker_master_uses_total{token=\"a\",purpose=\"secret\",generation=\"0\"}";
    assert!(metric(uses) >= 30, "uses of the master are counted");
}

/// As many workers as there are, the cap is one.
#[test]
fn several_workers_have_one_cap_together() {
    let split = Split::new(&format!("{ISSUER}\nissues_per_account_a_day = 31"));
    split.change("workers = 1", "workers = 2");
    let watchdog = split.start();
    watchdog.tells("the HSM worker is ready", 1);
    let issued = |socket: &str| {
        let mut wire = Wire::open(&split.path(socket));
        (0..100).filter(|_| refused(&wire.ask(&issue(0))).is_none()).count()
    };
    assert_eq!((issued("hsm.sock"), issued("hsm.sock.1")), (16, 15));
    watchdog.tells("ALARM: asked for more new keys a day than one account may have", 1);
}

/// Somebody else on the machine: neither the socket nor the files are theirs.
#[test]
fn another_user_gets_nothing() {
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root can run something as another user");
        return;
    }
    let split = Split::new(ISSUER);
    let metrics = split.path("worker.prom");
    split.change("state_dir", &format!("metrics_file = {metrics:?}\nstate_dir"));
    let watchdog = split.start();
    // The directories above are open, so that it is the files themselves that say no.
    let open = |path: &Path, mode: &str| Command::new("chmod").arg(mode).arg(path).status().expect("runs");
    open(split.place.directory.path(), "755");
    open(&split.path("a"), "755");
    let as_nobody = |command: &str, arguments: &[&Path]| {
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
        let output = Command::new("setpriv").args(nobody).arg(command).args(arguments).stdin(Stdio::null()).output();
        output.expect("setpriv runs")
    };
    let text = split.path("rederive.toml");
    open(&text, "644");
    assert!(as_nobody("cat", &[&text]).status.success(), "the control: it can read what is open");
    for secret in ["a/pin", "a/tokens", "worker-state"] {
        let path = split.path(secret);
        let command = if path.is_dir() { "ls" } else { "cat" };
        let output = as_nobody(command, &[&path]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{secret} is read");
    }
    let memory = format!("/proc/{}/mem", watchdog.worker().expect("a worker"));
    assert!(
        !as_nobody("head", &[Path::new("-c1"), Path::new(&memory)]).status.success(),
        "the worker's memory is read"
    );

    // It reaches the socket, and is turned away before a hello.
    let script = split.path("greet.py");
    let greet = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.settimeout(20)\nprint(len(s.recv(64)))\n";
    std::fs::write(&script, greet).expect("writable");
    open(&script, "644");
    let socket = split.path("hsm.sock");
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(said(as_nobody("/usr/bin/python3", &[&script, &socket])), "0", "not a byte");
    watchdog.tells("ALARM: a peer was turned away", 0);
    common::wait_until("the metric", || {
        let text = std::fs::read_to_string(&metrics).unwrap_or_default();
        text.contains("rederive_worker_turned_away_total{token=\"a\"} 1")
    });
    // The control: the same user, once the configuration names it, is greeted by the same script.
    let ready = watchdog.told("the HSM worker is ready");
    split.change("peers = [0]", "peers = [0, 65534]");
    watchdog.signal("HUP");
    watchdog.tells("the HSM worker is ready", ready);
    assert_ne!(said(as_nobody("/usr/bin/python3", &[&script, &socket])), "0");

    // It cannot start a worker with more rights either: the PIN is not its own.
    let text = std::fs::read_to_string(split.config()).expect("readable");
    let own = split.path("own.toml");
    let tempting = text
        .replace("hsm.sock", "own.sock")
        .replace("worker-state", "own-state")
        .replace(metrics.to_str().expect("text"), "/tmp/x");
    std::fs::write(&own, tempting).expect("writable");
    open(&own, "644");
    open(split.place.directory.path(), "777");
    // Where this test was built may be closed to others.
    let binary = split.path("rederive");
    std::fs::copy(REDERIVE, &binary).expect("copied");
    let five = Path::new("5");
    let worker = [five, &binary, Path::new("hsm-worker"), Path::new("--config"), &own];
    let theirs = as_nobody("timeout", &worker);
    let theirs = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(theirs.contains("the worker cannot start") && !theirs.contains("is ready"), "{theirs}");
    std::fs::remove_dir_all(split.path("own-state")).expect("theirs was made");
    let ours = Command::new("timeout").args(worker).output().expect("runs");
    let ours = String::from_utf8_lossy(&ours.stderr).into_owned();
    assert!(ours.contains("the HSM worker is ready"), "the control: {ours}");
}

/// The counts of both ends are compared; somebody else on the wire is an alarm, and honest load is none: not even over a connection
/// that was given up and made anew.
#[test]
fn a_use_by_somebody_else_is_an_alarm() {
    let split = Split::new(ISSUER);
    let watchdog = split.start();
    let node = split.place.ready();
    let differences = || node.metric("rederive_hsm_differences_total");
    let uses = || node.metric("rederive_master_uses_total{token=\"a\",purpose=\"secret\",generation=\"0\"}");
    let check = || {
        // Each check compares; they come every 5 s.
        let before = node.metric("rederive_hsm_requests_total{kind=\"check\"}");
        let two_more = || node.metric("rederive_hsm_requests_total{kind=\"check\"}") >= before + 2.0;
        common::wait_until("two checks", two_more);
        std::thread::sleep(Duration::from_millis(300));
    };
    let load = || {
        let tally = crate::oracle::ask_both(&node, &split.place.root, 50, "honest load");
        tally.check();
        (tally.compared - tally.unavailable) as f64
    };
    let answered = load();
    // A stopped worker is a lost connection, with requests on it that nobody has answered; as is one on a busy machine.
    let worker = watchdog.worker().expect("a worker");
    common::kill(worker, "STOP");
    load();
    common::kill(worker, "CONT");
    common::wait_until("a new connection", || node.workers("a", "trusted") == 1.0);
    let answered = answered + load();
    check();
    assert_eq!(differences(), 0.0, "honest load is no alarm");
    assert!(uses() >= answered && answered > 0.0, "uses are counted: {} for {answered} answers", uses());
    assert_eq!(watchdog.worker(), Some(worker), "the same process");

    let mut wire = Wire::open(&split.path("hsm.sock"));
    assert_eq!(refused(&wire.ask(&key(id("AKIA", 0), day(0), "local", "s3"))), None, "one use that is not the node's");
    check();
    assert_eq!(differences(), 1.0);
    let log = common::log_that_says(&node.log, "ALARM: an HSM worker was used by somebody else");
    assert_eq!(one_more(&log), Some("signing_key of generation 0".into()), "{log}");
    check();
    assert_eq!(differences(), 1.0, "it is told once");
}

/// Of what the log says that there was one more than the node has sent, over all of its connections.
fn one_more(log: &str) -> Option<String> {
    let (_, told) = log.split_once("somebody else has asked it: ")?;
    let (what, counts) = told.split_once(": ")?;
    let (found, rest) = counts.split_once(" instead of ")?;
    let sent: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (found.parse::<u64>().ok()? == sent.parse::<u64>().ok()? + 1).then(|| what.to_owned())
}
