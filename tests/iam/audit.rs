//! The audit log: its chain against every kind of tampering, its file, and what is in it.

use std::path::Path;

use proptest::prelude::*;
use rederive::audit::chain::{Entry, Link, seal};
use rederive::audit::check::{Checker, Flaw, MixedChecker, Sound};
use rederive::audit::{Audit, Event};
use rederive::config::Config;
use rederive::iam::Caller;
use serde_json::Value;

use super::{Place, SECRET, alice, element, root};

fn log(count: u64) -> Vec<Vec<u8>> {
    let mut last = Link::START;
    let line = |number| {
        let (line, link) = seal(&[7; 16], &last, format!(r#"{{"eventName":"E{number}"}}"#).as_bytes());
        last = link;
        line
    };
    (1..=count).map(line).collect()
}

fn check(lines: &[Vec<u8>]) -> Result<Sound, Flaw> {
    check_with(lines, Vec::new())
}

fn check_with(lines: &[Vec<u8>], checkpoints: Vec<Link>) -> Result<Sound, Flaw> {
    let mut checker = Checker::new(Link::START, checkpoints);
    for (number, line) in (1..).zip(lines) {
        checker.line(number, line)?;
    }
    checker.finish(lines.len() as u64, true)
}

fn link(line: &[u8]) -> Link {
    Entry::read(line).expect("an entry").link
}

/// What was done to a log of nine entries, and what is said of it.
#[test]
fn tampering_is_named_with_its_place() {
    type Tamper = fn(&mut Vec<Vec<u8>>);
    let cases: [(Tamper, &str); 9] = [
        (|lines| lines[4][120] ^= 1, "line 5: entry 5 was edited"),
        (|lines| _ = lines.remove(4), "line 5: entries 5 to 5 are missing"),
        (|lines| _ = lines.drain(..3), "line 1: entries 1 to 3 are missing"),
        (|lines| lines.swap(4, 5), "line 5: entries 5 to 5 are missing"),
        (|lines| lines.insert(5, lines[2].clone()), "line 6: entry 3 stands after entry 5"),
        (
            |lines| {
                let (forged, _) = seal(&[7; 16], &link(&lines[3]), br#"{"eventName":"Forged"}"#);
                lines[4] = forged;
            },
            "line 6: entry 6 does not follow the entry before it",
        ),
        (
            |lines| {
                let (foreign, _) = seal(&[8; 16], &link(&lines[3]), br#"{"eventName":"E5"}"#);
                lines[4] = foreign;
            },
            "line 5: entry 5 belongs to another log",
        ),
        (|lines| lines.insert(4, b"# a note".to_vec()), "line 5 is no entry"),
        (|lines| lines.clear(), "there is no entry in it"),
    ];
    let whole = log(9);
    assert_eq!(check(&whole), Ok(Sound { first: 1, last: link(&whole[8]), torn: 0 }), "the control");
    for (tamper, said) in cases {
        let mut lines = whole.clone();
        tamper(&mut lines);
        let flaw = check(&lines).expect_err(said).to_string();
        assert!(flaw.contains(said), "{said}: {flaw}");
    }
}

#[test]
fn a_checkpoint_shows_a_cut_end_and_a_new_chain() {
    let (whole, checkpoint) = (log(9), link(&log(9)[6]));
    assert!(check_with(&whole, vec![checkpoint]).is_ok());
    let cut = whole[..5].to_vec();
    assert!(check(&cut).is_ok(), "by itself a shorter log is sound");
    assert_eq!(check_with(&cut, vec![checkpoint]), Err(Flaw::TooShort { checkpoint, last: 5 }));
    let mut last = Link::START;
    let anew = |_| {
        let (line, link) = seal(&[7; 16], &last, br#"{"eventName":"Forged"}"#);
        last = link;
        line
    };
    let forged: Vec<_> = (0..9).map(anew).collect();
    assert!(check(&forged).is_ok(), "by itself a new chain is sound");
    assert_eq!(check_with(&forged, vec![checkpoint]), Err(Flaw::Rewritten { checkpoint }));
}

#[test]
fn logs_in_a_journal_are_told_apart() {
    let mut last = Link::START;
    let mut second = |_| {
        let (line, link) = seal(&[9; 16], &last, br#"{"eventName":"F"}"#);
        last = link;
        line
    };
    let (first, second) = (log(3), (0..3).map(&mut second).collect::<Vec<_>>());
    let mut journal: Vec<Vec<u8>> = vec![b"<38>Nov 22 10:00:00 kernel: something else".to_vec()];
    for (one, other) in first.iter().zip(&second) {
        journal.push([b"<38>Nov 22 10:00:00 rederive[1]: ", one.as_slice()].concat());
        journal.push(other.clone());
    }
    let check = |lines: &[Vec<u8>]| {
        let mut checker = MixedChecker::default();
        for (number, line) in (1..).zip(lines) {
            checker.line(number, line)?;
        }
        checker.finish(lines.len() as u64)
    };
    let logs: Vec<_> =
        check(&journal).expect("sound").into_iter().map(|(log, sound)| (log[0], sound.last.number)).collect();
    assert_eq!(logs, [(7, 3), (9, 3)]);
    journal.remove(3);
    assert_eq!(check(&journal), Err(Flaw::Missing { line: 5, first: 2, last: 2 }));
}

proptest! {
    /// A log in which any lines were changed, taken out, doubled or moved is sound only if it is as it was, or ends earlier.
    #[test]
    fn only_beginnings_are_sound(edits in prop::collection::vec((0usize..4, 0usize..8, 0usize..8, any::<u8>()), 1..4)) {
        let whole = log(8);
        let mut lines = whole.clone();
        for (kind, at, to, byte) in edits {
            let at = at.min(lines.len().saturating_sub(1));
            match kind {
                0 if !lines.is_empty() => { let place = usize::from(byte) % lines[at].len(); lines[at][place] ^= 1 << (to % 7); }
                1 if !lines.is_empty() => { lines.remove(at); }
                2 if !lines.is_empty() => { let line = lines[at].clone(); lines.insert(to.min(lines.len()), line); }
                _ => { let to = to.min(lines.len().saturating_sub(1)); if !lines.is_empty() { lines.swap(at, to); } }
            }
        }
        let is_beginning = !lines.is_empty() && whole.starts_with(&lines);
        prop_assert_eq!(check(&lines).is_ok(), is_beginning);
    }

    /// Any bytes are an entry or are not; whatever is one was sealed so.
    #[test]
    fn what_reads_was_sealed(fields in "[a-z\":,{}]{0,40}", after in any::<u64>()) {
        let event = format!("{{{fields}}}");
        let after = Link { number: after / 2, hash: [3; 32] };
        let (line, link) = seal(&[1; 16], &after, event.as_bytes());
        let entry = Entry::read(&line).expect("an entry");
        prop_assert_eq!((entry.link, entry.previous, entry.fields), (link, after.hash, fields.as_bytes()));
    }
}

fn config(folder: &Path, more: &str) -> Config {
    let text = format!(
        "state_dir = \"{}\"\n[[token]]\nname = \"t\"\nmodule = \"m\"\nlabel = \"l\"\npin_file = \"p\"\n[audit]\n{more}",
        folder.display()
    );
    Config::parse(&text, []).expect("a configuration")
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("readable");
    bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn events(path: &Path) -> Vec<Value> {
    lines(path).iter().filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn names(path: &Path) -> Vec<String> {
    events(path).iter().map(|event| event["eventName"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_torn_line_is_told_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, path) = (config(folder.path(), ""), folder.path().join("audit.log"));
    for _ in 0..2 {
        Audit::open(&config).expect("opens").record(Event::command("Deny", 1)).await.expect("recorded");
    }
    let whole = std::fs::read(&path).expect("readable");
    // Cut within the second line, in front of its line break, and behind it.
    let second = whole.iter().position(|b| *b == b'\n').expect("a line break") + 1;
    for (cut, expected) in [
        (second + 1, vec!["Deny", "AuditLogRecovered", "Lift"]),
        (whole.len() - 20, vec!["Deny", "AuditLogRecovered", "Lift"]),
        (whole.len() - 1, vec!["Deny", "Deny", "Lift"]),
        (whole.len(), vec!["Deny", "Deny", "Lift"]),
    ] {
        std::fs::write(&path, &whole[..cut]).expect("writable");
        Audit::open(&config).expect("opens").record(Event::command("Lift", 1)).await.expect("recorded");
        assert_eq!(names(&path), expected, "cut at {cut}");
        let torn = u64::from(expected.contains(&"AuditLogRecovered"));
        assert_eq!(check(&lines(&path)).map(|sound| sound.torn), Ok(torn), "cut at {cut}");
        if torn == 1 {
            // The torn bytes are covered, too.
            let mut bytes = std::fs::read(&path).expect("readable");
            bytes[second] ^= 1;
            std::fs::write(&path, bytes).expect("writable");
            assert_eq!(check(&lines(&path)), Err(Flaw::NotAnEntry { line: 2 }));
        }
    }
    std::fs::write(&path, "not a log\n").expect("writable");
    let refused = Audit::open(&config).map(|_| ()).expect_err("nothing is written behind what is no log").to_string();
    assert!(refused.contains("rederive audit verify"), "{refused}");
}

#[tokio::test]
async fn several_processes_and_a_rotation_keep_one_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, path) = (config(folder.path(), "checkpoint_every = 3"), folder.path().join("audit.log"));
    // Two handles are to each other as two processes are: each has its own file and finds the other's lines there.
    let (one, other) = (Audit::open(&config).expect("opens"), Audit::open(&config).expect("opens"));
    for round in 0..10 {
        let audit = if round % 2 == 0 { &one } else { &other };
        audit.record(Event::command("Deny", round)).await.expect("recorded");
    }
    let moved = folder.path().join("audit.log.1");
    std::fs::rename(&path, &moved).expect("moved");
    other.record(Event::command("AfterRotation", 1)).await.expect("recorded");
    one.record(Event::command("AfterRotation", 1)).await.expect("recorded");
    one.close().await.expect("closed");
    assert_eq!(names(&path).iter().filter(|name| *name == "AfterRotation").count(), 2);
    assert!(names(&moved).contains(&"AuditCheckpoint".to_owned()), "{:?}", names(&moved));
    let both = [lines(&moved), lines(&path)].concat();
    assert!(check(&both).is_ok(), "{:?}", check(&both));
    assert!(matches!(check(&lines(&path)), Err(Flaw::Missing { line: 1, .. })), "one file alone has no beginning");
}

impl Place {
    async fn audited() -> Self {
        let mut place = Self::new().await;
        std::fs::create_dir(place.folder.path().join("audit")).expect("a folder");
        let file = format!("file = \"{}\"", place.log().display());
        place.audit = Audit::open(&config(place.folder.path(), &file)).expect("opens");
        place
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("audit/audit.log")
    }
}

#[tokio::test]
async fn a_call_is_told_as_cloudtrail_names_it() {
    let place = Place::audited().await;
    let created = place.post(&root(), "Action=CreateAccessKey&UserName=alice&Nonsense=planted-7f3a").await;
    let id = element(&created, "AccessKeyId").expect("an id").to_owned();
    place.post(&alice(), "Action=ListUsers").await;
    place.post(&alice(), "Action=Fly").await;
    place.audit.close().await.expect("closed");

    let events = events(&place.log());
    let key = &events[0];
    for (field, expected) in [
        ("/eventTime", "2026-11-21T12:00:00Z"),
        ("/eventSource", "iam.amazonaws.com"),
        ("/eventName", "CreateAccessKey"),
        ("/awsRegion", "eu-1"),
        ("/sourceIPAddress", "192.0.2.1"),
        ("/userAgent", "aws-cli/1"),
        ("/userIdentity/type", "Root"),
        ("/userIdentity/arn", "arn:aws:iam::123456789012:root"),
        ("/userIdentity/accountId", "123456789012"),
        ("/requestParameters/userName", "alice"),
        ("/responseElements/accessKey/accessKeyId", id.as_str()),
        ("/responseElements/accessKey/status", "Active"),
        ("/requestID", "request-1"),
        ("/eventType", "AwsApiCall"),
        ("/recipientAccountId", "123456789012"),
    ] {
        assert_eq!(key.pointer(field).and_then(Value::as_str), Some(expected), "{field} in {key}");
    }
    assert_eq!((&key["readOnly"], &key["errorCode"]), (&Value::Bool(false), &Value::Null));
    let denied = &events[1];
    assert_eq!(
        (&denied["userIdentity"]["type"], &denied["userIdentity"]["userName"]),
        (&"IAMUser".into(), &"alice".into())
    );
    assert_eq!((&denied["errorCode"], &denied["readOnly"]), (&"AccessDenied".into(), &Value::Bool(true)));
    assert_eq!((&events[2]["eventName"], &events[2]["errorCode"]), (&"Fly".into(), &"InvalidAction".into()));
    // What a client sends by mistake is not told, and neither is the secret; the search finds what is there.
    let text = String::from_utf8(std::fs::read(place.log()).expect("readable")).expect("text");
    assert!(text.contains(&id), "the control");
    assert!(!text.contains(SECRET) && !text.contains("planted-7f3a"), "{text}");
    assert!(check(&lines(&place.log())).is_ok());
}

/// The folder of the log is gone, as if the disk were: nothing that gives is done, what takes away is.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let place = Place::audited().await;
    place.post(&root(), "Action=CreateUser&UserName=before").await;
    let folder = place.log().parent().expect("a folder").to_owned();
    let aside = folder.with_extension("aside");
    std::fs::rename(&folder, &aside).expect("moved");

    let signed_anew = |n: u8| Caller { signed: rederive::iam::Signed { hash: [n; 32], ..root().signed }, ..root() };
    let key = place.post(&signed_anew(50), "Action=CreateAccessKey&UserName=alice").await;
    assert_eq!((key.status, element(&key, "Code")), (503, Some("ServiceUnavailable")));
    assert!(!key.holds_secret && !super::text(&key).contains(SECRET));
    let keys = place.post(&root(), "Action=ListAccessKeys&UserName=alice").await;
    assert_eq!(
        super::text(&keys).matches("<AccessKeyId>").count(),
        1,
        "the new key was deleted: {}",
        super::text(&keys)
    );
    let user = place.post(&root(), "Action=CreateUser&UserName=never").await;
    assert_eq!(user.status, 503, "by now it is known before");
    assert_eq!(place.post(&root(), "Action=GetUser&UserName=never").await.status, 404, "so nothing was done");
    let off = format!("Action=UpdateAccessKey&UserName=alice&Status=Inactive&AccessKeyId={}", super::id(2));
    assert_eq!(place.post(&root(), &off).await.status, 200, "a key is switched off all the same");
    assert!(place.audit.failures().failing && place.audit.failures().lost > 2, "{:?}", place.audit.failures());

    std::fs::rename(&aside, &folder).expect("moved back");
    let user = place.post(&root(), "Action=CreateUser&UserName=after").await;
    assert_eq!(user.status, 200, "{}", super::text(&user));
    assert!(!place.audit.failures().failing);
    let names = names(&place.log());
    assert!(names.contains(&"AuditEventsLost".to_owned()), "{names:?}");
    assert!(check(&lines(&place.log())).is_ok());
}
