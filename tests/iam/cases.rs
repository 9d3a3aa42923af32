//! Parameters in, code and status out: one row a case.

use http::Method;
use rederive::iam::{Caller, Parameters, Service, answer};

use super::{Place, alice, element, id, root, text};

/// Who sends what, and the status, code and a part of the message that come back. `{1}` is the id of key 1, and so on;
/// `{long}` is a hundred letters.
const CASES: &[(char, &str, u16, &str, &str)] = &[
    // Actions
    ('r', "", 400, "MissingAction", "must contain the parameter Action"),
    ('r', "Action=", 400, "InvalidAction", "Could not find operation  for version 2010-05-08"),
    ('r', "Action=Fly", 400, "InvalidAction", "Could not find operation Fly for version 2010-05-08"),
    ('r', "Action=getuser", 400, "InvalidAction", "getuser"),
    ('r', "Action=CreateRole&RoleName=x", 400, "InvalidAction", "CreateRole"),
    ('r', "Action=Fly%3C%26%00", 400, "InvalidAction", "operation Fly&lt;&amp;\u{fffd} for"),
    ('r', "Action=GetCallerIdentityX", 400, "InvalidAction", "version 2011-06-15"),
    // Forms
    ('r', "Action=GetUser&UserName=a&UserName=b", 400, "MalformedQueryString", "UserName stands twice"),
    ('r', "Action=GetUser&UserName=%zz", 400, "MalformedQueryString", "escape"),
    ('r', "Action=GetUser&UserName=a%4", 400, "MalformedQueryString", "escape"),
    ('r', "Action=GetUser&UserName=%ff", 400, "MalformedQueryString", "UTF-8"),
    // Names
    (
        'r',
        "Action=CreateUser",
        400,
        "ValidationError",
        "1 validation error detected: Value null at 'userName' failed to satisfy constraint: Member must not be null",
    ),
    (
        'r',
        "Action=CreateUser&UserName=",
        400,
        "ValidationError",
        "2 validation errors detected: Value '' at 'userName'",
    ),
    (
        'r',
        "Action=CreateUser&UserName=a%20b",
        400,
        "ValidationError",
        r"Value 'a b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+",
    ),
    ('r', "Action=CreateUser&UserName=%C3%A9", 400, "ValidationError", "'userName'"),
    ('r', "Action=CreateUser&UserName={long}", 400, "ValidationError", "length less than or equal to 64"),
    ('r', "Action=GetUser&UserName={long}", 404, "NoSuchEntity", "cannot be found"),
    ('r', "Action=GetUser&UserName={long}{long}", 400, "ValidationError", "length less than or equal to 128"),
    ('r', "Action=CreateUser&UserName=ALICE", 409, "EntityAlreadyExists", "User with name ALICE already exists."),
    ('r', "Action=CreateUser&UserName=_%2B%3D,.@-", 200, "", "<UserName>_+=,.@-</UserName>"),
    // Paths
    ('r', "Action=CreateUser&UserName=x&Path=eng", 400, "ValidationError", "'path'"),
    ('r', "Action=CreateUser&UserName=x&Path=/eng", 400, "ValidationError", "'path'"),
    ('r', "Action=CreateUser&UserName=x&Path=//", 400, "ValidationError", "'path'"),
    ('r', "Action=CreateUser&UserName=x&Path=/a+b/", 400, "ValidationError", "'path'"),
    ('r', "Action=CreateUser&UserName=x&Path=/a/b%26/", 200, "", "<Path>/a/b&amp;/</Path>"),
    ('r', "Action=ListUsers&PathPrefix=eng", 400, "ValidationError", "'pathPrefix'"),
    // Tags and what is not supported
    ('r', "Action=CreateUser&UserName=x&Tags.member.1.Key=a", 400, "ValidationError", "null at 'tags.1.member.value'"),
    ('r', "Action=CreateUser&UserName=x&Tags.member.1.Value=a", 400, "ValidationError", "null at 'tags.1.member.key'"),
    ('r', "Action=CreateUser&UserName=x&Tags.member.a.Key=a", 400, "ValidationError", "'tags'"),
    ('r', "Action=CreateUser&UserName=x&Tags.member.01.Key=a&Tags.member.01.Value=", 400, "ValidationError", "'tags'"),
    ('r', "Action=CreateUser&UserName=x&Tags.member.1.Key=a*&Tags.member.1.Value=", 400, "ValidationError", "pattern"),
    (
        'r',
        "Action=CreateUser&UserName=x&Tags.member.1.Key=a&Tags.member.1.Value={long}{long}{long}",
        400,
        "ValidationError",
        "length less than or equal to 256",
    ),
    (
        'r',
        "Action=CreateUser&UserName=x&Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key=A&Tags.member.2.Value=2",
        400,
        "InvalidInput",
        "Duplicate tag keys",
    ),
    (
        'r',
        "Action=CreateUser&UserName=x&PermissionsBoundary=arn:aws:iam::aws:policy/ReadOnlyAccess",
        400,
        "InvalidInput",
        "not supported",
    ),
    // Users that are there, or not
    ('r', "Action=GetUser&UserName=nobody", 404, "NoSuchEntity", "The user with name nobody cannot be found."),
    ('r', "Action=DeleteUser&UserName=nobody", 404, "NoSuchEntity", "nobody"),
    ('r', "Action=DeleteUser&UserName=bob", 409, "DeleteConflict", "must delete access keys first"),
    ('r', "Action=CreateAccessKey&Services=s3,&Regions=eu_1", 400, "ValidationError", "2 validation errors detected"),
    ('r', "Action=CreateAccessKey&Services=s*", 400, "ValidationError", "'services'"),
    ('r', "Action=CreateAccessKey&ExpiresAt=tomorrow", 400, "ValidationError", "'expiresAt'"),
    ('r', "Action=CreateAccessKey&ExpiresAt=2026-11-21T12:00:00Z", 400, "ValidationError", "lies in the past"),
    ('r', "Action=CreateAccessKey&ExpiresAt=2026-11-21T12:00:01Z&Services=s3&Regions=eu-*", 200, "", "SecretAccessKey"),
    ('r', "Action=CreateAccessKey&UserName=nobody", 404, "NoSuchEntity", "nobody"),
    ('r', "Action=ListAccessKeys&UserName=nobody", 404, "NoSuchEntity", "nobody"),
    // Pages
    ('r', "Action=ListUsers&MaxItems=0", 400, "ValidationError", "greater than or equal to 1"),
    ('r', "Action=ListUsers&MaxItems=1001", 400, "ValidationError", "less than or equal to 1000"),
    ('r', "Action=ListUsers&MaxItems=99999999999999999999", 400, "ValidationError", "less than or equal to 1000"),
    ('r', "Action=ListUsers&MaxItems=many", 400, "ValidationError", "'maxItems'"),
    ('r', "Action=ListUsers&Marker=", 400, "ValidationError", "'marker'"),
    ('r', "Action=ListUsers&Marker=!", 400, "ValidationError", "Invalid Marker"),
    ('r', "Action=ListAccessKeys&Marker=YWJj", 400, "ValidationError", "Invalid Marker"),
    // Keys
    ('r', "Action=UpdateAccessKey&AccessKeyId={1}", 400, "ValidationError", "Value null at 'status'"),
    (
        'r',
        "Action=UpdateAccessKey&AccessKeyId={1}&Status=active",
        400,
        "ValidationError",
        "Value 'active' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]",
    ),
    ('r', "Action=UpdateAccessKey&Status=Up", 400, "ValidationError", "2 validation errors detected"),
    (
        'r',
        "Action=UpdateAccessKey&AccessKeyId=short&Status=Active",
        400,
        "ValidationError",
        "greater than or equal to 16",
    ),
    ('r', "Action=UpdateAccessKey&AccessKeyId={2}&Status=Inactive", 404, "NoSuchEntity", "cannot be found"),
    ('r', "Action=UpdateAccessKey&AccessKeyId={3}&UserName=alice&Status=Inactive", 404, "NoSuchEntity", "{3}"),
    ('r', "Action=DeleteAccessKey&AccessKeyId={3}&UserName=alice", 404, "NoSuchEntity", "{3}"),
    ('r', "Action=DeleteAccessKey&AccessKeyId={9}", 404, "NoSuchEntity", "The Access Key with id {9} cannot be found."),
    ('r', "Action=DeleteAccessKey&AccessKeyId=AKIAI44QH8DHBEXAMPLE", 404, "NoSuchEntity", "AKIAI44QH8DHBEXAMPLE"),
    ('r', "Action=DeleteAccessKey", 400, "ValidationError", "'accessKeyId'"),
    ('r', "Action=GetAccessKeyLastUsed&AccessKeyId={9}", 404, "NoSuchEntity", "{9}"),
    ('r', "Action=GetAccessKeyLastUsed&AccessKeyId=AKIAI44QH8DHBEXAMPLE", 404, "NoSuchEntity", "EXAMPLE"),
    ('r', "Action=GetAccessKeyLastUsed", 400, "ValidationError", "'accessKeyId'"),
    // Policies
    ('r', "Action=PutUserPolicy&UserName=bob&PolicyName=p", 400, "ValidationError", "'policyDocument'"),
    (
        'r',
        "Action=PutUserPolicy&UserName=bob&PolicyName=a%20b&PolicyDocument={}",
        400,
        "ValidationError",
        "'policyName'",
    ),
    (
        'r',
        "Action=PutUserPolicy&UserName=bob&PolicyName=p&PolicyDocument=%00",
        400,
        "ValidationError",
        "'policyDocument'",
    ),
    (
        'r',
        "Action=PutUserPolicy&UserName=bob&PolicyName=p&PolicyDocument={}",
        400,
        "MalformedPolicyDocument",
        "Syntax errors",
    ),
    ('r', "Action=PutUserPolicy&UserName=nobody&PolicyName=p&PolicyDocument={}", 404, "NoSuchEntity", "nobody"),
    (
        'r',
        "Action=GetUserPolicy&UserName=bob&PolicyName=p",
        404,
        "NoSuchEntity",
        "The user policy with name p cannot be found.",
    ),
    ('r', "Action=DeleteUserPolicy&UserName=bob&PolicyName=p", 404, "NoSuchEntity", "policy with name p"),
    ('r', "Action=AttachUserPolicy&UserName=bob&PolicyArn=short", 400, "ValidationError", "'policyArn'"),
    (
        'r',
        "Action=AttachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/PowerUserAccess",
        404,
        "NoSuchEntity",
        "Policy arn:aws:iam::aws:policy/PowerUserAccess does not exist or is not attachable.",
    ),
    (
        'r',
        "Action=DetachUserPolicy&UserName=bob&PolicyArn=arn:aws:iam::aws:policy/IAMFullAccess",
        404,
        "NoSuchEntity",
        "was not found",
    ),
    ('r', "Action=GetPolicy&PolicyArn=arn:aws:iam::aws:policy/PowerUserAccess", 404, "NoSuchEntity", "was not found"),
    (
        'r',
        "Action=GetPolicyVersion&PolicyArn=arn:aws:iam::aws:policy/IAMFullAccess&VersionId=v2",
        404,
        "NoSuchEntity",
        "version v2",
    ),
    (
        'r',
        "Action=GetPolicyVersion&PolicyArn=arn:aws:iam::aws:policy/IAMFullAccess&VersionId=2",
        400,
        "ValidationError",
        "'versionId'",
    ),
    ('r', "Action=ListPolicies&Scope=Mine", 400, "ValidationError", "[All, AWS, Local]"),
    ('r', "Action=DeleteUser&UserName=alice", 409, "DeleteConflict", "access keys first"),
    (
        'a',
        "Action=AttachUserPolicy&UserName=alice&PolicyArn=arn:aws:iam::aws:policy/AdministratorAccess",
        403,
        "AccessDenied",
        "iam:AttachUserPolicy",
    ),
    (
        'a',
        "Action=PutUserPolicy&UserName=alice&PolicyName=p&PolicyDocument={}",
        403,
        "AccessDenied",
        "iam:PutUserPolicy",
    ),
    ('a', "Action=DeleteUserPolicy&UserName=alice&PolicyName=p", 403, "AccessDenied", "iam:DeleteUserPolicy"),
    ('a', "Action=ListPolicies", 403, "AccessDenied", "on resource: * because"),
    // STS
    ('a', "Action=GetAccessKeyInfo", 400, "ValidationError", "'accessKeyId'"),
    ('a', "Action=GetAccessKeyInfo&AccessKeyId=AKIAIOSFODNN7EXAMPLE", 400, "ValidationError", "name its account"),
    ('a', "Action=GetAccessKeyInfo&AccessKeyId=AKIA777777777777", 400, "ValidationError", "name its account"),
    ('a', "Action=GetAccessKeyInfo&AccessKeyId=akiarzpuzdikaaaaaaaa", 400, "ValidationError", "name its account"),
    // What a user may not do: the same words whether the other exists or not, and before anything is looked up
    (
        'a',
        "Action=CreateUser&UserName=x&Path=/p/",
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/eng/alice is not authorized to perform: iam:CreateUser \
         on resource: arn:aws:iam::123456789012:user/p/x because no identity-based policy allows the iam:CreateUser action",
    ),
    ('a', "Action=DeleteUser&UserName=alice", 403, "AccessDenied", "iam:DeleteUser"),
    ('a', "Action=ListUsers", 403, "AccessDenied", "on resource: arn:aws:iam::123456789012:user/ because"),
    (
        'a',
        "Action=GetUser&UserName=bob",
        403,
        "AccessDenied",
        "on resource: arn:aws:iam::123456789012:user/bob because",
    ),
    ('a', "Action=GetUser&UserName=nobody", 403, "AccessDenied", "iam:GetUser"),
    ('a', "Action=CreateAccessKey&UserName=bob", 403, "AccessDenied", "iam:CreateAccessKey"),
    ('a', "Action=CreateAccessKey&UserName=nobody", 403, "AccessDenied", "iam:CreateAccessKey"),
    ('a', "Action=ListAccessKeys&UserName=bob", 403, "AccessDenied", "iam:ListAccessKeys"),
    (
        'a',
        "Action=UpdateAccessKey&UserName=bob&AccessKeyId={3}&Status=Inactive",
        403,
        "AccessDenied",
        "UpdateAccessKey",
    ),
    ('a', "Action=DeleteAccessKey&UserName=bob&AccessKeyId={3}", 403, "AccessDenied", "DeleteAccessKey"),
    ('a', "Action=UpdateAccessKey&AccessKeyId={3}&Status=Inactive", 404, "NoSuchEntity", "{3}"),
    ('a', "Action=DeleteAccessKey&AccessKeyId={1}", 404, "NoSuchEntity", "{1}"),
    ('a', "Action=GetAccessKeyLastUsed&AccessKeyId={3}", 403, "AccessDenied", "on resource: access key {3} because"),
    ('a', "Action=GetAccessKeyLastUsed&AccessKeyId={9}", 403, "AccessDenied", "access key {9}"),
    // What a user may do
    ('a', "Action=GetUser&UserName=Alice", 200, "", "<UserName>alice</UserName>"),
    ('a', "Action=ListAccessKeys&UserName=ALICE", 200, "", "{2}"),
    ('a', "Action=GetAccessKeyLastUsed&AccessKeyId={2}", 200, "", "N/A"),
    ('a', "Action=UpdateAccessKey&UserName=alice&AccessKeyId={2}&Status=Inactive", 200, "", "UpdateAccessKeyResponse"),
    ('a', "Action=DeleteAccessKey&AccessKeyId={2}", 200, "", "DeleteAccessKeyResponse"),
];

