//! Several processes on one registry: here, each a registry of its own at the same place. And what only a server brings.

use std::time::Duration;

use rederive::registry::{KeyStatus, Listener, Location, NewKey, Registry, RegistryError, TroubleKind};
use rederive_hsm::access_key_id::Account;

use crate::place::*;
use crate::server::{self, Server};

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_an_empty_registry_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", folder.path().join("registry.sqlite").display());
    for url in [file, server::database()] {
        let location: Location = url.parse().expect("a URL");
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let location = location.clone();
                tokio::spawn(async move {
                    let registry = Registry::create_or_open(&location).await?;
                    registry.create_account(Account::new(number).expect("a number"), 1).await
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").expect("opens and writes");
        }
        let registry = Registry::open(&location).await.expect("opens");
        assert_eq!(registry.accounts().await.expect("lists").len(), 8);
        assert_eq!(registry.last_change().await.expect("counts"), 8);
    }
}

/// What one process has changed, another hears of; of a file, it is for each to ask.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_heard_of() {
    let long = Duration::from_secs(20);
    let (file, database) = (Place::sqlite().await, Place::postgres().await);
    let other = Registry::open(&database.location).await.expect("opens");
    let mut listener = other.listener();
    let heard = async |listener: &mut Listener| tokio::time::timeout(long, listener.heard()).await.expect("heard");
    // It may have missed what came before.
    heard(&mut listener).await;
    for n in 0..3 {
        // Those who hear of something look what it is.
        let since = database.registry.last_change().await.expect("counts");
        database.registry.insert_key(&new_key(id(n), &database.user(&format!("u{n}")).await)).await.expect("made");
        while other.last_change().await.expect("counts") == since {
            heard(&mut listener).await;
        }
        heard(&mut listener).await;
    }
    let mut deaf = file.registry.listener();
    file.user("alice").await;
    assert!(tokio::time::timeout(Duration::from_millis(300), deaf.heard()).await.is_err());
}

