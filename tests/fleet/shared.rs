//! Several issuers on one PostgreSQL, and what they do when it is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::common::{self, sign};
use crate::postgres::{self, Server};
use crate::support::{Fleet, Node, Stop, pair};

#[test]
fn what_one_issuer_writes_the_other_knows() {
    let fleet = Fleet::on_postgres(&postgres::database());
    let (one, two) = (fleet.issuer(), fleet.another_issuer("two", &[]));
    let verifiers = [fleet.verifier("first", ""), {
        fleet.wire.lead_to(&two.rpc);
        fleet.verifier("second", "")
    }];
    let nodes = [one, &two, &verifiers[0], &verifiers[1]];
    let call = |node: &Node, body: &str| {
        let (status, xml) = node.iam(&fleet.root, body);
        assert_eq!(status, 200, "{body}: {xml}");
        xml
    };
    for (here, there, name) in [(one, &two, "alice"), (&two, one, "bob")] {
        call(here, &format!("Action=CreateUser&UserName={name}"));
        let key = pair(&call(there, &format!("Action=CreateAccessKey&UserName={name}")));
        for node in nodes {
            assert_eq!(node.says(&key), "accept", "the very next request");
        }
        let (status, xml) = here.iam(&key, "Action=GetUser");
        assert!(
            status == 403 && xml.contains(&format!(":user/{name} is not authorized")),
            "known, without rights: {xml}"
        );
        for status in ["Inactive", "Active"] {
            let id = &key.access_key_id;
            call(here, &format!("Action=UpdateAccessKey&UserName={name}&AccessKeyId={id}&Status={status}"));
            let expected = if status == "Active" { "accept" } else { "refuse" };
            assert_eq!(here.says(&key), expected, "at once where it was said");
            nodes.iter().for_each(|node| node.soon_says(&key, expected));
        }
    }
    // A verifier that followed one goes on with the other: it is one feed.
    fleet.wire.cut();
    fleet.wire.lead_to(&one.rpc);
    let alice = pair(&call(one, "Action=CreateAccessKey&UserName=alice"));
    call(&two, &format!("Action=DeleteAccessKey&UserName=alice&AccessKeyId={}", alice.access_key_id));
    nodes.iter().for_each(|node| node.soon_says(&alice, "refuse"));
    assert!(nodes.iter().all(|node| !node.log().contains("ALARM")));
}

