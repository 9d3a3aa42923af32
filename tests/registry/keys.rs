//! Issuing, status, lists, and what stays behind.

use std::collections::HashSet;

use rederive::key_terms::KeyTerms;
use rederive::registry::{
    ChangeKind, GenerationState, KeyAge, KeyStatus, KeyUse, LastUsed, Made, NewKey, Owner, RegistryError, Subject,
    TroubleKind, UsedSignature, UsedToken,
};
use rederive_hsm::access_key_id::{AccessKeyId, Account, Generation};

use super::{account, generation, id, id_in, new_key, new_user, place, root};

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_at_once_get_two_keys() {
    let place = place().await;
    for owner in [root(), place.user("alice").await] {
        let base = if owner.user_id.is_some() { 100 } else { 200 };
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let (registry, new) = (place.registry.clone(), new_key(id(base + n), &owner));
                tokio::spawn(async move { registry.insert_key(&new).await })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(_) => made += 1,
                Err(RegistryError::QuotaExceeded(2)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(made, 2);
        assert_eq!(place.registry.keys(&owner, None, 10).await.expect("lists").items.len(), 2);
    }
}

#[tokio::test]
async fn inactive_keys_count_and_deleted_ones_do_not() {
    let place = place().await;
    let alice = place.user("alice").await;
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("first");
    place.registry.insert_key(&new_key(id(2), &alice)).await.expect("second");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Inactive, 30).await.expect("inactive");
    let third = place.registry.insert_key(&new_key(id(3), &alice)).await;
    assert!(matches!(third, Err(RegistryError::QuotaExceeded(2))), "{third:?}");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Deleted, 31).await.expect("deleted");
    place.registry.insert_key(&new_key(id(3), &alice)).await.expect("room again");
}

#[tokio::test]
async fn a_taken_id_is_never_taken_again() {
    let place = place().await;
    let (alice, bob) = (place.user("alice").await, place.user("bob").await);
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("first");
    let again = place.registry.insert_key(&new_key(id(1), &bob)).await;
    assert!(matches!(again, Err(RegistryError::DuplicateId(_))), "{again:?}");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Deleted, 30).await.expect("deleted");
    for owner in [&alice, &bob] {
        let again = place.registry.insert_key(&new_key(id(1), owner)).await;
        assert!(matches!(again, Err(RegistryError::DuplicateId(_))), "{again:?}");
    }
    let tombstone = place.registry.key(&id(1)).await.expect("reads").expect("stays");
    assert_eq!((tombstone.status, tombstone.owner()), (KeyStatus::Deleted, alice));
}

#[tokio::test]
async fn a_deleted_key_is_no_key_to_its_owner() {
    let place = place().await;
    let alice = place.user("alice").await;
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("made");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Deleted, 30).await.expect("deleted");
    for status in [KeyStatus::Active, KeyStatus::Inactive, KeyStatus::Deleted] {
        let raised = place.registry.set_key_status(&id(1), &alice, status, 31).await;
        assert!(matches!(raised, Err(RegistryError::NoSuchKey(_))), "{raised:?}");
    }
    assert!(place.registry.keys(&alice, None, 10).await.expect("lists").items.is_empty());
}

#[tokio::test]
async fn only_the_owner_changes_a_key() {
    let place = place().await;
    let (alice, bob) = (place.user("alice").await, place.user("bob").await);
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("made");
    let stranger = Owner { account: Account::new(1).expect("a number"), user_id: None };
    for other in [&bob, &root(), &stranger] {
        let changed = place.registry.set_key_status(&id(1), other, KeyStatus::Inactive, 30).await;
        assert!(matches!(changed, Err(RegistryError::NoSuchKey(_))), "{changed:?}");
    }
    let changed = place.registry.set_key_status(&id(1), &alice, KeyStatus::Inactive, 30).await;
    assert!(matches!(changed, Ok(Some(_))), "{changed:?}");
    let same = place.registry.set_key_status(&id(1), &alice, KeyStatus::Inactive, 31).await;
    assert!(matches!(same, Ok(None)), "{same:?}");
}

