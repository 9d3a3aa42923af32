//! A signer of bodies in chunks, written from the documentation alone, and how the suites run the decoder.

use hmac::{Hmac, KeyInit, Mac};
use rederive::sigv4::{AmzDate, CredentialScope, Limits, PreparedSigningKey, RequestHead, StreamingKind};
use rederive::streaming::{BodyError, ChunkLimits, Decoder, Piece, Seed, VerifiedBody};
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest, Sha256};

pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub const DATE: &str = "20130524T000000Z";
pub const SCOPE: [&str; 3] = ["20130524", "us-east-1", "s3"];
/// That of the request; any will do.
pub const SEED: [u8; 32] = [0x5e; 32];

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Signs one link after the other.
#[derive(Clone)]
pub struct Signer {
    key: Vec<u8>,
    previous: String,
}

impl Signer {
    pub fn new(seed: &str) -> Self {
        let [date, region, service] = SCOPE;
        let date_key = hmac(format!("AWS4{SECRET}").as_bytes(), date);
        let key = hmac(&hmac(&hmac(&date_key, region), service), "aws4_request");
        Self { key, previous: seed.to_owned() }
    }

    pub fn chunk(&mut self, data: &[u8]) -> String {
        let hashes = format!("{}\n{}", hex(&Sha256::digest(b"")), hex(&Sha256::digest(data)));
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &hashes)
    }

    /// `canonical` is `name:value` and a line break for each.
    pub fn trailer(&mut self, canonical: &str) -> String {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &hex(&Sha256::digest(canonical)))
    }

    fn sign(&mut self, algorithm: &str, hashes: &str) -> String {
        let scope = SCOPE.join("/");
        let text = format!("{algorithm}\n{DATE}\n{scope}/aws4_request\n{}\n{hashes}", self.previous);
        self.previous = hex(&hmac(&self.key, &text));
        self.previous.clone()
    }
}

/// A body on the wire, and what its request says of it.
#[derive(Clone, Debug)]
pub struct Wire {
    pub kind: StreamingKind,
    pub headers: Vec<(String, String)>,
    pub seed: [u8; 32],
    pub limits: ChunkLimits,
    pub body: Vec<u8>,
}

/// What was handed on, and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub data: Vec<u8>,
    pub end: Result<VerifiedBody, BodyError>,
    /// The most memory that the decoder held.
    pub memory: usize,
}

impl Outcome {
    /// For comparison.
    pub fn summary(&self) -> (&[u8], Result<String, &BodyError>) {
        (&self.data, self.end.as_ref().map(|body| format!("{body:?}")))
    }
}

pub fn kind(text: &str) -> StreamingKind {
    StreamingKind::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no kind"))
}

impl Wire {
    pub fn decoder(&self) -> Result<Decoder, BodyError> {
        let [date, region, service] = SCOPE;
        let key =
            SigningKey::derive_from_text(SECRET.as_bytes(), date.as_bytes().try_into().expect("8"), region, service);
        let scope = CredentialScope::new(date, region, service).expect("a scope");
        let time = AmzDate::parse(DATE.as_bytes()).expect("a time");
        let seed = Seed::new(self.kind, PreparedSigningKey::new(key).into(), &time, &scope, &self.seed);
        let seed = seed.expect("this signer has no other keys");
        let fields = self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let head = RequestHead::from_fields(b"PUT", b"/b/k", fields, &Limits::default()).expect("a head");
        Decoder::new(seed, &head, &self.limits)
    }

    /// In one piece.
    pub fn decode(&self) -> Outcome {
        self.decode_in(std::iter::once(self.body.len()))
    }

    /// In pieces that end there; the rest in one.
    pub fn decode_in(&self, ends: impl IntoIterator<Item = usize>) -> Outcome {
        match self.decoder() {
            Ok(decoder) => run(decoder, &self.body, ends),
            Err(error) => Outcome { data: Vec::new(), end: Err(error), memory: 0 },
        }
    }
}

pub fn run(mut decoder: Decoder, body: &[u8], ends: impl IntoIterator<Item = usize>) -> Outcome {
    let (mut data, mut memory, mut start) = (Vec::new(), 0, 0);
    for end in ends.into_iter().chain([body.len()]) {
        let end = end.clamp(start, body.len());
        let mut input = &body[start..end];
        start = end;
        loop {
            let piece = match decoder.decode(&mut input) {
                Ok(piece) => piece.map(Piece::bytes),
                Err(error) => {
                    let again = decoder.decode(&mut &b"0\r\n\r\n"[..]).map(|_| ());
                    assert_eq!(again, Err(error.clone()), "an error stays");
                    assert_eq!(decoder.finish().map(|_| ()), Err(error.clone()), "an error stays");
                    return Outcome { data, end: Err(error), memory };
                }
            };
            let is_all = piece.is_none();
            data.extend_from_slice(piece.unwrap_or_default());
            memory = memory.max(decoder.memory());
            if is_all {
                break;
            }
        }
        assert!(input.is_empty(), "all of the input is taken");
    }
    Outcome { data, end: decoder.finish(), memory }
}
