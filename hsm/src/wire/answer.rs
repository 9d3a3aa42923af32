//! What a worker answers.

use zeroize::Zeroizing;

use super::fields::Fields;
use super::{LENGTH_BYTES, MAX_BODY, Malformed, length_prefix, sheet};
use crate::access_key_id::{AccessKeyId, ID_LEN};
use crate::feed_head::{PUBLIC_KEY_LEN, SIGNATURE_LEN};
use crate::secret::{Secret32, SecretAccessKey};
use crate::sigv4a_key::{POINT_LEN, PublicKey};
use crate::tally::Sheet;

/// The number and the kind, which are in front of the fields.
const HEAD: usize = 9;
/// The longest text.
const MAX_TEXT: usize = MAX_BODY - HEAD;

/// What the worker answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`super::Request::SigningKey`] and [`super::Request::TagKey`]: a key that stays inside our processes.
    Key(Secret32),
    /// To [`super::Request::Check`].
    CheckValue([u8; 32]),
    /// To [`super::Request::Issue`].
    Issued(AccessKeyId, SecretAccessKey),
    /// To [`super::Request::SignHead`].
    SignedHead {
        /// The control key's public half.
        public_key: [u8; PUBLIC_KEY_LEN],
        /// Over [`crate::feed_head::FeedHead::message`].
        signature: [u8; SIGNATURE_LEN],
    },
    /// To [`super::Request::SigV4aPublicKey`].
    PublicKey(PublicKey),
    /// To [`super::Request::MatchesV2`]: whether the signature is the one of the string to sign.
    Matches(bool),
    /// To [`super::Request::Tally`].
    Tally(Box<Sheet>),
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
    /// The service takes no Signature V2 here.
    #[error("this worker's configuration does not allow Signature V2 for the service")]
    Version,
    /// The token has no control key.
    #[error("the token has no control key")]
    NoControlKey,
}

impl Reason {
    /// A number for it, below [`Reason::ALL`]'s.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|listed| *listed == self).expect("every reason is listed")
    }

    /// A word for it, in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Tag => "tag",
            Self::Share => "share",
            Self::Generation => "generation",
            Self::NotIssuing => "not_issuing",
            Self::NotIssuer => "not_issuer",
            Self::Service => "service",
            Self::Region => "region",
            Self::Date => "date",
            Self::Rate => "rate",
            Self::Fork => "fork",
            Self::Version => "version",
            Self::NoControlKey => "no_control_key",
        }
    }

    /// All of them, in the order of their codes on the wire.
    pub const ALL: [Self; 13] = REASONS;
}

const REASONS: [Reason; 13] = [
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
    Reason::Version,
    Reason::NoControlKey,
];

impl Answer {
    /// The body of the frame, wiped when dropped. There is room for all of it: no reallocation leaves a copy behind.
    pub fn encode(&self, number: u64) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(Vec::with_capacity(self.frame_length()));
        self.put_body(number, &mut body);
        body
    }

    /// Bytes in which its whole frame has room. A sheet of counts may be longer, which holds no secret: what does never leaves a copy
    /// behind in a place that was too small.
    pub(crate) fn frame_length(&self) -> usize {
        let text = match self {
            Self::Trouble(text) => text.len().min(MAX_TEXT),
            _ => 0,
        };
        LENGTH_BYTES + HEAD + PUBLIC_KEY_LEN + SIGNATURE_LEN + text
    }

    /// Puts the whole frame behind others.
    pub(crate) fn put_frame(&self, number: u64, frames: &mut Vec<u8>) {
        let start = frames.len();
        frames.extend_from_slice(&[0; LENGTH_BYTES]);
        self.put_body(number, frames);
        let (prefix, body) = frames[start..].split_at_mut(LENGTH_BYTES);
        prefix.copy_from_slice(&length_prefix(body));
    }

    fn put_body(&self, number: u64, body: &mut Vec<u8>) {
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
            Self::PublicKey(key) => {
                let (x, y) = key.coordinates();
                body.push(7);
                body.extend_from_slice(&x);
                body.extend_from_slice(&y);
            }
            Self::Matches(matches) => body.extend_from_slice(&[8, u8::from(*matches)]),
            Self::Tally(counts) => {
                body.push(9);
                sheet::encode(counts, body);
            }
            Self::Refused(reason) => {
                body.extend_from_slice(&[4, reason.index() as u8]);
            }
            Self::Trouble(text) => {
                body.push(5);
                body.extend_from_slice(&text.as_bytes()[..text.len().min(MAX_TEXT)]);
            }
        }
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
            7 if rest.len() == POINT_LEN => {
                let (x, y) = rest.split_at(POINT_LEN / 2);
                let half = |half: &[u8]| half.try_into().expect("half a point");
                Self::PublicKey(PublicKey::from_coordinates(&half(x), &half(y)).ok_or(Malformed("point"))?)
            }
            8 if rest.len() == 1 => Self::Matches(Fields(rest).flag()?),
            9 => Self::Tally(Box::new(sheet::decode(rest)?)),
            _ => return Err(Malformed("kind of answer")),
        };
        Ok((number, answer))
    }
}