#[tokio::test]
async fn a_signature_gives_one_secret() {
    let place = place().await;
    let signature = Some(UsedSignature { hash: [1; 32], expires_at: 320 });
    let signed = |serial, owner: &Owner, at| NewKey { signature, at, ..new_key(id(serial), owner) };
    let (alice, bob) = (place.user("alice").await, place.user("bob").await);
    place.registry.insert_key(&new_key(id(9), &bob)).await.expect("made");

    let collision = place.registry.insert_key(&signed(9, &alice, 20)).await;
    assert!(matches!(collision, Err(RegistryError::DuplicateId(_))), "{collision:?}");
    place.registry.insert_key(&signed(1, &alice, 20)).await.expect("a collision leaves the signature good");
    for (owner, at) in [(&alice, 21), (&bob, 320)] {
        let replayed = place.registry.insert_key(&signed(2, owner, at)).await;
        assert!(matches!(replayed, Err(RegistryError::SignatureReplayed)), "{replayed:?}");
    }
    place.registry.insert_key(&signed(2, &bob, 321)).await.expect("forgotten when it is too old anyway");
}

#[tokio::test]
async fn keys_need_an_issuing_generation_and_a_live_owner() {
    let place = place().await;
    let alice = place.user("alice").await;
    let unknown = place.registry.insert_key(&new_key(id_in(1, 1), &alice)).await;
    assert!(matches!(unknown, Err(RegistryError::NoSuchGeneration(_))), "{unknown:?}");
    place.registry.insert_generation(&generation(1, GenerationState::Pending)).await.expect("made");
    let number = Generation::new(1).expect("7 bits");
    for (serial, state, good) in [
        (1, GenerationState::Pending, false),
        (2, GenerationState::Issuing, true),
        (3, GenerationState::Verifying, false),
        (4, GenerationState::Closed, false),
    ] {
        place.registry.set_generation_state(number, state, 30).await.expect("forward");
        let made = place.registry.insert_key(&new_key(id_in(1, serial), &alice)).await;
        assert!(if good { made.is_ok() } else { matches!(made, Err(RegistryError::NotIssuing { .. })) }, "{made:?}");
    }

    let bob = place.user("bob").await;
    place.registry.delete_user(account(), bob.user_id.as_ref().expect("a user"), 40).await.expect("deleted");
    let gone = place.registry.insert_key(&new_key(id(1), &bob)).await;
    assert!(matches!(gone, Err(RegistryError::NoSuchUser { .. })), "{gone:?}");
    let elsewhere = Owner { account: Account::new(1).expect("a number"), user_id: None };
    let nowhere = place.registry.insert_key(&new_key(id(1), &elsewhere)).await;
    assert!(matches!(nowhere, Err(RegistryError::NoSuchAccount(_))), "{nowhere:?}");
    let wrong = Owner { account: elsewhere.account, ..alice };
    let mixed = place.registry.insert_key(&new_key(id(1), &wrong)).await;
    assert!(matches!(mixed, Err(RegistryError::NoSuchUser { .. })), "{mixed:?}");
}

#[tokio::test]
async fn an_account_comes_with_its_key_or_not_at_all() {
    let place = place().await;
    place.registry.insert_generation(&generation(1, GenerationState::Pending)).await.expect("made");
    let owner = Owner { account: Account::new(7).expect("a number"), user_id: None };
    let before = place.registry.last_change().await.expect("counts");
    let refused = place.registry.create_account_with_key(&new_key(id_in(1, 1), &owner)).await;
    assert!(matches!(refused, Err(RegistryError::NotIssuing { .. })), "{refused:?}");
    assert_eq!(place.registry.account(owner.account).await.expect("reads"), None);
    assert_eq!(place.registry.last_change().await.expect("counts"), before);

    let made = place.registry.create_account_with_key(&new_key(id(1), &owner)).await.expect("made");
    assert_eq!(made.owner(), owner);
    assert!(place.registry.account_exists(owner.account).await.expect("reads"));
    let again = place.registry.create_account_with_key(&new_key(id(2), &owner)).await;
    assert!(matches!(again, Err(RegistryError::AccountExists(_))), "{again:?}");
    assert_eq!(place.registry.key(&id(2)).await.expect("reads"), None);
}

#[tokio::test]
async fn half_of_the_serials_is_the_end() {
    let place = place().await;
    let alice = place.user("alice").await;
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("made");
    place.vandalise("UPDATE serials_used SET count = (1 << 19) - 1").await;
    place.registry.insert_key(&new_key(id(2), &alice)).await.expect("the last one");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Deleted, 30).await.expect("deleted");
    let beyond = place.registry.insert_key(&new_key(id(3), &alice)).await;
    assert!(matches!(beyond, Err(RegistryError::SerialsExhausted { .. })), "{beyond:?}");
}

