//! `POST /v1/verify`, health, readiness and metrics.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::{Answer, SIGNING_KEY, Served, ask, config, rpc};

fn call(service: &str) -> Value {
    json!({
        "method": "GET",
        "target": "/bucket/a%20b?x=1",
        "headers": [["Host", "h"], ["X-Amz-Date", "20261121T120000Z"]],
        "expect": {"service": service, "region": null}
    })
}

async fn verify(served: &Served, call: &Value) -> Answer {
    ask(served.address, "POST /v1/verify", call.to_string()).await
}

/// The JSON of an answer without its request id, which must be the one in the header.
fn told(answer: &Answer) -> Value {
    let mut json = answer.json();
    let id = json.as_object_mut().expect("an object").remove("request_id").expect("an id");
    assert_eq!(id, answer.header("x-request-id"));
    json
}

#[tokio::test]
async fn accepted() {
    let (served, _) = rpc(&config("")).await;
    let answer = verify(&served, &call("s3")).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "decision": "accept",
        "signature_version": "v4",
        "access_key_id": "AKIARZPUZDIKAAERULUU",
        "account": "123456789012",
        "principal": {"type": "User", "arn": "arn:aws:iam::123456789012:user/alice", "user_id": "AIDAEXAMPLE"},
        "principal_source": "registry",
        "credential_scope": "20261121/local/s3/aws4_request",
        "signed_headers": ["host", "x-amz-date"],
        "payload": "checked",
        "valid_until": "2026-11-21T12:00:00Z",
        "deny_list_as_of": "2026-11-21T11:45:00Z"
    });
    assert_eq!(told(&answer), expected);
    let nobody = told(&verify(&served, &call("nobody")).await);
    assert_eq!(nobody["principal"], Value::Null);
    assert_eq!((&nobody["principal_source"], &nobody["payload"]), (&json!("none"), &json!("not_checked")));
}

#[tokio::test]
async fn what_a_decoder_of_the_body_needs() {
    let (served, _) = rpc(&config("[rpc]\nanyone = { want_signing_key = true }\n")).await;
    let answer = told(&verify(&served, &call("chunks")).await);
    let streaming = json!({
        "kind": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "date": "20261121T114500Z", "seed_signature": "5e".repeat(32)
    });
    assert_eq!((&answer["streaming"], &answer["signing_key"]), (&streaming, &Value::Null));

    let mut wanted = call("s3");
    wanted["want_signing_key"] = true.into();
    let answer = told(&verify(&served, &wanted).await);
    assert_eq!((&answer["streaming"], &answer["signing_key"]), (&Value::Null, &json!(SIGNING_KEY)));
    wanted["want_signing_key"] = false.into();
    assert_eq!(told(&verify(&served, &wanted).await)["signing_key"], Value::Null);
}

#[tokio::test]
async fn refused() {
    let (served, _) = rpc(&config("")).await;
    let answer = verify(&served, &call("refuse")).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "decision": "refuse", "code": "SignatureDoesNotMatch", "message": "It does not match.", "http_status": 403,
        "elements": [["Region", "eu-1"]]
    });
    assert_eq!(told(&answer), expected);
}

