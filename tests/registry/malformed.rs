//! Rows that do not read: each is left out where others can go on without it, and holds up no job.

use rederive::feed::ChangeKind;
use rederive::key_terms::KeyTerms;
use rederive::registry::{GenerationState, KeyAge, KeyStatus, NewKey, Owner, Registry, RegistryError, Subject};

use super::{Place, account, generation, id, new_key, new_user, place, root};

/// What may stand in a key's row. The last one is no id, so that nothing of the row reads.
const DAMAGES: [(&str, &str); 5] = [
    ("user_id", "'nobody'"),
    ("created_by", "'nonsense'"),
    ("generation", "200"),
    ("regions", "'?!'"),
    ("id", "'nonsense'"),
];

async fn damage(place: &Place, serial: u32, (column, value): (&str, &str)) {
    place.vandalise(&format!("UPDATE access_keys SET {column} = {value} WHERE id = '{}'", id(serial))).await;
}

async fn is_active(place: &Place, serial: u32) -> bool {
    place.registry.key(&id(serial)).await.expect("reads").expect("there").status == KeyStatus::Active
}

#[tokio::test]
async fn a_malformed_row_that_is_due_holds_up_no_other() {
    for damaged in DAMAGES {
        for by_age in [false, true] {
            let place = place().await;
            let terms = KeyTerms { expires_at: (!by_age).then_some(100), ..KeyTerms::default() };
            for serial in 1..=3 {
                let new = NewKey { terms: terms.clone(), quota: 9, ..new_key(id(serial), &root()) };
                place.registry.insert_key(&new).await.expect("made");
            }
            if by_age {
                let age = KeyAge { max: Some(80), warning: 1 };
                place.registry.set_key_age(account(), age, 0, 30).await.expect("set");
            }
            damage(&place, 2, damaged).await;
            let before = place.registry.last_change().await.expect("counts");
            assert_eq!(place.registry.expire_keys(99).await.expect("looks"), 0, "not yet");
            assert_eq!(place.registry.expire_keys(100).await.expect("goes on"), 3, "{damaged:?}");
            assert!(!is_active(&place, 1).await && !is_active(&place, 3).await, "{damaged:?}");
            // It is refused from now on, everywhere, and is no more in the way.
            let told = place.registry.changes_since(before, 9).await.expect("lists");
            assert!(told.iter().all(|change| change.kind == ChangeKind::KeyDeactivated));
            let subjects: Vec<_> = told.iter().map(|change| change.subject.as_str()).collect();
            let has_id = damaged.0 != "id";
            assert_eq!(subjects.contains(&id(2).as_str()), has_id, "{damaged:?}");
            assert_eq!(told.len(), if has_id { 3 } else { 2 });
            assert_eq!(place.registry.denied_keys().await.expect("lists").ids.contains(&id(2)), has_id);
            assert_eq!(place.registry.expire_keys(101).await.expect("looks"), 0, "once");
        }
    }
}

#[tokio::test]
async fn a_malformed_account_does_not_keep_others_from_ageing() {
    let place = place().await;
    let other = rederive_hsm::access_key_id::Account::new(7).expect("a number");
    place.registry.create_account(other, 1).await.expect("made");
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    place.registry.set_key_age(account(), KeyAge { max: Some(80), warning: 1 }, 0, 30).await.expect("set");
    place.vandalise("UPDATE accounts SET keys_per_user = -5 WHERE number = 7").await;
    assert_eq!(place.registry.accounts().await.expect("lists").len(), 1);
    assert_eq!(place.registry.expire_keys(100).await.expect("goes on"), 1);
    assert!(!is_active(&place, 1).await);
}

