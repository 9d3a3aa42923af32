//! Users.

use rederive::registry::{
    ChangeKind, KeyStatus, MAX_TAGS, NewKey, NewUser, Owner, RegistryError, Tag, UserId, renamed_user,
};
use rederive_hsm::access_key_id::Account;

use super::{account, id, new_key, new_user, place};

#[tokio::test]
async fn a_user_is_found_by_name_and_by_id() {
    let place = place().await;
    let tags = vec![Tag { key: "team".into(), value: "\"red\" & ünlikely".into() }];
    let new = NewUser { tags, ..new_user("Alice", "/a/b/") };
    let made = place.registry.create_user(&new).await.expect("made");
    assert_eq!(place.registry.user_by_name(account(), "aLICE").await.expect("found"), made);
    assert_eq!(place.registry.user_by_id(account(), &new.user_id).await.expect("found"), made);
    assert_eq!((made.tags.clone(), made.arn()), (new.tags, "arn:aws:iam::123456789012:user/a/b/Alice".to_owned()));

    let elsewhere = Account::new(1).expect("a number");
    let absent = place.registry.user_by_name(elsewhere, "Alice").await;
    assert!(matches!(absent, Err(RegistryError::NoSuchUser { .. })), "{absent:?}");
    let absent = place.registry.user_by_id(elsewhere, &new.user_id).await;
    assert!(matches!(absent, Err(RegistryError::NoSuchUser { .. })), "{absent:?}");
}

#[tokio::test]
async fn names_are_unique_without_regard_to_case_and_ids_for_ever() {
    let place = place().await;
    let first = place.registry.create_user(&new_user("alice", "/")).await.expect("made");
    let twin = place.registry.create_user(&new_user("ALICE", "/other/")).await;
    assert!(matches!(twin, Err(RegistryError::UserExists { .. })), "{twin:?}");
    place.registry.delete_user(account(), &first.user_id, 30).await.expect("deleted");
    place.registry.create_user(&new_user("ALICE", "/")).await.expect("the name is free");
    let reused = NewUser { user_id: first.user_id.clone(), ..new_user("carol", "/") };
    let reused = place.registry.create_user(&reused).await;
    assert!(matches!(reused, Err(RegistryError::DuplicateUserId(_))), "{reused:?}");
    let homeless = NewUser { account: Account::new(1).expect("a number"), ..new_user("dave", "/") };
    let homeless = place.registry.create_user(&homeless).await;
    assert!(matches!(homeless, Err(RegistryError::NoSuchAccount(_))), "{homeless:?}");
}

#[tokio::test]
async fn a_user_with_keys_stays() {
    let place = place().await;
    let alice = place.user("alice").await;
    let user_id = alice.user_id.clone().expect("a user");
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("made");
    for status in [KeyStatus::Active, KeyStatus::Inactive] {
        place.registry.set_key_status(&id(1), &alice, status, 30).await.expect("set");
        let held = place.registry.delete_user(account(), &user_id, 31).await;
        assert!(matches!(held, Err(RegistryError::DeleteConflict(_))), "{held:?}");
        place.registry.user_by_id(account(), &user_id).await.expect("still there");
    }
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Deleted, 32).await.expect("deleted");
    place.registry.delete_user(account(), &user_id, 33).await.expect("nothing holds it now");
    let again = place.registry.delete_user(account(), &user_id, 34).await;
    assert!(matches!(again, Err(RegistryError::NoSuchUser { .. })), "{again:?}");
    let tombstone = place.registry.key(&id(1)).await.expect("reads").expect("stays");
    assert_eq!(tombstone.arn(), "arn:aws:iam::123456789012:user/alice");
    let last = place.registry.changes_since(0, 100).await.expect("lists").pop().expect("some");
    assert_eq!((last.kind, last.subject), (ChangeKind::UserDeleted, user_id.to_string()));
}

#[tokio::test]
async fn lists_go_by_name_and_path() {
    let place = place().await;
    for (name, path) in [("bob", "/a/"), ("Alice", "/a/b/"), ("dave", "/A/"), ("carol", "/"), ("Eve", "/a/b/")] {
        place.registry.create_user(&new_user(name, path)).await.expect("made");
    }
    for (prefix, after, limit, names, truncated) in [
        ("/", None, 10, vec!["Alice", "bob", "carol", "dave", "Eve"], false),
        ("/", None, 2, vec!["Alice", "bob"], true),
        ("/", Some("BOB"), 2, vec!["carol", "dave"], true),
        ("/", Some("dave"), 1, vec!["Eve"], false),
        ("/a/", None, 10, vec!["Alice", "bob", "Eve"], false),
        ("/a/b", Some("alice"), 10, vec!["Eve"], false),
        ("/%/", None, 10, vec![], false),
    ] {
        let page = place.registry.users(account(), prefix, after, limit).await.expect("lists");
        let found: Vec<_> = page.items.iter().map(|user| user.name.as_str()).collect();
        assert_eq!((found, page.truncated), (names, truncated), "{prefix} after {after:?}");
    }
}

