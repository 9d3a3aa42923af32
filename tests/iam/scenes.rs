//! Several calls after one another: what policies that were stored allow and deny. One row a call.

use rederive::iam::{Caller, Principal};
use rederive::registry::{KeyUser, UserId};

use super::{BOB, Place, alice, caller, element, root, text};

fn bob() -> Caller {
    let user_id = UserId::parse(BOB).expect("an id");
    caller(3, Principal::User(KeyUser { user_id, name: "bob".into(), path: "/".into() }))
}

/// Who asks what, the status, and a part of what comes back. A document stands in `{…}` as it is, and is encoded on the way.
type Call = (char, &'static str, u16, &'static str);

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

const SCENES: &[(&str, &[Call])] = &[
    (
        "a user without policies may do nothing, but may know who it is",
        &[
            ('b', "Action=GetUser", 403, "because no identity-based policy allows the iam:GetUser action"),
            ('b', "Action=CreateAccessKey", 403, "iam:CreateAccessKey"),
            ('b', "Action=GetAccessKeyInfo&AccessKeyId=AKIARZPUZDIKAAAAAAAA", 403, "sts:GetAccessKeyInfo"),
            ('b', "Action=GetCallerIdentity", 200, "user/bob"),
        ],
    ),
    (
        "a managed policy is attached, works in the next call, and is detached",
        &[
            ('b', "Action=ListUsers", 403, "AccessDenied"),
            ('r', "Action=AttachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/IAMReadOnlyAccess", 200, ""),
            ('r', "Action=AttachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/IAMReadOnlyAccess", 200, ""),
            ('b', "Action=ListUsers", 200, "alice"),
            ('b', "Action=ListAttachedUserPolicies&UserName=bob", 200, "<PolicyName>IAMReadOnlyAccess</PolicyName>"),
            ('b', "Action=CreateUser&UserName=x", 403, "iam:CreateUser"),
            (
                'b',
                "Action=AttachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/AdministratorAccess",
                403,
                "",
            ),
            (
                'r',
                "Action=GetPolicy&PolicyArn=arn:aws:iam::aws:policy/IAMReadOnlyAccess",
                200,
                "<AttachmentCount>1</AttachmentCount>",
            ),
            ('r', "Action=ListPolicies&OnlyAttached=true", 200, "IAMSelfManageAccessKeys"),
            ('r', "Action=DeleteAccessKey&UserName=bob&AccessKeyId={3}", 200, ""),
            ('r', "Action=DeleteUser&UserName=bob", 409, "must delete policies first"),
            ('r', "Action=DetachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/IAMReadOnlyAccess", 200, ""),
            (
                'r',
                "Action=DetachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/IAMReadOnlyAccess",
                404,
                "was not found",
            ),
            ('r', "Action=DeleteUser&UserName=bob", 200, ""),
        ],
    ),
    (
        "an explicit deny wins over everything, and says so",
        &[
            (
                'r',
                "Action=AttachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/AdministratorAccess",
                200,
                "",
            ),
            ('b', "Action=CreateUser&UserName=x", 200, "<UserName>x</UserName>"),
            (
                'r',
                r#"Action=PutUserPolicy&UserName=bob&PolicyName=no&PolicyDocument={"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:Delete*","NotResource":"arn:aws:iam::*:user/tmp/*"}]}"#,
                200,
                "",
            ),
            ('b', "Action=DeleteUser&UserName=x", 403, "with an explicit deny in an identity-based policy"),
            ('b', "Action=CreateUser&UserName=y&Path=/tmp/", 200, ""),
            ('b', "Action=DeleteUser&UserName=y", 200, ""),
            ('b', "Action=DeleteUserPolicy&UserName=bob&PolicyName=no", 403, "with an explicit deny"),
            ('r', "Action=ListUserPolicies&UserName=bob", 200, "<PolicyNames><member>no</member></PolicyNames>"),
            ('r', "Action=GetUserPolicy&UserName=bob&PolicyName=no", 200, "%22Version%22%3A%222012%2D10%2D17%22"),
            ('r', "Action=DeleteUserPolicy&UserName=bob&PolicyName=no", 200, ""),
            ('b', "Action=DeleteUser&UserName=x", 200, ""),
        ],
    ),
    (
        "resources by path, whether the user is there or not; paths of users that may not be seen stay unseen",
        &[
            (
                'r',
                r#"Action=PutUserPolicy&UserName=bob&PolicyName=p&PolicyDocument={"Statement":{"Effect":"Allow","Action":["iam:GetUser","iam:CreateUser"],"Resource":"arn:aws:iam::123456789012:user/eng/*"}}"#,
                200,
                "",
            ),
            ('b', "Action=GetUser&UserName=alice", 200, "/eng/"),
            ('b', "Action=GetUser&UserName=bob", 403, "user/bob"),
            ('b', "Action=GetUser&UserName=nobody", 403, "user/nobody"),
            ('b', "Action=CreateUser&UserName=carl", 403, "user/carl"),
            ('b', "Action=CreateUser&UserName=carl&Path=/eng/", 200, ""),
        ],
    ),
    (
        "conditions: tags of the caller, of the one it is about, of the request; the policy's ARN; where from",
        &[
            (
                'r',
                r#"Action=PutUserPolicy&UserName=bob&PolicyName=p&PolicyDocument={"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:GetUser","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"a & b","aws:ResourceTag/x":""}}},{"Effect":"Allow","Action":"iam:CreateUser","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"${aws:username}s"}}},{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnLike":{"iam:PolicyARN":"arn:aws:iam::aws:policy/IAMRead*"}}},{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"StringLike":{"aws:UserAgent":"aws-cli/*","aws:RequestedRegion":"eu-*"}}},{"Effect":"Allow","Action":"iam:ListPolicies","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]}"#,
                200,
                "",
            ),
            ('b', "Action=GetUser", 200, "bob"),
            ('b', "Action=GetUser&UserName=alice", 403, ""),
            ('b', "Action=CreateUser&UserName=x&Tags.member.1.Key=team&Tags.member.1.Value=bobs", 200, ""),
            ('b', "Action=CreateUser&UserName=y&Tags.member.1.Key=team&Tags.member.1.Value=other", 403, ""),
            ('b', "Action=CreateUser&UserName=y", 403, ""),
            (
                'b',
                "Action=AttachUserPolicy&UserName=alice&PolicyArn=arn:aws:iam::aws:policy/IAMReadOnlyAccess",
                200,
                "",
            ),
            (
                'b',
                "Action=AttachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/AdministratorAccess",
                403,
                "",
            ),
            ('b', "Action=ListUsers", 200, ""),
            ('b', "Action=ListPolicies", 403, ""),
        ],
    ),
    (
        "tags: put, put anew without regard to case, listed in pages, taken away",
        &[
            (
                'r',
                "Action=TagUser&UserName=alice&Tags.member.1.Key=Team&Tags.member.1.Value=red&Tags.member.2.Key=b&Tags.member.2.Value=2",
                200,
                "",
            ),
            ('r', "Action=TagUser&UserName=alice&Tags.member.1.Key=TEAM&Tags.member.1.Value=blue", 200, ""),
            (
                'r',
                "Action=ListUserTags&UserName=alice",
                200,
                "<Tags><member><Key>TEAM</Key><Value>blue</Value></member><member><Key>b</Key><Value>2</Value></member></Tags>",
            ),
            (
                'r',
                "Action=ListUserTags&UserName=alice&MaxItems=1",
                200,
                "<IsTruncated>true</IsTruncated><Marker>VEVBTQ</Marker>",
            ),
            ('r', "Action=ListUserTags&UserName=alice&Marker=VEVBTQ", 200, "<Tags><member><Key>b</Key>"),
            ('r', "Action=GetUser&UserName=alice", 200, "<Value>blue</Value>"),
            ('r', "Action=UntagUser&UserName=alice&TagKeys.member.1=team&TagKeys.member.2=absent", 200, ""),
            (
                'r',
                "Action=ListUserTags&UserName=alice",
                200,
                "<Tags><member><Key>b</Key><Value>2</Value></member></Tags>",
            ),
            ('r', "Action=UntagUser&UserName=alice", 400, "null at 'tagKeys'"),
            ('r', "Action=UntagUser&UserName=alice&TagKeys.member.x=a", 400, "'tagKeys'"),
            (
                'r',
                "Action=TagUser&UserName=alice&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=A&Tags.member.2.Value=",
                400,
                "Duplicate tag keys",
            ),
            ('r', "Action=TagUser&UserName=nobody&Tags.member.1.Key=a&Tags.member.1.Value=", 404, "nobody"),
            ('a', "Action=TagUser&UserName=alice&Tags.member.1.Key=a&Tags.member.1.Value=", 403, "iam:TagUser"),
        ],
    ),
    (
        "a new name, a new path; who may rename must be allowed both before and after",
        &[
            ('r', "Action=UpdateUser&UserName=alice&NewUserName=BOB", 409, "User with name BOB already exists."),
            ('r', "Action=UpdateUser&UserName=alice&NewUserName=Alice", 200, ""),
            ('r', "Action=UpdateUser&UserName=alice&NewUserName=alina&NewPath=/ops/", 200, ""),
            ('r', "Action=GetUser&UserName=alina", 200, "arn:aws:iam::123456789012:user/ops/alina"),
            ('r', "Action=GetUser&UserName=alice", 404, "alice"),
            ('r', "Action=ListAccessKeys&UserName=alina", 200, "{2}"),
            ('r', "Action=UpdateUser&UserName=alice&NewPath=/x/", 404, "alice"),
            ('r', "Action=UpdateUser&UserName=alina&NewPath=x", 400, "'newPath'"),
            (
                'r',
                r#"Action=PutUserPolicy&UserName=bob&PolicyName=p&PolicyDocument={"Statement":{"Effect":"Allow","Action":"iam:UpdateUser","Resource":"arn:aws:iam::123456789012:user/ops/*"}}"#,
                200,
                "",
            ),
            ('b', "Action=UpdateUser&UserName=alina&NewUserName=anna", 200, ""),
            ('b', "Action=UpdateUser&UserName=anna&NewPath=/eng/", 403, "user/eng/anna"),
            ('b', "Action=UpdateUser&UserName=bob&NewPath=/ops/", 403, "user/bob"),
            ('b', "Action=UpdateUser&UserName=nobody&NewPath=/ops/", 403, "user/nobody"),
        ],
    ),
    (
        "a key is described by a tag of its user, which goes with the key",
        &[
            ('r', "Action=ListUserTags&UserName=bob&MaxItems=2", 200, "<IsTruncated>false"),
            ('r', "Action=CreateAccessKey&UserName=bob&Description=build%20server", 200, "{100}"),
            ('r', "Action=ListUserTags&UserName=bob&MaxItems=1", 200, "<Key>{100}</Key><Value>build server</Value>"),
            ('r', "Action=ListUserTags&UserName=bob&MaxItems=2", 200, "<IsTruncated>true"),
            ('r', "Action=CreateAccessKey&Description=x", 400, "root has no tags"),
            ('r', "Action=CreateAccessKey&UserName=alice&Description=%3Cx", 400, "at 'description'"),
            ('r', "Action=CreateAccessKey&UserName=alice&Description=", 400, "at 'description'"),
            ('r', "Action=UpdateAccessKey&UserName=bob&AccessKeyId={100}&Status=Inactive", 200, ""),
            ('r', "Action=ListUserTags&UserName=bob&MaxItems=2", 200, "<IsTruncated>true"),
            ('r', "Action=DeleteAccessKey&UserName=bob&AccessKeyId={100}", 200, ""),
            ('r', "Action=ListUserTags&UserName=bob&MaxItems=2", 200, "<IsTruncated>false"),
        ],
    ),
    (
        "reports on the account",
        &[
            ('r', "Action=GetAccountSummary", 200, "<entry><key>Users</key><value>2</value></entry>"),
            ('r', "Action=GetAccountSummary", 200, "<entry><key>AccessKeysPerUserQuota</key><value>2</value></entry>"),
            ('r', "Action=GenerateCredentialReport", 200, "<State>COMPLETE</State>"),
            ('r', "Action=GetCredentialReport", 200, "<ReportFormat>text/csv</ReportFormat>"),
            ('a', "Action=GetAccountSummary", 403, "iam:GetAccountSummary on resource: *"),
            ('a', "Action=GetCredentialReport", 403, "iam:GetCredentialReport"),
        ],
    ),
    (
        "a deny takes away what a managed policy gives",
        &[
            ('a', "Action=ListAccessKeys", 200, "{2}"),
            (
                'r',
                r#"Action=PutUserPolicy&UserName=alice&PolicyName=locked&PolicyDocument={"Statement":{"Effect":"Deny","NotAction":"iam:Get*","Resource":"*"}}"#,
                200,
                "",
            ),
            ('a', "Action=ListAccessKeys", 403, "explicit deny"),
            ('a', "Action=GetUser", 200, "alice"),
            ('a', "Action=GetCallerIdentity", 200, "alice"),
        ],
    ),
];