#[tokio::test]
async fn forms() {
    let (served, authority) = rpc(&config("")).await;
    let posted = |target: &str| {
        let mut call = call("s3");
        call["method"] = json!("POST");
        call["target"] = json!(target);
        call["headers"] = json!([["Content-Type", "multipart/form-data; boundary=b"]]);
        call
    };
    let form =
        json!({"fields": [["key", "up/a"], ["Policy", "e30="]], "file_name": "a", "file_size": 7, "bucket": "c"});
    let mut sent = posted("/");
    sent["form"] = form.clone();
    assert_eq!(verify(&served, &sent).await.status, 200);
    let fields = "Fields([(\"key\", \"up/a\"), (\"Policy\", \"e30=\")], FormFile { name: Some(\"a\"), size: Some(7) })";
    assert_eq!(authority.last().form, Some(format!("PostForm {{ content: {fields}, bucket: Some(\"c\") }}")));

    // A body is the form where the credentials can stand nowhere else.
    let mut sent = posted("/b");
    sent["body"] = json!(STANDARD.encode("--b"));
    assert_eq!(verify(&served, &sent).await.status, 200);
    let body = |bucket: &str| Some(format!("PostForm {{ content: Body([45, 45, 98]), bucket: {bucket} }}"));
    assert_eq!(authority.last().form, body("None"));
    sent["form"] = json!({"bucket": "c"});
    assert_eq!(verify(&served, &sent).await.status, 200);
    assert_eq!(authority.last().form, body("Some(\"c\")"));
    sent.as_object_mut().expect("an object").remove("form");
    sent["expect"]["service"] = json!("iam");
    assert_eq!(verify(&served, &sent).await.status, 200);
    assert_eq!(authority.last().form, None, "no form outside S3");
    sent["expect"]["service"] = json!("s3");
    sent["headers"].as_array_mut().expect("headers").push(json!(["Authorization", "AWS4-HMAC-SHA256 x"]));
    assert_eq!(verify(&served, &sent).await.status, 200);
    assert_eq!(authority.last().form, None, "the head has credentials");

    let asked = authority.times();
    let with = |mut call: Value, changes: &[(&str, Value)]| {
        changes.iter().for_each(|(key, value)| call[*key] = value.clone());
        call
    };
    for (sent, error, at) in [
        (posted("/b"), "body_required", "body"),
        (with(posted("/b"), &[("payload_sha256", json!("ab".repeat(32)))]), "body_required", "body"),
        (with(posted("/b"), &[("form", json!({}))]), "body_required", "body"),
        (with(posted("/b"), &[("form", form.clone()), ("body", json!("YQ=="))]), "conflicting_fields", "form.fields"),
        (with(posted("/"), &[("body", json!("YQ=="))]), "missing_field", "form.bucket"),
        (with(posted("/?a"), &[("form", json!({})), ("body", json!("YQ=="))]), "missing_field", "form.bucket"),
        (with(posted("http://h"), &[("form", json!({})), ("body", json!("YQ=="))]), "missing_field", "form.bucket"),
        (with(posted("http://h/"), &[("form", json!({})), ("body", json!("YQ=="))]), "missing_field", "form.bucket"),
        (with(posted("HTTP://h?/b"), &[("form", json!({})), ("body", json!("YQ=="))]), "missing_field", "form.bucket"),
        (with(posted("/b"), &[("form", json!({"file": "a"}))]), "bad_json", "form.file"),
        (with(posted("/b"), &[("form", json!({"file_size": -1}))]), "bad_json", "form.file_size"),
    ] {
        let answer = verify(&served, &sent).await;
        let told = told(&answer);
        assert_eq!((answer.status, &told["error"], &told["at"]), (400, &json!(error), &json!(at)), "{sent} {told}");
    }
    assert_eq!(authority.times(), asked);

    let accepted = told(&verify(&served, &call("form")).await);
    let expected = json!({"bucket": "b", "key": "up/a", "content_length_range": [1, 5]});
    assert_eq!(accepted["form"], expected);
}

#[tokio::test]
async fn not_decided() {
    let (served, _) = rpc(&config("")).await;
    let answer = verify(&served, &call("unavailable")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "2"));
    let expected = json!({"decision": "unavailable", "reason": "the HSM does not answer", "retry_after_ms": 1500});
    assert_eq!(told(&answer), expected);
}

#[tokio::test]
async fn malformed_by_the_authority() {
    let (served, _) = rpc(&config("")).await;
    let answer = verify(&served, &call("malformed")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(told(&answer), json!({"error": "body_required", "message": "give the body or its hash", "at": "body"}));
}

#[tokio::test]
async fn a_panic_is_500_in_json() {
    let (served, _) = rpc(&config("")).await;
    let answer = verify(&served, &call("panic")).await;
    assert_eq!(answer.status, 500);
    assert_eq!(told(&answer)["error"], "internal_error");
}

#[tokio::test]
async fn the_call_arrives_as_it_was_sent() {
    let (served, authority) = rpc(&config("")).await;
    let mut sent = call("s3");
    // An escape in JSON, and a letter that takes two bytes.
    sent["headers"] = json!([["A", "\u{e9}"], ["a", "tab\tquote\""], ["A", ""]]);
    sent["expect"]["region"] = json!("eu-1");
    sent["body"] = json!(STANDARD.encode([0, 255, 10]));
    assert_eq!(verify(&served, &sent).await.status, 200);
    let asked = authority.last();
    let head = "GET /bucket/a%20b?x=1\nA: \u{e9}\na: tab\tquote\"\nA: \n";
    assert_eq!(String::from_utf8(asked.head).expect("UTF-8"), head);
    assert_eq!((asked.body, asked.region.as_deref()), (Some(vec![0, 255, 10]), Some("eu-1")));

    let raw = b"GET / HTTP/1.1\r\nx-raw: \xff\xfe\r\n\r\n";
    let sent = json!({"head": STANDARD.encode(raw), "payload_sha256": "AB".repeat(32), "expect": {"service": "s3"}});
    assert_eq!(verify(&served, &sent).await.status, 200);
    let asked = authority.last();
    assert_eq!((asked.head, asked.payload_sha256), (b"GET /\nx-raw: \xff\xfe\n".to_vec(), Some([0xab; 32])));
    assert_eq!((asked.body, asked.region), (None, None));
}

/// Changes one member of a good call; `null` takes it away.
fn changed(changes: &[(&str, Value)]) -> String {
    let mut call = call("s3");
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = call.pointer_mut(parent).expect("it is there").as_object_mut().expect("an object");
        match value {
            Value::Null => drop(parent.remove(key)),
            value => drop(parent.insert(key.to_owned(), value.clone())),
        }
    }
    call.to_string()
}

