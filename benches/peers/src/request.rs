//! A typical S3 GET: 9 headers, 6 of them signed, a canonical request of some 400 bytes; signed for the present, for s3s
//! looks at the clock itself.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rederive::sigv4::{AmzDate, Body, Family, Limits, RequestHead, SignedRequest};
use rederive_hsm::signing_key::SigningKey;
use sha2::Sha256;

use crate::{Pair, REGION};

/// The request, and what is signed of it.
#[derive(Clone)]
pub struct Typical {
    pub head: Vec<u8>,
    pub canonical_request: Vec<u8>,
    pub string_to_sign: String,
    pub now: i64,
    date: AmzDate,
}

impl Typical {
    pub fn signed_now(pair: &Pair) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let date = AmzDate::at(now);
        let (canonical_request, string_to_sign) = what_is_signed(&head(&pair.id, &date, &"0".repeat(64)));
        let digits = date.date().as_bytes().try_into().expect("eight digits");
        let key = SigningKey::derive_from_text(pair.secret.as_bytes(), digits, REGION, "s3");
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key");
        mac.update(string_to_sign.as_bytes());
        let head = head(&pair.id, &date, &base16ct::lower::encode_string(&mac.finalize().into_bytes()));
        Self { head, canonical_request, string_to_sign, now, date }
    }

    /// The same with another signature.
    pub fn forged(&self) -> Self {
        let mut forged = self.clone();
        let digit = forged.head.len() - 5;
        forged.head[digit] = if forged.head[digit] == b'0' { b'1' } else { b'0' };
        forged
    }

    /// `yyyymmdd`.
    pub fn date_digits(&self) -> &[u8; 8] {
        self.date.date().as_bytes().try_into().expect("eight digits")
    }

    /// As the others take it.
    pub fn http(&self) -> http::Request<Bytes> {
        let (head, _) = RequestHead::parse(&self.head, &Limits::default()).expect("a request");
        let mut request = http::Request::builder().method(head.method()).uri(head.target());
        for header in head.headers() {
            request = request.header(header.name, header.value);
        }
        request.body(Bytes::new()).expect("a request")
    }

    pub fn without_authorization(&self) -> http::Request<Bytes> {
        let mut request = self.http();
        request.headers_mut().remove("authorization");
        request
    }
}

fn head(id: &str, date: &AmzDate, signature: &str) -> Vec<u8> {
    format!(
        "GET /photos/2026/sunset-lake.jpg HTTP/1.1\r\n\
         Host: s3.storage.example\r\n\
         User-Agent: aws-sdk-go-v2/1.36.3 os/linux lang/go#1.24.2 md/GOOS#linux md/GOARCH#amd64 api/s3#1.79.2\r\n\
         Accept-Encoding: identity\r\n\
         Range: bytes=0-1048575\r\n\
         X-Amz-Checksum-Mode: ENABLED\r\n\
         X-Amz-Content-Sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
         X-Amz-Date: {date}\r\n\
         X-Amz-Request-Payer: requester\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={id}/{}/{REGION}/s3/aws4_request, \
         SignedHeaders=host;range;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date;x-amz-request-payer, \
         Signature={signature}\r\n\r\n",
        date.date()
    )
    .into_bytes()
}

fn what_is_signed(head: &[u8]) -> (Vec<u8>, String) {
    let (head, _) = RequestHead::parse(head, &Limits::default()).expect("a request");
    let request = SignedRequest::parse(&head).expect("well formed");
    let canonical = request.canonical_request(Family::S3, Body::Absent).expect("well formed");
    (canonical.text().to_vec(), request.string_to_sign_text(&canonical.sha256()))
}
