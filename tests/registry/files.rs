//! What only a file of SQLite's has.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rederive::registry::{GenerationState, KeyStatus, KeyUse, LastUsed, Location, Registry, TroubleKind};
use rederive_hsm::access_key_id::Account;

use crate::place::{Place, generation, id, new_key, new_user, root, trouble};

fn file(place: &Place) -> PathBuf {
    place.folder().join("registry.sqlite")
}

#[tokio::test]
async fn only_its_owner_reads_the_file() {
    let place = Place::sqlite().await;
    let copy = place.folder().join("copy.sqlite");
    place.registry.backup(&copy).await.expect("copies");
    let mut files = 0;
    for entry in std::fs::read_dir(place.folder()).expect("lists") {
        let metadata = entry.expect("an entry").metadata().expect("metadata");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        files += 1;
    }
    assert_eq!(files, 4, "registry, its log and index, and the copy; nothing else");

    std::fs::set_permissions(file(&place), std::fs::Permissions::from_mode(0o644)).expect("sets");
    Registry::create_or_open(&place.location).await.expect("opens");
    assert_eq!(std::fs::metadata(file(&place)).expect("metadata").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_copy_holds_what_the_registry_held() {
    let place = Place::sqlite().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    let copy = place.folder().join("copy.sqlite");
    place.registry.backup(&copy).await.expect("copies");
    place.registry.insert_key(&new_key(id(2), &root())).await.expect("made");
    let copied = Registry::open(&Location::File(copy.clone())).await.expect("opens");
    assert!(copied.key(&id(1)).await.expect("reads").is_some());
    assert!(copied.key(&id(2)).await.expect("reads").is_none());

    let (_, text) = trouble(place.registry.backup(&copy).await);
    assert!(text.contains("copy.sqlite"), "{text}");
    assert!(copied.key(&id(2)).await.expect("reads").is_none(), "not overwritten");
    trouble(place.registry.backup(&place.folder().join("no/such/folder")).await);
}

#[tokio::test]
async fn a_file_that_is_no_registry_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let location = Location::File(path.clone());
    for missing in [Registry::open(&location).await, Registry::open_to_read(&location).await] {
        let (_, text) = trouble(missing);
        assert!(text.contains("start 'rederive serve' once, or run 'rederive generation create'"), "{text}");
    }
    assert!(!path.exists(), "opening makes no file");
    std::fs::write(&path, "not a database, but long enough to have a header of one hundred bytes ".repeat(9))
        .expect("writes");
    assert_eq!(trouble(Registry::create_or_open(&location).await).0, TroubleKind::Damaged);
    let mode = || std::fs::metadata(folder.path()).expect("metadata").permissions().mode();
    let before = mode();
    trouble(Registry::create_or_open(&Location::File(folder.path().into())).await);
    assert_eq!(mode(), before, "a folder keeps its mode");
}

#[tokio::test]
async fn a_transaction_that_sqlite_rolled_back_by_itself_does_not_wedge_the_writer() {
    let place = Place::sqlite().await;
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

/// As an older version left it.
#[tokio::test]
async fn a_copy_is_made_of_any_schema() {
    let place = Place::sqlite().await;
    place.registry.close().await;
    place.vandalise("DELETE FROM _sqlx_migrations WHERE version > 1").await;
    let copy = place.folder().join("copy.sqlite");
    Registry::open_to_copy(&place.location).await.expect("opens").backup(&copy).await.expect("copies");
    for location in [place.location.clone(), Location::File(copy)] {
        let (_, text) = trouble(Registry::open_to_read(&location).await);
        assert!(text.contains("schema is version 1"), "{text}");
    }
    let empty = place.folder().join("empty.sqlite");
    std::fs::write(&empty, "").expect("writes");
    assert!(trouble(Registry::open_to_copy(&Location::File(empty)).await).1.contains("no schema"));
}
