//! Forms with a POST policy: those that clients posted, and variations row by row (`tests/vectors/forms`).

mod sigv4_support;

use std::collections::BTreeMap;

use base64::prelude::*;
use rederive::explain::{Decision, ExplainOptions, explain};
use rederive::sigv2::FormRequest;
use rederive::sigv4::{
    Body, Carrier, Expectation, Family, FormContent, FormFile, Limits, MAX_FORM_FIELDS, Outside, PayloadStatus,
    PostForm, PreparedSigningKey, Regions, RequestHead, SignedRequest, StringToSignError, UnixSeconds, VerifiedForm,
};
use rederive_hsm::signing_key::SigningKey;
use serde::Deserialize;
use sigv4_support::{case_folders, read, read_json, read_text, tests_path, unix};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20260102/local/s3/aws4_request";
const NOW: &str = "20260102T030405Z";

/// What a verifier knows.
#[derive(Clone, Copy)]
struct Verifier<'a> {
    secret: &'a str,
    regions: Regions<'a>,
    now: UnixSeconds,
}

impl Verifier<'_> {
    fn verify<'a>(&self, head: &RequestHead<'a>, form: &PostForm<'a>) -> Result<VerifiedForm, Outside> {
        self.steps(head, form).map_err(|error| match error {
            StringToSignError::Refused(refusal) => refusal.outside(Family::S3),
            StringToSignError::BodyRequired => panic!("a form does not need a body"),
        })
    }

    fn steps<'a>(&self, head: &RequestHead<'a>, form: &PostForm<'a>) -> Result<VerifiedForm, StringToSignError> {
        let request = SignedRequest::parse_form(head, form)?;
        if let FormContent::Fields(fields, _) = &form.content {
            let token =
                fields.iter().find(|(name, _)| *name == "x-amz-security-token").map(|(_, value)| value.as_bytes());
            assert_eq!(request.session_token().as_deref(), token);
        }
        let scoped = request.check_scope_and_time(&Expectation { service: "s3", regions: self.regions }, self.now)?;
        let string_to_sign = scoped.string_to_sign(Body::Absent)?;
        let scope = string_to_sign.scope();
        let date = scope.date().as_bytes().try_into().expect("eight digits");
        let key = SigningKey::derive_from_text(self.secret.as_bytes(), date, scope.region(), scope.service());
        let verified = string_to_sign.verify(&PreparedSigningKey::new(key))?;
        assert_eq!((verified.carrier(), verified.payload()), (Carrier::Form, PayloadStatus::Unsigned));
        assert_eq!(verified.signed_headers().iter().count(), 0);
        Ok(verified.form().expect("it was a form").clone())
    }

    fn verify_raw(&self, raw: &[u8]) -> Result<VerifiedForm, Outside> {
        let (head, body) = RequestHead::parse(raw, &Limits::default()).expect("a request");
        self.verify(&head, &PostForm { content: FormContent::Body(&raw[body..]), bucket: None })
    }
}

/// A form that a client posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    secret: String,
    now: String,
    key: String,
}

impl Posted {
    fn verifier(&self) -> Verifier<'_> {
        Verifier { secret: &self.secret, regions: Regions::Any, now: unix(&self.now) }
    }
}

fn posted() -> Vec<(String, Posted, Vec<u8>)> {
    let folders = case_folders(&tests_path("vectors/forms"));
    let cases = folders.iter().filter(|folder| folder.join("request.http").exists()).map(|folder| {
        let posted = toml::from_str(&read_text(&folder.join("case.toml"))).expect("a case");
        (folder.display().to_string(), posted, read(&folder.join("request.http")))
    });
    let cases: Vec<_> = cases.collect();
    assert!(cases.len() >= 8, "{} forms", cases.len());
    cases
}

#[test]
fn forms_that_clients_posted_are_accepted() {
    for (case, posted, raw) in posted() {
        let verified = posted.verifier().verify_raw(&raw).unwrap_or_else(|outside| panic!("{case}: {outside:?}"));
        assert_eq!((verified.bucket.as_str(), &verified.key), ("labbucket", &posted.key), "{case}");
        assert_eq!(verified.content_length_range, None, "{case}: the size is known");
        let secret = Some(posted.secret.as_bytes());
        let options = ExplainOptions { secret, at: unix(&posted.now), ..ExplainOptions::default() };
        let explanation = explain(&raw, &options);
        assert_eq!(explanation.decision, Decision::Accept, "{case}: {explanation:?}");
        let policy = explanation.string_to_sign.expect("a form signs its policy");
        assert!(String::from_utf8_lossy(&raw).contains(&policy) && policy.len() > 200, "{case}: {policy}");
        let another = explain(&raw, &ExplainOptions { secret: Some(b"another"), ..options });
        assert_eq!(another.code.as_deref(), Some("SignatureDoesNotMatch"), "{case}");
    }
}

