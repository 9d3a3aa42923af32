//! Opening, schema, settings, generations, and trouble.

use rederive::registry::{
    ChangeKind, GenerationState, KeyStatus, MadeSince, NewKey, Registry, RegistryError, Rotation, Settings, TroubleKind,
};
use rederive_hsm::access_key_id::{Account, Layout, Lifetime, Prefix, Prefixes};
use rederive_hsm::config::KeyClass;

use super::{account, generation, id, id_in, new_key, place, root, trouble};

#[tokio::test]
async fn what_was_answered_is_there_after_a_reopen() {
    let place = place().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    let changes = place.registry.last_change().await.expect("counts");
    place.registry.close().await;
    let registry = Registry::open(&place.location).await.expect("opens");
    assert!(registry.key(&id(1)).await.expect("reads").is_some());
    assert_eq!(registry.last_change().await.expect("counts"), changes);
    assert_eq!(registry.generations().await.expect("lists"), [generation(0, GenerationState::Issuing)]);
}

#[tokio::test]
async fn a_schema_from_the_future_is_refused_unless_it_says_otherwise() {
    let place = place().await;
    place.registry.close().await;
    place
        .vandalise(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', TRUE, '00', 0)",
        )
        .await;
    let (kind, text) = trouble(Registry::open(&place.location).await);
    assert_eq!(kind, TroubleKind::Schema);
    assert!(text.contains("schema is version 9999, this rederive knows up to "), "{text}");
    trouble(Registry::open_to_read(&place.location).await);
    place.vandalise("INSERT INTO schema_expansions (version) VALUES (9999)").await;
    for opened in [Registry::open(&place.location).await, Registry::open_to_read(&place.location).await] {
        opened.expect("it says that older programs may go on");
    }
}

#[tokio::test]
async fn opening_to_read_changes_nothing() {
    let place = place().await;
    place.registry.close().await;
    let reader = Registry::open_to_read(&place.location).await.expect("opens");
    assert!(reader.account(account()).await.expect("reads").is_some());
    assert_eq!(trouble(reader.create_account(Account::new(7).expect("a number"), 5).await).0, TroubleKind::ReadOnly);
    assert_eq!(trouble(reader.check_writable().await).0, TroubleKind::ReadOnly);
    reader.close().await;

    // As an older version left it.
    place.vandalise("DELETE FROM _sqlx_migrations WHERE version > 1").await;
    let (kind, text) = trouble(Registry::open_to_read(&place.location).await);
    assert_eq!(kind, TroubleKind::Schema);
    assert!(text.contains("schema is version 1: 'rederive serve' of this version will upgrade it to"), "{text}");
}

#[tokio::test]
async fn a_locked_registry_is_trouble_and_reads_go_on() {
    let place = place().await;
    let mut other = place.lock().await;
    assert_eq!(trouble(place.registry.insert_key(&new_key(id(1), &root())).await).0, TroubleKind::Locked);
    assert!(place.registry.account(account()).await.expect("reads").is_some());
    other.run("ROLLBACK").await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("works again");
}

#[tokio::test]
async fn a_failure_midway_leaves_nothing_half_done() {
    let place = place().await;
    let before = place.registry.last_change().await.expect("counts");
    place.block("changes").await;
    trouble(place.registry.create_account(Account::new(7).expect("a number"), 5).await);
    assert!(place.registry.account(Account::new(7).expect("a number")).await.expect("reads").is_none());
    assert_eq!(place.registry.last_change().await.expect("counts"), before);
    place.unblock("changes").await;
    place.registry.create_account(Account::new(7).expect("a number"), 5).await.expect("works again");
    assert_eq!(place.registry.last_change().await.expect("counts"), before + 1);
}

#[tokio::test]
async fn a_trial_write_leaves_nothing_behind() {
    let place = place().await;
    let before = place.registry.last_change().await.expect("counts");
    place.registry.check_writable().await.expect("can be written");
    place.registry.check_writable().await.expect("still");
    assert_eq!(place.registry.last_change().await.expect("counts"), before);
    assert_eq!(place.side_door().await.count("settings").await, 0);
}

#[tokio::test]
async fn accounts_and_generations_are_made_once() {
    let place = place().await;
    let again = place.registry.create_account(account(), 2).await;
    assert!(matches!(again, Err(RegistryError::AccountExists(_))), "{again:?}");
    let again = place.registry.insert_generation(&generation(0, GenerationState::Pending)).await;
    assert!(matches!(again, Err(RegistryError::GenerationExists(_))), "{again:?}");
    place.registry.insert_generation(&generation(127, GenerationState::Pending)).await.expect("another");
}

