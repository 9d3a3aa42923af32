//! CreateAccessKey: the only answer with a secret, and what it takes to get one.

use http::Method;
use rederive::authority::IssueError;
use rederive::iam::{Caller, SignaturePlace, Signed};
use rederive::registry::RegistryError;
use rederive_hsm::client::Unavailable;

use super::{NOW, Place, SECRET, alice, element, id, root, text};

const CREATE: &str = "Action=CreateAccessKey&UserName=alice";

fn signed(change: impl FnOnce(&mut Signed)) -> Caller {
    let mut caller = root();
    change(&mut caller.signed);
    caller
}

#[tokio::test]
async fn the_secret_stands_in_its_place() {
    let place = Place::new().await;
    let answer = place.post(&alice(), "Action=CreateAccessKey").await;
    let inner = format!(
        "<AccessKey><UserName>alice</UserName><AccessKeyId>{}</AccessKeyId><Status>Active</Status>\
         <SecretAccessKey>{SECRET}</SecretAccessKey><CreateDate>2026-11-21T12:00:00Z</CreateDate></AccessKey>",
        id(100)
    );
    assert_eq!((answer.status, element(&answer, "CreateAccessKeyResult")), (200, Some(inner.as_str())));
    assert!(answer.holds_secret);
    assert!(
        !format!("{answer:?}").contains("SecretAccessKey"),
        "its Debug holds neither the secret nor the XML around it"
    );
    assert!(text(&answer).starts_with("<CreateAccessKeyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">"));
    let row = place.registry.key(&id(100)).await.expect("reads").expect("is there");
    assert_eq!((row.owner(), row.created_by), (alice().owner(), Some(id(2))));

    let for_root = place.post(&root(), "Action=CreateAccessKey").await;
    assert_eq!(element(&for_root, "SecretAccessKey"), Some(SECRET));
    assert_eq!(element(&for_root, "UserName"), None);
}

#[tokio::test]
async fn no_other_answer_has_it() {
    let place = Place::new().await;
    assert!(text(&place.post(&root(), CREATE).await).contains(SECRET), "the search finds it where it is");
    for form in [
        "Action=ListAccessKeys&UserName=alice".to_owned(),
        "Action=GetUser&UserName=alice".to_owned(),
        format!("Action=GetAccessKeyLastUsed&AccessKeyId={}", id(100)),
        format!("Action=UpdateAccessKey&UserName=alice&Status=Inactive&AccessKeyId={}", id(100)),
        format!("Action=DeleteAccessKey&UserName=alice&AccessKeyId={}", id(100)),
    ] {
        let answer = place.post(&root(), &form).await;
        assert_eq!(answer.status, 200, "{form}");
        assert!(!answer.holds_secret);
        assert!(!text(&answer).contains(SECRET) && !text(&answer).contains("SecretAccessKey"), "{form}");
    }
}

#[tokio::test]
async fn it_takes_a_young_header_signature_on_a_post() {
    let place = Place::new().await;
    let all_right = signed(|signed| signed.at = NOW - 300);
    for (caller, method, status, code) in [
        (signed(|signed| signed.at = NOW - 301), Method::POST, 403, "SignatureDoesNotMatch"),
        (signed(|signed| signed.place = SignaturePlace::Query), Method::POST, 403, "AccessDenied"),
        (signed(|signed| signed.method = Method::GET), Method::GET, 403, "AccessDenied"),
    ] {
        let answer = place.send(&caller, CREATE, method).await;
        assert_eq!((answer.status, element(&answer, "Code")), (status, Some(code)));
    }
    let expired = place.post(&signed(|signed| signed.at = NOW - 301), CREATE).await;
    let message = "Signature expired: 2026-11-21T11:54:59Z is now earlier than 2026-11-21T11:55:00Z \
                   (2026-11-21T12:00:00Z - 5 min.)";
    assert_eq!(element(&expired, "Message"), Some(message));
    assert_eq!(place.post(&all_right, CREATE).await.status, 200);
}

#[tokio::test]
async fn each_signature_gives_one() {
    let place = Place::new().await;
    assert_eq!(place.post(&root(), CREATE).await.status, 200);
    let again = place.post(&root(), "Action=CreateAccessKey&UserName=bob").await;
    // A code that stock clients answer by signing again.
    assert_eq!((again.status, element(&again, "Code")), (400, Some("Throttling")));
    let bobs = place.post(&root(), "Action=ListAccessKeys&UserName=bob").await;
    assert_eq!(text(&bobs).matches("<AccessKeyId>").count(), 1);
    let signed_anew = signed(|signed| signed.hash = [9; 32]);
    let third = place.post(&signed_anew, CREATE).await;
    assert_eq!((third.status, element(&third, "Code")), (409, Some("LimitExceeded")));
    assert_eq!(element(&third, "Message"), Some("Cannot exceed quota for AccessKeysPerUser: 2"));
    // A refusal uses nothing up.
    let elsewhere = place.post(&signed_anew, "Action=CreateAccessKey&UserName=bob").await;
    assert_eq!(elsewhere.status, 200, "{}", text(&elsewhere));
}

#[tokio::test]
async fn trouble_of_ours_is_503_and_says_little() {
    let hsm = || IssueError::Hsm(Unavailable { reason: "inside".into() });
    for broken in [hsm as fn() -> IssueError, || IssueError::NoGeneration, || IssueError::NoFreeId] {
        let mut place = Place::new().await;
        place.office.broken = Some(broken);
        let answer = place.post(&root(), CREATE).await;
        assert_eq!((answer.status, element(&answer, "Code")), (503, Some("ServiceUnavailable")));
        assert_eq!(element(&answer, "Type"), Some("Receiver"));
        assert!(!text(&answer).contains("inside"));
    }
    let mut place = Place::new().await;
    place.office.broken = Some(|| {
        let account = super::account();
        RegistryError::SerialsExhausted { account, generation: super::generation().number }.into()
    });
    let answer = place.post(&root(), CREATE).await;
    assert_eq!((answer.status, element(&answer, "Code")), (409, Some("LimitExceeded")));

    let place = Place::new().await;
    place.registry.close().await;
    for form in [CREATE, "Action=ListUsers", "Action=GetUser&UserName=bob"] {
        let answer = place.post(&root(), form).await;
        assert_eq!((answer.status, element(&answer, "Code")), (503, Some("ServiceUnavailable")), "{form}");
    }
    assert_eq!(place.post(&root(), "Action=GetCallerIdentity").await.status, 200, "needs no registry");
}
