//! `explain` on request files: the same verdicts as the core, and what it shows besides.

mod sigv4_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use rederive::sigv4::{AmzDate, Body, Family, Limits, RequestHead, SignedRequest};
use rederive::sigv4a::{ChunkScope, PADDED_SIGNATURE, PublicKey, unpadded};
use rederive_hsm::signing_key::SigningKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sigv4_support::{RequestCases, Verdict, Verifier, case_folders, read, read_json, read_text, tests_path, unix};

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

/// Explains a published request of Signature V4A.
fn explain_v4a(folder: &Path, carrier: &str) -> Explanation {
    let raw = read(&folder.join(format!("{carrier}-signed-request.txt")));
    explain(&raw, &options(Some(SECRET), "20150830T123600Z"))
}

#[test]
fn v4a_vectors() {
    let folders = case_folders(&tests_path("vectors/aws-c-auth/v4a"));
    assert!(folders.len() >= 40);
    let mut refused = BTreeSet::new();
    let mut ran = 0;
    for folder in &folders {
        // Two of the folders hold no signed request.
        let is_there = |carrier: &&str| folder.join(format!("{carrier}-signed-request.txt")).exists();
        for carrier in ["header", "query"].into_iter().filter(is_there) {
            ran += 1;
            let explanation = explain_v4a(folder, carrier);
            let published = |name: &str| Some(read_text(&folder.join(format!("{carrier}-{name}.txt"))));
            if explanation.decision == Decision::Accept {
                // Its token was put into the query after signing, which is taken, and shown as it arrived.
                if folder.ends_with("post-sts-header-after") {
                    continue;
                }
                assert_eq!(explanation.canonical_request, published("canonical-request"), "{}", folder.display());
                assert_eq!(explanation.string_to_sign, published("string-to-sign"), "{}", folder.display());
                continue;
            }
            let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
            assert!(!explanation.deviations.is_empty(), "{name}/{carrier}: {explanation:?}");
            refused.insert(format!("{name}/{carrier}: {}", explanation.deviations[0].name));
        }
    }
    assert!(ran >= 76, "{ran} requests");
    // The paths are signed as sent, by a switch of the signer; the session token is not signed.
    let expected = [
        "get-relative-relative-unnormalized/header: uri=reenc",
        "get-relative-relative-unnormalized/query: uri=reenc",
        "get-relative-unnormalized/header: uri=reenc",
        "get-relative-unnormalized/query: uri=reenc",
        "get-slash-dot-slash-unnormalized/header: uri=reenc",
        "get-slash-dot-slash-unnormalized/query: uri=reenc",
        "get-slash-pointless-dot-unnormalized/header: uri=reenc",
        "get-slash-pointless-dot-unnormalized/query: uri=reenc",
        "get-slash-unnormalized/header: uri=reenc",
        "get-slash-unnormalized/query: uri=reenc",
        "get-slashes-unnormalized/header: uri=reenc",
        "get-slashes-unnormalized/query: uri=reenc",
        "post-sts-header-after/header: header=unsigned:x-amz-security-token",
    ];
    assert_eq!(refused, expected.map(str::to_owned).into());
}

#[test]
fn v4a_requests_are_refused_for_another_key_region_time_or_byte() {
    let folder = tests_path("vectors/aws-c-auth/v4a/get-vanilla");
    let at = options(Some(SECRET), "20150830T123600Z");
    for carrier in ["header", "query"] {
        let raw = read(&folder.join(format!("{carrier}-signed-request.txt")));
        let explained = |options| explain(&raw, &options);
        assert_eq!(explained(at).decision, Decision::Accept);
        assert_eq!(explained(ExplainOptions { region: Some("us-east-1"), ..at }).decision, Decision::Accept);
        let elsewhere = explained(ExplainOptions { region: Some("eu-west-1"), ..at });
        assert_eq!((elsewhere.decision, &*elsewhere.deviations[0].name), (Decision::Refuse, "scope=region"));
        assert_eq!(explained(ExplainOptions { secret: Some(b"another"), ..at }).decision, Decision::Refuse);
        assert_eq!(explained(ExplainOptions { at: unix("20150930T123600Z"), ..at }).decision, Decision::Refuse);
        let text = String::from_utf8(raw.clone()).expect("text");
        let without_set =
            text.replace("Region-Set:us-east-1\n", "Nothing:1\n").replace("&X-Amz-Region-Set=us-east-1", "");
        let other_set = text.replace("us-east-1", "*");
        for changed in [without_set, other_set] {
            assert_ne!(changed, text);
            assert_eq!(explain(changed.as_bytes(), &at).decision, Decision::Refuse, "{changed}");
        }
    }
}

#[derive(Deserialize)]
struct KeyPairs {
    cases: Vec<KeyPair>,
}

