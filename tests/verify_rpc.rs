//! The verification RPC, with requests that boto3 signed.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Dev, Pair, sign};
use serde_json::{Value, json};

fn boto3_call(dev: &Dev, pair: &Pair, kind: &str) -> Value {
    let output = dev.python("sign_s3.py", pair, &[kind]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn requests_signed_by_boto3_are_accepted_with_their_principal() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    for (kind, payload) in [("list", "checked"), ("put", "checked"), ("presigned", "unsigned")] {
        let (status, answer) = dev.verify(&boto3_call(&dev, &alice, kind));
        assert_eq!((status, &answer["decision"]), (200, &json!("accept")), "{kind}: {answer}");
        assert_eq!(answer["access_key_id"], alice.access_key_id);
        assert_eq!(answer["account"], dev.ready.account);
        assert_eq!(answer["principal"]["type"], "user");
        assert_eq!(answer["principal"]["arn"], "arn:aws:iam::123456789012:user/alice");
        assert_eq!(answer["principal_source"], "registry");
        assert_eq!(answer["payload"], payload, "{kind}");
        assert!(answer["signed_headers"].as_array().is_some_and(|list| list.contains(&json!("host"))));
    }
}

#[test]
fn forms_signed_by_boto3_are_accepted_for_what_their_policy_says() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let call = boto3_call(&dev, &alice, "form");
    let (status, answer) = dev.verify(&call);
    assert_eq!((status, &answer["decision"]), (200, &json!("accept")), "{answer}");
    assert_eq!(answer["principal"]["arn"], "arn:aws:iam::123456789012:user/alice");
    assert_eq!(answer["form"], json!({"bucket": "b", "key": "up/a.txt", "content_length_range": [1, 100]}));
    assert_eq!((&answer["payload"], &answer["signed_headers"]), (&json!("unsigned"), &json!([])));

    let with = |change: fn(&mut Value)| {
        let mut call = call.clone();
        change(&mut call);
        dev.verify(&call).1
    };
    let sized = with(|call| call["form"]["file_size"] = json!(100));
    assert_eq!(sized["form"]["content_length_range"], json!(null), "{sized}");
    assert_eq!(with(|call| call["form"]["file_size"] = json!(101))["code"], "EntityTooLarge");
    assert_eq!(with(|call| call["target"] = json!("/other"))["code"], "AccessDenied");
    let more = with(|call| call["form"]["fields"].as_array_mut().expect("fields").push(json!(["x-amz-meta-a", "b"])));
    assert_eq!(more["code"], "AccessDenied", "{more}");
    // No session is known here yet.
    let token = with(|call| {
        call["form"]["fields"].as_array_mut().expect("fields").push(json!(["x-amz-security-token", "b"]));
    });
    assert_eq!(token["code"], "InvalidToken", "{token}");

    dev.aws_json(
        &dev.ready.root,
        &format!("iam update-access-key --user-name alice --access-key-id {} --status Inactive", alice.access_key_id),
    );
    assert_eq!(dev.verify(&call).1["code"], "InvalidAccessKeyId");
}

/// Where a byte of a call may be flipped.
enum Place {
    Target(usize),
    HeaderName(usize, usize),
    HeaderValue(usize, usize),
    Body(usize),
}

fn places(call: &Value) -> Vec<Place> {
    let headers = call["headers"].as_array().expect("headers");
    let mut places: Vec<Place> = (0..call["target"].as_str().expect("text").len()).map(Place::Target).collect();
    for (index, header) in headers.iter().enumerate() {
        places.extend((0..header[0].as_str().expect("text").len()).map(|at| Place::HeaderName(index, at)));
        places.extend((0..header[1].as_str().expect("text").len()).map(|at| Place::HeaderValue(index, at)));
    }
    let body = call["body"].as_str().map_or(0, |body| STANDARD.decode(body).expect("base64").len());
    places.extend((0..body).map(Place::Body));
    places
}