#[test]
fn user_ids_have_one_shape() {
    let id = UserId::random().expect("random bytes");
    assert_eq!(UserId::parse(id.as_str()), Some(id.clone()));
    assert_ne!(UserId::random().expect("random bytes"), id);
    for wrong in
        ["", "AIDA", "AKIAAAAAAAAAAAAAAAAAA", "AIDAAAAAAAAAAAAAAAAA", "AIDAAAAAAAAAAAAAAAAA1", "AIDAaAAAAAAAAAAAAAAAA"]
    {
        assert_eq!(UserId::parse(wrong), None, "{wrong}");
    }
    assert!(UserId::parse("AIDAAAAAAAAAAAAAAAAAA").is_some());
}

#[tokio::test]
async fn a_user_gets_another_name() {
    let place = place().await;
    let registry = &place.registry;
    let alice = registry.create_user(&new_user("alice", "/a/")).await.expect("made");
    registry.create_user(&new_user("bob", "/")).await.expect("made");
    let taken = registry.rename_user(account(), &alice.user_id, Some("BOB"), None, 9).await;
    assert!(matches!(taken, Err(RegistryError::UserExists { .. })), "{taken:?}");
    let before = registry.last_change().await.expect("counts");
    registry.rename_user(account(), &alice.user_id, Some("ALICE"), Some("/b/"), 9).await.expect("renamed");
    let row = registry.user_by_name(account(), "alice").await.expect("found");
    assert_eq!(
        (row.user_id.clone(), row.arn()),
        (alice.user_id.clone(), "arn:aws:iam::123456789012:user/b/ALICE".into())
    );
    let told = registry.changes_since(before, 9).await.expect("lists");
    assert_eq!(told.iter().map(renamed_user).collect::<Vec<_>>(), [Some(alice.user_id.clone())]);
    let made = registry.changes_since(0, 99).await.expect("lists");
    assert!(made[..made.len() - 1].iter().all(|change| renamed_user(change).is_none()), "nothing else says so");

    let tag = |key: &str| Tag { key: key.into(), value: "x".into() };
    assert!(registry.replace_tags(&row, &[tag("a")]).await.expect("written"));
    assert!(!registry.replace_tags(&row, &[tag("b")]).await.expect("looked"), "somebody was there before");
    assert_eq!(registry.user_by_name(account(), "alice").await.expect("found").tags, [tag("a")]);
    assert_eq!(registry.count_users(account()).await.expect("counts"), 2);
    let owner = rederive::registry::Owner { account: account(), user_id: Some(alice.user_id) };
    registry.insert_key(&new_key(id(1), &owner)).await.expect("made");
    registry.insert_key(&new_key(id(2), &owner)).await.expect("made");
    registry.set_key_status(&id(1), &owner, KeyStatus::Deleted, 30).await.expect("deleted");
    let keys = registry.keys_of_account(account()).await.expect("lists");
    assert_eq!(keys.iter().map(|key| (key.id, key.arn())).collect::<Vec<_>>(), [(id(2), row.arn())]);
}

#[tokio::test]
async fn a_key_without_room_for_its_description_is_not_made() {
    let place = place().await;
    let tag = |key: String| Tag { key, value: "x".into() };
    let tags: Vec<_> = (0..MAX_TAGS - 1).map(|number| tag(format!("t{number}"))).collect();
    let row = place.registry.create_user(&NewUser { tags, ..new_user("alice", "/") }).await.expect("made");
    let alice = Owner { account: account(), user_id: Some(row.user_id.clone()) };
    let described = |serial| NewKey { description: Some("one".into()), ..new_key(id(serial), &alice) };
    place.registry.insert_key(&described(1)).await.expect("there is room for one");
    let full = place.registry.insert_key(&described(2)).await;
    assert!(matches!(full, Err(RegistryError::TooMuch(_))), "{full:?}");
    assert_eq!(place.registry.key(&id(2)).await.expect("reads"), None, "nothing was done");
    place.registry.insert_key(&new_key(id(2), &alice)).await.expect("made without one");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Deleted, 30).await.expect("deleted");
    let tags = place.registry.user_by_name(account(), "alice").await.expect("reads").tags;
    assert_eq!(tags.len(), MAX_TAGS - 1, "it goes with the key");
    place.registry.insert_key(&described(3)).await.expect("there is room again");
}
