//! Policies: the rows of `policy/`, and what holds for any policy and request.

use proptest::prelude::*;
use rederive::policy::{Context, MANAGED, Managed, Policy, Request, Verdict, evaluate};
use serde_json::{Value, json};

/// 2026-11-22T12:00:00Z.
const NOW: i64 = 1_795_348_800;

fn rows(file: &str) -> Vec<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/iam/policy").join(file);
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    assert!(rows.len() > 10, "{file} has only {} rows", rows.len());
    rows
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allow",
        Verdict::ExplicitlyDenied => "deny",
        Verdict::ImplicitlyDenied => "implicit",
    }
}

#[test]
fn evaluation() {
    for case in rows("evaluation.json") {
        let read =
            |policy: &Value| Policy::parse(&policy.to_string()).unwrap_or_else(|error| panic!("{error}: {policy}"));
        let mut policies: Vec<_> = case["policies"].as_array().expect("a list").iter().map(read).collect();
        for name in case["managed"].as_array().into_iter().flatten() {
            let arn = format!("arn:aws:iam::aws:policy/{}", name.as_str().expect("a name"));
            policies.push(Managed::by_arn(&arn).expect("there is one").policy.clone());
        }
        for row in case["rows"].as_array().expect("rows") {
            let text = |at: usize| row[at].as_str().expect("a text");
            let values = row[2].as_object().expect("values");
            let context = values.iter().fold(Context::at(NOW), |all, (key, value)| {
                assert!(rederive::policy::Key::parse(key).is_some(), "{key}");
                all.with(key, value.as_str().expect("a text"))
            });
            let request = Request { action: text(0), resource: text(1), context: &context };
            assert_eq!(word(evaluate(&policies, &request)), text(3), "{}: {row}", case["what"]);
            policies.reverse();
            assert_eq!(word(evaluate(&policies, &request)), text(3), "{}, reversed: {row}", case["what"]);
        }
    }
}

#[test]
fn refused() {
    for row in rows("refused.json") {
        let (document, said) = (row[0].as_str().expect("a text"), row[1].as_str().expect("a text"));
        let error = Policy::parse(document).map(|_| ()).expect_err(document).to_string();
        assert!(error.contains(said), "{document}: {error}");
    }
}

#[test]
fn managed_policies_have_names_and_ids_of_their_own() {
    for managed in &MANAGED {
        assert_eq!(Policy::parse(managed.document).as_ref(), Ok(&*managed.policy));
        assert_eq!(Managed::by_arn(&managed.arn()).map(|found| found.name), Some(managed.name));
        assert_eq!((managed.id.len(), &managed.id[..4]), (21, "ANPA"));
        assert_eq!(MANAGED.iter().filter(|other| other.id == managed.id).count(), 1);
    }
    assert!(Managed::by_arn("arn:aws:iam::aws:policy/PowerUserAccess").is_none());
    assert!(Managed::by_arn("AdministratorAccess").is_none());
}

#[derive(Clone, Debug)]
struct Drawn {
    allows: bool,
    action: &'static str,
    resource: &'static str,
    not_action: bool,
    not_resource: bool,
}

const ACTIONS: [&str; 5] = ["*", "iam:*", "iam:GetUser", "iam:Get*", "sts:*"];
const RESOURCES: [&str; 4] =
    ["*", "arn:aws:iam::*:user/*", "arn:aws:iam::1:user/a", "arn:aws:iam::*:user/${aws:username}"];

fn statement() -> impl Strategy<Value = Drawn> {
    let drawn = (any::<bool>(), 0..ACTIONS.len(), 0..RESOURCES.len(), any::<bool>(), any::<bool>());
    drawn.prop_map(|(allows, action, resource, not_action, not_resource)| Drawn {
        allows,
        action: ACTIONS[action],
        resource: RESOURCES[resource],
        not_action,
        not_resource,
    })
}

fn policy(statements: &[Drawn]) -> Policy {
    let written = statements.iter().map(|drawn| {
        let action = if drawn.not_action { "NotAction" } else { "Action" };
        let resource = if drawn.not_resource { "NotResource" } else { "Resource" };
        json!({ "Effect": if drawn.allows { "Allow" } else { "Deny" }, action: drawn.action, resource: drawn.resource })
    });
    let document = json!({ "Version": "2012-10-17", "Statement": written.collect::<Vec<_>>() });
    Policy::parse(&document.to_string()).expect("a policy")
}

proptest! {
    /// What one policy with all statements says is what a policy for each says together, in any order: a deny if one denies, else an
    /// allow if one allows.
    #[test]
    fn statements_add_up(
        statements in prop::collection::vec(statement(), 1..6),
        action in prop::sample::select(vec!["iam:GetUser", "iam:DeleteUser", "sts:GetAccessKeyInfo"]),
        resource in prop::sample::select(vec!["*", "arn:aws:iam::1:user/a", "arn:aws:iam::2:user/x/b"]),
        name in prop::option::of(prop::sample::select(vec!["a", "x/b", "*"])),
    ) {
        let context = name.into_iter().fold(Context::at(NOW), |all, name| all.with("aws:username", name));
        let request = Request { action, resource, context: &context };
        let each: Vec<_> = statements.iter().rev().map(|one| policy(std::slice::from_ref(one))).collect();
        let verdicts: Vec<_> = each.iter().map(|one| evaluate([one], &request)).collect();
        let expected = if verdicts.contains(&Verdict::ExplicitlyDenied) {
            Verdict::ExplicitlyDenied
        } else if verdicts.contains(&Verdict::Allowed) {
            Verdict::Allowed
        } else {
            Verdict::ImplicitlyDenied
        };
        prop_assert_eq!(evaluate([&policy(&statements)], &request), expected);
        prop_assert_eq!(evaluate(&each, &request), expected);
        // A statement more that denies everything denies; one that allows takes no denial away.
        let deny = Drawn { allows: false, action: "*", resource: "*", not_action: false, not_resource: false };
        prop_assert_eq!(evaluate(each.iter().chain([&policy(std::slice::from_ref(&deny))]), &request), Verdict::ExplicitlyDenied);
        let allow = policy(&[Drawn { allows: true, ..deny }]);
        let with_allow = evaluate(each.iter().chain([&allow]), &request);
        prop_assert_eq!(with_allow == Verdict::ExplicitlyDenied, expected == Verdict::ExplicitlyDenied);
    }

    /// Wildcards against a plain recursive reading of the same rule.
    #[test]
    fn wildcards(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        fn matches(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern, text) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => matches(rest, text) || (!text.is_empty() && matches(pattern, &text[1..])),
                ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
                ([c, rest @ ..], [d, after @ ..]) if c == d => matches(rest, after),
                _ => false,
            }
        }
        let resource = format!("arn:aws:iam::1:user/{pattern}");
        let one = Drawn { allows: true, action: "*", resource: "*", not_action: false, not_resource: false };
        let document = json!({ "Statement": { "Effect": "Allow", "Action": one.action, "Resource": resource } });
        let policy = Policy::parse(&document.to_string()).expect("a policy");
        let (context, asked) = (Context::at(NOW), format!("arn:aws:iam::1:user/{text}"));
        let request = Request { action: "iam:GetUser", resource: &asked, context: &context };
        let allowed = evaluate([&policy], &request) == Verdict::Allowed;
        prop_assert_eq!(allowed, matches(pattern.as_bytes(), text.as_bytes()));
    }

    /// Any text is a policy or is not.
    #[test]
    fn any_text(text in ".{0,200}") {
        let _ = Policy::parse(&text);
    }
}
