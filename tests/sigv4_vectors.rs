//! The published vectors of Signature V4, through the public API: canonical request, string to sign and verdict.
//!
//! A case is a folder or a row; `tests/vectors/known-errors.toml` lists what differs, with reasons.

mod sigv4_support;

use std::path::Path;

use rederive::sigv4::{Body, Family, Limits, PathStyle, RequestHead, SignedRequest};
use rederive_hsm::signing_key::DateKey;
use serde::Deserialize;
use sigv4_support::{Results, Verdict, Verifier, case_folders, read, read_json, read_text, tests_path, unix};

const LIST: &str = "vectors/known-errors.toml";
const DOCUMENTATION_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What a published case says of one signed request.
struct Published<'a> {
    case: String,
    request: Vec<u8>,
    secret: &'a str,
    service: &'a str,
    path_style: PathStyle,
    /// Whether the session token was added after signing.
    omits_token: bool,
    canonical_request: String,
    string_to_sign: Option<String>,
}

/// Runs one request and compares each stage.
fn run(results: &mut Results, published: &Published<'_>) {
    let Published { case, request, .. } = published;
    let (head, body) = match RequestHead::parse(request, &Limits::default()) {
        Ok(parsed) => parsed,
        Err(error) => return results.add(format!("{case}/verdict"), Err(error.to_string())),
    };
    let body = Body::Bytes(&request[body..]);
    let signed = match SignedRequest::parse(&head) {
        Ok(signed) => signed,
        Err(refusal) => return results.add(format!("{case}/verdict"), Err(format!("{refusal:?}"))),
    };
    let family = Family::of(published.service);
    let canonical = match signed.canonical_request_without_token(family, body).expect("a published request") {
        Some(canonical) if published.omits_token => canonical,
        _ => signed.canonical_request_with(published.path_style, family, body).expect("a published request"),
    };
    let text = String::from_utf8(canonical.text().to_vec()).expect("a published request");
    results.compare(format!("{case}/canonical-request"), text, published.canonical_request.clone());
    if let Some(expected) = &published.string_to_sign {
        let got = signed.string_to_sign_text(&canonical.sha256());
        results.compare(format!("{case}/string-to-sign"), got, expected.clone());
    }
    let verifier = Verifier { secret: published.secret, service: published.service, now: signed.date().unix() };
    let verdict = match verifier.verify_head(&head, body) {
        Verdict::Accepted(_) => with_crlf(&verifier, request),
        other => Err(format!("{other:?}")),
    };
    results.add(format!("{case}/verdict"), verdict);
}

/// The same request with line ends of CRLF in its head, folded lines included.
fn with_crlf(verifier: &Verifier<'_>, request: &[u8]) -> Result<(), String> {
    let (_, body) = RequestHead::parse(request, &Limits::default()).expect("it was accepted");
    let head = String::from_utf8_lossy(&request[..body]).replace("\r\n", "\n").replace('\n', "\r\n");
    match verifier.verify(&[head.as_bytes(), &request[body..]].concat()) {
        Verdict::Accepted(_) => Ok(()),
        other => Err(format!("with CRLF: {other:?}")),
    }
}

fn name_under(folder: &Path, root: &str) -> String {
    folder.strip_prefix(tests_path("vectors")).expect(root).display().to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    credentials: Credentials,
    #[serde(rename = "expiration_in_seconds")]
    _expiration_in_seconds: u32,
    normalize: bool,
    #[serde(rename = "region")]
    _region: String,
    service: String,
    #[serde(rename = "sign_body")]
    _sign_body: bool,
    timestamp: String,
    #[serde(default)]
    omit_session_token: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[serde(rename = "access_key_id")]
    _access_key_id: String,
    secret_access_key: String,
    #[serde(default, rename = "token")]
    _token: Option<String>,
}

fn aws_c_auth(results: &mut Results) {
    for folder in case_folders(&tests_path("vectors/aws-c-auth/v4")) {
        let context: Context = serde_json::from_slice(&read(&folder.join("context.json"))).expect("a context");
        assert_eq!(unix(&context.timestamp), unix("20150830T123600Z"), "the time that requests state");
        for carrier in ["header", "query"] {
            let file = |part: &str| folder.join(format!("{carrier}-{part}.txt"));
            let published = Published {
                case: format!("{}/{carrier}", name_under(&folder, "a case")),
                request: read(&file("signed-request")),
                secret: &context.credentials.secret_access_key,
                service: &context.service,
                path_style: if context.normalize { PathStyle::Normalized } else { PathStyle::S3 },
                omits_token: context.omit_session_token,
                canonical_request: read_text(&file("canonical-request")),
                string_to_sign: Some(read_text(&file("string-to-sign"))),
            };
            run(results, &published);
        }
    }
}

fn botocore(results: &mut Results) {
    for folder in case_folders(&tests_path("vectors/botocore-aws4_testsuite")) {
        let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        if !file("sreq").exists() {
            // The root and `normalize-path` hold texts, no case.
            continue;
        }
        let published = Published {
            case: name_under(&folder, "a case"),
            request: read(&file("sreq")),
            secret: DOCUMENTATION_SECRET,
            service: "service",
            path_style: PathStyle::Normalized,
            omits_token: false,
            canonical_request: read_text(&file("creq")),
            string_to_sign: Some(read_text(&file("sts"))),
        };
        run(results, &published);
    }
}