fn fill_in(template: &str) -> String {
    let mut text = template.replace("{long}", &"a".repeat(100));
    for serial in 1..10 {
        text = text.replace(&format!("{{{serial}}}"), id(serial).as_str());
    }
    text
}

#[tokio::test]
async fn parameters_give_codes() {
    for (who, form, status, code, part) in CASES {
        let place = Place::new().await;
        let caller = if *who == 'r' { root() } else { alice() };
        let answer = place.post(&caller, &fill_in(form)).await;
        let xml = text(&answer);
        assert_eq!(answer.status, *status, "{form}: {xml}");
        assert!(xml.contains(&fill_in(part)), "{form}: {xml}");
        if *status == 200 {
            continue;
        }
        assert_eq!(element(&answer, "Code"), Some(*code), "{form}");
        let service = if xml.contains("sts.amazonaws.com") { Service::Sts } else { Service::Iam };
        let expected = format!(
            "<ErrorResponse xmlns=\"{}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error>\
             <RequestId>request-1</RequestId></ErrorResponse>",
            service.namespace(),
            element(&answer, "Message").expect("a message")
        );
        assert_eq!(xml, expected, "{form}");
    }
}

async fn ask(place: &Place, caller: &Caller, service: Service, form: &str) -> (u16, Option<String>) {
    let parameters = Parameters::parse(&Method::POST, None, form.as_bytes()).expect("a form");
    let answer = answer(&place.registry, &place.office, &place.audit, service, caller, &parameters, super::NOW).await;
    (answer.status, element(&answer, "Code").map(str::to_owned))
}