fn flipped(call: &Value, place: &Place) -> Value {
    let flip = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes).unwrap_or_else(|_| "\u{1}".into())
    };
    let mut call = call.clone();
    let mut set = |pointer: &str, at| {
        let text = call.pointer(pointer).and_then(Value::as_str).expect("text");
        *call.pointer_mut(pointer).expect("there") = flip(text, at).into();
    };
    match place {
        Place::Target(at) => set("/target", *at),
        Place::HeaderName(index, at) => set(&format!("/headers/{index}/0"), *at),
        Place::HeaderValue(index, at) => set(&format!("/headers/{index}/1"), *at),
        Place::Body(at) => {
            let mut body = STANDARD.decode(call["body"].as_str().expect("text")).expect("base64");
            body[*at] ^= 1;
            call["body"] = STANDARD.encode(body).into();
        }
    }
    call
}

/// Whether a flip leaves canonical request, string to sign and signature as they are: only in headers that are not signed.
fn harmless(call: &Value, place: &Place) -> bool {
    let (Place::HeaderName(index, _) | Place::HeaderValue(index, _)) = place else { return false };
    let name = |index: usize| call["headers"][index][0].as_str().expect("text").to_ascii_lowercase();
    let authorization = call["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .find(|header| header[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("authorization")));
    let signed = authorization.map_or("SignedHeaders=host,", |header| header[1].as_str().expect("text"));
    let list = signed.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next()).expect("a list");
    name(*index) != "authorization" && !list.split(';').any(|listed| listed == name(*index))
}