/// Where the part of the file begins, and where the file itself does.
fn file_of(raw: &[u8]) -> (usize, usize) {
    let find = |text: &[u8], from: usize| {
        let found = raw[from..].windows(text.len()).position(|window| window.eq_ignore_ascii_case(text));
        from + found.expect("a file")
    };
    let part = find(b"name=\"file\"", 0);
    (part, find(b"\r\n\r\n", part) + 4)
}

#[test]
fn no_flipped_bit_in_front_of_the_file_makes_another_form_of_it() {
    for (case, posted, raw) in posted() {
        let verifier = posted.verifier();
        let honest = verifier.verify_raw(&raw).expect("it is accepted");
        let (_, body) = RequestHead::parse(&raw, &Limits::default()).expect("a request");
        let open = raw.windows(11).position(|window| window == b"${filename}").map_or(0..0, |at| at..at + 11);
        let ((part, file), mut refused, mut flipped) = (file_of(&raw), 0, raw.clone());
        for bit in body * 8..file * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            match verifier.verify_raw(&flipped) {
                Err(_) => refused += 1,
                // Case does not count in names; what a policy leaves open is the key after its beginning, and with it
                // the file's name.
                Ok(verified) => {
                    assert_eq!(file_of(&flipped), (part, file), "{case}: bit {bit}");
                    let same = flipped[..part].eq_ignore_ascii_case(&raw[..part]);
                    let left_open = verified.key.starts_with("post/") && (open.contains(&(bit / 8)) || bit / 8 > part);
                    assert!((same && verified == honest) || left_open, "{case}: bit {bit}");
                }
            }
            flipped[bit / 8] = raw[bit / 8];
        }
        assert!(refused > 5000, "{case}: {refused}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "b1")]
    target: String,
    bucket: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    policy: Option<String>,
    #[serde(default)]
    with: String,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    unset: Vec<String>,
    #[serde(default = "f_txt")]
    file_name: String,
    #[serde(default = "ten")]
    file_size: i64,
    #[serde(default = "now")]
    now: String,
    verdict: String,
    http_status: Option<u16>,
    message: Option<String>,
    #[serde(default)]
    elements: BTreeMap<String, String>,
    key: Option<String>,
    content_length_range: Option<(u64, u64)>,
}

fn post() -> String {
    "POST".to_owned()
}

fn b1() -> String {
    "/b1".to_owned()
}

fn f_txt() -> String {
    "f.txt".to_owned()
}

fn ten() -> i64 {
    10
}

fn now() -> String {
    NOW.to_owned()
}

/// The fields of a form with this policy, signed.
fn signed_fields(policy: &str) -> Vec<(String, String)> {
    let credentials = format!(
        ", {{\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"}}, {{\"x-amz-credential\": \"{CREDENTIAL}\"}}, {{\"x-amz-date\": \
         \"{NOW}\"}}"
    );
    let policy = BASE64_STANDARD.encode(policy.replace("{credentials}", &credentials));
    let key = SigningKey::derive_from_text(SECRET.as_bytes(), b"20260102", "local", "s3");
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(key.expose()).expect("any length");
    hmac::Mac::update(&mut mac, policy.as_bytes());
    let mut signature = [0; 64];
    let mac = hmac::Mac::finalize(mac).into_bytes();
    let signature = base16ct::lower::encode_str(&mac, &mut signature).expect("64 digits");
    let fields = [
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", CREDENTIAL),
        ("x-amz-date", NOW),
        ("policy", &policy),
        ("x-amz-signature", signature),
    ];
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `{17}` stands for so many letters.
fn lengthened(text: &str) -> String {
    let number = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let long = number.and_then(|(before, (digits, after))| {
        let count = digits.parse().ok()?;
        Some(format!("{before}{}{after}", "x".repeat(count)))
    });
    long.unwrap_or_else(|| text.to_owned())
}

impl Row {
    fn fields(&self) -> Vec<(String, String)> {
        let policy = format!(
            "{{\"expiration\": \"2026-01-02T04:04:05Z\", \"conditions\": [{{\"bucket\": \"b1\"}}, [\"starts-with\", \
             \"$key\", \"up/\"], {{\"acl\": \"private\"}}, [\"content-length-range\", 1, 100]{{credentials}}{}]}}",
            self.with
        );
        let mut fields = vec![("key".to_owned(), "up/a".to_owned()), ("acl".to_owned(), "private".to_owned())];
        fields.extend(signed_fields(self.policy.as_ref().unwrap_or(&policy)));
        fields.retain(|(name, _)| !self.unset.contains(name));
        for (name, value) in &self.set {
            match fields.iter_mut().find(|(given, _)| given == name) {
                Some((_, old)) => *old = lengthened(value),
                None => fields.push((name.clone(), lengthened(value))),
            }
        }
        fields
    }

    fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: h\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    }

    fn verify(&self, content: FormContent<'_>) -> Result<VerifiedForm, Outside> {
        let head = self.head();
        let (head, _) = RequestHead::parse(head.as_bytes(), &Limits::default()).expect("a head");
        let verifier = Verifier { secret: SECRET, regions: Regions::Named("local"), now: unix(&self.now) };
        verifier.verify(&head, &PostForm { content, bucket: self.bucket.as_deref() })
    }

    fn check(&self, way: &str, verdict: &Result<VerifiedForm, Outside>) {
        let Self { name, .. } = self;
        match (self.verdict.as_str(), verdict) {
            ("accept", Ok(verified)) => {
                assert_eq!(verified.bucket, "b1", "{name}");
                assert_eq!(verified.content_length_range, self.content_length_range, "{name}");
                assert!(self.key.as_ref().is_none_or(|key| *key == verified.key), "{name}: {verified:?}");
            }
            (code, Err(outside)) => {
                assert_eq!(outside.code, code, "{name}, {way}: {outside:?}");
                assert_eq!(Some(outside.http_status), self.http_status, "{name}, {way}: {outside:?}");
                let message = self.message.as_deref().unwrap_or_default();
                assert!(outside.message.contains(message) && !outside.message.is_empty(), "{name}, {way}: {outside:?}");
                let has = |(name, value): (&String, &String)| {
                    outside.elements.iter().any(|(given, text)| given == name && text == value)
                };
                assert!(self.elements.iter().all(has), "{name}, {way}: {outside:?}");
                assert!(outside.message.len() < 1000, "{name}: a text of {} bytes", outside.message.len());
            }
            (_, Ok(verified)) => panic!("{name}, {way}: {verified:?}"),
        }
    }
}

/// A body with these fields and a file.
fn body(fields: &[(String, String)], file_name: &str, file_size: usize) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    let file_name = if file_name.is_empty() { String::new() } else { format!("; filename=\"{file_name}\"") };
    body += &format!("--b\r\nContent-Disposition: form-data; name=\"file\"{file_name}\r\n\r\n");
    (body + &"x".repeat(file_size) + "\r\n--b--\r\n").into_bytes()
}