#[tokio::test]
async fn a_malformed_call_is_told_what_and_where() {
    let headers = |count| Value::from(vec![json!(["a", "b"]); count]);
    let head = |length: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(length - 23));
    let base64 = |length| json!(STANDARD.encode(vec![b'a'; length]));
    let raw =
        |head: Value| [("/head", head), ("/method", Value::Null), ("/target", Value::Null), ("/headers", Value::Null)];
    #[rustfmt::skip]
    let rows: Vec<(String, u16, &str, &str)> = vec![
        // call, status, error, at
        (String::new(), 400, "bad_json", ""),
        ("{".into(), 400, "bad_json", ""),
        ("[]".into(), 400, "bad_json", ""),
        ("{} {}".into(), 400, "bad_json", ""),
        ("{\"method\":\"a\",\"method\":\"b\"}".into(), 400, "bad_json", ""),
        (changed(&[("/more", json!(1))]), 400, "bad_json", "more"),
        (changed(&[("/expect/more", json!(1))]), 400, "bad_json", "expect.more"),
        (changed(&[("/method", json!(1))]), 400, "bad_json", "method"),
        (changed(&[("/headers", json!({"host": "h"}))]), 400, "bad_json", "headers"),
        (changed(&[("/headers", json!([["a", "b"], ["c"]]))]), 400, "bad_json", "headers[1]"),
        (changed(&[("/headers", json!([["a", "b", "c"]]))]), 400, "bad_json", "headers[0]"),
        (changed(&[("/headers", json!([["a", 5]]))]), 400, "bad_json", "headers[0][1]"),
        (changed(&[("/headers", headers(129))]), 400, "bad_json", "headers"),
        (changed(&[("/method", Value::Null)]), 400, "missing_field", "method"),
        (changed(&[("/target", Value::Null)]), 400, "missing_field", "target"),
        (changed(&[("/headers", Value::Null)]), 400, "missing_field", "headers"),
        (changed(&[("/expect", Value::Null)]), 400, "missing_field", "expect"),
        (changed(&[("/expect/service", Value::Null)]), 400, "bad_json", "expect"),
        (changed(&[("/expect/service", json!(""))]), 400, "bad_field", "expect.service"),
        (changed(&[("/expect/service", json!("s3/x"))]), 400, "bad_field", "expect.service"),
        (changed(&[("/expect/region", json!("a".repeat(33)))]), 400, "bad_field", "expect.region"),
        (changed(&[("/head", base64(10))]), 400, "conflicting_fields", "head"),
        (changed(&[("/body", json!("YQ"))]), 400, "bad_field", "body"),
        (changed(&[("/body", json!("-_-_"))]), 400, "bad_field", "body"),
        (changed(&raw(json!("?"))), 400, "bad_field", "head"),
        (changed(&raw(base64(10))), 400, "bad_head", "head"),
        (changed(&raw(json!(STANDARD.encode("GET / HTTP/1.1\r\n\r\nbody")))), 400, "bad_head", "head"),
        (changed(&raw(json!(STANDARD.encode(head(32 * 1024 + 1))))), 400, "bad_head", "head"),
        (changed(&[("/target", json!("a".repeat(32 * 1024)))]), 400, "bad_head", "headers"),
        (changed(&[("/target", json!(""))]), 400, "bad_head", "target"),
        (changed(&[("/method", json!("GE T"))]), 400, "bad_head", "method"),
        (changed(&[("/headers", json!([["a", "b"], ["a b", "c"]]))]), 400, "bad_head", "headers[1]"),
        (changed(&[("/headers", json!([["a", "b\nc: d"]]))]), 400, "bad_head", "headers[0]"),
        (changed(&[("/payload_sha256", json!("ab"))]), 400, "bad_field", "payload_sha256"),
        (changed(&[("/payload_sha256", json!("xy".repeat(32)))]), 400, "bad_field", "payload_sha256"),
        (changed(&[("/payload_sha256", json!("ab".repeat(33)))]), 400, "bad_field", "payload_sha256"),
        (changed(&[("/payload_sha256", json!("ab".repeat(32))), ("/body", json!(""))]), 400, "conflicting_fields", "payload_sha256"),
        (changed(&[("/body", base64(1024 * 1024 + 1))]), 413, "too_large", "body"),
        (changed(&[("/body", base64(1400 * 1024))]), 413, "too_large", ""),
    ];
    let (served, authority) = rpc(&config("")).await;
    for (sent, status, error, at) in rows {
        let shown = &sent[..sent.len().min(200)];
        let answer = ask(served.address, "POST /v1/verify", sent.clone()).await;
        let told = told(&answer);
        assert_eq!((answer.status, &told["error"]), (status, &json!(error)), "{shown} {told}");
        assert_eq!(told.get("at").and_then(Value::as_str).unwrap_or(""), at, "{shown} {told}");
        assert!(told["message"].as_str().is_some_and(|message| message.len() > 10), "{shown} {told}");
    }
    assert_eq!(authority.times(), 0);
    // The same with nothing wrong, and with everything as large as it may be.
    assert_eq!(ask(served.address, "POST /v1/verify", changed(&[])).await.status, 200);
    let largest = [("/body", base64(1024 * 1024)), ("/headers", headers(128))];
    assert_eq!(ask(served.address, "POST /v1/verify", changed(&largest)).await.status, 200);
    let largest_head = [("/body", base64(1024 * 1024))]
        .into_iter()
        .chain(raw(json!(STANDARD.encode(head(32 * 1024)))))
        .collect::<Vec<_>>();
    assert_eq!(ask(served.address, "POST /v1/verify", changed(&largest_head)).await.status, 200);
    assert_eq!(authority.times(), 3);
}