/// Values as they stand in a form.
fn encoded(form: &str) -> String {
    let (form, document) = form.split_once("PolicyDocument=").map_or((form, None), |(form, doc)| (form, Some(doc)));
    let document = document.map(|document| form_urlencoded::byte_serialize(document.as_bytes()).collect::<String>());
    let form = [1, 2, 3, 100]
        .into_iter()
        .fold(form.to_owned(), |all, n| all.replace(&format!("{{{n}}}"), super::id(n).as_str()));
    document.map_or(form.clone(), |document| format!("{form}PolicyDocument={document}"))
}

#[tokio::test]
async fn policies_that_were_stored() {
    for (what, calls) in SCENES {
        let place = Place::new().await;
        for (who, form, status, part) in *calls {
            let caller = match who {
                'r' => root(),
                'a' => alice(),
                _ => bob(),
            };
            let answer = place.post(&caller, &encoded(form)).await;
            assert_eq!(answer.status, *status, "{what}: {form}: {}", text(&answer));
            let part = [1, 2, 3, 100]
                .into_iter()
                .fold((*part).to_owned(), |all, n| all.replace(&format!("{{{n}}}"), super::id(n).as_str()));
            assert!(text(&answer).contains(&part), "{what}: {form}: {}", text(&answer));
        }
    }
}