#[test]
fn every_flipped_byte_that_counts_is_refused() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let (mut refused, mut passed) = (0, 0);
    for kind in ["list", "put", "presigned"] {
        let call = boto3_call(&dev, &alice, kind);
        for place in places(&call) {
            let (status, answer) = dev.verify(&flipped(&call, &place));
            // A flip can make the call itself malformed (400), which accepts nothing either.
            let accepted = status == 200 && answer["decision"] == "accept";
            if harmless(&call, &place) {
                passed += u32::from(accepted);
            } else {
                assert!(!accepted, "{kind}: {answer}");
                assert!(status == 200 || status == 400, "never 'cannot decide': {status} {answer}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1000 && passed > 10, "the control: flips in unsigned headers are accepted ({refused}, {passed})");
}

#[test]
fn what_is_wrong_is_told_in_the_codes_of_the_service() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let region = dev.ready.region.as_str();
    let good = || sign::s3_get(&alice, region, "s3.example.test", "/b/k");
    let code = |call: &Value| {
        let (status, answer) = dev.verify(call);
        assert_eq!(status, 200, "{answer}");
        answer["code"].as_str().unwrap_or("accept").to_owned()
    };
    assert_eq!(code(&good().call()), "accept");

    let mut wrong = alice.clone();
    wrong.secret_access_key = "A".repeat(40);
    assert_eq!(code(&sign::s3_get(&wrong, region, "h", "/b/k").call()), "SignatureDoesNotMatch");
    wrong.access_key_id = "AKIAIOSFODNN7EXAMPLE".into();
    assert_eq!(code(&sign::s3_get(&wrong, region, "h", "/b/k").call()), "InvalidAccessKeyId");
    let query = sign::query(&wrong, region, "h", "iam", "Action=X").call();
    assert_eq!(code(&query), "InvalidClientTokenId");

    let mut unsigned = good();
    unsigned.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(code(&unsigned.call()), "AccessDenied");
    let mut injected = good();
    injected.headers.push(("x-amz-copy-source".into(), "/other/secret".into()));
    assert_eq!(code(&injected.call()), "AccessDenied");

    let mut injected = good();
    injected.headers.push(("x_amz_copy_source".into(), "/other/secret".into()));
    assert_eq!(code(&injected.call()), "AccessDenied", "the same behind a gateway that knows no hyphens");

    let mut presigned = boto3_call(&dev, &alice, "presigned");
    assert_eq!(code(&presigned), "accept");
    presigned["headers"].as_array_mut().expect("headers").push(json!(["Authorization", ""]));
    assert_eq!(code(&presigned), "InvalidArgument", "credentials in the query, and a header for credentials");

    let mut expects_region = good().call();
    expects_region["expect"]["region"] = "elsewhere".into();
    assert_eq!(code(&expects_region), "AuthorizationHeaderMalformed");
    let mut expects_service = good().call();
    expects_service["expect"]["service"] = "sqs".into();
    assert_eq!(code(&expects_service), "SignatureDoesNotMatch");

    let empty = sign::hex(&<sha2::Sha256 as sha2::Digest>::digest(b""));
    let extra = || vec![("x-amz-content-sha256".to_owned(), empty.clone())];
    let old = sign::sign(&alice, ("GET", "/b/k", ""), ("s3", region), "h", extra(), &empty, sign::now() - 901);
    assert_eq!(code(&old.call()), "RequestTimeTooSkewed");

    // A key that has no session, its signing key at hand.
    for name in ["x-amz-security-token", "x-amz-s3session-token"] {
        let extra = [extra(), vec![(name.to_owned(), "t".to_owned())]].concat();
        let with_token = sign::sign(&alice, ("GET", "/b/k", ""), ("s3", region), "h", extra, &empty, sign::now());
        assert_eq!(code(&with_token.call()), "InvalidToken", "{name}");
    }
    assert_eq!(code(&good().call()), "accept");
}

#[test]
fn a_signing_key_is_handed_out_where_it_is_asked_for_and_never_logged() {
    let dev = Dev::start();
    let (alice, region) = (dev.user("alice"), dev.ready.region.as_str());
    let kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let extra = vec![
        ("x-amz-content-sha256".to_owned(), kind.to_owned()),
        ("x-amz-decoded-content-length".to_owned(), "5".to_owned()),
    ];
    let signed = sign::sign(&alice, ("PUT", "/b/k", ""), ("s3", region), "h", extra, kind, sign::now());
    let mut call = signed.call();
    let (_, plain) = dev.verify(&call);
    assert_eq!((&plain["decision"], &plain["payload"]), (&json!("accept"), &json!("streaming")), "{plain}");
    assert_eq!(plain["signing_key"], Value::Null);

    call["want_signing_key"] = true.into();
    let (status, answer) = dev.verify(&call);
    assert_eq!(status, 200, "{answer}");
    let expected = sign::hex(&sign::signing_key(&alice, answer["credential_scope"].as_str().expect("a scope")));
    assert_eq!(answer["signing_key"], expected);
    assert_eq!(answer["streaming"]["kind"], kind);
    let header = |name: &str| signed.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    assert_eq!(answer["streaming"]["date"].as_str(), header("x-amz-date"));
    let seed = answer["streaming"]["seed_signature"].as_str().expect("a signature");
    assert!(header("authorization").is_some_and(|value| value.ends_with(seed)));

    let mut iam = sign::query(&alice, region, "h", "iam", "Action=GetUser&Version=2010-05-08").call();
    assert_eq!(dev.verify(&iam).1["decision"], "accept");
    iam["want_signing_key"] = true.into();
    let (status, answer) = dev.verify(&iam);
    assert_eq!((status, &answer["error"]), (403, &json!("not_granted")), "{answer}");

    assert!(!common::log_that_says(&dev.state.join("log"), "decided").contains(&expected));
}

#[test]
fn malformed_calls_are_told_what_and_where() {
    let dev = Dev::start();
    let call = sign::s3_get(&dev.ready.root, &dev.ready.region, "h", "/b/k").call();
    let without = |key: &str| {
        let mut call = call.clone();
        call.as_object_mut().expect("an object").remove(key);
        call
    };
    let with = |key: &str, value: Value| {
        let mut call = call.clone();
        call[key] = value;
        call
    };
    for (what, call) in [
        ("no expect", without("expect")),
        ("no method", without("method")),
        ("unknown key", with("tarqet", json!("/"))),
        ("target of another type", with("target", json!(7))),
        ("body that is no base64", with("body", json!("%%%"))),
        ("hash that is no hash", with("payload_sha256", json!("abc"))),
        ("head and fields", with("head", json!("R0VUIC8gSFRUUC8xLjENCg0K"))),
        ("too many headers", with("headers", json!(vec![["a", "b"]; 200]))),
    ] {
        let (status, answer) = dev.verify(&call);
        assert_eq!(status, 400, "{what}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {answer}");
    }
    let query = sign::query(&dev.ready.root, &dev.ready.region, "h", "iam", "Action=X");
    let mut call = query.call();
    call.as_object_mut().expect("an object").remove("body");
    let (status, answer) = dev.verify(&call);
    assert_eq!((status, &answer["error"]), (400, &json!("body_required")), "{answer}");
}

#[test]
fn a_made_up_id_never_reaches_the_hsm_and_a_known_key_only_once() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let before = dev.hsm_requests("signing_key");
    let call = sign::s3_get(&alice, &dev.ready.region, "h", "/b/k").call();
    for _ in 0..1000 {
        assert_eq!(dev.verify(&call).1["decision"], "accept");
    }
    assert_eq!(dev.hsm_requests("signing_key") - before, 1.0);

    let before = dev.hsm_requests("signing_key");
    let mut made_up = alice.clone();
    let last = if alice.access_key_id.ends_with('A') { "B" } else { "A" };
    made_up.access_key_id.replace_range(19.., last);
    for _ in 0..100 {
        let (_, answer) = dev.verify(&sign::s3_get(&made_up, &dev.ready.region, "h", "/b/k").call());
        assert_eq!(answer["code"], "InvalidAccessKeyId");
    }
    assert_eq!(dev.hsm_requests("signing_key"), before);
}

#[test]
fn one_id_names_sixteen_regions_a_day_where_any_is_taken() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let code = |region: &str| dev.verify(&sign::query(&alice, region, "h", "sts", body).call()).1["code"].clone();
    let refused = (0..20).filter(|number| code(&format!("region-{number}")) != json!(null)).count();
    assert_eq!(refused, 4);
    assert_eq!(code("region-0"), json!(null), "those that were named go on");
    let before = dev.hsm_requests("signing_key");
    assert_ne!(code("region-99"), json!(null));
    assert_eq!(dev.hsm_requests("signing_key"), before);
}