#[tokio::test]
async fn other_paths_and_methods() {
    let (served, _) = rpc(&config("")).await;
    for path in ["/", "/v1/verify/", "/v1/verifyx", "/V1/VERIFY"] {
        let answer = ask(served.address, &format!("POST {path}"), "").await;
        assert_eq!((answer.status, &told(&answer)["error"]), (404, &json!("not_found")), "{path}");
    }
    for (request, allowed) in [("GET /v1/verify", "POST"), ("POST /healthz", "GET"), ("DELETE /metrics", "GET")] {
        let answer = ask(served.address, request, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{request}");
        assert_eq!(told(&answer)["error"], "method_not_allowed");
    }
}

#[tokio::test]
async fn health_and_readiness() {
    let (served, authority) = rpc(&config("")).await;
    let status = async |path: &str| {
        let answer = ask(served.address, &format!("GET {path}"), "").await;
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(status("/healthz").await, (200, "running\n".into()));
    assert_eq!(status("/readyz").await, (200, "ready\n".into()));
    *authority.troubles.lock().expect("no panic") = vec!["the HSM is down".into(), "the clock jumped".into()];
    assert_eq!(status("/healthz").await, (200, "running\n".into()));
    assert_eq!(status("/readyz").await, (503, "the HSM is down\nthe clock jumped\n".into()));
}

#[tokio::test]
async fn metrics() {
    let (served, _) = rpc(&config("")).await;
    for service in ["s3", "s3", "refuse", "unavailable", "malformed"] {
        verify(&served, &call(service)).await;
    }
    let answer = ask(served.address, "GET /metrics", "").await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let lines: Vec<_> = answer.text().lines().collect();
    for line in [
        "rederive_hsm_requests_total{kind=\"signing_key\"} 7",
        "rederive_hsm_requests_total{kind=\"check\"} 2",
        "rederive_verify_total{decision=\"accept\",code=\"\"} 2",
        "rederive_verify_total{decision=\"refuse\",code=\"SignatureDoesNotMatch\"} 1",
        "rederive_verify_total{decision=\"unavailable\",code=\"\"} 1",
        "rederive_verify_total{decision=\"malformed\",code=\"body_required\"} 1",
        "rederive_verify_seconds_count{hsm=\"yes\"} 2",
        "rederive_verify_seconds_count{hsm=\"no\"} 3",
        "# EOF",
    ] {
        assert!(lines.contains(&line), "no `{line}` in {}", answer.text());
    }
}
