//! Signature V4A: accepted like V4, with a public key of which no power comes.

use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rederive::sigv4::{AmzDate, CredentialScope, Limits, RequestHead, StreamingKind};
use rederive::sigv4a::PublicKey;
use rederive::streaming::{ChunkLimits, Decoder, Seed, Vouched};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::common::{Dev, Pair};
use super::{accepted, key_under, refused, signed, with, with_header, with_target};

fn sign(dev: &Dev, pair: &Pair, kind: &str, regions: &str) -> Value {
    signed(dev, pair, "sign_v4a.py", &[kind, regions, "s3"])
}

#[test]
fn awss_own_signer_is_accepted_and_nothing_that_was_changed() {
    let dev = Dev::start();
    let key = dev.user("alice");
    for kind in ["header", "presigned"] {
        let call = sign(&dev, &key, kind, "eu-*,loc*");
        let answer = accepted(&dev, &call, "v4a");
        assert_eq!(answer["access_key_id"], key.access_key_id.as_str());
        assert_eq!(answer["principal"]["arn"], "arn:aws:iam::123456789012:user/alice");
        assert!(
            answer["credential_scope"]
                .as_str()
                .is_some_and(|scope| scope.ends_with("/s3/aws4_request") && scope.matches('/').count() == 2)
        );
        assert_eq!(answer["payload"], if kind == "header" { "checked" } else { "unsigned" });
        assert_eq!(dev.hsm_requests("sigv4a_public_key"), 1.0, "the key is kept");
        assert_eq!(answer.get("signing_key"), None);
        let public_key = unhex(answer["public_key"].as_str().expect("a key"));
        let expected = PublicKey::derive(key.secret_access_key.as_bytes(), &key.access_key_id).expect("a key pair");
        assert_eq!(PublicKey::from_sec1(&public_key), Some(expected));

        // The regions: the one that is expected must be among those that were signed.
        accepted(&dev, &with(&call, "/expect/region", "eu-central-1"), "v4a");
        accepted(&dev, &with(&call, "/expect/region", "local"), "v4a");
        let malformed =
            if kind == "header" { "AuthorizationHeaderMalformed" } else { "AuthorizationQueryParametersError" };
        assert_eq!(refused(&dev, &with(&call, "/expect/region", "us-east-1")), malformed);
        assert_eq!(refused(&dev, &with(&call, "/expect/service", "s3-outposts")), malformed);
        assert_eq!(refused(&dev, &with(&call, "/method", "DELETE")), "SignatureDoesNotMatch");
        assert_eq!(refused(&dev, &with_target(&call, "/b/", "/c/")), "SignatureDoesNotMatch");
        assert_eq!(refused(&dev, &with_header(&call, "x-amz-copy-source", "/b/k")), "AccessDenied");
    }
    let call = sign(&dev, &key, "header", "*");
    accepted(&dev, &with(&call, "/expect/region", "us-east-1"), "v4a");
    assert_eq!(refused(&dev, &with(&call, "/body", "aGVsbG8h")), "XAmzContentSHA256Mismatch");
    let at = |name: &str| {
        let headers = call["headers"].as_array().expect("headers");
        let place =
            headers.iter().position(|header| header[0].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name)));
        format!("/headers/{}/1", place.unwrap_or_else(|| panic!("{name} in {call}")))
    };
    assert_eq!(refused(&dev, &with(&call, &at("x-amz-region-set"), "us-*")), "SignatureDoesNotMatch");
    assert_eq!(refused(&dev, &with(&call, &at("x-amz-meta-colour"), "red")), "SignatureDoesNotMatch");
    let authorization = call.pointer(&at("authorization")).and_then(Value::as_str).expect("text").to_owned();
    let other = |from: &str, to: &str| with(&call, &at("authorization"), authorization.replace(from, to));
    assert_eq!(refused(&dev, &other("AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA256")), "AuthorizationHeaderMalformed");
    assert_eq!(refused(&dev, &other("Signature=30", "Signature=31")), "SignatureDoesNotMatch");
}