#[tokio::test]
async fn the_version_and_the_service_must_fit() {
    let place = Place::new().await;
    let invalid = (400, Some("InvalidAction".to_owned()));
    for (service, form, expected) in [
        (Service::Iam, "Action=ListUsers&Version=2010-05-08", (200, None)),
        (Service::Sts, "Action=GetCallerIdentity&Version=2011-06-15", (200, None)),
        (Service::Iam, "Action=ListUsers", invalid.clone()),
        (Service::Iam, "Action=ListUsers&Version=2011-06-15", invalid.clone()),
        (Service::Sts, "Action=ListUsers&Version=2010-05-08", invalid.clone()),
        (Service::Sts, "Action=ListUsers&Version=2011-06-15", invalid.clone()),
        (Service::Iam, "Action=GetCallerIdentity&Version=2011-06-15", invalid),
    ] {
        assert_eq!(ask(&place, &root(), service, form).await, expected, "{service:?} {form}");
    }
}

#[test]
fn forms_are_bounded_and_signatures_are_no_parameters() {
    let code = |method: &Method, query: Option<&str>, body: &[u8]| {
        Parameters::parse(method, query, body).err().map(|error| (error.status, error.code))
    };
    let many = |count: usize| (0..count).map(|n| format!("p{n}=&")).collect::<String>();
    assert_eq!(code(&Method::POST, None, many(256).as_bytes()), None);
    assert_eq!(code(&Method::POST, None, many(257).as_bytes()), Some((400, "MalformedQueryString")));
    let long = |length: usize| format!("a={}", "b".repeat(length - 2));
    assert_eq!(code(&Method::POST, None, long(65_536).as_bytes()), None);
    assert_eq!(code(&Method::POST, None, long(65_537).as_bytes()), Some((413, "RequestEntityTooLarge")));
    assert_eq!(code(&Method::GET, Some(&long(65_537)), b""), Some((413, "RequestEntityTooLarge")));
    assert_eq!(code(&Method::PUT, None, b""), Some((405, "MethodNotAllowed")));
    assert_eq!(code(&Method::POST, None, b"a=\xff"), Some((400, "MalformedQueryString")));
    assert_eq!(code(&Method::POST, Some("a=1"), b"a=2"), Some((400, "MalformedQueryString")));

    let read = Parameters::parse(&Method::GET, Some("Action=A&X-Amz-Date=1&b=%2B+%C3%A9&c"), b"d=1").expect("reads");
    assert_eq!(
        ["Action", "X-Amz-Date", "b", "c", "d"].map(|name| read.get(name)),
        [Some("A"), None, Some("+ é"), Some(""), None]
    );
}

