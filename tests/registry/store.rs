//! The file: opening, schema, copies, settings, generations, and trouble.

use std::os::unix::fs::PermissionsExt;

use rederive::registry::{
    ChangeKind, GenerationState, KeyStatus, KeyUse, LastUsed, Registry, RegistryError, Settings, TroubleKind,
};
use rederive_hsm::access_key_id::{Account, Layout, Lifetime, Prefix, Prefixes};

use super::{Place, account, generation, id, new_key, new_user, root};

fn trouble<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> (TroubleKind, String) {
    match result {
        Err(RegistryError::Trouble(trouble)) => (trouble.kind, trouble.to_string()),
        other => panic!("no trouble: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_reopen() {
    let place = Place::new().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    let (path, changes) = (place.path(), place.registry.last_change().await.expect("counts"));
    drop(place.registry);
    let registry = Registry::open(&path).await.expect("opens");
    assert!(registry.key(&id(1)).await.expect("reads").is_some());
    assert_eq!(registry.last_change().await.expect("counts"), changes);
    assert_eq!(registry.generations().await.expect("lists"), [generation(0, GenerationState::Issuing)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_an_empty_file_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.sqlite");
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                let registry = Registry::create_or_open(&path).await?;
                registry.create_account(Account::new(number).expect("a number"), 1).await
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("opens and writes");
    }
    let registry = Registry::open(&path).await.expect("opens");
    assert_eq!(registry.accounts().await.expect("lists").len(), 8);
    assert_eq!(registry.last_change().await.expect("counts"), 8);
}

#[tokio::test]
async fn only_its_owner_reads_the_file() {
    let place = Place::new().await;
    let copy = place.folder.path().join("copy.sqlite");
    place.registry.backup(&copy).await.expect("copies");
    let mut files = 0;
    for entry in std::fs::read_dir(place.folder.path()).expect("lists") {
        let metadata = entry.expect("an entry").metadata().expect("metadata");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        files += 1;
    }
    assert_eq!(files, 4, "registry, its log and index, and the copy; nothing else");

    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o644)).expect("sets");
    Registry::create_or_open(&place.path()).await.expect("opens");
    assert_eq!(std::fs::metadata(place.path()).expect("metadata").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_copy_holds_what_the_registry_held() {
    let place = Place::new().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    let copy = place.folder.path().join("copy.sqlite");
    place.registry.backup(&copy).await.expect("copies");
    place.registry.insert_key(&new_key(id(2), &root())).await.expect("made");
    let copied = Registry::open(&copy).await.expect("opens");
    assert!(copied.key(&id(1)).await.expect("reads").is_some());
    assert!(copied.key(&id(2)).await.expect("reads").is_none());

    let (_, text) = trouble(place.registry.backup(&copy).await);
    assert!(text.contains("copy.sqlite"), "{text}");
    assert!(copied.key(&id(2)).await.expect("reads").is_none(), "not overwritten");
    trouble(place.registry.backup(&place.folder.path().join("no/such/folder")).await);
}

#[tokio::test]
async fn a_schema_from_the_future_is_refused() {
    let place = Place::new().await;
    place.registry.close().await;
    place
        .vandalise(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', 1, x'00', 0)",
        )
        .await;
    let (kind, text) = trouble(Registry::open(&place.path()).await);
    assert_eq!(kind, TroubleKind::Schema);
    assert!(text.contains("schema is version 9999, this rederive knows up to 2"), "{text}");
    place.vandalise("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    Registry::open(&place.path()).await.expect("its own schema opens");
}

#[tokio::test]
async fn opening_to_read_changes_nothing() {
    let place = Place::new().await;
    place.registry.close().await;
    let reader = Registry::open_to_read(&place.path()).await.expect("opens");
    assert!(reader.account(account()).await.expect("reads").is_some());
    assert_eq!(trouble(reader.create_account(Account::new(7).expect("a number"), 5).await).0, TroubleKind::ReadOnly);
    assert_eq!(trouble(reader.check_writable().await).0, TroubleKind::ReadOnly);
    reader.close().await;

    // As an older version left it.
    place.vandalise("DELETE FROM _sqlx_migrations WHERE version > 1").await;
    let (kind, text) = trouble(Registry::open_to_read(&place.path()).await);
    assert_eq!(kind, TroubleKind::Schema);
    assert!(text.contains("schema is version 1: 'rederive serve' of this version will upgrade it to 2"), "{text}");
    let copy = place.folder.path().join("copy.sqlite");
    Registry::open_to_copy(&place.path()).await.expect("opens").backup(&copy).await.expect("copies");
    for file in [place.path(), copy] {
        let (_, text) = trouble(Registry::open_to_read(&file).await);
        assert!(text.contains("schema is version 1"), "{text}");
    }
    let empty = place.folder.path().join("empty.sqlite");
    std::fs::write(&empty, "").expect("writes");
    assert!(trouble(Registry::open_to_copy(&empty).await).1.contains("no schema"));
}

#[tokio::test]
async fn a_file_that_is_no_registry_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    for missing in [Registry::open(&path).await, Registry::open_to_read(&path).await] {
        let (_, text) = trouble(missing);
        assert!(text.contains("start 'rederive serve' once, or run 'rederive generation create'"), "{text}");
    }
    assert!(!path.exists(), "opening makes no file");
    std::fs::write(&path, "not a database, but long enough to have a header of one hundred bytes ".repeat(9))
        .expect("writes");
    assert_eq!(trouble(Registry::create_or_open(&path).await).0, TroubleKind::Damaged);
    let mode = || std::fs::metadata(folder.path()).expect("metadata").permissions().mode();
    let before = mode();
    trouble(Registry::create_or_open(folder.path()).await);
    assert_eq!(mode(), before, "a folder keeps its mode");
}

#[tokio::test]
async fn a_locked_registry_is_trouble_and_reads_go_on() {
    let place = Place::new().await;
    let mut other = place.side_door().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("locks");
    assert_eq!(trouble(place.registry.insert_key(&new_key(id(1), &root())).await).0, TroubleKind::Locked);
    assert!(place.registry.account(account()).await.expect("reads").is_some());
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("unlocks");
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("works again");
}

#[tokio::test]
async fn a_failure_midway_leaves_nothing_half_done() {
    let place = Place::new().await;
    let before = place.registry.last_change().await.expect("counts");
    place.vandalise("CREATE TRIGGER full BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    trouble(place.registry.create_account(Account::new(7).expect("a number"), 5).await);
    assert!(place.registry.account(Account::new(7).expect("a number")).await.expect("reads").is_none());
    assert_eq!(place.registry.last_change().await.expect("counts"), before);
    place.vandalise("DROP TRIGGER full").await;
    place.registry.create_account(Account::new(7).expect("a number"), 5).await.expect("works again");
    assert_eq!(place.registry.last_change().await.expect("counts"), before + 1);
}

#[tokio::test]
async fn a_transaction_that_sqlite_rolled_back_by_itself_does_not_wedge_the_writer() {
    let place = Place::new().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    // As on a full disk, the transaction is gone before anybody rolls it back.
    place
        .vandalise(
            "CREATE TRIGGER full BEFORE INSERT ON changes BEGIN SELECT RAISE(ROLLBACK, 'full'); END; \
             CREATE TRIGGER full_too BEFORE UPDATE ON access_keys BEGIN SELECT RAISE(ROLLBACK, 'full'); END; \
             CREATE TRIGGER full_settings BEFORE INSERT ON settings BEGIN SELECT RAISE(ROLLBACK, 'full'); END",
        )
        .await;
    let other = Account::new(7).expect("a number");
    let used = LastUsed { at: 30, service: "s3".into(), region: "local".into() };
    let uses = [KeyUse { id: id(1), used }];
    for _ in 0..3 {
        trouble(place.registry.create_account(other, 5).await);
        trouble(place.registry.record_last_used(&uses).await);
        trouble(place.registry.set_key_status(&id(1), &root(), KeyStatus::Inactive, 30).await);
        trouble(place.registry.create_user(&new_user("alice", "/")).await);
        trouble(place.registry.insert_generation(&generation(1, GenerationState::Issuing)).await);
        let (_, text) = trouble(place.registry.check_writable().await);
        assert!(text.contains("full"), "{text}");
        assert!(place.registry.key(&id(1)).await.expect("reads go on").is_some());
    }
    place.vandalise("DROP TRIGGER full; DROP TRIGGER full_too; DROP TRIGGER full_settings").await;
    place.registry.check_writable().await.expect("can be written again");
    place.registry.create_account(other, 5).await.expect("works again");
    place.registry.record_last_used(&uses).await.expect("works again");
    place.registry.set_key_status(&id(1), &root(), KeyStatus::Inactive, 31).await.expect("works again");
    place.user("alice").await;
    place.registry.insert_generation(&generation(1, GenerationState::Issuing)).await.expect("works again");
}

#[tokio::test]
async fn a_trial_write_leaves_nothing_behind() {
    let place = Place::new().await;
    let before = place.registry.last_change().await.expect("counts");
    place.registry.check_writable().await.expect("can be written");
    place.registry.check_writable().await.expect("still");
    assert_eq!(place.registry.last_change().await.expect("counts"), before);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM settings")
        .fetch_one(&mut place.side_door().await)
        .await
        .expect("counts");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn accounts_and_generations_are_made_once() {
    let place = Place::new().await;
    let again = place.registry.create_account(account(), 2).await;
    assert!(matches!(again, Err(RegistryError::AccountExists(_))), "{again:?}");
    let again = place.registry.insert_generation(&generation(0, GenerationState::Pending)).await;
    assert!(matches!(again, Err(RegistryError::GenerationExists(_))), "{again:?}");
    place.registry.insert_generation(&generation(127, GenerationState::Pending)).await.expect("another");
}

#[tokio::test]
async fn a_generation_never_goes_back() {
    use GenerationState::{Closed, Issuing, Pending, Verifying};
    let place = Place::new().await;
    let mut number = 1;
    for from in [Pending, Issuing, Verifying, Closed] {
        for to in [Pending, Issuing, Verifying, Closed] {
            let row = generation(number, from);
            place.registry.insert_generation(&row).await.expect("made");
            let before = place.registry.last_change().await.expect("counts");
            let moved = place.registry.set_generation_state(row.number, to, 5).await;
            let after = place.registry.last_change().await.expect("counts");
            if to < from {
                assert!(matches!(moved, Err(RegistryError::StateGoesBack { .. })), "{from} to {to}: {moved:?}");
            } else {
                moved.expect("forward");
            }
            assert_eq!(after - before, i64::from(to > from));
            number += 1;
        }
    }
    let changes = place.registry.changes_since(0, 1000).await.expect("lists");
    let closed = changes.iter().filter(|change| change.kind == ChangeKind::GenerationClosed).count();
    assert_eq!(closed, 3 + 4);
}

fn settings(layout: Layout, long_term: &str, temporary: &str) -> Settings {
    let prefix = |text| vec![Prefix::parse(text).expect("four letters")];
    Settings { layout, prefixes: Prefixes::new(prefix(long_term), prefix(temporary)).expect("distinct") }
}

#[tokio::test]
async fn settings_are_fixed_and_prefixes_join() {
    let place = Place::new().await;
    assert!(place.registry.settings().await.expect("reads").is_none());
    place.registry.settle(&settings(Layout::Account, "AKIA", "ASIA")).await.expect("first");
    let opaque = place.registry.settle(&settings(Layout::Opaque, "AKIA", "ASIA")).await;
    assert!(matches!(opaque, Err(RegistryError::SettingFixed(_))), "{opaque:?}");
    let swapped = place.registry.settle(&settings(Layout::Account, "ASIA", "ABCD")).await;
    assert!(matches!(swapped, Err(RegistryError::SettingFixed(_))), "{swapped:?}");

    let second = place.registry.settle(&settings(Layout::Account, "RKEY", "RTMP")).await.expect("new prefixes");
    let stored = place.registry.settings().await.expect("reads").expect("settled");
    for settled in [second, stored] {
        let names = |lifetime| settled.prefixes.all(lifetime).iter().map(Prefix::as_str).collect::<Vec<_>>().join(" ");
        assert_eq!(names(Lifetime::LongTerm), "RKEY AKIA");
        assert_eq!(names(Lifetime::Temporary), "RTMP ASIA");
    }
    let back = place.registry.settle(&settings(Layout::Account, "AKIA", "ASIA")).await.expect("the first ones again");
    assert_eq!(back.prefixes.issuing(Lifetime::LongTerm).as_str(), "AKIA");
    assert_eq!(back.prefixes.all(Lifetime::LongTerm).len(), 2);
}