/// Quota and feed hold over two processes, and what one has written the other reads at once.
#[tokio::test(flavor = "multi_thread")]
async fn two_write_one_registry() {
    for place in [Place::sqlite().await, Place::postgres().await] {
        let other = Registry::open(&place.location).await.expect("opens");
        let alice = place.user("alice").await;
        let before = place.registry.last_change().await.expect("counts");
        let tasks: Vec<_> = (0..24)
            .map(|n| {
                let registry = if n % 2 == 0 { place.registry.clone() } else { other.clone() };
                let (one, more) = (new_key(id(n), &alice), NewKey { quota: 99, ..new_key(id(100 + n), &root()) });
                tokio::spawn(async move {
                    registry.insert_key(&more).await.expect("made");
                    registry.set_key_status(&more.id, &root(), KeyStatus::Inactive, 30).await.expect("set");
                    registry.insert_key(&one).await
                })
            })
            .collect();
        let mut made = Vec::new();
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(row) => made.push(row),
                Err(RegistryError::QuotaExceeded(2)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(made.len(), 2);
        for registry in [&place.registry, &other] {
            assert!(registry.key(&made[0].id).await.expect("reads").is_some());
            let numbers: Vec<_> = registry.changes_since(before, 99).await.expect("lists");
            let numbers: Vec<_> = numbers.iter().map(|change| change.seq).collect();
            assert_eq!(numbers, (before + 1..=before + 24).collect::<Vec<_>>());
        }
        assert_eq!(place.registry.feed_head().await.expect("a head"), other.feed_head().await.expect("a head"));
    }
}

/// A program of a newer version adds a column while this one runs, with its statements prepared.
#[tokio::test]
async fn a_column_may_be_added_meanwhile() {
    for place in [Place::sqlite().await, Place::postgres().await] {
        place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
        for table in ["access_keys", "accounts", "users", "generations", "changes", "feed_head", "settings", "denials"]
        {
            let all = async || {
                place.registry.key(&id(1)).await.expect("reads");
                place.registry.accounts().await.expect("lists");
                place.registry.users(account(), "/", None, 9).await.expect("lists");
                place.registry.generations().await.expect("lists");
                place.registry.changes_since(0, 9).await.expect("lists");
                place.registry.denied_keys().await.expect("lists");
                place.registry.settings().await.expect("reads");
                place.registry.check_writable().await.expect("writes");
            };
            all().await;
            let column = format!("ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT ''");
            place.side_door().await.run(&column).await;
            all().await;
        }
        place.user("alice").await;
    }
}

/// Engines that keep no locks tell one of two writers to begin anew; PostgreSQL does so for a deadlock.
#[tokio::test]
async fn a_transaction_that_another_was_in_the_way_of_begins_anew() {
    let place = Place::postgres().await;
    let collide = |times: u32| {
        format!(
            "CREATE SEQUENCE tried; CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('tried') <= {times} THEN RAISE 'try again' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER collide BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION collide()"
        )
    };
    place.side_door().await.run(&collide(3)).await;
    let before = place.registry.last_change().await.expect("counts");
    place.user("alice").await;
    assert_eq!(place.registry.last_change().await.expect("counts"), before + 1, "it was made once");

    place.side_door().await.run("DROP TRIGGER collide ON users; DROP FUNCTION collide; DROP SEQUENCE tried").await;
    place.side_door().await.run(&collide(1000)).await;
    let (kind, _) = trouble(place.registry.create_user(&new_user("bob", "/")).await);
    assert_eq!(kind, TroubleKind::Collided, "not for ever");
}

/// The server goes, hangs and comes back: always trouble, never a "no", and nothing has to be done by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_trouble_until_it_is_back() {
    let server = Server::durable();
    let location: Location = server.database().parse().expect("a URL");
    let registry = Registry::create_or_open(&location).await.expect("opens");
    registry.create_account(account(), 1).await.expect("made");
    let all = async || (registry.account(account()).await.map(drop), registry.create_account(account(), 2).await);
    for (fault, mend) in
        [(Server::stop as fn(&Server), Server::start_again as fn(&Server)), (Server::pause, Server::resume)]
    {
        fault(&server);
        for _ in 0..2 {
            let (read, write) = all().await;
            assert_eq!((trouble(read).0, trouble(write).0), (TroubleKind::Unreachable, TroubleKind::Unreachable));
        }
        mend(&server);
        // The connections of before are found out one by one.
        let works = async || matches!(all().await, (Ok(()), Err(RegistryError::AccountExists(_))));
        for _ in 0..100 {
            if works().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(works().await);
    }
    assert!(
        trouble(Registry::open(&"postgres://nobody@localhost/x?host=/nonexistent".parse().expect("a URL")).await)
            .1
            .contains("postgres://nobody@/nonexistent:5432/x")
    );
}

/// TLS to a server on another machine: it must be the one that was meant.
#[tokio::test]
async fn a_server_is_believed_by_its_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let file = folder.path().join(name);
        std::fs::write(&file, params.self_signed(&key).expect("signed").pem()).expect("writable");
        (file, rcgen::Issuer::new(params, key))
    };
    let ((ca, issuer), (other_ca, _)) = (authority("ca.pem"), authority("other.pem"));
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    let server = Server::with_tls(&certificate.pem(), &key.serialize_pem());
    let by_socket = server.database();
    let name = by_socket.split('/').nth(3).and_then(|rest| rest.split('?').next()).expect("a name");
    let open = async |host: &str, mode: &str, ca: &std::path::Path| {
        let url =
            format!("postgres://rederive@{host}:{}/{name}?sslmode={mode}&sslrootcert={}", server.port(), ca.display());
        Registry::create_or_open(&url.parse().expect("a URL")).await
    };
    let registry = open("localhost", "verify-full", &ca).await.expect("the one that was meant");
    registry.create_account(account(), 1).await.expect("works");
    server::sql(
        &by_socket,
        "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE ssl AND application_name = 'rederive') THEN RAISE 'not by TLS'; END IF; END $$",
    );
    for (host, mode, ca) in [
        ("localhost", "verify-full", &other_ca),
        ("localhost", "verify-ca", &other_ca),
        ("127.0.0.1", "verify-full", &ca),
    ] {
        let (kind, text) = trouble(open(host, mode, ca).await);
        assert_eq!(kind, TroubleKind::Unreachable, "{host} {mode}: {text}");
    }
}