#[tokio::test]
async fn limits_and_pages() {
    let place = Place::new().await;
    let statement = r#"{"Statement":{"Effect":"Deny","Action":"sts:*","Resource":"*"}}"#;
    let put = |name: String, document: String| {
        encoded(&format!("Action=PutUserPolicy&UserName=bob&PolicyName={name}&PolicyDocument={document}"))
    };
    // White space does not count: with it the document is longer than what all may have together.
    let spaced = statement.replace(',', &format!(",{}", " ".repeat(3000)));
    assert_eq!(place.post(&root(), &put("p0".into(), spaced)).await.status, 200);
    let most = 2048 / statement.len();
    for number in 1..most {
        assert_eq!(place.post(&root(), &put(format!("p{number}"), statement.into())).await.status, 200, "{number}");
    }
    let more = place.post(&root(), &put("more".into(), statement.into())).await;
    assert_eq!((more.status, element(&more, "Code")), (409, Some("LimitExceeded")));
    assert_eq!(place.post(&root(), &put("p1".into(), statement.into())).await.status, 200, "in its own place it fits");

    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let page = place.post(&root(), &format!("Action=ListUserPolicies&UserName=bob&MaxItems=7{next}")).await;
        let members = text(&page).split("<member>").skip(1);
        names.extend(members.map(|rest| rest.split('<').next().expect("a name").to_owned()));
        let Some(marker) = element(&page, "Marker") else { break };
        next = format!("&Marker={marker}");
    }
    let mut expected: Vec<_> = (0..most).map(|number| format!("p{number}")).collect();
    expected.sort();
    assert_eq!(names, expected);

    let first = place.post(&root(), "Action=ListPolicies&MaxItems=3").await;
    let marker = element(&first, "Marker").expect("a second page").to_owned();
    let second = place.post(&root(), &format!("Action=ListPolicies&Marker={marker}")).await;
    assert_eq!(text(&first).matches("<Arn>").count() + text(&second).matches("<Arn>").count(), 4);
    assert!(text(&place.post(&root(), "Action=ListPolicies").await).contains(ADMIN));
}

