//! The frames between the authority and a worker.
//!
//! A frame is a length (4 bytes, big-endian, at most [`MAX_REQUEST`] or [`MAX_BODY`]) and that many bytes of body. The worker speaks first,
//! with a [`Hello`]; after it, the authority sends requests and the worker answers each, in any order:
//!
//! ```text
//! hello    = version (1) ‖ 0 ‖ generations        the worker is ready, and holds these (1 byte each)
//!          | version (1) ‖ 1 ‖ kind (1) ‖ text    it could not start, and why
//! request  = number (8) ‖ kind (1) ‖ fields
//! answer   = number (8) ‖ kind (1) ‖ fields
//! ```
//!
//! Integers are big-endian. Text that is not the last field has its length in one byte before it.

mod answer;
mod fields;
mod request;
mod sheet;

pub use answer::{Answer, Reason};
pub use request::Request;

use crate::access_key_id::Generation;

/// The version of the frames in this file.
pub const VERSION: u8 = 3;
/// The largest body of a hello or an answer, in bytes: a worker's counts are long where it has many generations.
pub const MAX_BODY: usize = 32 * 1024;
/// The largest body of a request, in bytes: a string to sign of Signature V2 may be long.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Bytes of length in front of a body.
pub const LENGTH_BYTES: usize = 4;
/// The longest region or service name.
const MAX_NAME: usize = 32;

/// A frame that does not follow the format; the connection is of no more use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame: {0}")]
pub struct Malformed(pub &'static str);

/// The worker's first frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Hello {
    /// Ready to answer for these generations.
    Ready(Vec<Generation>),
    /// It could not start; nothing more follows.
    Failed(StartFailure),
}

/// Why a worker could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct StartFailure {
    /// Whether the token refused the PIN: trying again could lock it.
    pub pin_refused: bool,
    /// For the operator.
    pub text: String,
}

impl Hello {
    /// The body of the frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready(generations) => {
                [VERSION, 0].into_iter().chain(generations.iter().map(|one| one.number())).collect()
            }
            Self::Failed(failure) => {
                let mut body = vec![VERSION, 1, u8::from(failure.pin_refused)];
                let text = &failure.text.as_bytes()[..failure.text.len().min(MAX_BODY - 3)];
                body.extend_from_slice(text);
                body
            }
        }
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        match body {
            [VERSION, 0, numbers @ ..] => {
                let generations = numbers.iter().map(|number| Generation::new(*number)).collect::<Option<_>>();
                generations.map(Self::Ready).ok_or(Malformed("generation"))
            }
            [VERSION, 1, pin_refused @ (0 | 1), text @ ..] => Ok(Self::Failed(StartFailure {
                pin_refused: *pin_refused == 1,
                text: String::from_utf8_lossy(text).into_owned(),
            })),
            [VERSION, ..] => Err(Malformed("hello")),
            _ => Err(Malformed("the worker speaks another version of the wire")),
        }
    }
}

/// The length in front of the body of a hello or an answer, checked.
pub fn body_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, Malformed> {
    length(prefix, MAX_BODY)
}

/// The length in front of the body of a request, checked.
pub fn request_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, Malformed> {
    length(prefix, MAX_REQUEST)
}

fn length(prefix: [u8; LENGTH_BYTES], most: usize) -> Result<usize, Malformed> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length == 0 || length > most { Err(Malformed("length")) } else { Ok(length) }
}

/// The bytes that go in front of a body.
pub fn length_prefix(body: &[u8]) -> [u8; LENGTH_BYTES] {
    debug_assert!(!body.is_empty() && body.len() <= MAX_REQUEST);
    (body.len() as u32).to_be_bytes()
}

/// Whether a text can be a region or service: `[A-Za-z0-9-]{1,32}`.
pub fn is_scope_name(text: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}
