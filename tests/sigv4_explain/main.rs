//! `explain` on request files: the same verdicts as the core, and what it shows besides.

mod deviations;
mod forms;
#[path = "../sigv4_support/mod.rs"]
mod sigv4_support;
mod unread;
mod v2;
mod v4a;

use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use sigv4_support::{RequestCases, Verdict, Verifier, case_folders, read, read_text, tests_path, unix};

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn options<'a>(secret: Option<&'a [u8]>, at: &str) -> ExplainOptions<'a> {
    ExplainOptions { secret, at: unix(at), ..ExplainOptions::default() }
}

fn vanilla() -> Vec<u8> {
    read(&tests_path("vectors/aws-c-auth/v4/get-vanilla/header-signed-request.txt"))
}

fn vanilla_text(name: &str) -> Option<String> {
    Some(read_text(&tests_path("vectors/aws-c-auth/v4/get-vanilla").join(name)))
}

#[test]
fn shows_what_was_signed_and_accepts() {
    let explanation = explain(&vanilla(), &options(Some(SECRET), "20150830T123600Z"));
    assert_eq!(explanation.decision, Decision::Accept, "{explanation:?}");
    assert_eq!(explanation.canonical_request, vanilla_text("header-canonical-request.txt"));
    assert_eq!(explanation.string_to_sign, vanilla_text("header-string-to-sign.txt"));
    assert!(explanation.notes.iter().any(|note| note.contains("not checked")), "{:?}", explanation.notes);
}

#[test]
fn without_a_secret_it_does_not_decide() {
    let explanation = explain(&vanilla(), &options(None, "20150830T123600Z"));
    assert_eq!(explanation.decision, Decision::Undecided);
    assert_eq!(explanation.string_to_sign, vanilla_text("header-string-to-sign.txt"));
}

#[test]
fn another_secret_is_refused() {
    let explanation = explain(&vanilla(), &options(Some(b"another"), "20150830T123600Z"));
    assert_eq!((explanation.decision, explanation.code.as_deref()), (Decision::Refuse, Some("SignatureDoesNotMatch")));
}

#[test]
fn a_refusal_for_the_time_still_shows_what_was_signed() {
    for secret in [None, Some(SECRET)] {
        let explanation = explain(&vanilla(), &options(secret, "20150830T125101Z"));
        assert_eq!(explanation.decision, Decision::Refuse);
        assert!(explanation.message.as_deref().is_some_and(|m| m.starts_with("Signature expired")), "{explanation:?}");
        assert_eq!(explanation.string_to_sign, vanilla_text("header-string-to-sign.txt"));
    }
}

#[test]
fn service_and_region_can_be_demanded() {
    let at = options(Some(SECRET), "20150830T123600Z");
    let accepts = |options| explain(&vanilla(), &options).decision == Decision::Accept;
    assert!(accepts(ExplainOptions { service: Some("service"), region: Some("us-east-1"), ..at }));
    assert!(!accepts(ExplainOptions { service: Some("iam"), ..at }));
    assert!(!accepts(ExplainOptions { region: Some("eu-west-1"), ..at }));
}

#[test]
fn line_ends_may_be_crlf() {
    let with_crlf = String::from_utf8(vanilla()).expect("text").replace('\n', "\r\n");
    let explanation = explain(with_crlf.as_bytes(), &options(Some(SECRET), "20150830T123600Z"));
    assert_eq!(explanation.decision, Decision::Accept, "{explanation:?}");
}

#[test]
fn content_length_ends_the_body() {
    let folder = tests_path("vectors/aws-c-auth/v4/post-x-www-form-urlencoded");
    let mut request = read(&folder.join("header-signed-request.txt"));
    request.extend_from_slice(b"\n");
    let explanation = explain(&request, &options(Some(SECRET), "20150830T123600Z"));
    assert_eq!(explanation.decision, Decision::Accept, "{explanation:?}");
    let shorter = explain(&request[..request.len() - 3], &options(Some(SECRET), "20150830T123600Z"));
    assert_eq!(shorter.decision, Decision::Refuse);
    assert!(shorter.notes.iter().any(|note| note.contains("Content-Length is 13")), "{:?}", shorter.notes);
}

#[test]
fn a_body_that_is_not_there_leaves_it_undecided() {
    let request = "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nX-Amz-Date: 20150830T123600Z\n\
                   Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                   SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\n\n";
    let explanation = explain(request.as_bytes(), &options(Some(SECRET), "20150830T123600Z"));
    assert_eq!(explanation.decision, Decision::Undecided, "{explanation:?}");
    assert!(explanation.message.is_some_and(|message| message.contains("body")));
}

#[test]
fn what_is_no_request_is_said_to_be_none() {
    let explanation = explain(b"GET / HTTP/1.1\nno colon here\n\n", &options(None, "20150830T123600Z"));
    assert_eq!(explanation.decision, Decision::Undecided);
    let message = explanation.message.expect("a reason");
    assert!(message.contains("line 2") && message.contains("colon"), "{message}");
}

#[test]
fn json_has_exactly_the_keys_of_the_interface() {
    let json = serde_json::to_value(explain(&vanilla(), &options(None, "20150830T123600Z"))).expect("JSON");
    let keys: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["canonical_request", "code", "decision", "deviations", "message", "string_to_sign"]);
    assert_eq!(json["decision"], "undecided");
}

/// The core and `explain` must never differ.
fn same_verdict(case: &str, verdict: &Verdict, explanation: &Explanation) {
    let expected = match verdict {
        Verdict::Accepted(_) => Decision::Accept,
        Verdict::Refused(..) => Decision::Refuse,
        Verdict::BodyRequired | Verdict::Malformed(_) => Decision::Undecided,
    };
    assert_eq!(explanation.decision, expected, "{case}: {verdict:?}, {explanation:?}");
    assert_eq!(explanation.code.as_deref(), verdict.code(), "{case}");
}

#[test]
fn requests_get_the_verdict_of_the_core() {
    let cases = RequestCases::read();
    assert!(cases.cases.len() >= 66);
    for case in &cases.cases {
        let raw = case.raw();
        let (secret, service, now) = (cases.secret.as_str(), case.service.as_str(), case.now());
        let verdict = Verifier { secret, service, now }.verify(&raw);
        let options =
            ExplainOptions { secret: Some(secret.as_bytes()), at: now, service: Some(service), ..Default::default() };
        same_verdict(&case.id, &verdict, &explain(&raw, &options));
    }
}

#[test]
fn vectors_get_the_verdict_of_the_core() {
    let folders = case_folders(&tests_path("vectors/aws-c-auth/v4"));
    assert!(folders.len() >= 38);
    for folder in folders {
        for carrier in ["header", "query"] {
            let raw = read(&folder.join(format!("{carrier}-signed-request.txt")));
            let secret = std::str::from_utf8(SECRET).expect("ASCII");
            let verdict = Verifier { secret, service: "service", now: unix("20150830T123600Z") }.verify(&raw);
            let explanation = explain(&raw, &options(Some(SECRET), "20150830T123600Z"));
            same_verdict(&folder.display().to_string(), &verdict, &explanation);
        }
    }
}
