//! The deny feed as the registry writes it: its chain, and what denials put into it.

use rederive::feed::{Chain, Change, ChangeKind, SessionDenials};
use rederive::registry::{
    GenerationRow, GenerationState, KeyStatus, Registry, RegistryError, Subject, TroubleKind, head_name,
};
use rederive_hsm::access_key_id::Account;

use super::{account, generation, id, new_key, new_user, place, root};

/// Reads the whole feed and follows its chain, as a verifier does.
async fn follow(registry: &Registry) -> (Vec<Change>, Chain) {
    let (epoch, head) = registry.feed_head().await.expect("a head");
    let changes = registry.changes_since(0, 10_000).await.expect("lists");
    let mut chain = Chain::begin(&epoch);
    assert_eq!(registry.hash_of_change(0).await.expect("reads"), Some(chain));
    for change in &changes {
        chain = chain.with(change).expect("follows");
        assert_eq!(registry.hash_of_change(chain.number).await.expect("reads"), Some(chain));
    }
    assert_eq!(chain, head);
    (changes, chain)
}

fn kinds(changes: &[Change]) -> Vec<ChangeKind> {
    changes.iter().map(|change| change.kind).collect()
}

#[tokio::test]
async fn every_entry_follows_on_the_one_before() {
    let place = place().await;
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
    place.registry.set_key_status(&id(1), &root(), KeyStatus::Inactive, 30).await.expect("set");
    let (changes, head) = follow(&place.registry).await;
    use ChangeKind as Kind;
    assert_eq!(kinds(&changes), [Kind::AccountCreated, Kind::GenerationIssuing, Kind::KeyDeactivated]);
    assert_eq!(GenerationRow::of_change(&changes[1]), Some(generation(0, GenerationState::Issuing)));
    assert_eq!(GenerationRow::of_change(&changes[2]), None);

    place.vandalise("UPDATE changes SET subject = 'AKIARZPUZDIKAAERULUU' WHERE seq = 3").await;
    let edited = place.registry.changes_since(2, 1).await.expect("lists");
    let before = place.registry.hash_of_change(2).await.expect("reads").expect("there");
    assert_ne!(before.with(&edited[0]).expect("in order"), head, "the control: an edited entry breaks the chain");
}

/// Two versions on one registry: the older one appends entries without hashes, and knows no column for them.
#[tokio::test]
async fn entries_of_an_older_version_join_the_chain() {
    let place = place().await;
    let append = |seq: i64| {
        format!(
            "INSERT INTO changes (seq, at, kind, subject) VALUES ({seq}, 9, 'key-deactivated', '{}'); \
             UPDATE change_counter SET last = {seq};",
            id(7)
        )
    };
    place.vandalise(&(append(3) + &append(4))).await;
    assert_eq!(follow(&place.registry).await.1.number, 4, "by a reader");
    place.vandalise(&append(5)).await;
    place.registry.create_user(&new_user("alice", "/")).await.expect("made");
    assert_eq!(follow(&place.registry).await.1.number, 6, "by a writer");

    place.vandalise("UPDATE change_counter SET last = 9").await;
    let missing = place.registry.feed_head().await.expect_err("entries that are not there");
    assert!(matches!(&missing, RegistryError::Trouble(trouble) if trouble.kind == TroubleKind::BadRow), "{missing}");
}

/// A registry that an older version made: what its entries do not tell is told anew where the feed begins.
#[tokio::test]
async fn a_registry_from_before_the_feed_announces_its_generations() {
    let place = place().await;
    place.registry.close().await;
    place.vandalise("DELETE FROM feed_head; UPDATE changes SET detail = '', hash = NULL").await;
    let registry = Registry::open(&place.location).await.expect("opens");
    let (changes, _) = follow(&registry).await;
    assert_eq!(changes.len(), 3);
    assert_eq!(GenerationRow::of_change(&changes[1]), None, "as the older version left it");
    assert_eq!(GenerationRow::of_change(&changes[2]), Some(generation(0, GenerationState::Issuing)));
    drop(registry);
    let again = Registry::open(&place.location).await.expect("opens");
    assert_eq!(follow(&again).await.0.len(), 3, "it begins once");
}