fn smithy(results: &mut Results) {
    for folder in case_folders(&tests_path("vectors/smithy-rs-aws-sigv4")) {
        if !folder.join("request.txt").exists() {
            continue;
        }
        let case = name_under(&folder, "a case");
        let service = if case.ends_with("double-url-encode") { "lambda" } else { "service" };
        let string_to_sign = folder.join("header-string-to-sign.txt");
        // One of the signed requests lacks its HTTP version: its Authorization line is put to the request it is of.
        let signed = read_text(&folder.join("header-signed-request.txt"));
        let authorization = signed.lines().find(|line| line.starts_with("Authorization:")).expect("it is signed");
        let request = format!("{}\n{authorization}\n\n", read_text(&folder.join("request.txt")).trim_end());
        let published = Published {
            case,
            request: request.into_bytes(),
            secret: DOCUMENTATION_SECRET,
            service,
            path_style: PathStyle::Normalized,
            omits_token: false,
            canonical_request: read_text(&folder.join("header-canonical-request.txt")).trim_end().to_owned(),
            string_to_sign: string_to_sign.exists().then(|| read_text(&string_to_sign).trim_end().to_owned()),
        };
        run(results, &published);
    }
}

#[derive(Deserialize)]
struct Documented {
    secret: String,
    single: Vec<Example>,
    chunked: Chunked,
    chunked_trailer: Chunked,
}

#[derive(Deserialize)]
struct Chunked {
    seed: Example,
}

#[derive(Deserialize)]
struct Example {
    name: String,
    method: String,
    target: String,
    target_with_signature: Option<String>,
    headers: Vec<(String, String)>,
    signed_headers: Vec<String>,
    scope: String,
    canonical_request: String,
    string_to_sign: String,
    signature: String,
    #[serde(default)]
    body_utf8: String,
}

impl Example {
    /// The request as it goes over the wire.
    fn raw(&self) -> Vec<u8> {
        let target = self.target_with_signature.as_ref().unwrap_or(&self.target);
        let mut raw = format!("{} {target} HTTP/1.1\r\n", self.method);
        for (name, value) in &self.headers {
            raw += &format!("{name}: {value}\r\n");
        }
        if self.target_with_signature.is_none() {
            let Self { scope, signature, .. } = self;
            let names = self.signed_headers.join(";");
            raw += &format!(
                "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope}, SignedHeaders={names}, \
                 Signature={signature}\r\n"
            );
        }
        format!("{raw}\r\n{}", self.body_utf8).into_bytes()
    }
}

fn aws_docs(results: &mut Results) {
    let documented: Documented = read_json("vectors/aws-docs/s3-sigv4.json");
    let seeds = [&documented.chunked.seed, &documented.chunked_trailer.seed];
    for example in documented.single.iter().chain(seeds) {
        let published = Published {
            case: format!("aws-docs/{}", example.name),
            request: example.raw(),
            secret: &documented.secret,
            service: "s3",
            path_style: PathStyle::S3,
            omits_token: false,
            canonical_request: example.canonical_request.clone(),
            string_to_sign: Some(example.string_to_sign.clone()),
        };
        run(results, &published);
    }
}

#[derive(Deserialize)]
struct BotocoreSigned {
    secret: String,
    cases: std::collections::BTreeMap<String, serde_json::Value>,
}

/// The rows of `botocore-signed.json` that hold a whole request; the others are forms and bodies of other schemes.
fn botocore_signed(results: &mut Results) {
    let signed: BotocoreSigned = read_json("vectors/computed/botocore-signed.json");
    for (name, row) in &signed.cases {
        if row["fields"]["x-amz-signature"].is_string() {
            // Forms: `sigv4_forms` has them.
            continue;
        }
        let (Some(method), Some(target)) = (row["method"].as_str(), row["target"].as_str()) else {
            results.add(format!("computed/{name}/verdict"), Err("not a whole request".to_owned()));
            continue;
        };
        let host = row["host"].as_str().expect("a host");
        let mut raw = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in row["headers"].as_object().into_iter().flatten() {
            raw += &format!("{name}: {}\r\n", value.as_str().expect("text"));
        }
        raw = format!("{raw}\r\n{}", row["body"].as_str().unwrap_or_default());
        let service = ["iam", "sts"].into_iter().find(|service| name.contains(service)).unwrap_or("s3");
        let verifier = Verifier { secret: &signed.secret, service, now: unix("20260102T030405Z") };
        let verdict = verifier.verify(raw.as_bytes());
        let verdict = if verdict.is_accepted() { Ok(()) } else { Err(format!("{verdict:?}")) };
        results.add(format!("computed/{name}/verdict"), verdict);
    }
}

#[test]
fn published_vectors_come_out_as_published() {
    let mut results = Results::default();
    aws_c_auth(&mut results);
    botocore(&mut results);
    smithy(&mut results);
    aws_docs(&mut results);
    botocore_signed(&mut results);
    // Folders that are not found would not fail: the least that each set holds.
    assert!(results.count("aws-c-auth/") >= 38 * 2 * 3);
    assert!(results.count("botocore-aws4_testsuite/") >= 34 * 3);
    assert!(results.count("aws-docs/") >= 7 * 3);
    results.check_against(LIST);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChain {
    secret: String,
    k_signing: String,
}

#[test]
fn signing_key_of_the_general_reference() {
    let chain: KeyChain = read_json("vectors/computed/signing-key.json");
    let key = DateKey::derive_from_text(chain.secret.as_bytes(), b"20150830").region("us-east-1").service("iam");
    let mut text = [0; 64];
    let text = base16ct::lower::encode_str(key.signing_key().expose(), &mut text).expect("64 digits");
    assert_eq!(text, chain.k_signing);
}
