//! Signature V2: for services that an operator has opted in, and for no other.

use std::process::Command;

use serde_json::{Value, json};

use super::common::{Dev, Pair};
use super::{accepted, dev, key_under, refused, signed, with, with_header, with_target};

const OPTED_IN: [(&str, &str); 2] =
    [("REDERIVE_VERIFY__SIGNATURE_V2", "s3,sqs"), ("REDERIVE_VERIFY__S3_HOSTS", "s3.example.test,other.test")];

fn sign(dev: &Dev, pair: &Pair, kind: &str) -> Value {
    signed(dev, pair, "sign_v2.py", &[kind])
}

#[test]
fn boto3_is_accepted_where_it_is_opted_in_and_nothing_that_was_changed() {
    let (dev, _directory) = dev(&OPTED_IN);
    let key = dev.user("alice");
    for kind in ["get", "put", "presigned", "virtual", "form", "query", "post"] {
        let call = sign(&dev, &key, kind);
        let before = dev.hsm_requests("matches_v2");
        let answer = accepted(&dev, &call, "v2");
        assert_eq!(answer["access_key_id"], key.access_key_id.as_str(), "{kind}");
        assert_eq!(answer["principal"]["arn"], "arn:aws:iam::123456789012:user/alice", "{kind}");
        assert_eq!(answer["credential_scope"], "", "{kind}: it has none");
        assert_eq!((answer.get("signing_key"), answer.get("public_key")), (None, None), "{kind}");
        assert_eq!(dev.hsm_requests("matches_v2"), before + 1.0, "{kind}: one question for each request");
        let expected = if kind == "post" { "checked" } else { "unsigned" };
        assert_eq!(answer["payload"], expected, "{kind}");
        assert_eq!(answer["form"]["key"].as_str(), (kind == "form").then_some("up/a.txt"), "{kind}");

        let other_method = if call["method"] == "PUT" { "DELETE" } else { "PUT" };
        if kind != "form" {
            // Only the body of a POST holds parameters.
            let code = if kind == "post" { "MissingAuthenticationToken" } else { "SignatureDoesNotMatch" };
            assert_eq!(refused(&dev, &with(&call, "/method", other_method)), code, "{kind}");
            let target = call["target"].as_str().expect("a target");
            let path = target.split('?').next().expect("a path");
            assert_eq!(
                refused(&dev, &with_target(&call, path, &format!("{path}x"))),
                "SignatureDoesNotMatch",
                "{kind}"
            );
        }
        // A service that is not opted in takes none of them, whatever they say.
        let elsewhere = if matches!(kind, "query" | "post") { "ec2" } else { "s3-outposts" };
        refused(&dev, &with(&call, "/expect/service", elsewhere));
    }
    let headers = accepted(&dev, &sign(&dev, &key, "put"), "v2")["signed_headers"].to_string();
    assert!(
        headers.contains("\"date\"") && headers.contains("x-amz-meta-colour") && !headers.contains("host"),
        "{headers}"
    );
    let used =
        dev.aws_json(&dev.ready.root, &format!("iam get-access-key-last-used --access-key-id {}", key.access_key_id));
    assert_eq!(used["AccessKeyLastUsed"]["Region"], "N/A", "{used}");
}

/// Such a signature covers no region: whoever asks has to name the one that it serves.
#[test]
fn a_key_for_some_regions_is_good_where_the_region_is_told() {
    let (dev, _directory) = dev(&OPTED_IN);
    let key = key_under(&dev, &["--services", "s3", "--regions", "eu-*"]);
    let call = sign(&dev, &key, "get");
    accepted(&dev, &with(&call, "/expect/region", "eu-1"), "v2");
    for region in [Some("us-1"), None] {
        assert_eq!(refused(&dev, &with(&call, "/expect/region", region)), "AccessDenied", "{region:?}");
    }
    let query = with(&sign(&dev, &key, "query"), "/expect/region", "eu-1");
    assert_eq!(refused(&dev, &query), "AccessDenied", "another service");
}

#[test]
fn nothing_is_accepted_without_the_opt_in() {
    let dev = Dev::start();
    let key = dev.user("alice");
    let codes = ["get", "put", "presigned", "virtual", "form"].map(|kind| refused(&dev, &sign(&dev, &key, kind)));
    assert!(codes.iter().all(|code| code == "InvalidRequest"), "{codes:?}");
    assert_eq!(refused(&dev, &sign(&dev, &key, "query")), "IncompleteSignature");
    assert_eq!(refused(&dev, &sign(&dev, &key, "post")), "MissingAuthenticationToken");
    assert_eq!(dev.hsm_requests("matches_v2"), 0.0);
}

