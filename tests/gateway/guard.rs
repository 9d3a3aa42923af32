//! Who may come in, and what of a body may be believed.

use std::io::Read;
use std::sync::Arc;

use base64::prelude::*;
use rederive::sigv4::{AmzDate, CredentialScope, Limits, PreparedSigningKey, RequestHead, StreamingKind};
use rederive::streaming::{Checksums, ChunkLimits, Decoder, Seed};
use rederive_hsm::secret::Secret32;
use rederive_hsm::signing_key::SigningKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::common;
use super::xml::Problem;

/// Asks the verification RPC.
pub struct Guard {
    /// The base of its URL.
    pub rpc: String,
}

/// A request that is signed by a key that is good: what its body has to be.
pub struct Admitted {
    body: Expected,
}

enum Expected {
    Chunks(Box<Decoder>),
    /// Of this hash.
    Hash([u8; 32]),
    /// Not covered by the signature.
    Anything,
}

impl Guard {
    /// Has the head of a request verified, as its bytes came.
    pub fn admit(&self, head: &[u8]) -> Result<Admitted, Problem> {
        let parsed = RequestHead::parse(head, &Limits::default());
        let (parsed, _) = parsed.map_err(|error| Problem::new(400, "InvalidRequest", error.to_string()))?;
        let content_sha256 = header(&parsed, "x-amz-content-sha256").unwrap_or_default();
        let wants_key = StreamingKind::parse(content_sha256).is_some_and(StreamingKind::is_signed);
        let call = json!({
            "head": BASE64_STANDARD.encode(head),
            "expect": {"service": "s3", "region": null},
            "want_signing_key": wants_key,
        });
        let (status, answer) = common::post_json(&format!("{}/v1/verify", self.rpc), &call);
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        match (status, &*text("decision")) {
            (200, "accept") => {}
            (200, "refuse") => {
                let status = answer["http_status"].as_u64().and_then(|status| status.try_into().ok());
                return Err(Problem::new(status.expect("a status"), &text("code"), text("message")));
            }
            _ => return Err(Problem::new(503, "ServiceUnavailable", answer.to_string())),
        }
        let body = match &*text("payload") {
            "streaming" => Expected::Chunks(Box::new(decoder(&parsed, &answer)?)),
            // A presigned URL of S3 covers no body; here, its hash is in a header.
            "not_checked" => Expected::Hash(unhex(&String::from_utf8_lossy(content_sha256)).expect("it was verified")),
            "unsigned" | "checked" => Expected::Anything,
            other => panic!("{other} is no payload"),
        };
        Ok(Admitted { body })
    }
}

fn header<'a>(head: &RequestHead<'a>, name: &str) -> Option<&'a [u8]> {
    let named = |name: &[u8], other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    head.headers().iter().find(|header| named(header.name, name)).map(|header| header.value)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let decoded = base16ct::lower::decode(text, &mut bytes).ok()?.len();
    (decoded == 32).then_some(bytes)
}

/// From what the RPC hands out with an acceptance.
fn decoder(head: &RequestHead<'_>, answer: &Value) -> Result<Decoder, Problem> {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).expect("it is in every such answer");
    let kind = StreamingKind::parse(text("/streaming/kind").as_bytes()).expect("a kind");
    let seed = match kind.is_signed() {
        false => Seed::unsigned_with_trailer(),
        true => {
            let mut key = unhex(text("/signing_key")).expect("it was asked for");
            let key = PreparedSigningKey::new(SigningKey::from_secret(Secret32::take(&mut key)));
            let mut scope = text("/credential_scope").split('/');
            let mut part = || scope.next().expect("three parts, and aws4_request");
            let scope = CredentialScope::new(part(), part(), part()).expect("well formed");
            let date = AmzDate::parse(text("/streaming/date").as_bytes()).expect("a time");
            let signature = unhex(text("/streaming/seed_signature")).expect("a signature");
            Seed::new(kind, Arc::new(key), &date, &scope, &signature).expect("no client here has other keys")
        }
    };
    Decoder::new(seed, head, &ChunkLimits::default()).map_err(|error| Problem::from(error.outside()))
}

impl Admitted {
    /// Reads the body to its end. What is given back was signed, or is at least all that came; nobody has seen it before.
    pub fn read(self, head: &[u8], body: &mut dyn Read) -> Result<Vec<u8>, Problem> {
        match self.body {
            Expected::Chunks(decoder) => read_chunks(*decoder, body),
            Expected::Hash(hash) => read_plain(head, body, Some(hash)),
            Expected::Anything => read_plain(head, body, None),
        }
    }
}

fn pieces(body: &mut dyn Read, mut take: impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read])?,
            Err(error) => return Err(Problem::new(400, "IncompleteBody", error.to_string())),
        }
    }
}

fn read_chunks(mut decoder: Decoder, body: &mut dyn Read) -> Result<Vec<u8>, Problem> {
    let mut object = Vec::new();
    pieces(body, |mut input| {
        while let Some(piece) = decoder.decode(&mut input).map_err(|error| Problem::from(error.outside()))? {
            object.extend_from_slice(piece.bytes());
        }
        Ok(())
    })?;
    decoder.finish().map_err(|error| Problem::from(error.outside()))?;
    Ok(object)
}

fn read_plain(head: &[u8], body: &mut dyn Read, hash: Option<[u8; 32]>) -> Result<Vec<u8>, Problem> {
    let (head, _) = RequestHead::parse(head, &Limits::default()).expect("it was parsed before");
    let outside = |fault: rederive::streaming::BodyFault| Problem::from(fault.outside());
    // Of the whole object that parts make, not of the list of parts that is the body then.
    let speaks_of_body = head.method() == b"PUT";
    let mut checksums = match speaks_of_body {
        true => Checksums::of_headers(&head).map_err(outside)?,
        false => Checksums::default(),
    };
    let (mut object, mut sha256) = (Vec::new(), Sha256::new());
    pieces(body, |piece| {
        sha256.update(piece);
        checksums.update(piece);
        object.extend_from_slice(piece);
        Ok(())
    })?;
    if hash.is_some_and(|hash| hash != <[u8; 32]>::from(sha256.finalize())) {
        return Err(Problem::new(400, "XAmzContentSHA256Mismatch", "the body is another"));
    }
    checksums.finish().map_err(outside)?;
    Ok(object)
}