#[test]
fn keys_that_are_not_good_are_refused_as_ever() {
    let dev = Dev::start();
    let key = dev.user("alice");
    let call = sign(&dev, &key, "header", "*");
    accepted(&dev, &call, "v4a");
    let wrong = Pair { secret_access_key: "A".repeat(40), ..key.clone() };
    assert_eq!(refused(&dev, &sign(&dev, &wrong, "header", "*")), "SignatureDoesNotMatch");
    let before = dev.hsm_requests("sigv4a_public_key");
    for id in ["AKIAIOSFODNN7EXAMPLE", "ASIARZPUZDIKAAERULAE"] {
        let other = Pair { access_key_id: id.into(), ..key.clone() };
        assert_eq!(refused(&dev, &sign(&dev, &other, "header", "*")), "InvalidAccessKeyId");
    }
    assert_eq!(dev.hsm_requests("sigv4a_public_key"), before, "the HSM is not asked");
    let update =
        format!("iam update-access-key --user-name alice --access-key-id {} --status Inactive", key.access_key_id);
    dev.aws_json(&dev.ready.root, &update);
    assert_eq!(refused(&dev, &call), "InvalidAccessKeyId", "however long its public key is kept");
}

/// A signature that is good in a set of regions: in the one that is served, and if that is not told in all of them.
#[test]
fn a_key_for_some_regions_signs_for_those() {
    let dev = Dev::start();
    let key = key_under(&dev, &["--services", "s3", "--regions", "eu-*"]);
    for (regions, expected, outcome) in [
        ("eu-1,eu-w*", None, "accept"),
        ("eu-*", Some("eu-1"), "accept"),
        ("*", Some("eu-1"), "accept"),
        ("*", Some("us-1"), "AccessDenied"),
        ("*", None, "AccessDenied"),
        ("eu-1,us-1", None, "AccessDenied"),
    ] {
        let call = with(&sign(&dev, &key, "header", regions), "/expect/region", expected);
        match outcome {
            "accept" => drop(accepted(&dev, &call, "v4a")),
            code => assert_eq!(refused(&dev, &call), code, "{regions} {expected:?}"),
        }
    }
    let other = key_under(&dev, &["--services", "sqs"]);
    assert_eq!(refused(&dev, &sign(&dev, &other, "header", "*")), "AccessDenied");
}

