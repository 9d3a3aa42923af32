//! Keys under terms: an end, services, regions.

use rederive::feed::ChangeKind;
use rederive::key_terms::KeyTerms;
use rederive::registry::{KeyStatus, Made, NewKey, Registry, RegistryError, UsedToken};

use super::{id, new_key, place, root};

fn terms(text: &str) -> KeyTerms {
    if text.is_empty() { KeyTerms::default() } else { KeyTerms::decode(text).expect(text) }
}

#[tokio::test]
async fn terms_are_kept_and_told_with_the_key() {
    let place = place().await;
    let (registry, alice) = (&place.registry, place.user("alice").await);
    let texts =
        ["services=s3,sqs;regions=eu-*", "expires-at=900", "expires-at=900;services=s3", "regions=eu-*,us-1", ""];
    for (serial, text) in (1..).zip(texts) {
        let new = NewKey { terms: terms(text), quota: 9, ..new_key(id(serial), &alice) };
        let before = registry.last_change().await.expect("counts");
        assert_eq!(registry.insert_key(&new).await.expect("made").terms, terms(text));
        assert_eq!(registry.key(&id(serial)).await.expect("reads").expect("there").terms, terms(text));
        let told: Vec<_> = registry.changes_since(before, 9).await.expect("lists");
        let told = told.into_iter().map(|change| (change.kind, change.subject, change.detail)).collect::<Vec<_>>();
        match text {
            "" => assert_eq!(told, [], "what is as usual is not told"),
            _ => assert_eq!(told, [(ChangeKind::KeyTerms, id(serial).to_string(), text.to_owned())]),
        }
    }
    place.vandalise("UPDATE access_keys SET services = 's3,*' WHERE services = 's3'").await;
    let malformed = registry.key(&id(3)).await.expect_err("what it is good for is not known");
    assert!(matches!(malformed, RegistryError::Trouble(_)), "{malformed}");
}

/// Keys with an end, as the version before has left them: verifiers hear of them.
#[tokio::test]
async fn keys_of_before_are_told() {
    let place = place().await;
    for (serial, text) in [(1, "expires-at=900"), (2, "expires-at=800"), (3, "")] {
        let new = NewKey { terms: terms(text), quota: 9, ..new_key(id(serial), &root()) };
        place.registry.insert_key(&new).await.expect("made");
    }
    place.registry.set_key_status(&id(2), &root(), KeyStatus::Deleted, 30).await.expect("deleted");
    let before = place.registry.last_change().await.expect("counts");
    place.registry.close().await;
    for undo in [
        "DROP TABLE session_denials",
        "ALTER TABLE accounts DROP COLUMN max_key_age",
        "ALTER TABLE accounts DROP COLUMN key_warning",
        "DROP INDEX access_keys_by_age",
        "DELETE FROM schema_expansions WHERE version > 7",
        "ALTER TABLE access_keys DROP COLUMN services",
        "ALTER TABLE access_keys DROP COLUMN regions",
        "DELETE FROM _sqlx_migrations WHERE version > 7",
    ] {
        place.side_door().await.run(undo).await;
    }
    let registry = Registry::create_or_open(&place.location).await.expect("upgrades");
    let (_, head) = registry.feed_head().await.expect("every entry has its hash");
    assert_eq!(head.number, before + 1);
    let told = registry.changes_since(before, 9).await.expect("lists").remove(0);
    assert_eq!(
        (told.kind, told.subject, told.detail),
        (ChangeKind::KeyTerms, id(1).to_string(), "expires-at=900".into())
    );
}

#[tokio::test]
async fn nobody_gets_a_key_that_is_good_for_more_than_its_own() {
    let place = place().await;
    let (registry, alice) = (&place.registry, place.user("alice").await);
    let own = terms("expires-at=900;services=iam,s3;regions=eu-*");
    let first = NewKey { terms: own.clone(), ..new_key(id(1), &alice) };
    registry.insert_key(&first).await.expect("made");
    let ask = async |serial, text| {
        let new = NewKey { created_by: Some(id(1)), quota: 99, terms: terms(text), ..new_key(id(serial), &alice) };
        registry.insert_key(&new).await
    };
    for (serial, text) in (10..).zip([
        "",
        "expires-at=900",
        "services=iam,s3;regions=eu-*",
        "expires-at=901;services=s3;regions=eu-*",
        "expires-at=900;services=sqs;regions=eu-*",
        "expires-at=900;services=s3;regions=e*",
    ]) {
        let more = ask(serial, text).await;
        assert!(matches!(more, Err(RegistryError::BeyondOwnTerms(by)) if by == id(1)), "{text}: {more:?}");
    }
    for (serial, text) in (20..).zip([&own.encode(), "expires-at=800;services=s3;regions=eu-west-*,eu-1"]) {
        ask(serial, text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    // Nor does it have the secret of such a key told again.
    let token = || UsedToken { hash: [1; 32], request: [2; 32], attempt: 0 };
    let full = NewKey { quota: 99, ..new_key(id(30), &alice) };
    registry.insert_key_once(&full, &token()).await.expect("made");
    let again = registry.insert_key_once(&NewKey { created_by: Some(id(1)), ..full.clone() }, &token()).await;
    assert!(matches!(again, Err(RegistryError::BeyondOwnTerms(_))), "{again:?}");
    let again = registry.insert_key_once(&full, &token()).await;
    assert!(matches!(again, Ok(Made::Before(row, 0)) if row.id == id(30)), "the control");
}