/// A policy that this version cannot read is trouble, never an allowance.
#[tokio::test]
async fn what_cannot_be_read_allows_nothing() {
    let place = Place::new().await;
    let limits = rederive::registry::PolicyLimits { attached: 10, inline_size: 2048 };
    let bob_id = UserId::parse(BOB).expect("an id");
    let account = super::account();
    place.registry.attach_policy(account, &bob_id, ADMIN, limits, 1).await.expect("attached");
    assert_eq!(place.post(&bob(), "Action=ListUsers").await.status, 200, "the control");
    place.registry.attach_policy(account, &bob_id, "arn:aws:iam::aws:policy/Later", limits, 1).await.expect("attached");
    assert_eq!(place.post(&bob(), "Action=ListUsers").await.status, 503);
    place.registry.detach_policy(account, &bob_id, "arn:aws:iam::aws:policy/Later").await.expect("detached");
    place.registry.put_policy(account, &bob_id, "p", "{\"Later\": 1}", limits).await.expect("stored");
    assert_eq!(place.post(&bob(), "Action=ListUsers").await.status, 503);
}

/// The columns are those of AWS's report, and a name that would break a line is quoted.
#[tokio::test]
async fn the_credential_report() {
    use base64::Engine as _;
    let place = Place::new().await;
    assert_eq!(place.post(&root(), "Action=CreateUser&UserName=d,e&Path=/a%22/").await.status, 200);
    let off = format!("Action=UpdateAccessKey&UserName=bob&Status=Inactive&AccessKeyId={}", super::id(3));
    assert_eq!(place.post(&root(), &off).await.status, 200);
    let answer = place.post(&root(), "Action=GetCredentialReport").await;
    let content = element(&answer, "Content").expect("content");
    let report = base64::engine::general_purpose::STANDARD.decode(content).expect("base64");
    let report = String::from_utf8(report).expect("text");
    let lines: Vec<_> = report.lines().collect();
    let none = "false,N/A,N/A,N/A,N/A";
    let end = "false,N/A,false,N/A";
    assert!(
        lines[0].starts_with("user,arn,user_creation_time,password_enabled,") && lines[0].matches(',').count() == 21
    );
    assert_eq!(
        lines[1..],
        [
            format!(
                "<root_account>,arn:aws:iam::123456789012:root,2026-11-21T11:43:20Z,false,N/A,N/A,N/A,false,\
                 true,2026-11-21T11:53:20Z,N/A,N/A,N/A,{none},{end}"
            ),
            format!(
                "alice,arn:aws:iam::123456789012:user/eng/alice,2026-11-21T11:51:40Z,false,N/A,N/A,N/A,false,\
                 true,2026-11-21T11:53:20Z,N/A,N/A,N/A,{none},{end}"
            ),
            format!(
                "bob,arn:aws:iam::123456789012:user/bob,2026-11-21T11:51:40Z,false,N/A,N/A,N/A,false,\
                 false,2026-11-21T11:53:20Z,N/A,N/A,N/A,{none},{end}"
            ),
            format!(
                "\"d,e\",\"arn:aws:iam::123456789012:user/a\"\"/d,e\",2026-11-21T12:00:00Z,false,N/A,N/A,N/A,false,\
                 {none},{none},{end}"
            ),
        ]
    );
}
