//! The frames between the authority and a worker.
//!
//! A frame is a length (4 bytes, big-endian, at most [`MAX_BODY`]) and that many bytes of body. The worker speaks first,
//! with a [`Hello`]; after it, the authority sends requests and the worker answers each, in any order:
//!
//! ```text
//! hello    = version (1) ‖ 0                      the worker is ready
//!          | version (1) ‖ 1 ‖ kind (1) ‖ text    it could not start, and why
//! request  = number (8) ‖ kind (1) ‖ fields
//! answer   = number (8) ‖ kind (1) ‖ fields
//! ```
//!
//! Integers are big-endian. Text that is not the last field has its length in one byte before it.

use zeroize::Zeroizing;

use crate::access_key_id::{AccessKeyId, Account, Generation, ID_LEN};
use crate::feed_head::{FeedHead, PUBLIC_KEY_LEN, SIGNATURE_LEN};
use crate::secret::{Secret32, SecretAccessKey};

/// The version of the frames in this file.
pub const VERSION: u8 = 1;
/// The largest body of a frame, in bytes.
pub const MAX_BODY: usize = 4096;
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
    /// Ready to answer.
    Ready,
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

/// What the authority asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The signing key of an id for a date, region and service.
    SigningKey {
        /// The access key id.
        id: AccessKeyId,
        /// The eight digits of the credential scope's date.
        date: [u8; 8],
        /// The scope's region.
        region: String,
        /// The scope's service.
        service: String,
    },
    /// The tag key of a generation.
    TagKey(Generation),
    /// The check value of a generation, computed now.
    Check(Generation),
    /// A new long-term key.
    Issue {
        /// The generation to make it in.
        generation: Generation,
        /// The account it will belong to.
        account: Account,
        /// The R bit of the id.
        needs_row: bool,
        /// What the serial is made from.
        nonce: [u8; 32],
    },
    /// The control key's signature of the deny feed's head.
    SignHead(FeedHead),
}

/// What the worker answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Request::SigningKey`] and [`Request::TagKey`]: a key that stays inside our processes.
    Key(Secret32),
    /// To [`Request::Check`].
    CheckValue([u8; 32]),
    /// To [`Request::Issue`].
    Issued(AccessKeyId, SecretAccessKey),
    /// To [`Request::SignHead`].
    SignedHead {
        /// The control key's public half.
        public_key: [u8; PUBLIC_KEY_LEN],
        /// Over [`FeedHead::message`].
        signature: [u8; SIGNATURE_LEN],
    },
    /// The worker's own rules say no.
    Refused(Reason),
    /// The token could not answer; the text is for the log.
    Trouble(String),
}

/// Which of its rules made a worker say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The prefix of the id is not ours, or is one of temporary keys.
    #[error("the id's prefix is not one of long-term keys")]
    Prefix,
    /// The tag of the id is wrong.
    #[error("the id's tag is wrong")]
    Tag,
    /// The account's share is outside the range of the generation.
    #[error("the account's share is outside the generation's range")]
    Share,
    /// The generation is not one that this worker answers for.
    #[error("the generation is not live in this worker")]
    Generation,
    /// The generation does not issue.
    #[error("the generation is not issuing")]
    NotIssuing,
    /// This worker has no right to issue.
    #[error("this worker may not issue")]
    NotIssuer,
    /// The service is outside this worker's configuration.
    #[error("the service is outside this worker's configuration")]
    Service,
    /// The region is outside this worker's configuration.
    #[error("the region is outside this worker's configuration")]
    Region,
    /// By this worker's clock the date is outside the window.
    #[error("the date is outside the window, by the worker's clock")]
    Date,
    /// More requests a second than its cap.
    #[error("above the worker's rate cap")]
    Rate,
    /// The head of the deny feed contradicts one that was signed.
    #[error("this head of the deny feed contradicts one that was signed before")]
    Fork,
}

const REASONS: [Reason; 11] = [
    Reason::Prefix,
    Reason::Tag,
    Reason::Share,
    Reason::Generation,
    Reason::NotIssuing,
    Reason::NotIssuer,
    Reason::Service,
    Reason::Region,
    Reason::Date,
    Reason::Rate,
    Reason::Fork,
];

impl Hello {
    /// The body of the frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => vec![VERSION, 0],
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
            [VERSION, 0] => Ok(Self::Ready),
            [VERSION, 1, pin_refused @ (0 | 1), text @ ..] => Ok(Self::Failed(StartFailure {
                pin_refused: *pin_refused == 1,
                text: String::from_utf8_lossy(text).into_owned(),
            })),
            [VERSION, ..] => Err(Malformed("hello")),
            _ => Err(Malformed("the worker speaks another version of the wire")),
        }
    }
}