#[tokio::test]
async fn a_row_tells_whose_key_it_is() {
    let place = place().await;
    let alice = place.user("alice").await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("root key");
    let made = NewKey { created_by: Some(id(1)), ..new_key(id(2), &alice) };
    let made = place.registry.insert_key(&made).await.expect("user key");
    let read = place.registry.key(&id(2)).await.expect("reads").expect("is there");
    assert_eq!(made, read);
    assert_eq!(read.arn(), "arn:aws:iam::123456789012:user/alice");
    assert_eq!((read.owner(), read.created_by, read.created_at), (alice, Some(id(1)), 20));
    let of_root = place.registry.key(&id(1)).await.expect("reads").expect("is there");
    assert_eq!((of_root.arn().as_str(), of_root.user), ("arn:aws:iam::123456789012:root", None));
    assert_eq!(place.registry.key(&id(3)).await.expect("reads"), None);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let place = place().await;
    let alice = place.user("alice").await;
    for serial in 1..=5 {
        let new = NewKey { quota: 9, ..new_key(id(serial), &alice) };
        place.registry.insert_key(&new).await.expect("made");
    }
    let mut seen: Vec<AccessKeyId> = Vec::new();
    loop {
        let page = place.registry.keys(&alice, seen.last(), 2).await.expect("lists");
        seen.extend(page.items.iter().map(|row| row.id));
        if !page.truncated {
            break;
        }
        assert_eq!(page.items.len(), 2);
    }
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 5);
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn the_latest_use_stays() {
    let place = place().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    let used = |at, service: &str| KeyUse {
        id: id(1),
        used: LastUsed { at, service: service.into(), region: "local".into() },
    };
    let unknown = KeyUse { id: id(2), ..used(1, "s3") };
    place.registry.record_last_used(&[used(50, "s3"), used(40, "iam"), unknown]).await.expect("recorded");
    let read = place.registry.key(&id(1)).await.expect("reads").expect("is there");
    assert_eq!(read.last_used, Some(used(50, "s3").used));
}

#[tokio::test]
async fn the_deny_list_is_what_is_not_active() {
    let place = place().await;
    for (serial, status) in [(1, KeyStatus::Active), (2, KeyStatus::Inactive), (3, KeyStatus::Deleted)] {
        let new = NewKey { quota: 9, ..new_key(id(serial), &root()) };
        place.registry.insert_key(&new).await.expect("made");
        place.registry.set_key_status(&id(serial), &root(), status, 30).await.expect("set");
    }
    let list = place.registry.denied_keys().await.expect("lists");
    assert_eq!(list.ids.into_iter().collect::<HashSet<_>>(), HashSet::from([id(2), id(3)]));
    assert_eq!(list.as_of, place.registry.last_change().await.expect("counts"));
    assert!(list.malformed.is_empty());

    place.registry.set_key_status(&id(2), &root(), KeyStatus::Active, 31).await.expect("active again");
    let newer = place.registry.changes_since(list.as_of, 9).await.expect("lists");
    assert_eq!(newer.len(), 1);
    assert_eq!((newer[0].kind, newer[0].subject.as_str()), (ChangeKind::KeyActivated, id(2).as_str()));
}

#[tokio::test]
async fn a_malformed_row_is_trouble_that_names_it() {
    for (column, value) in
        [("status", "'lost'"), ("generation", "200"), ("account", "-1"), ("created_at", "'noon'"), ("user_id", "'x'")]
    {
        let place = place().await;
        if value == "'noon'" && !place.is_sqlite() {
            continue; // Its columns have types.
        }
        place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
        place.registry.insert_key(&new_key(id(2), &root())).await.expect("made");
        place.vandalise(&format!("UPDATE access_keys SET {column} = {value} WHERE id = '{}'", id(1))).await;
        match place.registry.key(&id(1)).await {
            Err(RegistryError::Trouble(trouble)) => {
                assert_eq!(trouble.kind, TroubleKind::BadRow);
                let text = trouble.to_string();
                assert!(text.contains(id(1).as_str()) && text.contains(column), "{text}");
            }
            other => panic!("{column}: {other:?}"),
        }
        place.registry.key(&id(2)).await.expect("the other row is fine").expect("and there");
    }
}

