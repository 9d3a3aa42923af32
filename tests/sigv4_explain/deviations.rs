//! Requests that are signed otherwise than documented: what is named.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use rederive::sigv4::{Body, Family, Limits, RequestHead, SignedRequest};
use rederive_hsm::signing_key::SigningKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::SECRET;
use super::sigv4_support::{read_text, tests_path, unix};

/// A row of `deviations.toml`, which tells what the fields are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviating {
    #[serde(default = "get")]
    method: String,
    #[serde(default = "bucket_key")]
    target: String,
    #[serde(default = "s3")]
    service: String,
    #[serde(default)]
    headers: Vec<String>,
    signed_headers: Option<String>,
    #[serde(default)]
    body: String,
    content_sha256: Option<String>,
    #[serde(default)]
    signed: SignedInstead,
    #[serde(default)]
    hosts: Vec<String>,
    key_region: Option<String>,
    key_service: Option<String>,
    secret: Option<String>,
    region: Option<String>,
    at: Option<String>,
    deviations: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SignedInstead {
    method: Option<String>,
    uri: Option<String>,
    query: Option<String>,
    payload: Option<String>,
    #[serde(default)]
    lines: BTreeMap<String, String>,
}

fn get() -> String {
    "GET".into()
}

fn bucket_key() -> String {
    "/bucket/key".into()
}

fn s3() -> String {
    "s3".into()
}

const SIGNED_AT: &str = "20260102T030405Z";

impl Deviating {
    /// The header lines, without the Authorization.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["Host: storage.example:9000".to_owned(), format!("X-Amz-Date: {SIGNED_AT}")];
        if self.service == "s3" {
            let hash = || Sha256::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("X-Amz-Content-Sha256: {}", self.content_sha256.clone().unwrap_or_else(hash)));
        }
        lines.extend(self.headers.clone());
        lines
    }

    fn signed_headers(&self) -> String {
        let names = self.lines().into_iter().map(|line| line.split(':').next().expect("a name").to_ascii_lowercase());
        let names: BTreeSet<_> = names.collect();
        self.signed_headers.clone().unwrap_or_else(|| names.into_iter().collect::<Vec<_>>().join(";"))
    }

    fn request(&self, signature: &str) -> Vec<u8> {
        let (date, service, names) = (&SIGNED_AT[..8], &self.service, self.signed_headers());
        let credential = format!("AKIDEXAMPLE/{date}/us-east-1/{service}/aws4_request");
        let (method, target, lines) = (&self.method, &self.target, self.lines().join("\r\n"));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        format!("{method} {target} HTTP/1.1\r\n{lines}\r\nAuthorization: {authorization}\r\n\r\n{}", self.body)
            .into_bytes()
    }

    /// The canonical request that is signed: the documented one, with the parts of `signed` put into it.
    fn canonical_request(&self) -> String {
        let request = self.request(&"0".repeat(64));
        let (head, body) = RequestHead::parse(&request, &Limits::default()).expect("a head");
        let signed = SignedRequest::parse(&head).expect("well formed");
        let family = Family::of(&self.service);
        let text = signed.canonical_request(family, Body::Bytes(&request[body..])).expect("a canonical request");
        let text = String::from_utf8(text.text().to_vec()).expect("UTF-8");
        let (start, rest) = text.split_once("\n").and_then(|(_, rest)| rest.split_once("\n")).expect("lines");
        let (query, rest) = rest.split_once("\n").expect("lines");
        let (lines, end) = rest.split_once("\n\n").expect("an empty line");
        let (_, payload) = end.split_once("\n").expect("lines");
        let names = self.signed_headers();
        let line = |name: &str| {
            let own = lines.lines().find(|line| line.starts_with(&format!("{name}:"))).map(|line| format!("{line}\n"));
            self.signed.lines.get(name).cloned().or(own).unwrap_or_default()
        };
        let or = |part: &Option<String>, own: &str| part.clone().unwrap_or_else(|| own.to_owned());
        let SignedInstead { method, uri, query: other_query, payload: other_payload, .. } = &self.signed;
        format!(
            "{}\n{}\n{}\n{}\n{names}\n{}",
            or(method, &self.method),
            or(uri, start),
            or(other_query, query),
            names.split(';').map(line).collect::<String>(),
            or(other_payload, payload),
        )
    }

    fn signature(&self) -> String {
        let (date, service) = (&SIGNED_AT[..8], &self.service);
        let hash: String = Sha256::digest(self.canonical_request()).iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("AWS4-HMAC-SHA256\n{SIGNED_AT}\n{date}/us-east-1/{service}/aws4_request\n{hash}");
        let secret = self.secret.as_ref().map_or(SECRET, |secret| secret.as_bytes());
        let region = self.key_region.as_deref().unwrap_or("us-east-1");
        let service = self.key_service.as_deref().unwrap_or(service);
        let date = date.as_bytes().try_into().expect("eight digits");
        let key = SigningKey::derive_from_text(secret, date, region, service);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn explained(&self) -> Explanation {
        let options = ExplainOptions {
            secret: Some(SECRET),
            at: unix(self.at.as_deref().unwrap_or(SIGNED_AT)),
            region: self.region.as_deref(),
            hosts: &self.hosts,
            other_secrets: &[b"another secret"],
            ..ExplainOptions::default()
        };
        explain(&self.request(&self.signature()), &options)
    }
}

#[derive(Deserialize)]
struct Deviations {
    case: Vec<Deviating>,
}

#[test]
fn deviations_are_named() {
    let text = read_text(&tests_path("vectors/explain/deviations.toml"));
    let Deviations { case: cases } = toml::from_str(&text).expect("rows");
    assert!(cases.len() >= 70, "{} rows", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let explanation = case.explained();
        assert_eq!(explanation.decision, Decision::Refuse, "{:?}: {explanation:?}", case.deviations);
        let named: Vec<_> = explanation.deviations.iter().map(|deviation| deviation.name.clone()).collect();
        if named != case.deviations {
            wrong.push(format!("{:?} is explained by {:?}", case.deviations, explanation.deviations));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The control of the test above: with nothing put in the place of anything, its requests are accepted.
#[test]
fn without_a_deviation_it_is_accepted() {
    let Deviations { case } = toml::from_str("[[case]]\ndeviations = []").expect("a row");
    let explanation = case[0].explained();
    assert_eq!((explanation.decision, explanation.deviations), (Decision::Accept, vec![]));
}
