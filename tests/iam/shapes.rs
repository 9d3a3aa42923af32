//! What answers look like, element by element.

use rederive::registry::{KeyUse, LastUsed};

use super::{Place, alice, element, id, root, text};

const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const METADATA: &str = "<ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata>";
const DAY: &str = "2026-11-21T11";

fn whole(action: &str, namespace: &str, result: &str) -> String {
    format!("<{action}Response xmlns=\"{namespace}\">{result}{METADATA}</{action}Response>")
}

fn result(action: &str, namespace: &str, inner: &str) -> String {
    whole(action, namespace, &format!("<{action}Result>{inner}</{action}Result>"))
}

#[tokio::test]
async fn users() {
    let place = Place::new().await;
    let alice_element = format!(
        "<Path>/eng/</Path><UserName>alice</UserName><UserId>AIDAALICEALICEALICE22</UserId>\
         <Arn>arn:aws:iam::123456789012:user/eng/alice</Arn><CreateDate>{DAY}:51:40Z</CreateDate>"
    );
    let bob_element = format!(
        "<Path>/</Path><UserName>bob</UserName><UserId>AIDABOBBOBBOBBOBBOB22</UserId>\
         <Arn>arn:aws:iam::123456789012:user/bob</Arn><CreateDate>{DAY}:51:40Z</CreateDate>"
    );
    let tags = "<Tags><member><Key>team</Key><Value>a &amp; b</Value></member>\
                <member><Key>x</Key><Value/></member></Tags>";
    let root_element = format!(
        "<UserId>123456789012</UserId><Arn>arn:aws:iam::123456789012:root</Arn><CreateDate>{DAY}:43:20Z</CreateDate>"
    );
    for (caller, form, expected) in [
        (root(), "Action=GetUser&UserName=ALICE", result("GetUser", IAM, &format!("<User>{alice_element}</User>"))),
        (alice(), "Action=GetUser", result("GetUser", IAM, &format!("<User>{alice_element}</User>"))),
        (root(), "Action=GetUser&UserName=bob", result("GetUser", IAM, &format!("<User>{bob_element}{tags}</User>"))),
        (root(), "Action=GetUser", result("GetUser", IAM, &format!("<User>{root_element}</User>"))),
        (
            root(),
            "Action=ListUsers",
            result(
                "ListUsers",
                IAM,
                &format!(
                    "<Users><member>{alice_element}</member><member>{bob_element}</member></Users>\
                     <IsTruncated>false</IsTruncated>"
                ),
            ),
        ),
        (
            root(),
            "Action=ListUsers&PathPrefix=/nobody/",
            result("ListUsers", IAM, "<Users/><IsTruncated>false</IsTruncated>"),
        ),
    ] {
        let answer = place.post(&caller, form).await;
        assert_eq!((answer.status, text(&answer)), (200, expected.as_str()), "{form}");
    }
}

#[tokio::test]
async fn creating_and_deleting_a_user() {
    let place = Place::new().await;
    let form = "Action=CreateUser&UserName=carol&Path=%2Fa%2F&Tags.member.2.Key=k2&Tags.member.2.Value=v+2\
                &Tags.member.1.Key=k1&Tags.member.1.Value=";
    let created = place.post(&root(), form).await;
    let user_id = element(&created, "UserId").expect("an id").to_owned();
    let expected = format!(
        "<User><Path>/a/</Path><UserName>carol</UserName><UserId>{user_id}</UserId>\
         <Arn>arn:aws:iam::123456789012:user/a/carol</Arn><CreateDate>2026-11-21T12:00:00Z</CreateDate>\
         <Tags><member><Key>k1</Key><Value/></member><member><Key>k2</Key><Value>v 2</Value></member></Tags></User>"
    );
    assert_eq!((created.status, text(&created)), (200, result("CreateUser", IAM, &expected).as_str()));
    let read = place.post(&root(), "Action=GetUser&UserName=carol").await;
    assert_eq!(element(&read, "User"), element(&created, "User"));

    let deleted = place.post(&root(), "Action=DeleteUser&UserName=carol").await;
    assert_eq!((deleted.status, text(&deleted)), (200, whole("DeleteUser", IAM, "").as_str()));
    assert_eq!(place.post(&root(), "Action=GetUser&UserName=carol").await.status, 404);
}