/// Each row twice: with the fields handed in, and with the body that they make.
#[test]
fn variations_of_a_form() {
    let rows: Rows = toml::from_str(&read_text(&tests_path("vectors/forms/rows.toml"))).expect("rows");
    assert!(rows.row.len() >= 108, "{} rows", rows.row.len());
    for row in &rows.row {
        let (fields, file_name) = (row.fields(), lengthened(&row.file_name));
        let size = u64::try_from(row.file_size).ok();
        let pairs = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let file = FormFile { name: (!file_name.is_empty()).then_some(&*file_name), size };
        row.check("fields", &row.verify(FormContent::Fields(pairs, file)));
        if let Some(size) = size {
            let body = body(&fields, &file_name, usize::try_from(size).expect("small"));
            row.check("body", &row.verify(FormContent::Body(&body)));
        }
    }
}

#[test]
fn no_more_than_a_hundred_fields() {
    let verify = |extra: usize| {
        let mut fields = vec![("key".to_owned(), "up/a".to_owned()), ("acl".to_owned(), "private".to_owned())];
        fields.extend(signed_fields(
            "{\"expiration\": \"2026-01-02T04:04:05Z\", \"conditions\": [{\"bucket\": \"b1\"}, {\"key\": \"up/a\"}, \
             {\"acl\": \"private\"}{credentials}]}",
        ));
        fields.extend((0..extra).map(|number| (format!("x-ignore-{number}"), String::new())));
        let body = body(&fields, "f", 1);
        let raw = [b"POST /b1 HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n", &body[..]].concat();
        Verifier { secret: SECRET, regions: Regions::Any, now: unix(NOW) }.verify_raw(&raw)
    };
    assert!(verify(93).is_ok());
    assert_eq!(verify(94).expect_err("too many").code, "MaxPostPreDataLengthExceededError");
}

