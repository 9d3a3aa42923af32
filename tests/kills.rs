//! `serve` is killed at random moments of a create loop, on both registries: no key that was acknowledged is lost, no id comes
//! twice, no quota is overrun, and who asks again with the same client token gets the same key, whether it was acknowledged or not.

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Dev, Pair, sign};

/// How often a call is made again.
const PATIENCE: u32 = 300;

/// A user for whom a key was asked, with the answer, if it arrived.
struct Asked {
    user: String,
    key: Option<Pair>,
}

/// The user of a round for whom all threads ask for keys without a token, more than its quota.
fn crowded(round: usize) -> String {
    format!("crowded{round}")
}

/// Creates keys for users of their own until the connection breaks, and counts those that were acknowledged.
fn create_until_killed(dev: &Dev, round: usize, thread: usize, acknowledged: &AtomicUsize) -> Vec<Asked> {
    let mut asked = Vec::new();
    call(dev, &format!("Action=CreateUser&UserName={}", crowded(round)));
    for number in 0.. {
        call(dev, &format!("Action=CreateAccessKey&UserName={}&Nonce={thread}-{number}", crowded(round)));
        let user = format!("u{round}-{thread}-{number}");
        let Some(_) = call(dev, &format!("Action=CreateUser&UserName={user}")) else { break };
        let key = create_key(dev, &user);
        let ended = key.is_none();
        asked.push(Asked { user, key });
        if ended {
            break;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    asked
}

/// The user's name is its client token.
fn create_key(dev: &Dev, user: &str) -> Option<Pair> {
    let answer = call(dev, &format!("Action=CreateAccessKey&UserName={user}&ClientToken={user}"))?;
    let field = |name: &str| Some(answer.split(&format!("<{name}>")).nth(1)?.split('<').next()?.to_owned());
    let key = field("AccessKeyId").zip(field("SecretAccessKey"));
    let (access_key_id, secret_access_key) = key.unwrap_or_else(|| panic!("no key in {answer}"));
    Some(Pair { access_key_id, secret_access_key })
}

/// A call of IAM by the root key, made again, as stock clients do, where the answer says so: a starved machine misses deadlines.
/// `None` when the other end is gone.
fn call(dev: &Dev, body: &str) -> Option<String> {
    let asks_for_patience =
        |answer: &str| ["ServiceUnavailable", "Throttling"].iter().any(|code| answer.contains(code));
    let mut answer = call_once(dev, body)?;
    for _ in 0..PATIENCE {
        if !asks_for_patience(&answer) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        answer = call_once(dev, body)?;
    }
    Some(answer)
}

fn call_once(dev: &Dev, body: &str) -> Option<String> {
    let host = dev.ready.endpoint.trim_start_matches("http://");
    let signed = sign::query(&dev.ready.root, &dev.ready.region, host, "iam", &format!("{body}&Version=2010-05-08"));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = agent.post(&dev.ready.endpoint);
    for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value);
    }
    request.send(&signed.body).ok()?.body_mut().read_to_string().ok()
}

/// Whether a request is accepted or refused, once that can be told: a starved machine misses deadlines.
fn decision(dev: &Dev, pair: &Pair) -> String {
    let mut decision = String::new();
    common::wait_until("a decision", || {
        let (_, answer) = dev.verify(&sign::s3_get(pair, &dev.ready.region, "h", "/b/k").call());
        decision = answer["decision"].as_str().expect("a decision").to_owned();
        decision != "unavailable"
    });
    decision
}

#[test]
fn nothing_acknowledged_is_lost_on_sqlite() {
    kill_again_and_again(&[]);
}

#[test]
fn nothing_acknowledged_is_lost_on_postgres() {
    kill_again_and_again(&[("REDERIVE_REGISTRY__URL", postgres::database())]);
}

fn kill_again_and_again(settings: &[(&str, String)]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        let mut command = Command::new(common::REDERIVE);
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        Dev::start_by(command, directory.path())
    };
    let rounds = if common::long() { 1000 } else { 20 };
    let mut all = Vec::new();
    for round in 0..rounds {
        all.extend(kill_once(&start(), round));
    }
    let dev = start();
    let acknowledged: Vec<_> = all.iter().filter_map(|asked| asked.key.as_ref()).collect();
    let ids: HashSet<_> = acknowledged.iter().map(|pair| &pair.access_key_id).collect();
    assert_eq!(ids.len(), acknowledged.len(), "an id came twice");
    assert!(ids.len() >= rounds / 2, "the control: keys were created between the kills ({} of them)", ids.len());
    for asked in &all {
        let again = create_key(&dev, &asked.user).expect("an answer");
        if let Some(key) = &asked.key {
            assert_eq!(again.access_key_id, key.access_key_id, "the same client token");
            assert!(again.secret_access_key == key.secret_access_key, "the same secret");
        }
        assert_eq!(decision(&dev, &again), "accept", "{}", again.access_key_id);
        let list = call(&dev, &format!("Action=ListAccessKeys&UserName={}", asked.user)).expect("an answer");
        assert_eq!(list.matches("<AccessKeyId>").count(), 1, "{list}");
    }
    let crowds = (0..rounds).map(|round| {
        let list = call(&dev, &format!("Action=ListAccessKeys&UserName={}", crowded(round))).expect("an answer");
        list.matches("<AccessKeyId>").count()
    });
    let crowds: Vec<_> = crowds.collect();
    assert!(crowds.iter().all(|keys| *keys <= 2), "a quota was overrun: {crowds:?}");
    let full = crowds.iter().filter(|keys| **keys == 2).count();
    assert!(full > 0, "the control: some quota was reached");
    let gone = acknowledged[0];
    let user = &all.iter().find(|asked| asked.key.is_some()).expect("one").user;
    call(&dev, &format!("Action=DeleteAccessKey&UserName={user}&AccessKeyId={}", gone.access_key_id)).expect("deleted");
    assert_eq!(decision(&dev, gone), "refuse", "the control: a key that is gone is noticed by the same check");
    let unknown = all.len() - acknowledged.len();
    println!(
        "{rounds} kills, {} acknowledged keys and {unknown} whose answer was lost: each is there once, and its client token \
         gives it again; {full} quotas were full, none overrun",
        acknowledged.len()
    );
}

/// Kills it somewhere in the time in which a few keys are made.
fn kill_once(dev: &Dev, round: usize) -> Vec<Asked> {
    let delay = Duration::from_micros((round as u64 * 7919) % 60_000);
    let acknowledged = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let run = |thread| {
            let acknowledged = &acknowledged;
            scope.spawn(move || create_until_killed(dev, round, thread, acknowledged))
        };
        let threads: Vec<_> = (0..3).map(run).collect();
        // However slow the machine is, every other round makes a key.
        if round % 2 == 1 {
            common::wait_until("a key", || acknowledged.load(Ordering::Relaxed) > 0);
        }
        std::thread::sleep(delay);
        dev.signal("KILL");
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}