#[test]
fn a_quota_holds_over_issuers() {
    let fleet = Fleet::on_postgres(&postgres::database());
    let two = fleet.another_issuer("two", &[]);
    for round in 0..3 {
        fleet.iam(&format!("Action=CreateUser&UserName=u{round}"));
        let answers: Vec<_> = std::thread::scope(|scope| {
            let create = |n: usize| {
                let node = if n.is_multiple_of(2) { fleet.issuer() } else { &two };
                // Each signed differently, or they would be one request.
                node.iam(&fleet.root, &format!("Action=CreateAccessKey&UserName=u{round}&Nonce={n}"))
            };
            let threads: Vec<_> = (0..10).map(|n| scope.spawn(move || create(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let mut seen = BTreeMap::new();
        for (status, xml) in answers {
            *seen.entry((status, xml.contains("LimitExceeded"))).or_insert(0) += 1;
        }
        assert_eq!(seen, BTreeMap::from([((200, false), 2), ((409, true), 8)]), "{seen:?}");
    }
}

/// A client token gives one key, whichever issuer is asked, however often, and across restarts; and never to a replay.
#[test]
fn a_client_token_gives_one_key() {
    let mut fleet = Fleet::on_postgres(&postgres::database());
    let two = fleet.another_issuer("two", &[]);
    fleet.iam("Action=CreateUser&UserName=alice");
    fleet.iam("Action=CreateUser&UserName=bob");
    let create = "Action=CreateAccessKey&UserName=alice&ClientToken=5f0c2d5e-0001";
    let keys: Vec<_> = std::thread::scope(|scope| {
        let ask = |n: usize| {
            let node = if n.is_multiple_of(2) { fleet.issuer() } else { &two };
            let answer = node.iam_with_patience(&fleet.root, create);
            assert_eq!(answer.0, 200, "{}", answer.1);
            pair(&answer.1)
        };
        let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || ask(n))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let key = &keys[0];
    assert!(keys.iter().all(|other| other.access_key_id == key.access_key_id));
    assert!(keys.iter().all(|other| other.secret_access_key == key.secret_access_key));
    assert_eq!(two.says(key), "accept");

    fleet.issuer().kill_by_hand();
    fleet.start_issuer();
    let call = fleet.issuer().iam_call(&fleet.root, create);
    let (status, xml) = fleet.issuer().send(&call);
    assert_eq!((status, pair(&xml).secret_access_key), (200, key.secret_access_key.clone()), "across a restart");
    let (status, xml) = fleet.issuer().send(&call);
    assert!(status == 400 && xml.contains("Throttling") && !xml.contains("Secret"), "a replay gets nothing: {xml}");
    let refused = |body: &str, status: u16, code: &str| {
        let (was, xml) = two.iam_with_patience(&fleet.root, body);
        assert!(was == status && xml.contains(&format!("<Code>{code}</Code>")), "{body}: {was} {xml}");
    };
    refused(&create.replace("alice", "bob"), 400, "IdempotentParameterMismatch");
    refused(&create.replace("5f0c2d5e-0001", "with%20blank"), 400, "ValidationError");

    // In a header, which must be signed.
    let host = two.endpoint.as_deref().expect("an issuer").trim_start_matches("http://");
    let body = "Action=CreateAccessKey&UserName=alice&Version=2010-05-08";
    let form = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    let token = ("x-rederive-client-token".to_owned(), "5f0c2d5e-0002".to_owned());
    let mut made = Vec::new();
    for age in [2, 1] {
        let hash = sign::hex(&Sha256::digest(body));
        let extra = vec![form.clone(), token.clone()];
        let call =
            sign::sign(&fleet.root, ("POST", "/", body), ("iam", "local"), host, extra, &hash, sign::now() - age);
        let (status, xml) = two.send(&call);
        assert_eq!(status, 200, "{xml}");
        made.push(pair(&xml).access_key_id);
    }
    assert!(made[0] == made[1] && made[0] != key.access_key_id);
    let mut unsigned = two.iam_call(&fleet.root, "Action=CreateAccessKey&UserName=bob");
    unsigned.headers.push(token);
    assert_eq!(two.send(&unsigned).0, 403);

    fleet.iam(&format!("Action=DeleteAccessKey&UserName=alice&AccessKeyId={}", key.access_key_id));
    refused(create, 404, "NoSuchEntity");
    two.soon_says(key, "refuse");
}

/// The stock client, on PostgreSQL.
#[test]
fn the_aws_cli_works_on_postgres() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(common::REDERIVE);
    command.env("REDERIVE_REGISTRY__URL", postgres::database());
    let dev = common::Dev::start_by(command, directory.path());
    let alice = dev.user("alice");
    assert_eq!(dev.verify(&sign::s3_get(&alice, &dev.ready.region, "h", "/b/k").call()).1["decision"], "accept");
    let listed = dev.aws_json(&dev.ready.root, "iam list-access-keys --user-name alice");
    assert_eq!(listed["AccessKeyMetadata"][0]["AccessKeyId"], alice.access_key_id.as_str());
    dev.aws_refused(&dev.ready.root, "iam create-user --user-name ALICE", "EntityAlreadyExists");
    dev.aws_json(
        &dev.ready.root,
        &format!("iam delete-access-key --user-name alice --access-key-id {}", alice.access_key_id),
    );
    assert_eq!(dev.verify(&sign::s3_get(&alice, &dev.ready.region, "h", "/b/k").call()).1["decision"], "refuse");
    assert!(!directory.path().join("registry.sqlite").exists());
}

/// PostgreSQL is killed, hangs, and comes back under load: decisions go on until denials are too old, then nothing is decided,
/// and all goes on by itself. No deleted key is accepted at any moment.
#[test]
fn a_registry_that_is_gone_is_outlived_and_then_waited_for() {
    let server = Server::durable();
    let stale = ("REDERIVE_FEED__MAX_STALENESS_S", "5");
    let fleet = Fleet::on_postgres(&server.database());
    let node = fleet.another_issuer("two", &[stale]);
    fleet.wire.lead_to(&node.rpc);
    let verifier = fleet.verifier("verifier", "max_staleness_s = 5");
    let (alice, bob) = (fleet.user("alice"), fleet.user("bob"));
    let nodes = [&node, &verifier];
    fleet.iam(&format!("Action=DeleteAccessKey&UserName=bob&AccessKeyId={}", bob.access_key_id));
    nodes.iter().for_each(|node| node.soon_says(&bob, "refuse"));
    nodes.iter().for_each(|node| node.soon_says(&alice, "accept"));

    let stop = AtomicBool::new(false);
    let load = |name: &str, node: &Node| {
        let requests = [&alice, &bob].map(|pair| sign::s3_get(pair, "local", "h", "/b/k"));
        let mut seen = BTreeMap::<String, u32>::new();
        while !stop.load(Ordering::Relaxed) {
            for (whose, request) in ["alice", "bob"].iter().zip(&requests) {
                let (_, answer) = node.ask(request);
                *seen.entry(format!("{whose} {}", answer["decision"].as_str().unwrap_or("?"))).or_insert(0) += 1;
            }
        }
        assert!(!seen.contains_key("bob accept"), "{name}: a deleted key was accepted: {seen:?}");
        assert!(!seen.contains_key("alice refuse"), "{name}: trouble of ours was told as a refusal: {seen:?}");
        assert!(seen["alice accept"] > 0 && seen["alice unavailable"] > 0, "{name}, the control: {seen:?}");
    };
    std::thread::scope(|scope| {
        let stopped = Stop(&stop);
        let loads = [scope.spawn(|| load("issuer", &node)), scope.spawn(|| load("verifier", &verifier))];
        let killed = (Server::stop as fn(&Server), Server::start_again as fn(&Server));
        for (fault, mend) in [killed, (Server::pause, Server::resume)] {
            let since = Instant::now();
            fault(&server);
            let said = nodes.map(|node| node.says(&alice));
            // On a slow machine the while may be over.
            if since.elapsed() < Duration::from_secs(3) {
                assert_eq!(said, ["accept", "accept"], "rows in memory are good for a while");
            }
            let (status, xml) = node.iam(&fleet.root, "Action=CreateUser&UserName=nobody");
            assert!(status == 503 && xml.contains("<Type>Receiver</Type>"), "{status} {xml}");
            nodes.iter().for_each(|node| node.soon_says(&alice, "unavailable"));
            mend(&server);
            nodes.iter().for_each(|node| node.soon_says(&alice, "accept"));
            common::wait_until("changes again", || node.iam(&fleet.root, "Action=CreateUser&UserName=carol").0 != 503);
        }
        drop(stopped);
        loads.into_iter().for_each(|load| load.join().expect("no panic"));
    });
}