#[tokio::test]
async fn a_malformed_id_does_not_hide_the_others_from_the_deny_list() {
    let place = place().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    place.registry.insert_key(&new_key(id(2), &root())).await.expect("made");
    place.vandalise(&format!("UPDATE access_keys SET id = 'nonsense', status = 'lost' WHERE id = '{}'", id(1))).await;
    place.registry.set_key_status(&id(2), &root(), KeyStatus::Inactive, 30).await.expect("set");
    let list = place.registry.denied_keys().await.expect("lists");
    assert_eq!(list.ids, [id(2)]);
    assert_eq!(list.malformed.len(), 1);
    assert!(list.malformed[0].contains("nonsense"), "{:?}", list.malformed);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_numbered_without_gaps() {
    let place = place().await;
    let before = place.registry.last_change().await.expect("counts");
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let registry = place.registry.clone();
            tokio::spawn(async move {
                for serial in n * 10..n * 10 + 5 {
                    let new = NewKey { quota: 100, ..new_key(id(serial), &root()) };
                    registry.insert_key(&new).await.expect("made");
                    let taken = registry.insert_key(&new).await;
                    assert!(matches!(taken, Err(RegistryError::DuplicateId(_))));
                    registry.set_key_status(&id(serial), &root(), KeyStatus::Inactive, 30).await.expect("set");
                    registry.set_key_status(&id(serial), &root(), KeyStatus::Deleted, 31).await.expect("set");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let mut seqs = Vec::new();
    while let Some(last) = place.registry.changes_since(before + seqs.len() as i64, 7).await.expect("lists").last() {
        let from = seqs.last().copied().unwrap_or(before);
        seqs.extend(from + 1..=last.seq);
    }
    let all = place.registry.changes_since(before, 1000).await.expect("lists");
    assert_eq!(all.iter().map(|change| change.seq).collect::<Vec<_>>(), seqs);
    assert_eq!(seqs, (before + 1..=before + 160).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_key_that_was_switched_off_changes_nothing_any_more() {
    let place = place().await;
    let alice = place.user("alice").await;
    for serial in [1, 2] {
        place.registry.insert_key(&new_key(id(serial), &alice)).await.expect("made");
    }
    let thief = place.registry.on_behalf_of(id(1));
    thief.set_key_status(&id(2), &alice, KeyStatus::Inactive, 30).await.expect("the control: an active key may");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Inactive, 31).await.expect("switched off");

    let back_on = thief.set_key_status(&id(1), &alice, KeyStatus::Active, 32).await;
    assert!(matches!(back_on, Err(RegistryError::ActorDenied(by)) if by == id(1)), "{back_on:?}");
    let more = NewKey { created_by: Some(id(1)), quota: 9, ..new_key(id(3), &alice) };
    assert!(matches!(place.registry.insert_key(&more).await, Err(RegistryError::ActorDenied(_))));
    assert!(matches!(thief.create_user(&new_user("mallory", "/")).await, Err(RegistryError::ActorDenied(_))));
    let user_id = alice.user_id.as_ref().expect("a user");
    assert!(matches!(thief.delete_user(account(), user_id, 33).await, Err(RegistryError::ActorDenied(_))));
    assert_eq!(place.registry.key(&id(1)).await.expect("read").expect("there").status, KeyStatus::Inactive);
}

#[tokio::test]
async fn a_client_token_leads_to_one_key_for_a_day() {
    let place = place().await;
    let (alice, bob) = (place.user("alice").await, place.user("bob").await);
    let signed = |serial: u32, owner: &Owner, at: i64, signature: u8| {
        let signature = Some(UsedSignature { hash: [signature; 32], expires_at: at + 300 });
        NewKey { signature, at, ..new_key(id(serial), owner) }
    };
    let token = |attempt| UsedToken { hash: [1; 32], request: [2; 32], attempt };
    let once = async |new: &NewKey, token: UsedToken| place.registry.insert_key_once(new, &token).await;

    place.registry.insert_key(&new_key(id(1), &bob)).await.expect("made");
    let taken = once(&signed(1, &alice, 20, 1), token(0)).await;
    assert!(matches!(taken, Err(RegistryError::DuplicateId(_))), "{taken:?}");
    let Made::New(row) = once(&signed(2, &alice, 20, 1), token(1)).await.expect("made") else { panic!("not new") };
    assert_eq!(row.id, id(2));

    let replayed = once(&signed(1, &alice, 21, 1), token(0)).await;
    assert!(matches!(replayed, Err(RegistryError::SignatureReplayed)), "who overhears it gets nothing: {replayed:?}");
    let before = once(&signed(1, &alice, 21, 2), token(0)).await.expect("the same");
    assert_eq!(before, Made::Before(row.clone(), 1));
    let replayed = once(&signed(1, &alice, 22, 2), token(0)).await;
    assert!(matches!(replayed, Err(RegistryError::SignatureReplayed)), "nor of the second answer: {replayed:?}");

    let other = once(&signed(1, &bob, 22, 3), token(0)).await;
    assert!(matches!(other, Err(RegistryError::TokenOfAnotherRequest)), "{other:?}");
    let other = once(&signed(1, &alice, 22, 3), UsedToken { request: [3; 32], ..token(0) }).await;
    assert!(matches!(other, Err(RegistryError::TokenOfAnotherRequest)), "{other:?}");
    // Not even a full quota keeps the answer back.
    place.registry.insert_key(&new_key(id(3), &alice)).await.expect("made");
    once(&signed(1, &alice, 22, 4), token(0)).await.expect("the same");
    place.registry.deny(&Subject::User(account(), alice.user_id.clone().expect("a user")), 23).await.expect("denied");
    let denied = once(&signed(1, &alice, 23, 5), token(0)).await;
    assert!(matches!(denied, Err(RegistryError::OwnerDenied)), "{denied:?}");
    place.registry.lift(&Subject::User(account(), alice.user_id.clone().expect("a user")), 24).await.expect("lifted");

    place.registry.set_key_status(&id(2), &alice, KeyStatus::Deleted, 25).await.expect("deleted");
    let deleted = once(&signed(1, &alice, 26, 6), token(0)).await;
    assert!(matches!(deleted, Err(RegistryError::TokenOfDeletedKey(it)) if it == id(2)), "{deleted:?}");
    let day = 24 * 60 * 60;
    let deleted = once(&signed(1, &alice, 20 + day, 6), token(0)).await;
    assert!(matches!(deleted, Err(RegistryError::TokenOfDeletedKey(_))), "{deleted:?}");
    let again = once(&signed(2, &alice, 21 + day, 6), token(1)).await;
    assert!(matches!(again, Err(RegistryError::DuplicateId(_))), "forgotten, but the id is not: {again:?}");
    let fresh = once(&signed(4, &alice, 21 + day, 6), token(2)).await.expect("made");
    assert!(matches!(fresh, Made::New(row) if row.id == id(4)));
}

#[tokio::test]
async fn an_account_has_a_quota_of_its_own() {
    let place = place().await;
    let (registry, alice) = (&place.registry, place.user("alice").await);
    registry.set_keys_per_user(account(), Some(3)).await.expect("set");
    assert_eq!(registry.account(account()).await.expect("reads").expect("there").keys_per_user, Some(3));
    for serial in 1..=3 {
        registry.insert_key(&new_key(id(serial), &alice)).await.expect("made");
    }
    let fourth = registry.insert_key(&new_key(id(4), &alice)).await;
    assert!(matches!(fourth, Err(RegistryError::QuotaExceeded(3))), "{fourth:?}");
    for serial in 5..=6 {
        registry.insert_key(&new_key(id(serial), &root())).await.expect("made");
    }
    let of_root = registry.insert_key(&new_key(id(7), &root())).await;
    assert!(matches!(of_root, Err(RegistryError::QuotaExceeded(2))), "root's stay few: {of_root:?}");
    registry.set_keys_per_user(account(), None).await.expect("set");
    let now = registry.insert_key(&new_key(id(4), &alice)).await;
    assert!(matches!(now, Err(RegistryError::QuotaExceeded(2))), "{now:?}");
    let nowhere =
        registry.set_keys_per_user(rederive_hsm::access_key_id::Account::new(1).expect("a number"), None).await;
    assert!(matches!(nowhere, Err(RegistryError::NoSuchAccount(_))), "{nowhere:?}");
}

#[tokio::test]
async fn keys_expire() {
    let place = place().await;
    let (registry, alice) = (&place.registry, place.user("alice").await);
    let until = |serial, expires_at| {
        let terms = KeyTerms { expires_at, ..KeyTerms::default() };
        NewKey { terms, quota: 9, ..new_key(id(serial), &alice) }
    };
    for (serial, expires_at) in [(1, Some(100)), (2, Some(200)), (3, None), (4, Some(50))] {
        let row = registry.insert_key(&until(serial, expires_at)).await.expect("made");
        assert_eq!((row.terms.expires_at, row.has_expired(99)), (expires_at, serial == 4));
    }
    registry.set_key_status(&id(4), &alice, KeyStatus::Inactive, 30).await.expect("switched off by its owner");
    let before = registry.last_change().await.expect("counts");
    assert_eq!(registry.expire_keys(99).await.expect("looks"), 0);
    assert_eq!(registry.expire_keys(100).await.expect("looks"), 1);
    assert_eq!(registry.expire_keys(100).await.expect("looks"), 0, "once");
    assert_eq!(registry.last_change().await.expect("counts"), before + 1, "verifiers hear of it");
    assert_eq!(registry.key(&id(1)).await.expect("reads").expect("there").status, KeyStatus::Inactive);
    for serial in [1, 4] {
        let again = registry.set_key_status(&id(serial), &alice, KeyStatus::Active, 101).await;
        assert!(matches!(again, Err(RegistryError::Expired(_))), "{again:?}");
    }
    assert!(registry.denied_keys().await.expect("lists").ids.contains(&id(1)));
    assert_eq!(registry.expire_keys(i64::MAX).await.expect("looks"), 1, "key 2; key 3 is for ever");
}

#[tokio::test]
async fn keys_grow_too_old() {
    let place = place().await;
    let (registry, alice) = (&place.registry, place.user("alice").await);
    let made = |serial, at, terms: &str| {
        let terms = KeyTerms::decode(terms).unwrap_or_default();
        NewKey { at, quota: 9, terms, ..new_key(id(serial), &alice) }
    };
    for new in [made(1, 100, ""), made(2, 200, ""), made(3, 300, ""), made(4, 300, "expires-at=350")] {
        registry.insert_key(&new).await.expect("made");
    }
    let age = KeyAge { max: Some(100), warning: 20 };
    let refused = registry.set_key_age(account(), age, 0, 250).await;
    assert!(matches!(refused, Err(RegistryError::WouldEnd { active: 1, .. })), "{refused:?}");
    assert_eq!(registry.expire_keys(250).await.expect("looks"), 0, "nothing was done");
    registry.set_key_age(account(), age, 1, 250).await.expect("set");
    assert_eq!(registry.account(account()).await.expect("reads").expect("there").key_age, age);
    let row = async |serial| registry.key(&id(serial)).await.expect("reads").expect("there");
    let second = row(2).await;
    assert_eq!(second.ends_at(), Some(300));
    assert_eq!([279, 280, 299, 300].map(|now| second.ends_soon(now)), [None, Some(300), Some(300), None]);
    assert_eq!(row(4).await.ends_at(), Some(350), "its own end comes first");

    let before = registry.last_change().await.expect("counts");
    assert_eq!(registry.expire_keys(250).await.expect("looks"), 1);
    assert_eq!(registry.last_change().await.expect("counts"), before + 1, "verifiers hear of it");
    assert_eq!((row(1).await.status, row(1).await.status_word(250)), (KeyStatus::Inactive, "Expired"));
    let again = registry.set_key_status(&id(1), &alice, KeyStatus::Active, 251).await;
    assert!(matches!(again, Err(RegistryError::Expired(_))), "{again:?}");
    assert_eq!(registry.expire_keys(399).await.expect("looks"), 2, "keys 2 and 4");

    // What grew too old may be good again when keys may grow older.
    registry.set_key_age(account(), KeyAge { max: None, warning: 20 }, 0, 400).await.expect("set");
    assert_eq!(registry.expire_keys(i64::MAX).await.expect("looks"), 0);
    registry.set_key_status(&id(1), &alice, KeyStatus::Active, 401).await.expect("switched on");
    let again = registry.set_key_status(&id(4), &alice, KeyStatus::Active, 401).await;
    assert!(matches!(again, Err(RegistryError::Expired(_))), "its own end stays: {again:?}");
}