#[test]
fn a_deactivated_key_is_refused_from_the_next_request_on() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let call = sign::s3_get(&alice, &dev.ready.region, "h", "/b/k").call();
    let update = format!("iam update-access-key --user-name alice --access-key-id {} --status", alice.access_key_id);
    for _ in 0..3 {
        assert_eq!(dev.verify(&call).1["decision"], "accept");
        dev.aws_json(&dev.ready.root, &format!("{update} Inactive"));
        assert_eq!(dev.verify(&call).1["code"], "InvalidAccessKeyId");
        dev.aws_json(&dev.ready.root, &format!("{update} Active"));
    }
}

#[test]
fn health_readiness_and_metrics_are_there() {
    let dev = Dev::start();
    assert_eq!(common::get(&format!("{}/healthz", dev.ready.rpc_endpoint)).0, 200);
    assert_eq!(common::get(&format!("{}/readyz", dev.ready.rpc_endpoint)).0, 200);
    let (_, metrics) = common::get(&format!("{}/metrics", dev.ready.rpc_endpoint));
    for name in ["rederive_hsm_requests_total", "rederive_verify"] {
        assert!(metrics.contains(name), "{metrics}");
    }
}

#[test]
fn a_refusal_is_explained_under_the_keys_signing_key() {
    let dev = Dev::start();
    let (alice, region) = (dev.user("alice"), dev.ready.region.as_str());
    let mut call = sign::s3_get(&alice, region, "storage.example:9000", "/b/k").call();
    call["explain"] = true.into();
    assert_eq!(dev.verify(&call).1["decision"], "accept");
    let names = |answer: &Value| -> Vec<String> {
        let list = answer["deviations"].as_array().unwrap_or_else(|| panic!("{answer}"));
        list.iter().map(|deviation| deviation["name"].as_str().expect("a name").to_owned()).collect()
    };
    // A proxy that puts its own name into Host, and tells the one that it received.
    let headers = call["headers"].as_array_mut().expect("headers");
    let host = headers.iter_mut().find(|header| header[0] == "host").expect("a host");
    *host = json!(["host", "10.0.0.1"]);
    headers.push(json!(["X-Forwarded-Host", "storage.example:9000"]));
    let (_, answer) = dev.verify(&call);
    assert_eq!((&answer["code"], names(&answer)), (&json!("SignatureDoesNotMatch"), vec!["host=rewritten".to_owned()]));
    // Nothing that anybody knows of.
    call["target"] = "/b/another".into();
    assert_eq!(names(&dev.verify(&call).1), Vec::<String>::new());
    call["explain"] = false.into();
    assert_eq!(dev.verify(&call).1["deviations"], Value::Null);
}