#[tokio::test]
async fn denying_a_user_denies_its_keys_and_keeps_it_from_new_ones() {
    use ChangeKind as Kind;
    let place = place().await;
    let alice = place.user("alice").await;
    place.registry.insert_key(&new_key(id(1), &alice)).await.expect("made");
    place.registry.insert_key(&new_key(id(2), &alice)).await.expect("made");
    place.registry.set_key_status(&id(2), &alice, KeyStatus::Inactive, 30).await.expect("set");
    let subject = Subject::User(account(), alice.user_id.clone().expect("a user"));
    let before = place.registry.last_change().await.expect("counts");

    assert!(place.registry.deny(&subject, 40).await.expect("denied"));
    assert!(!place.registry.deny(&subject, 41).await.expect("denied already"));
    let entries = place.registry.changes_since(before, 9).await.expect("lists");
    assert_eq!(kinds(&entries), [Kind::KeyDenied, Kind::KeyDenied, Kind::UserDenied]);
    let mut denied = place.registry.denied_keys().await.expect("lists").ids;
    denied.sort_by_key(|id| id.to_string());
    let mut both = [id(1), id(2)];
    both.sort_by_key(|id| id.to_string());
    assert_eq!(denied, both);
    let none = place.registry.insert_key(&new_key(id(3), &alice)).await;
    assert!(matches!(none, Err(RegistryError::OwnerDenied)), "{none:?}");
    let acts = place.registry.on_behalf_of(id(1)).create_user(&new_user("bob", "/")).await;
    assert!(matches!(acts, Err(RegistryError::ActorDenied(_))), "{acts:?}");

    // Neither a status nor the lifting of another denial lifts this one.
    let before = place.registry.last_change().await.expect("counts");
    place.registry.set_key_status(&id(1), &alice, KeyStatus::Inactive, 50).await.expect("set");
    assert_eq!(place.registry.set_key_status(&id(1), &alice, KeyStatus::Active, 51).await.expect("set"), None);
    place.registry.deny(&Subject::Key(id(1)), 52).await.expect("denied");
    place.registry.lift(&Subject::Key(id(1)), 53).await.expect("lifted");
    let entries = place.registry.changes_since(before, 9).await.expect("lists");
    assert_eq!(kinds(&entries), [Kind::KeyDeactivated, Kind::KeyDenied]);

    let before = place.registry.last_change().await.expect("counts");
    assert!(place.registry.lift(&subject, 60).await.expect("lifted"));
    assert!(!place.registry.lift(&subject, 61).await.expect("lifted already"));
    let entries = place.registry.changes_since(before, 9).await.expect("lists");
    assert_eq!(kinds(&entries), [Kind::KeyLifted, Kind::UserLifted]);
    assert_eq!(entries[0].subject, id(1).as_str(), "the other one is inactive by itself");
    assert_eq!(place.registry.denied_keys().await.expect("lists").ids, [id(2)]);
    follow(&place.registry).await;
}

#[tokio::test]
async fn an_id_that_was_denied_is_never_issued() {
    let place = place().await;
    assert!(place.registry.deny(&Subject::Key(id(1)), 40).await.expect("denied"));
    let taken = place.registry.insert_key(&new_key(id(1), &root())).await;
    assert!(matches!(taken, Err(RegistryError::DuplicateId(_))), "{taken:?}");
    let lifted = place.registry.lift(&Subject::Key(id(1)), 41).await;
    assert!(matches!(lifted, Err(RegistryError::NoSuchKey(_))), "{lifted:?}");
    assert_eq!(place.registry.denied_keys().await.expect("lists").ids, [id(1)]);
    place.registry.insert_key(&new_key(id(2), &root())).await.expect("the control: another id is issued");
}

#[tokio::test]
async fn a_denied_account_is_listed_and_gets_no_key() {
    let place = place().await;
    place.registry.deny(&Subject::Account(account()), 40).await.expect("denied");
    assert_eq!(place.registry.denied_keys().await.expect("lists").accounts, [account()]);
    let none = place.registry.insert_key(&new_key(id(1), &root())).await;
    assert!(matches!(none, Err(RegistryError::OwnerDenied)), "{none:?}");
    place.registry.lift(&Subject::Account(account()), 41).await.expect("lifted");
    assert_eq!(place.registry.denied_keys().await.expect("lists").accounts, []);
    place.registry.insert_key(&new_key(id(1), &root())).await.expect("made");
}

