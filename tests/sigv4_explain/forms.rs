//! Forms with a POST policy that are signed otherwise than documented, or are not what their policy demands.

use base64::prelude::*;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest as _, Sha256};

use super::SECRET;
use super::sigv4_support::unix;

const NOW: &str = "20260102T030405Z";
/// Long enough for two lines of base64.
const POLICY: &str = r#"{"expiration": "2026-01-02T04:00:00Z", "conditions": [{"bucket": "photos"}, ["starts-with", "$key", "up/"],
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"}, {"x-amz-date": "20260102T030405Z"},
    ["starts-with", "$x-amz-credential", "AKIDEXAMPLE/"], ["content-length-range", 1, 10]]}"#;

/// What is posted and how it is signed; `policy` as it stands in the form.
struct Form<'a> {
    target: &'a str,
    host: &'a str,
    fields: Vec<(&'a str, &'a str)>,
    policy: String,
    signed: Vec<u8>,
    secret: &'a [u8],
    region: &'a str,
    at: &'a str,
}

impl Default for Form<'_> {
    fn default() -> Self {
        let policy = BASE64_STANDARD.encode(POLICY);
        Self {
            target: "/photos",
            host: "s3.example",
            fields: vec![("key", "up/a")],
            signed: policy.clone().into_bytes(),
            policy,
            secret: SECRET,
            region: "local",
            at: NOW,
        }
    }
}

impl Form<'_> {
    fn explained(&self) -> Explanation {
        let key = SigningKey::derive_from_text(self.secret, b"20260102", self.region, "s3");
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key");
        mac.update(&self.signed);
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let own = [
            ("policy", &*self.policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", "AKIDEXAMPLE/20260102/local/s3/aws4_request"),
            ("x-amz-date", NOW),
            ("x-amz-signature", &signature),
        ];
        let field = |(name, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let fields: String = self.fields.iter().chain(&own).map(field).collect();
        let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--b--\r\n";
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n",
            self.target, self.host
        );
        let secret = Some(SECRET);
        let options =
            ExplainOptions { secret, at: unix(self.at), other_secrets: &[b"another"], ..ExplainOptions::default() };
        explain(format!("{head}{fields}{file}").as_bytes(), &options)
    }

    fn names(&self) -> Vec<String> {
        let explanation = self.explained();
        assert_eq!(explanation.decision, Decision::Refuse, "{explanation:?}");
        explanation.deviations.into_iter().map(|deviation| deviation.name).collect()
    }
}

/// The control of the tests below.
#[test]
fn as_documented_it_is_accepted() {
    let explanation = Form::default().explained();
    assert_eq!((explanation.decision, explanation.deviations), (Decision::Accept, vec![]), "{:?}", explanation.message);
}

#[test]
fn what_else_was_signed_is_named() {
    let base64 = BASE64_STANDARD.encode(POLICY);
    assert!(base64.ends_with('='), "else nothing could be left out");
    let lines: String =
        base64.as_bytes().chunks(76).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    let hash: String = Sha256::digest(&base64).iter().map(|byte| format!("{byte:02x}")).collect();
    let string_to_sign = format!("AWS4-HMAC-SHA256\n{NOW}\n20260102/local/s3/aws4_request\n{hash}");
    for (signed, name) in [
        (POLICY.to_owned(), "policy=decoded"),
        (format!("{base64}\n"), "policy=line-end"),
        (lines, "policy=lines"),
        (base64.trim_end_matches('=').to_owned(), "policy=unpadded"),
        (string_to_sign, "policy=string-to-sign"),
    ] {
        assert_eq!(Form { signed: signed.into_bytes(), ..Form::default() }.names(), [name]);
    }
    assert_eq!(Form { secret: b"another", ..Form::default() }.names(), ["secret=other:1"]);
    assert_eq!(Form { region: "us-east-1", ..Form::default() }.names(), ["scope=region:us-east-1"]);
    let both = Form { secret: b"another", signed: POLICY.into(), ..Form::default() };
    assert_eq!(both.names(), ["policy=decoded", "secret=other:1"]);
    assert!(Form { signed: b"something".to_vec(), ..Form::default() }.names().is_empty());
}

#[test]
fn what_the_policy_demands_is_named() {
    let with = |fields: Vec<(&'static str, &'static str)>| Form { fields, ..Form::default() };
    assert_eq!(
        with(vec![("key", "up/a"), ("acl", "private"), ("tag", "t")]).names(),
        ["form=extra:acl", "form=extra:tag"]
    );
    assert_eq!(with(vec![("key", "down/a")]).names(), ["form=condition"]);
    assert_eq!(with(vec![("key", "up/a"), ("key", "up/b")]).names(), ["form=repeated:key"]);
    assert_eq!(with(vec![]).names(), ["form=missing:key"]);
    assert_eq!(Form { at: "20260102T040001Z", ..Form::default() }.names(), ["clock=expired"]);
}

/// The policy is for the bucket `photos`, or for `my.photos`.
#[test]
fn the_bucket_may_stand_in_the_host() {
    let dotted = BASE64_STANDARD.encode(POLICY.replace("photos", "my.photos"));
    let form = |target, host, policy: &str| Form {
        target,
        host,
        policy: policy.to_owned(),
        signed: policy.as_bytes().to_vec(),
        ..Form::default()
    };
    let plain = Form::default().policy;
    for (target, host, policy) in [
        ("/", "photos.s3.example:9000", &plain),
        ("http://photos.s3.example/", "photos.s3.example", &plain),
        ("https://photos.s3.example:9000", "photos.s3.example:9000", &plain),
        ("http://s3.example/photos", "s3.example", &plain),
        ("/", "my.photos.s3.example", &dotted),
        ("http://my.photos.s3.example/", "my.photos.s3.example", &dotted),
        // The bucket is the name of the host as a whole: a CNAME.
        ("/", "my.photos", &dotted),
    ] {
        let explanation = form(target, host, policy).explained();
        assert_eq!(explanation.decision, Decision::Accept, "{target} {host}: {explanation:?}");
    }
    for (target, host, policy, name) in [
        ("/", "other.s3.example", &plain, "form=condition"),
        ("/", "my.photos.s3.example", &plain, "form=condition"),
        ("/", "127.0.0.1:9000", &plain, "form=bucket"),
        ("http://photos.s3.example/a/b", "photos.s3.example", &plain, "form=bucket"),
        ("http://photos.s3.example/", "other.s3.example", &plain, "target=authority"),
    ] {
        assert_eq!(form(target, host, policy).names(), [name], "{target} {host}");
    }
}