#[tokio::test]
async fn lists_leave_out_what_does_not_read() {
    for damaged in DAMAGES {
        let place = place().await;
        for serial in 1..=3 {
            let new = NewKey { quota: 9, ..new_key(id(serial), &root()) };
            place.registry.insert_key(&new).await.expect("made");
        }
        damage(&place, 2, damaged).await;
        let of_account = place.registry.keys_of_account(account()).await.expect("lists");
        assert_eq!(of_account.len(), 2, "{damaged:?}");
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = place.registry.keys(&root(), after.as_ref(), 1).await.expect("lists");
            after = page.items.last().map(|row| row.id).or(after);
            seen.extend(page.items.iter().map(|row| row.id));
            if !page.truncated || page.items.is_empty() {
                break;
            }
        }
        assert!(seen.iter().all(|seen| *seen != id(2)), "{damaged:?}");
    }
    let place = place().await;
    for name in ["alice", "bob", "carol"] {
        place.registry.create_user(&new_user(name, "/")).await.expect("made");
    }
    place.vandalise("UPDATE users SET tags = 'none' WHERE name = 'bob'").await;
    let users = place.registry.users(account(), "/", None, 10).await.expect("lists").items;
    assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["alice", "carol"]);
}

#[tokio::test]
async fn denying_a_user_and_judging_reports_goes_on() {
    let place = place().await;
    let alice = place.user("alice").await;
    for serial in 1..=3 {
        let new = NewKey { quota: 9, ..new_key(id(serial), &alice) };
        place.registry.insert_key(&new).await.expect("made");
    }
    damage(&place, 1, ("created_by", "'nonsense'")).await;
    damage(&place, 2, ("id", "'nonsense'")).await;
    let Owner { account, user_id: Some(user_id) } = alice.clone() else { panic!("a user") };
    let subject = Subject::User(account, user_id);
    assert!(place.registry.deny(&subject, 40).await.expect("denied"));
    let mut denied = place.registry.denied_keys().await.expect("lists").ids;
    denied.sort_by_key(|id| id.to_string());
    let mut both = [id(1), id(3)];
    both.sort_by_key(|id| id.to_string());
    assert_eq!(denied, both);
    let before = place.registry.last_change().await.expect("counts");
    assert!(place.registry.lift(&subject, 41).await.expect("lifted"));
    let told = place.registry.changes_since(before, 9).await.expect("lists");
    let lifted: Vec<_> = told.iter().filter(|change| change.kind == ChangeKind::KeyLifted).collect();
    assert_eq!(lifted.len(), 1, "the one that reads");
    assert_eq!(lifted[0].subject, id(3).as_str());

    // One that was issued, whatever its row says, and one that was not.
    let unissued = place.registry.deny_unissued(&[id(1), id(9)], 42).await.expect("judged");
    assert_eq!(unissued, [id(9)]);
    place.vandalise("UPDATE users SET tags = 'none'").await;
    place.registry.set_key_status(&id(3), &alice, KeyStatus::Deleted, 43).await.expect("deleted in any case");
}

/// The feed's newest entry about a generation tells all of it.
#[tokio::test]
async fn a_generation_is_recalled_from_the_feed() {
    for damage in ["check_value = x'00'", "class = 'best'", "share_first = 70000", "state = 'lost'"] {
        let place = place().await;
        let damage = match place.is_sqlite() {
            true => damage.to_owned(),
            false => damage.replace("x'00'", "'\\x00'"),
        };
        place.registry.insert_generation(&generation(1, GenerationState::Issuing)).await.expect("made");
        let before = place.registry.generations().await.expect("lists");
        place.vandalise(&format!("UPDATE generations SET {damage} WHERE number = 1")).await;
        place.registry.close().await;
        let registry = Registry::open(&place.location).await.expect("opens");
        assert_eq!(registry.generations().await.expect("lists"), before, "{damage}");
        registry.insert_key(&new_key(super::id_in(1, 7), &root())).await.expect("made there");
        registry.set_generation_state(before[1].number, GenerationState::Closed, 30).await.expect("can be closed");
        let state = registry.generations().await.expect("lists")[1].state;
        assert_eq!(state, GenerationState::Closed, "{damage}");
        let back = registry.set_generation_state(before[1].number, GenerationState::Issuing, 31).await;
        assert!(matches!(back, Err(RegistryError::StateGoesBack { .. })), "{back:?}");
    }
}