#[derive(Deserialize)]
struct KeyPair {
    access_key_id: String,
    secret: String,
    public_x: String,
    public_y: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn v4a_keys_are_derived_as_published() {
    let KeyPairs { cases } = read_json("vectors/computed/sigv4a-key-derivation.json");
    assert!(cases.len() >= 3);
    for case in cases {
        let key = PublicKey::derive(case.secret.as_bytes(), &case.access_key_id).expect("a key");
        let (x, y) = key.coordinates();
        assert_eq!((hex(&x), hex(&y)), (case.public_x, case.public_y));
        assert_eq!(PublicKey::from_coordinates(&x, &y), Some(key));
    }
    assert_eq!(PublicKey::from_coordinates(&[1; 32], &[1; 32]), None);
}

#[derive(Deserialize)]
struct ChunkedBodies {
    access_key_id: String,
    secret: String,
    cases: Vec<ChunkedBody>,
}

#[derive(Deserialize)]
struct ChunkedBody {
    string_to_sign: String,
    seed_signature: String,
    chunks: Vec<Chunk>,
    trailer: Option<Trailer>,
}

#[derive(Deserialize)]
struct Chunk {
    size: usize,
    fill: String,
    string_to_sign: String,
    signature: String,
    wire_header: String,
}

#[derive(Deserialize)]
struct Trailer {
    canonical: String,
    string_to_sign: String,
    signature: String,
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn v4a_chunks_and_trailers_are_signed_as_published() {
    let bodies: ChunkedBodies = read_json("vectors/computed/sigv4a-chunked.json");
    let key = PublicKey::derive(bodies.secret.as_bytes(), &bodies.access_key_id).expect("a key");
    let date = AmzDate::parse(b"20130524T000000Z").expect("a date");
    let scope = ChunkScope { date, scope: "20130524/s3/aws4_request" };
    for body in &bodies.cases {
        assert!(key.verifies(body.string_to_sign.as_bytes(), &unhex(&body.seed_signature)));
        let mut previous = body.seed_signature.clone();
        for chunk in &body.chunks {
            let hash = Sha256::digest(chunk.fill.repeat(chunk.size)).into();
            let text = scope.chunk(&previous, &hash);
            assert_eq!(text, chunk.string_to_sign);
            assert!(key.verifies(text.as_bytes(), &unhex(&chunk.signature)));
            assert!(!key.verifies(text.as_bytes(), &unhex(&body.seed_signature)));
            let padded = chunk.wire_header.trim_end().split('=').nth(1).expect("a signature").as_bytes();
            assert_eq!((padded.len(), unpadded(padded)), (PADDED_SIGNATURE, chunk.signature.as_bytes()));
            previous = chunk.signature.clone();
        }
        if let Some(trailer) = &body.trailer {
            let text = scope.trailer(&previous, &Sha256::digest(&trailer.canonical).into());
            assert_eq!(text, trailer.string_to_sign);
            assert!(key.verifies(text.as_bytes(), &unhex(&trailer.signature)));
        }
    }
}

/// A request of Signature V2 out of the documentation, with some text in it replaced.
fn explain_v2(changes: &[(&str, &str)]) -> Explanation {
    let mut request = "GET /photos/puppy.jpg HTTP/1.1\r\nHost: awsexamplebucket1.us-west-1.s3.amazonaws.com\r\n\
        Date: Tue, 27 Mar 2007 19:36:42 +0000\r\n\
        Authorization: AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=\r\n\r\n"
        .to_owned();
    for (from, to) in changes {
        assert!(request.contains(from), "{from}");
        request = request.replace(from, to);
    }
    let secret = Some(&b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"[..]);
    explain(request.as_bytes(), &ExplainOptions { secret, at: 1_175_024_202, ..ExplainOptions::default() })
}

#[test]
fn v2_is_evaluated_and_marked() {
    let explanation = explain_v2(&[]);
    assert_eq!((explanation.decision, explanation.refused_by_default), (Decision::Accept, true));
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["refused_by_default"], true);
}

#[test]
fn v2_requests_that_were_changed_are_refused() {
    for (change, deviation) in [
        (("puppy.jpg", "puppy.jpg?acl"), Some("resource=without:acl")),
        (("puppy.jpg", "puppy.jpg?policy"), Some("resource=without:policy")),
        (("puppy.jpg", "puppy.jpg?x-amz-acl=public-read"), Some("header=without:x-amz-acl")),
        (("Date:", "x-amz-copy-source: /a/b\r\nDate:"), Some("header=without:x-amz-copy-source")),
        (("GET", "DELETE"), Some("method=GET")),
        (("/photos", "//photos"), None),
        (("19:36", "19:37"), None),
        (("19:36", "20:36"), None),
        (("qgk2", "qgk3"), None),
        (("Date:", "Date: Tue, 27 Mar 2007 19:36:42 +0000\r\nDate:"), None),
        (("puppy.jpg", "puppy.jpg?AWSAccessKeyId=a&Signature=b&Expires=1"), None),
    ] {
        let explanation = explain_v2(&[change]);
        assert_eq!(explanation.decision, Decision::Refuse, "{change:?}: {explanation:?}");
        let named = explanation.deviations.first().map(|deviation| &*deviation.name);
        assert_eq!(named, deviation, "{change:?}: {explanation:?}");
    }
}