#[tokio::test]
async fn access_keys() {
    let place = Place::new().await;
    let key = |user: &str, serial, status: &str| {
        format!(
            "<member>{user}<AccessKeyId>{}</AccessKeyId><Status>{status}</Status>\
             <CreateDate>{DAY}:53:20Z</CreateDate></member>",
            id(serial)
        )
    };
    let list = |members: &str| {
        let inner = format!("<AccessKeyMetadata>{members}</AccessKeyMetadata><IsTruncated>false</IsTruncated>");
        result("ListAccessKeys", IAM, &inner)
    };
    let of_alice = "<UserName>alice</UserName>";
    let status = |status: &str| format!("Action=UpdateAccessKey&UserName=alice&AccessKeyId={}&Status={status}", id(2));
    let delete = format!("Action=DeleteAccessKey&UserName=alice&AccessKeyId={}", id(2));
    for (caller, form, expected) in [
        (alice(), "Action=ListAccessKeys".into(), list(&key(of_alice, 2, "Active"))),
        (root(), "Action=ListAccessKeys".into(), list(&key("", 1, "Active"))),
        (alice(), status("Inactive"), whole("UpdateAccessKey", IAM, "")),
        (root(), status("Inactive"), whole("UpdateAccessKey", IAM, "")),
        (root(), "Action=ListAccessKeys&UserName=alice".into(), list(&key(of_alice, 2, "Inactive"))),
        (root(), status("Active"), whole("UpdateAccessKey", IAM, "")),
        (root(), "Action=ListAccessKeys&UserName=alice".into(), list(&key(of_alice, 2, "Active"))),
        (root(), delete, whole("DeleteAccessKey", IAM, "")),
        (
            root(),
            "Action=ListAccessKeys&UserName=alice".into(),
            result("ListAccessKeys", IAM, "<AccessKeyMetadata/><IsTruncated>false</IsTruncated>"),
        ),
    ] {
        let answer = place.post(&caller, &form).await;
        assert_eq!((answer.status, text(&answer)), (200, expected.as_str()), "{form}");
    }
}

#[tokio::test]
async fn last_use() {
    let place = Place::new().await;
    let form = format!("Action=GetAccessKeyLastUsed&AccessKeyId={}", id(2));
    let expected = |used: &str| {
        let inner = format!("<UserName>alice</UserName><AccessKeyLastUsed>{used}</AccessKeyLastUsed>");
        result("GetAccessKeyLastUsed", IAM, &inner)
    };
    let never = place.post(&root(), &form).await;
    assert_eq!(text(&never), expected("<ServiceName>N/A</ServiceName><Region>N/A</Region>"));
    let used = LastUsed { at: super::NOW, service: "s3".into(), region: "local".into() };
    place.registry.record_last_used(&[KeyUse { id: id(2), used }]).await.expect("recorded");
    let once = place.post(&alice(), &form).await;
    let inner = "<LastUsedDate>2026-11-21T12:00:00Z</LastUsedDate><ServiceName>s3</ServiceName><Region>local</Region>";
    assert_eq!(text(&once), expected(inner));
}

#[tokio::test]
async fn sts() {
    let place = Place::new().await;
    for (caller, form, inner) in [
        (
            alice(),
            "Action=GetCallerIdentity",
            "<Arn>arn:aws:iam::123456789012:user/eng/alice</Arn><UserId>AIDAALICEALICEALICE22</UserId>\
             <Account>123456789012</Account>",
        ),
        (
            root(),
            "Action=GetCallerIdentity",
            "<Arn>arn:aws:iam::123456789012:root</Arn><UserId>123456789012</UserId><Account>123456789012</Account>",
        ),
        (alice(), "Action=GetAccessKeyInfo&AccessKeyId=ASIAQNZGKIQY56JQ7WML", "<Account>029608264753</Account>"),
        (alice(), "Action=GetAccessKeyInfo&AccessKeyId=ASIAY34FZKBOKMUTVV7A", "<Account>609629065308</Account>"),
        (root(), "Action=GetAccessKeyInfo&AccessKeyId=AKIARZPUZDIKAAAAAAAA", "<Account>123456789012</Account>"),
    ] {
        let action = form.trim_start_matches("Action=").split('&').next().expect("a name");
        for method in [http::Method::POST, http::Method::GET] {
            let answer = place.send(&caller, form, method).await;
            assert_eq!((answer.status, text(&answer)), (200, result(action, STS, inner).as_str()));
        }
    }
}

#[tokio::test]
async fn pages_join_to_the_whole() {
    let place = Place::new().await;
    for name in ["Dora", "carl", "eve"] {
        assert_eq!(place.post(&root(), &format!("Action=CreateUser&UserName={name}")).await.status, 200);
    }
    let mut names = Vec::new();
    let mut next = String::new();
    loop {
        let page = place.post(&root(), &format!("Action=ListUsers&MaxItems=2{next}")).await;
        names.extend(
            text(&page).split("<UserName>").skip(1).map(|rest| rest.split('<').next().expect("a name").to_owned()),
        );
        let truncated = element(&page, "IsTruncated").expect("always told");
        assert_eq!(element(&page, "Marker").is_some().to_string(), truncated);
        let Some(marker) = element(&page, "Marker") else { break };
        next = format!("&Marker={marker}");
    }
    assert_eq!(names, ["alice", "bob", "carl", "Dora", "eve"]);

    let created = place.post(&root(), "Action=CreateAccessKey&UserName=bob").await;
    assert_eq!(created.status, 200, "{}", text(&created));
    let first = place.post(&root(), "Action=ListAccessKeys&UserName=bob&MaxItems=1").await;
    let marker = element(&first, "Marker").expect("a second page").to_owned();
    let second = place.post(&root(), &format!("Action=ListAccessKeys&UserName=bob&MaxItems=1&Marker={marker}")).await;
    assert_eq!(element(&second, "IsTruncated"), Some("false"));
    assert_ne!(element(&second, "AccessKeyId"), element(&first, "AccessKeyId"));
}