#[tokio::test]
async fn an_account_sees_nothing_of_another() {
    let place = Place::new().await;
    let other = rederive_hsm::access_key_id::Account::new(7).expect("a number");
    place.registry.create_account(other, 1).await.expect("an account");
    let stranger = Caller { account: other, ..root() };
    for (form, code) in [
        ("Action=GetUser&UserName=alice".to_owned(), "NoSuchEntity"),
        ("Action=DeleteUser&UserName=alice".to_owned(), "NoSuchEntity"),
        ("Action=CreateAccessKey&UserName=alice".to_owned(), "NoSuchEntity"),
        ("Action=ListAccessKeys&UserName=alice".to_owned(), "NoSuchEntity"),
        (format!("Action=GetAccessKeyLastUsed&AccessKeyId={}", id(2)), "NoSuchEntity"),
        (format!("Action=DeleteAccessKey&AccessKeyId={}", id(1)), "NoSuchEntity"),
        (format!("Action=UpdateAccessKey&Status=Inactive&AccessKeyId={}", id(1)), "NoSuchEntity"),
    ] {
        let answer = place.post(&stranger, &form).await;
        assert_eq!(element(&answer, "Code"), Some(code), "{form}");
    }
    let none = place.post(&stranger, "Action=ListUsers").await;
    assert!(text(&none).contains("<Users/>"), "{}", text(&none));
    assert!(text(&place.post(&root(), "Action=ListUsers").await).contains("alice"), "and its own account sees them");
}
