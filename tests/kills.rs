//! `serve` is killed at random moments of a create loop: no key that was acknowledged is lost, no id comes twice.

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Dev, Pair, sign};

/// Creates keys for users of their own until the connection breaks; gives those whose answer arrived, and counts them.
fn create_until_killed(dev: &Dev, round: usize, thread: usize, acknowledged: &AtomicUsize) -> Vec<Pair> {
    let host = dev.ready.endpoint.trim_start_matches("http://").to_owned();
    let mut created = Vec::new();
    for number in 0.. {
        let user = format!("u{round}-{thread}-{number}");
        let call = |body: &str| {
            let signed = sign::query(&dev.ready.root, &dev.ready.region, &host, "iam", body);
            send(&dev.ready.endpoint, &signed)
        };
        let Some(_) = call(&format!("Action=CreateUser&Version=2010-05-08&UserName={user}")) else { break };
        let Some(answer) = call(&format!("Action=CreateAccessKey&Version=2010-05-08&UserName={user}")) else { break };
        let field = |name: &str| {
            let rest = answer.split(&format!("<{name}>")).nth(1)?;
            rest.split('<').next().map(str::to_owned)
        };
        let (Some(access_key_id), Some(secret_access_key)) = (field("AccessKeyId"), field("SecretAccessKey")) else {
            panic!("no key in {answer}")
        };
        created.push(Pair { access_key_id, secret_access_key });
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    created
}

/// Sends a signed request; `None` when the other end is gone.
fn send(endpoint: &str, signed: &sign::Signed) -> Option<String> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = agent.post(endpoint);
    for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value);
    }
    request.send(&signed.body).ok()?.body_mut().read_to_string().ok()
}

/// The user of a key.
fn owner(dev: &Dev, pair: &Pair) -> String {
    let used =
        dev.aws_json(&dev.ready.root, &format!("iam get-access-key-last-used --access-key-id {}", pair.access_key_id));
    used["UserName"].as_str().expect("a name").to_owned()
}

#[test]
fn no_acknowledged_key_is_lost_and_no_id_comes_twice() {
    kill_again_and_again(&[]);
}

#[test]
fn nor_on_postgres() {
    kill_again_and_again(&[("REDERIVE_REGISTRY__URL", postgres::database())]);
}

fn kill_again_and_again(settings: &[(&str, String)]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        let mut command = Command::new(common::REDERIVE);
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        Dev::start_by(command, directory.path())
    };
    let rounds = if common::long() { 200 } else { 20 };
    let mut all = Vec::<Pair>::new();
    let mut delays = Vec::new();
    for round in 0..rounds {
        let dev = start();
        // Spread over the time in which a few keys are made.
        let delay = Duration::from_micros((round as u64 * 7919) % 60_000);
        let (started, acknowledged) = (Instant::now(), AtomicUsize::new(0));
        let created: Vec<Pair> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|thread| {
                    scope.spawn({
                        let (dev, acknowledged) = (&dev, &acknowledged);
                        move || create_until_killed(dev, round, thread, acknowledged)
                    })
                })
                .collect();
            // However slow the machine is, every other round makes a key.
            if round % 2 == 1 {
                common::wait_until("a key", Duration::from_secs(30), || acknowledged.load(Ordering::Relaxed) > 0);
            }
            std::thread::sleep(delay);
            dev.signal("KILL");
            delays.push(started.elapsed());
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        all.extend(created);
    }
    let dev = start();
    let ids: HashSet<_> = all.iter().map(|pair| &pair.access_key_id).collect();
    assert_eq!(ids.len(), all.len(), "an id came twice");
    assert!(all.len() >= rounds / 2, "the control: keys were created between the kills ({} of them)", all.len());
    for pair in &all {
        let (_, answer) = dev.verify(&sign::s3_get(pair, &dev.ready.region, "h", "/b/k").call());
        assert_eq!(answer["decision"], "accept", "{} was acknowledged: {answer}", pair.access_key_id);
    }
    let gone = &all[0];
    dev.aws_json(
        &dev.ready.root,
        &format!("iam delete-access-key --user-name {} --access-key-id {}", owner(&dev, gone), gone.access_key_id),
    );
    let (_, answer) = dev.verify(&sign::s3_get(gone, &dev.ready.region, "h", "/b/k").call());
    assert_eq!(answer["decision"], "refuse", "the control: a key that is gone is noticed by the same check");
    println!("{rounds} kills, {} acknowledged keys, all of them work, no id twice", all.len());
}