#[test]
fn other_readings_with_the_same_signature_are_refused() {
    let (dev, _directory) = dev(&OPTED_IN);
    let key = dev.user("alice");
    let (presigned, virtually, get) =
        (sign(&dev, &key, "presigned"), sign(&dev, &key, "virtual"), sign(&dev, &key, "get"));
    for call in [&presigned, &virtually, &get] {
        accepted(&dev, call, "v2");
    }
    let host = |call: &Value, host: &str| {
        let mut call = call.clone();
        let headers = call["headers"].as_array_mut().expect("headers");
        headers.retain(|header| !header[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("host")));
        headers.push(json!(["Host", host]));
        call
    };
    // The host is not signed. The bucket that it names is, and a host that nobody knows might name any.
    accepted(&dev, &host(&presigned, "other.test"), "v2");
    accepted(&dev, &host(&presigned, "10.0.0.1:9000"), "v2");
    accepted(&dev, &host(&presigned, "[::1]:9000"), "v2");
    assert_eq!(refused(&dev, &host(&presigned, "b.s3.example.test")), "SignatureDoesNotMatch");
    assert_eq!(refused(&dev, &host(&presigned, "elsewhere.test")), "InvalidRequest");
    assert_eq!(refused(&dev, &host(&presigned, "xs3.example.test")), "InvalidRequest");
    assert_eq!(refused(&dev, &host(&virtually, "c.s3.example.test")), "SignatureDoesNotMatch");
    // Two sub-resources in the value of one; what adds another; credentials twice.
    let ambiguous =
        with_target(&presigned, "response-content-type=text%2Fplain", "response-content-type=text%26versionId%3Dw");
    assert_eq!(refused(&dev, &ambiguous), "InvalidRequest");
    let more =
        |more: &str| with(&presigned, "/target", format!("{}{more}", presigned["target"].as_str().expect("text")));
    assert_eq!(refused(&dev, &more("&acl")), "SignatureDoesNotMatch");
    assert_eq!(refused(&dev, &more("&x-amz-acl=public-read")), "SignatureDoesNotMatch");
    assert_eq!(refused(&dev, &more("&x-amz-acl:private%0ax-amz-meta-a=b")), "InvalidRequest");
    assert_eq!(refused(&dev, &more("&Signature=AAAA")), "AuthorizationQueryParametersError");
    assert_eq!(refused(&dev, &with_header(&presigned, "x-amz-copy-source", "/b/k")), "SignatureDoesNotMatch");
    assert_eq!(refused(&dev, &with_header(&presigned, "Authorization", "AWS a:b")), "InvalidArgument");
    assert_eq!(refused(&dev, &with_header(&get, "x-amz-security-token", "dG9rZW4=")), "InvalidToken");
    // Time: a URL that is over; a request of long ago.
    let over = with_target(&presigned, "Expires=", "Expires=1175139620&x=");
    assert_eq!(refused(&dev, &over), "AccessDenied");
    // The order of parameters is not signed, so that of two with one name a reader could take either.
    let query = sign(&dev, &key, "query");
    let twice = with(&query, "/target", format!("{}&Action=DeleteQueue", query["target"].as_str().expect("text")));
    assert_eq!(refused(&dev, &twice), "IncompleteSignature");
    let post = sign(&dev, &key, "post");
    let (status, answer) = dev.verify(&{
        let mut without = post.clone();
        without.as_object_mut().expect("an object").remove("body");
        without
    });
    assert!(status == 200 && answer["code"] == "MissingAuthenticationToken", "{answer}");
    let in_head = with(&post, "/target", format!("/q?AWSAccessKeyId={}", key.access_key_id));
    assert_eq!(refused(&dev, &in_head), "IncompleteSignature");
}

#[test]
fn keys_that_are_not_good_are_refused_as_ever() {
    let (dev, _directory) = dev(&OPTED_IN);
    let key = dev.user("alice");
    let call = sign(&dev, &key, "presigned");
    accepted(&dev, &call, "v2");
    let wrong = Pair { secret_access_key: "A".repeat(40), ..key.clone() };
    assert_eq!(refused(&dev, &sign(&dev, &wrong, "presigned")), "SignatureDoesNotMatch");
    let nobody = Pair { access_key_id: "AKIAIOSFODNN7EXAMPLE".into(), ..key.clone() };
    assert_eq!(refused(&dev, &sign(&dev, &nobody, "presigned")), "InvalidAccessKeyId");
    let temporary = Pair { access_key_id: "ASIARZPUZDIKAAERULAE".into(), ..key.clone() };
    let before = dev.hsm_requests("matches_v2");
    assert_eq!(refused(&dev, &sign(&dev, &temporary, "presigned")), "InvalidAccessKeyId");
    assert_eq!(dev.hsm_requests("matches_v2"), before, "the HSM is not asked");
    dev.aws_json(
        &dev.ready.root,
        &format!("iam update-access-key --user-name alice --access-key-id {} --status Inactive", key.access_key_id),
    );
    assert_eq!(refused(&dev, &call), "InvalidAccessKeyId");
}

#[test]
fn s3cmd_and_the_aws_cli_sign_urls_of_signature_v2() {
    let (dev, directory) = dev(&OPTED_IN);
    let key = dev.user("alice");
    let config = directory.path().join("s3cfg");
    let text = format!(
        "[default]\naccess_key = {}\nsecret_key = {}\nhost_base = s3.example.test\nhost_bucket = %(bucket)s.s3.example.test\n\
         use_https = False\n",
        key.access_key_id, key.secret_access_key
    );
    std::fs::write(&config, text).expect("written");
    let in_an_hour = (super::common::sign::now() + 3600).to_string();
    let url_of = |mut command: Command| {
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let mut s3cmd = dev.client("s3cmd", &key);
    s3cmd.arg("--config").arg(&config).args(["signurl", "s3://bucket/a key+", &in_an_hour]);
    let mut aws = dev.client("aws", &key);
    aws.env("AWS_DEFAULT_REGION", "us-east-1").args(["--endpoint-url", "http://s3.example.test", "s3", "presign"]);
    aws.arg("s3://bucket/a key+");
    for url in [url_of(s3cmd), url_of(aws)] {
        assert!(url.contains("AWSAccessKeyId="), "{url}");
        let (host, target) = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("a URL");
        let call = json!({
            "method": "GET", "target": format!("/{target}"), "headers": [["Host", host]],
            "expect": {"service": "s3", "region": null}
        });
        accepted(&dev, &call, "v2");
        assert_eq!(refused(&dev, &with(&call, "/method", "HEAD")), "SignatureDoesNotMatch", "{url}");
    }
}
