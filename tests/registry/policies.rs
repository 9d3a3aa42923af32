//! Policies of users.

use rederive::registry::{PolicyLimits, RegistryError, UserPolicies};
use rederive_hsm::access_key_id::Account;

use super::{account, new_user, place};

const LIMITS: PolicyLimits = PolicyLimits { attached: 2, inline_size: 10 };

#[tokio::test]
async fn policies_come_and_go() {
    let place = place().await;
    let (registry, user) = (&place.registry, place.registry.create_user(&new_user("alice", "/")).await.expect("made"));
    let id = &user.user_id;
    assert_eq!(registry.policies_of(id).await.expect("read"), UserPolicies::default());
    for arn in ["b", "a", "b"] {
        registry.attach_policy(account(), id, arn, LIMITS, 5).await.expect("attached");
    }
    let third = registry.attach_policy(account(), id, "c", LIMITS, 5).await;
    assert!(matches!(third, Err(RegistryError::TooMuch(_))), "{third:?}");
    for (name, document) in [("p", "0123456789"), ("p", "01 \n23456"), ("q", "789")] {
        registry.put_policy(account(), id, name, document, LIMITS).await.expect("stored");
    }
    let larger = registry.put_policy(account(), id, "q", "7890", LIMITS).await;
    assert!(matches!(larger, Err(RegistryError::TooMuch(_))), "{larger:?}");
    let inline = vec![("p".to_owned(), "01 \n23456".to_owned()), ("q".to_owned(), "789".to_owned())];
    let all = UserPolicies { attached: vec!["a".into(), "b".into()], inline };
    assert_eq!(registry.policies_of(id).await.expect("read"), all);
    assert_eq!(registry.policy(id, "q").await.expect("read"), "789");
    assert_eq!(registry.policy_names(id, Some("p"), 9).await.expect("lists").items, ["q"]);
    let page = registry.attached_policies(id, None, 1).await.expect("lists");
    assert_eq!((page.items, page.truncated), (vec!["a".to_owned()], true));
    assert_eq!(registry.attachments(account(), "a").await.expect("counts"), 1);

    let kept = registry.delete_user(account(), id, 9).await;
    assert!(matches!(kept, Err(RegistryError::HasPolicies(_))), "{kept:?}");
    for name in ["p", "q"] {
        registry.delete_policy(account(), id, name).await.expect("deleted");
    }
    for arn in ["a", "b"] {
        registry.detach_policy(account(), id, arn).await.expect("detached");
    }
    let again = registry.detach_policy(account(), id, "a").await;
    assert!(matches!(again, Err(RegistryError::NoSuchPolicy(_))), "{again:?}");
    let elsewhere = registry.attach_policy(Account::new(1).expect("a number"), id, "a", LIMITS, 5).await;
    assert!(matches!(elsewhere, Err(RegistryError::NoSuchUser { .. })), "{elsewhere:?}");
    registry.delete_user(account(), id, 9).await.expect("deleted");
    let gone = registry.put_policy(account(), id, "p", "x", LIMITS).await;
    assert!(matches!(gone, Err(RegistryError::NoSuchUser { .. })), "{gone:?}");
    assert_eq!(registry.attachments(account(), "a").await.expect("counts"), 0);
}

/// A registry of the version before, with a user and one that was deleted.
#[tokio::test]
async fn users_of_before_keep_what_they_could() {
    let place = place().await;
    let there = place.registry.create_user(&new_user("alice", "/")).await.expect("made").user_id;
    let gone = place.registry.create_user(&new_user("bob", "/")).await.expect("made").user_id;
    place.registry.delete_user(account(), &gone, 9).await.expect("deleted");
    for undo in [
        "DROP TABLE session_denials",
        "DROP TABLE user_policies",
        "DROP TABLE attached_policies",
        "ALTER TABLE accounts DROP COLUMN keys_per_user",
        "ALTER TABLE accounts DROP COLUMN max_key_age",
        "ALTER TABLE accounts DROP COLUMN key_warning",
        "DROP INDEX access_keys_by_age",
        "DROP INDEX access_keys_by_expiry",
        "ALTER TABLE access_keys DROP COLUMN expires_at",
        "ALTER TABLE access_keys DROP COLUMN services",
        "ALTER TABLE access_keys DROP COLUMN regions",
        "DELETE FROM schema_expansions WHERE version > 4",
        "DELETE FROM _sqlx_migrations WHERE version > 4",
    ] {
        place.side_door().await.run(undo).await;
    }
    let registry = rederive::registry::Registry::create_or_open(&place.location).await.expect("upgrades");
    let attached = registry.policies_of(&there).await.expect("read").attached;
    assert_eq!(attached, ["arn:aws:iam::aws:policy/IAMSelfManageAccessKeys"]);
    assert!(registry.policies_of(&gone).await.expect("read").attached.is_empty());
    let new = registry.create_user(&new_user("carol", "/")).await.expect("made").user_id;
    assert_eq!(registry.policies_of(&new).await.expect("read"), UserPolicies::default(), "new users have none");
}
