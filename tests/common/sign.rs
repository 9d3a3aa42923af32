//! A signer for load: Signature V4 of requests with a plain path, written apart from the verifier.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::Pair;

/// A request with its signature.
pub struct Signed {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub service: &'static str,
}

impl Signed {
    /// As a call of `/v1/verify`.
    pub fn call(&self) -> Value {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(&self.body);
        json!({
            "method": self.method, "target": self.target, "headers": self.headers, "body": body,
            "expect": { "service": self.service, "region": null }
        })
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// A GET of an S3 object.
pub fn s3_get(pair: &Pair, region: &str, host: &str, path: &str) -> Signed {
    let empty = hex(&Sha256::digest(b""));
    let extra = vec![("x-amz-content-sha256".to_owned(), empty.clone())];
    sign(pair, ("GET", path, ""), ("s3", region), host, extra, &empty, now())
}

/// A call of IAM or STS.
pub fn query(pair: &Pair, region: &str, host: &str, service: &'static str, body: &str) -> Signed {
    let extra = vec![("content-type".to_owned(), "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
    sign(pair, ("POST", "/", body), (service, region), host, extra, &hex(&Sha256::digest(body)), now())
}

/// Signs at a time; all headers given are signed.
pub fn sign(
    pair: &Pair,
    (method, path, body): (&'static str, &str, &str),
    (service, region): (&'static str, &str),
    host: &str,
    extra: Vec<(String, String)>,
    payload: &str,
    at: i64,
) -> Signed {
    let stamp = stamp(at);
    let date = &stamp[..8];
    let mut headers = extra;
    headers.push(("host".to_owned(), host.to_owned()));
    headers.push(("x-amz-date".to_owned(), stamp.clone()));
    headers.sort();
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{payload}");
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let key = [date, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", pair.secret_access_key).into_bytes(), |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &to_sign));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        pair.access_key_id
    );
    headers.push(("authorization".to_owned(), authorization));
    Signed { method, target: path.to_owned(), headers, body: body.to_owned(), service }
}

fn stamp(at: i64) -> String {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::from_unix_timestamp(at).expect("a time").format(&format).expect("a time")
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signing key for a scope: `date/region/service/aws4_request`.
pub fn signing_key(pair: &Pair, scope: &str) -> Vec<u8> {
    let secret = format!("AWS4{}", pair.secret_access_key).into_bytes();
    scope.split('/').fold(secret, |key, part| hmac(&key, part))
}

/// The body of a request that [`sign`] signed as `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
pub fn in_chunks(request: &Signed, pair: &Pair, chunks: &[&[u8]]) -> Vec<u8> {
    let header = |name: &str| &request.headers.iter().find(|(other, _)| other == name).expect("it was signed").1;
    let (date, authorization) = (header("x-amz-date"), header("authorization"));
    let scope = authorization.split_once('/').and_then(|(_, rest)| rest.split_once(',')).expect("a credential").0;
    let mut previous = authorization.rsplit('=').next().expect("a signature").to_owned();
    let (key, empty, mut body) = (signing_key(pair, scope), hex(&Sha256::digest(b"")), Vec::new());
    for data in chunks.iter().chain([&&b""[..]]) {
        let hash = hex(&Sha256::digest(data));
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{empty}\n{hash}");
        previous = hex(&hmac(&key, &text));
        body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", data.len()).as_bytes());
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body
}