#[tokio::test]
async fn sessions_are_denied_by_when_they_were_issued() {
    use ChangeKind as Kind;
    let place = place().await;
    let alice = place.user("alice").await;
    let user_id = alice.user_id.clone().expect("a user");
    let registry = &place.registry;
    let subjects = [Subject::Key(id(1)), Subject::User(account(), user_id.clone()), Subject::Account(account())];
    let names = [format!("key:{}", id(1)), format!("user:{user_id}"), format!("account:{}", account())];
    let before = registry.last_change().await.expect("counts");
    for subject in &subjects {
        assert!(registry.deny_sessions(subject, 100, 40).await.expect("denied"));
        assert!(!registry.deny_sessions(subject, 100, 41).await.expect("denied already"));
        assert!(!registry.deny_sessions(subject, 99, 41).await.expect("an earlier time lifts nothing"));
    }
    assert!(registry.deny_sessions(&subjects[0], 200, 42).await.expect("more are denied"));
    let told = registry.changes_since(before, 9).await.expect("lists");
    assert_eq!(kinds(&told), [Kind::SessionsDenied; 4]);
    assert_eq!(
        told.iter().map(|change| &change.subject).collect::<Vec<_>>(),
        [&names[0], &names[1], &names[2], &names[0]]
    );
    assert_eq!(told.last().map(|change| change.detail.as_str()), Some("issued-before=200"));
    // The keys stay as they are.
    registry.insert_key(&new_key(id(1), &alice)).await.expect("made");
    assert_eq!(registry.denied_keys().await.expect("lists").ids, []);

    // What an issuer that starts reads is what one that followed has heard.
    let mut heard = SessionDenials::default();
    let of_start = async || registry.denied_keys().await.expect("lists").sessions;
    follow(registry).await.0.iter().for_each(|change| heard.apply(change));
    assert_eq!(of_start().await, heard);
    let held: Vec<_> = registry.session_denials().await.expect("lists");
    let held: Vec<_> = held.iter().map(|one| (one.subject.as_str(), one.issued_before, one.at)).collect();
    assert_eq!(held, [(&*names[2], 100, 40), (&*names[0], 200, 42), (&*names[1], 100, 40)]);

    assert!(registry.lift_sessions(&subjects[0], 50).await.expect("lifted"));
    assert!(!registry.lift_sessions(&subjects[0], 51).await.expect("lifted already"));
    let (changes, _) = follow(registry).await;
    let last = changes.last().expect("the lifting");
    assert_eq!((last.kind, &last.subject), (Kind::SessionsLifted, &names[0]));
    heard.apply(last);
    assert_eq!(of_start().await, heard);

    let nobody = registry.deny_sessions(&Subject::Account(Account::new(7).expect("a number")), 1, 1).await;
    assert!(matches!(nobody, Err(RegistryError::NoSuchAccount(_))), "{nobody:?}");
    // A time that does not read lets no session through, and keeps nobody from starting.
    if place.is_sqlite() {
        place.vandalise("UPDATE session_denials SET issued_before = 'noon'").await;
        assert!(registry.session_denials().await.expect("lists").iter().all(|one| one.issued_before == i64::MAX));
    }
}

/// A copy of the registry that lacks a denial of sessions, and a lifting.
#[tokio::test]
async fn denials_of_sessions_are_put_back() {
    let place = place().await;
    let (lost, kept) = (Subject::Key(id(1)), Subject::Account(account()));
    place.registry.deny_sessions(&kept, 100, 40).await.expect("denied");
    let (seen, chain) = follow(&place.registry).await;
    let (epoch, _) = place.registry.feed_head().await.expect("a head");
    let mut seen = seen;
    for (seq, (kind, subject, detail)) in
        [(ChangeKind::SessionsDenied, lost.name(), "issued-before=200"), (ChangeKind::SessionsLifted, kept.name(), "")]
            .into_iter()
            .enumerate()
    {
        let seq = chain.number + 1 + seq as i64;
        seen.push(Change { seq, at: 41, kind, subject, detail: detail.into() });
    }
    let resumed = place.registry.resume(&head_name(&chain), &epoch, &seen, 50).await.expect("goes on");
    assert_eq!(resumed.put_back, 2);
    let held = place.registry.session_denials().await.expect("lists");
    let held: Vec<_> = held.iter().map(|one| (one.subject.clone(), one.issued_before)).collect();
    assert_eq!(held, [(lost.name(), 200)]);
    follow(&place.registry).await;
}