impl Request {
    /// The body of the frame.
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut body = number.to_be_bytes().to_vec();
        match self {
            Self::SigningKey { id, date, region, service } => {
                body.push(1);
                body.extend_from_slice(id.as_bytes());
                body.extend_from_slice(date);
                push_name(&mut body, region);
                push_name(&mut body, service);
            }
            Self::TagKey(generation) => body.extend([2, generation.number()]),
            Self::Check(generation) => body.extend([3, generation.number()]),
            Self::Issue { generation, account, needs_row, nonce } => {
                body.extend([4, generation.number()]);
                body.extend_from_slice(&account.number().to_be_bytes());
                body.push(u8::from(*needs_row));
                body.extend_from_slice(nonce);
            }
            Self::SignHead(head) => {
                body.push(5);
                body.extend_from_slice(&head.epoch);
                body.extend_from_slice(&head.number.to_be_bytes());
                body.extend_from_slice(&head.hash);
                body.extend_from_slice(&head.time.to_be_bytes());
            }
        }
        body
    }

    /// Reads a body: the number and the request.
    pub fn decode(body: &[u8]) -> Result<(u64, Self), Malformed> {
        let mut fields = Fields(body);
        let number = u64::from_be_bytes(fields.array()?);
        let request = match fields.byte()? {
            1 => Self::SigningKey {
                id: fields.id()?,
                date: fields.array()?,
                region: fields.name()?,
                service: fields.name()?,
            },
            2 => Self::TagKey(fields.generation()?),
            3 => Self::Check(fields.generation()?),
            4 => Self::Issue {
                generation: fields.generation()?,
                account: Account::new(u64::from_be_bytes(fields.array()?)).ok_or(Malformed("account"))?,
                needs_row: fields.flag()?,
                nonce: fields.array()?,
            },
            5 => Self::SignHead(FeedHead {
                epoch: fields.array()?,
                number: u64::from_be_bytes(fields.array()?),
                hash: fields.array()?,
                time: i64::from_be_bytes(fields.array()?),
            }),
            _ => return Err(Malformed("kind of request")),
        };
        fields.end()?;
        Ok((number, request))
    }
}

impl Answer {
    /// The body of the frame, wiped when dropped. Its capacity is exact: no reallocation leaves a copy behind.
    pub fn encode(&self, number: u64) -> Zeroizing<Vec<u8>> {
        let text = match self {
            Self::Trouble(text) => &text.as_bytes()[..text.len().min(MAX_BODY - 9)],
            _ => b"",
        };
        let mut body = Zeroizing::new(Vec::with_capacity(9 + PUBLIC_KEY_LEN + SIGNATURE_LEN + text.len()));
        body.extend_from_slice(&number.to_be_bytes());
        match self {
            Self::Key(key) => {
                body.push(1);
                body.extend_from_slice(key.expose());
            }
            Self::CheckValue(value) => {
                body.push(2);
                body.extend_from_slice(value);
            }
            Self::Issued(id, secret) => {
                body.push(3);
                body.extend_from_slice(id.as_bytes());
                body.extend_from_slice(secret.expose().as_bytes());
            }
            Self::SignedHead { public_key, signature } => {
                body.push(6);
                body.extend_from_slice(public_key);
                body.extend_from_slice(signature);
            }
            Self::Refused(reason) => {
                let code = REASONS.iter().position(|listed| listed == reason).expect("every reason is listed");
                body.extend_from_slice(&[4, code as u8]);
            }
            Self::Trouble(_) => {
                body.push(5);
                body.extend_from_slice(text);
            }
        }
        body
    }

    /// Reads a body, wiping the secrets in it: the number and the answer.
    pub fn decode(body: &mut [u8]) -> Result<(u64, Self), Malformed> {
        let mut fields = Fields(body);
        let number = u64::from_be_bytes(fields.array()?);
        let kind = fields.byte()?;
        let rest = &mut body[9..];
        let answer = match kind {
            1 => Self::Key(Secret32::take_slice(rest).ok_or(Malformed("length of a key"))?),
            2 => Self::CheckValue((&*rest).try_into().map_err(|_| Malformed("length of a check value"))?),
            3 if rest.len() == ID_LEN + 40 => {
                let (id, secret) = rest.split_at_mut(ID_LEN);
                let secret = SecretAccessKey::take_slice(secret).ok_or(Malformed("secret"))?;
                Self::Issued(AccessKeyId::parse(id).ok_or(Malformed("access key id"))?, secret)
            }
            4 if rest.len() == 1 => Self::Refused(*REASONS.get(usize::from(rest[0])).ok_or(Malformed("reason"))?),
            5 => Self::Trouble(String::from_utf8_lossy(rest).into_owned()),
            6 if rest.len() == PUBLIC_KEY_LEN + SIGNATURE_LEN => {
                let (public_key, signature) = rest.split_at(PUBLIC_KEY_LEN);
                let length = |_| Malformed("length of a signature");
                Self::SignedHead {
                    public_key: public_key.try_into().map_err(length)?,
                    signature: signature.try_into().map_err(length)?,
                }
            }
            _ => return Err(Malformed("kind of answer")),
        };
        Ok((number, answer))
    }
}

/// The length in front of a body, checked.
pub fn body_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, Malformed> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length == 0 || length > MAX_BODY { Err(Malformed("length")) } else { Ok(length) }
}

/// The bytes that go in front of a body.
pub fn length_prefix(body: &[u8]) -> [u8; LENGTH_BYTES] {
    debug_assert!(!body.is_empty() && body.len() <= MAX_BODY);
    (body.len() as u32).to_be_bytes()
}

/// Whether a text can be a region or service: `[A-Za-z0-9-]{1,32}`.
pub fn is_scope_name(text: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn push_name(body: &mut Vec<u8>, name: &str) {
    let length = u8::try_from(name.len()).expect("a scope name is at most 32 characters");
    body.push(length);
    body.extend_from_slice(name.as_bytes());
}

/// What is left of a body that is being read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("flag")),
        }
    }

    fn generation(&mut self) -> Result<Generation, Malformed> {
        Generation::new(self.byte()?).ok_or(Malformed("generation"))
    }

    fn id(&mut self) -> Result<AccessKeyId, Malformed> {
        AccessKeyId::parse(&self.array::<ID_LEN>()?).ok_or(Malformed("access key id"))
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.byte()?);
        if length > self.0.len() || !is_scope_name(&self.0[..length]) {
            return Err(Malformed("region or service"));
        }
        let (name, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes after the last field")) }
    }
}