#[test]
fn sts_takes_it_as_aws_does_and_iam_does_not() {
    let dev = Dev::start();
    let key = dev.user("alice");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sts_v4a.py");
    let mut command = dev.client("python3", &key);
    let output = command.env_remove("BOTO_DISABLE_CRT").arg(script).output().expect("python3 runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "arn:aws:iam::123456789012:user/alice\nIncompleteSignature\n";
    assert_eq!(printed, expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn signed_chunks_are_verified_with_the_public_key_of_the_answer() {
    let dev = Dev::start();
    let key = dev.user("alice");
    for (kind, has_trailer) in [("chunks", false), ("chunks-and-trailer", true)] {
        let call = sign(&dev, &key, kind, "*");
        let answer = accepted(&dev, &call, "v4a");
        assert_eq!(answer["payload"], "streaming");
        let mut signer = Chunks::new(&key, &answer);
        let mut body = signer.chunk(&[b'a'; 65536]);
        body.extend(signer.chunk(&[b'b'; 4464]));
        let last = signer.chunk(b"");
        // Before a trailer no line break stands for the data of the last chunk.
        body.extend_from_slice(if has_trailer { &last[..last.len() - 2] } else { &last });
        if has_trailer {
            let crc = crc32(&[[b'a'; 65536].as_slice(), [b'b'; 4464].as_slice()].concat());
            body.extend(signer.trailer(&format!("x-amz-checksum-crc32:{crc}\n")));
        }
        assert_eq!(decode(&call, &answer, &body), Ok((70000, Vouched::BySignatures)), "{kind}");
        for place in [100, 65536 / 2, 66000, body.len() - 200] {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert!(decode(&call, &answer, &changed).is_err(), "{kind} {place}");
        }
        let end = if has_trailer { 240 } else { 190 };
        assert!(decode(&call, &answer, &body[..body.len() - end]).is_err(), "{kind}: cut short");
        // With another's key nothing is right.
        let mut stolen = answer.clone();
        let other = PublicKey::derive(b"another secret", &key.access_key_id).expect("a key pair");
        stolen["public_key"] = hex(&other.to_sec1()).into();
        assert!(decode(&call, &stolen, &body).is_err(), "{kind}");
    }
    // A kind and the algorithm of the request must fit: what is signed with HMAC can have no chunks of ECDSA.
    let call = sign(&dev, &key, "header", "*");
    let headers = call["headers"].as_array().expect("headers");
    let place = headers
        .iter()
        .position(|header| header[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("x-amz-content-sha256")));
    let place = format!("/headers/{}/1", place.expect("it is signed"));
    assert_eq!(refused(&dev, &with(&call, &place, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")), "InvalidArgument");
}

/// As a gateway does it, with nothing but what the answer says.
fn decode(call: &Value, answer: &Value, body: &[u8]) -> Result<(u64, Vouched), String> {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).expect("it is in such an answer");
    let headers = call["headers"].as_array().expect("headers").iter();
    let headers =
        headers.map(|it| (it[0].as_str().expect("text").as_bytes(), it[1].as_str().expect("text").as_bytes()));
    let head = RequestHead::from_fields(b"PUT", b"/b/k", headers, &Limits::default()).expect("a head");
    let kind = StreamingKind::parse(text("/streaming/kind").as_bytes()).expect("a kind");
    let key = PublicKey::from_sec1(&unhex(text("/public_key"))).expect("a point");
    let mut scope = text("/credential_scope").split('/');
    let mut part = || scope.next().expect("three parts");
    let scope = CredentialScope::without_region(part(), part()).expect("well formed");
    let date = AmzDate::parse(text("/streaming/date").as_bytes()).expect("a time");
    let seed =
        Seed::new_v4a(kind, &key, &date, &scope, &unhex(text("/streaming/seed_signature"))).expect("of its kind");
    let mut decoder = Decoder::new(seed, &head, &ChunkLimits::default()).map_err(|error| error.to_string())?;
    for mut piece in body.chunks(1000) {
        while decoder.decode(&mut piece).map_err(|error| error.to_string())?.is_some() {}
    }
    let body = decoder.finish().map_err(|error| error.to_string())?;
    Ok((body.length(), body.vouched()))
}

/// Signs chunks, written from the documentation alone.
struct Chunks {
    key: SigningKey,
    date_and_scope: String,
    previous: String,
}

impl Chunks {
    fn new(pair: &Pair, answer: &Value) -> Self {
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
        let date_and_scope = format!("{}\n{}", text("/streaming/date"), text("/credential_scope"));
        Self { key: private_key(pair), date_and_scope, previous: text("/streaming/seed_signature") }
    }

    fn sign(&mut self, kind: &str, hashes: &str) -> String {
        let text = format!("AWS4-ECDSA-P256-SHA256-{kind}\n{}\n{}\n{hashes}", self.date_and_scope, self.previous);
        let signature: Signature = self.key.sign(text.as_bytes());
        self.previous = hex(signature.to_der().as_bytes());
        format!("{:*<144}", self.previous)
    }

    fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let hashes = format!("{}\n{}", hex(&Sha256::digest(b"")), hex(&Sha256::digest(data)));
        let header = format!("{:x};chunk-signature={}\r\n", data.len(), self.sign("PAYLOAD", &hashes));
        [header.as_bytes(), data, b"\r\n"].concat()
    }

    fn trailer(&mut self, canonical: &str) -> Vec<u8> {
        let signature = self.sign("TRAILER", &hex(&Sha256::digest(canonical)));
        format!("{}\r\nx-amz-trailer-signature:{signature}\r\n\r\n", canonical.trim_end()).into_bytes()
    }
}

/// NIST SP 800-108 in counter mode; the first number is taken nearly always.
fn private_key(pair: &Pair) -> SigningKey {
    let key = format!("AWS4A{}", pair.secret_access_key);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(b"\0\0\0\x01AWS4-ECDSA-P256-SHA256\0");
    mac.update(pair.access_key_id.as_bytes());
    mac.update(b"\x01\0\0\x01\0");
    let mut number: [u8; 32] = mac.finalize().into_bytes().into();
    for byte in number.iter_mut().rev() {
        let carries = *byte == 0xff;
        *byte = byte.wrapping_add(1);
        if !carries {
            break;
        }
    }
    SigningKey::from_slice(&number).expect("below the order of the group")
}

fn crc32(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32;
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}