/// Fields may take so many bytes and not one more, whether they are handed in or stand in a body, where the lines between
/// them count as well. The file may be larger.
#[test]
fn the_bound_on_fields_is_exact() {
    fn verify(content: FormContent<'_>) -> Result<(), &'static str> {
        let head = b"POST /b1 HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n";
        let (head, _) = RequestHead::parse(head, &Limits::default()).expect("a head");
        let verifier = Verifier { secret: SECRET, regions: Regions::Any, now: unix(NOW) };
        let verdict = verifier.verify(&head, &PostForm { content, bucket: None });
        verdict.map(|_| ()).map_err(|outside| outside.code)
    }
    let fields = |filler: usize| {
        let mut fields = signed_fields(
            "{\"expiration\": \"2026-01-02T04:04:05Z\", \"conditions\": [{\"bucket\": \"b1\"}, {\"key\": \"up/a\"}{credentials}]}",
        );
        fields.push(("key".to_owned(), "up/a".to_owned()));
        fields.push(("x-ignore-a".to_owned(), "x".repeat(filler)));
        fields
    };
    let bytes: usize = fields(0).iter().map(|(name, value)| name.len() + value.len()).sum();
    let without = String::from_utf8(body(&fields(0), "f", 0)).expect("text");
    let before_file = without.find("\r\nContent-Disposition: form-data; name=\"file\"").expect("the file's part");
    for (more, verdict) in [(0, Ok(())), (1, Err("MaxPostPreDataLengthExceededError"))] {
        let handed_in = fields(MAX_FORM_FIELDS - bytes + more);
        let pairs = handed_in.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(verify(FormContent::Fields(pairs, FormFile::default())), verdict, "{more}");
        let body = body(&fields(MAX_FORM_FIELDS - before_file + more), "f", 2 * MAX_FORM_FIELDS);
        assert_eq!(verify(FormContent::Body(&body)), verdict, "{more}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bodies {
    row: Vec<BodyRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyRow {
    name: String,
    #[serde(default = "form_data")]
    content_type: String,
    /// What stands between parts in place of `b`.
    boundary: Option<String>,
    body: String,
    verdict: String,
}

fn form_data() -> String {
    "multipart/form-data; boundary=b".to_owned()
}

#[test]
fn bodies_of_forms() {
    let policy = "{\"expiration\": \"2026-01-02T04:04:05Z\", \"conditions\": [{\"bucket\": \"b1\"}, {\"key\": \"up/a\"}\
                  {credentials}]}";
    let part = |name: &str, value: &str| format!("--b\nContent-Disposition: form-data; name=\"{name}\"\n\n{value}\n");
    let credentials: String = signed_fields(policy).iter().map(|(name, value)| part(name, value)).collect();
    let rows: Bodies = toml::from_str(&read_text(&tests_path("vectors/forms/bodies.toml"))).expect("rows");
    assert!(rows.row.len() >= 46, "{} rows", rows.row.len());
    for BodyRow { name, content_type, boundary, body, verdict } in &rows.row {
        let body = body.replace("{credentials}", &credentials).replace("{key}", &part("key", "up/a"));
        let body = body.replace("{file}", &part("file", "hello")).replace("{end}", "--b--\n");
        let body = body.replace("--b", &format!("--{}", boundary.as_deref().unwrap_or("b")));
        // A line break that is not to become CRLF is written as `\n` twice escaped.
        let body = body.replace('\n', "\r\n").replace("\\n", "\n");
        let raw = format!("POST /b1 HTTP/1.1\r\nContent-Type: {content_type}\r\n\r\n{body}");
        let verifier = Verifier { secret: SECRET, regions: Regions::Any, now: unix(NOW) };
        match (verdict.as_str(), verifier.verify_raw(raw.as_bytes())) {
            ("accept", Ok(verified)) => assert_eq!(verified.key, "up/a", "{name}"),
            (code, Err(outside)) => assert_eq!(outside.code, code, "{name}: {outside:?}"),
            (_, Ok(verified)) => panic!("{name}: {verified:?}"),
        }
    }
}

#[test]
fn a_field_that_is_not_text_is_refused() {
    let mut raw = b"POST /b1 HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n".to_vec();
    raw.extend(body(&[("key".to_owned(), "?".to_owned())], "f", 1));
    let at = raw.iter().rposition(|byte| *byte == b'?').expect("there");
    raw[at] = 0xff;
    let verifier = Verifier { secret: SECRET, regions: Regions::Any, now: unix(NOW) };
    assert_eq!(verifier.verify_raw(&raw).expect_err("no text").code, "MalformedPOSTRequest");
}

/// Outside S3 there are no forms, whatever their credentials are scoped to.
#[test]
fn no_form_is_taken_for_another_service() {
    let fields: Vec<(String, String)> = signed_fields(
        "{\"expiration\": \"2026-01-02T04:04:05Z\", \"conditions\": [{\"bucket\": \"b1\"}, {\"key\": \"k\"}{credentials}]}",
    );
    let of_sts = |text: &str| text.replace("/s3/", "/sts/");
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), of_sts(value))).collect();
    let head = b"POST /b1 HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n";
    let (head, _) = RequestHead::parse(head, &Limits::default()).expect("a head");
    let mut pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pairs.push(("key", "k"));
    let form = PostForm { content: FormContent::Fields(pairs, FormFile::default()), bucket: None };
    let request = SignedRequest::parse_form(&head, &form).expect("well formed");
    let expectation = Expectation { service: "sts", regions: Regions::Any };
    let refusal = request.check_scope_and_time(&expectation, unix(NOW)).expect_err("no form for sts");
    assert_eq!(refusal.outside(Family::Query).code, "MissingAuthenticationToken");
}

#[derive(Deserialize)]
struct BotocoreSigned {
    secret: String,
    cases: BTreeMap<String, serde_json::Value>,
}

#[test]
fn forms_that_botocore_signed_are_accepted() {
    let signed: BotocoreSigned = read_json("vectors/computed/botocore-signed.json");
    for case in ["post-policy-v4", "post-policy-v4-token"] {
        let fields = signed.cases[case]["fields"].as_object().expect("fields");
        let mut pairs: Vec<_> = fields.iter().map(|(name, value)| (&**name, value.as_str().expect("text"))).collect();
        pairs.push(("key", "up/a"));
        let head = b"POST /b1 HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n";
        let (head, _) = RequestHead::parse(head, &Limits::default()).expect("a head");
        let form = PostForm { content: FormContent::Fields(pairs, FormFile::default()), bucket: None };
        let verifier = Verifier { secret: &signed.secret, regions: Regions::Any, now: unix(NOW) };
        let verified = verifier.verify(&head, &form).unwrap_or_else(|outside| panic!("{case}: {outside:?}"));
        assert_eq!(verified.content_length_range, Some((1, 1_048_576)), "{case}");
    }
}

/// A form of Signature V2, with its policy's signature and with another.
#[test]
fn forms_of_signature_v2() {
    let raw = b"POST /b1 HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n";
    for (token, key, is_signed, verdict) in [
        (None, "up/a", true, Ok(())),
        (Some("t"), "up/a", true, Ok(())),
        (None, "up/a", false, Err("SignatureDoesNotMatch")),
        (None, "down/a", true, Err("AccessDenied")),
    ] {
        let with_token = token.map_or("", |_| ", [\"eq\", \"$x-amz-security-token\", \"t\"]");
        let policy = BASE64_STANDARD.encode(format!(
            "{{\"expiration\": \"2026-01-02T04:04:05Z\", \"conditions\": [{{\"bucket\": \"b1\"}}, [\"starts-with\", \"$key\", \
             \"up/\"]{with_token}]}}",
        ));
        let signed = if is_signed { policy.as_bytes() } else { b"another" };
        let mut mac = <hmac::Hmac<sha1::Sha1> as hmac::KeyInit>::new_from_slice(SECRET.as_bytes()).expect("any length");
        hmac::Mac::update(&mut mac, signed);
        let signature = BASE64_STANDARD.encode(hmac::Mac::finalize(mac).into_bytes());
        let id = "AKIAIOSFODNN7EXAMPLE";
        let mut fields = vec![("AWSAccessKeyId", id), ("key", key), ("policy", &*policy), ("signature", &*signature)];
        fields.extend(token.map(|token| ("x-amz-security-token", token)));
        let form = PostForm { content: FormContent::Fields(fields, FormFile::default()), bucket: None };
        let (head, _) = RequestHead::parse(raw, &Limits::default()).expect("a head");
        let request = FormRequest::parse(&head, &form).expect("well formed");
        assert_eq!((request.access_key_id(), request.policy()), (id, &*policy));
        assert_eq!(request.has_session_token(), token.is_some());
        let verified = request.string_to_sign(unix(NOW)).and_then(|text| text.verify(SECRET.as_bytes()).map(|_| ()));
        assert_eq!(
            verified.map_err(|refusal| refusal.outside(Family::S3).code),
            verdict,
            "{token:?} {key} {is_signed}"
        );
    }
}