#[tokio::test]
async fn a_generation_never_goes_back() {
    use GenerationState::{Closed, Issuing, Pending, Verifying};
    let place = place().await;
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

/// A thief's keys, made with a stolen one or with keys so made, go with the stolen generation; others of that time stay.
#[tokio::test]
async fn what_was_made_with_a_generation_can_go_with_it() {
    let place = place().await;
    place.registry.insert_generation(&generation(1, GenerationState::Issuing)).await.expect("another");
    let alice = place.user("alice").await;
    let honest = id_in(1, 9);
    let made = [
        (id(1), None, 20),              // The key that was forged or stolen.
        (id_in(1, 1), Some(id(1)), 39), // Before.
        (id_in(1, 2), Some(id(1)), 40),
        (id_in(1, 3), Some(id_in(1, 2)), 40),
        (id(2), Some(id(1)), 41), // Goes with its own generation.
        (id_in(1, 4), Some(id(2)), 42),
        (honest, None, 43),
        (id_in(1, 5), Some(honest), 44),
        (id_in(1, 6), Some(id(1)), 45), // Deleted, but what was made with it is there.
        (id_in(1, 7), Some(id_in(1, 6)), 46),
    ];
    for (id, created_by, at) in made {
        let new = NewKey { created_by, quota: 99, at, ..new_key(id, &alice) };
        place.registry.insert_key(&new).await.expect("made");
    }
    place.registry.set_key_status(&id_in(1, 6), &alice, KeyStatus::Deleted, 47).await.expect("deleted");

    let stolen = generation(0, GenerationState::Issuing).number;
    let expected = [2, 3, 4, 7].map(|serial| id_in(1, serial)).to_vec();
    let listed = place.registry.made_with(stolen, 40).await.expect("lists");
    assert_eq!(listed.into_iter().map(|row| row.id).collect::<Vec<_>>(), expected);
    let close = |count| place.registry.close_generation(stolen, 2, Some(MadeSince { since: 40, count }), 50);
    let refused = close(3).await;
    assert!(matches!(refused, Err(RegistryError::MadeWith { count: 4, .. })), "{refused:?}");
    assert_eq!(place.registry.generations().await.expect("lists")[0].state, GenerationState::Issuing, "all or nothing");
    assert_eq!(close(4).await.expect("closed"), expected);
    let denied = place.registry.denied_keys().await.expect("lists").ids;
    for (id, ..) in made.iter().filter(|(id, ..)| id.fields().generation() != stolen) {
        assert_eq!(denied.contains(id), expected.contains(id) || *id == id_in(1, 6), "{id}");
    }
}

fn settings(layout: Layout, long_term: &str, temporary: &str) -> Settings {
    let prefix = |text| vec![Prefix::parse(text).expect("four letters")];
    Settings { layout, prefixes: Prefixes::new(prefix(long_term), prefix(temporary)).expect("distinct") }
}

#[tokio::test]
async fn settings_are_fixed_and_prefixes_join() {
    let place = place().await;
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

#[tokio::test]
async fn a_rotation_is_remembered_until_it_is_done() {
    let place = place().await;
    let registry = &place.registry;
    let next = generation(1, GenerationState::Pending);
    let early = registry.insert_next_generation(&next).await;
    assert!(matches!(early, Err(RegistryError::AnotherRotation)), "none was begun");
    let rotation = Rotation { from: 0, to: None, token: "a \"b\"".into(), class: KeyClass::Strict };
    registry.begin_rotation(&rotation).await.expect("begun");
    let again = registry.begin_rotation(&Rotation { from: 1, ..rotation.clone() }).await;
    assert!(matches!(again, Err(RegistryError::AnotherRotation)));
    assert_eq!(registry.rotation().await.expect("reads"), Some(rotation.clone()));

    registry.insert_next_generation(&next).await.expect("inserted");
    assert_eq!(registry.rotation().await.expect("reads"), Some(Rotation { to: Some(1), ..rotation }));
    let twice = registry.insert_next_generation(&generation(2, GenerationState::Pending)).await;
    assert!(matches!(twice, Err(RegistryError::AnotherRotation)), "somebody else was quicker");
    assert_eq!(registry.generations().await.expect("lists").len(), 2, "and nothing is left of it");
    registry.end_rotation().await.expect("ended");
    assert_eq!(registry.rotation().await.expect("reads"), None);
}
