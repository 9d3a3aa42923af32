//! What the authority asks.

use super::fields::Fields;
use super::{LENGTH_BYTES, MAX_REQUEST, Malformed, length_prefix};
use crate::access_key_id::{AccessKeyId, Account, Generation};
use crate::feed_head::FeedHead;
use crate::region_set::RegionSet;
use crate::sigv2::{Hash, MAX_TEXT, Question};

// What is beside the text has 8 + 1 + 20 + 33 + 1 + 32 bytes at the most.
const _: () = assert!(MAX_TEXT + 128 <= MAX_REQUEST);

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
    /// The public key of an id for Signature V4A.
    SigV4aPublicKey {
        /// The access key id.
        id: AccessKeyId,
        /// The eight digits of the credential scope's date.
        date: [u8; 8],
        /// The scope's service.
        service: String,
        /// The regions that the request is signed for.
        regions: RegionSet,
    },
    /// Whether a Signature V2 is right.
    MatchesV2(Question),
    /// What the worker has counted so far. The mark comes back with it.
    Tally(u64),
}

impl Request {
    /// The body of the frame.
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut body = Vec::new();
        self.put_body(number, &mut body);
        body
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
            Self::SigningKey { id, date, region, service } => {
                body.push(1);
                body.extend_from_slice(id.as_bytes());
                body.extend_from_slice(date);
                push_name(body, region);
                push_name(body, service);
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
            Self::SigV4aPublicKey { id, date, service, regions } => {
                body.push(6);
                body.extend_from_slice(id.as_bytes());
                body.extend_from_slice(date);
                push_name(body, service);
                body.extend_from_slice(regions.to_string().as_bytes());
            }
            Self::Tally(mark) => {
                body.push(8);
                body.extend_from_slice(&mark.to_be_bytes());
            }
            Self::MatchesV2(question) => {
                body.push(7);
                body.extend_from_slice(question.id().as_bytes());
                push_name(body, question.service());
                body.push(question.hash().code());
                body.extend_from_slice(question.signature());
                body.extend_from_slice(question.text());
            }
        }
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
            6 => {
                let (id, date, service) = (fields.id()?, fields.array()?, fields.name()?);
                let regions = read_region_set(fields.rest())?;
                return Ok((number, Self::SigV4aPublicKey { id, date, service, regions }));
            }
            7 => return read_question(fields).map(|question| (number, Self::MatchesV2(question))),
            8 => Self::Tally(u64::from_be_bytes(fields.array()?)),
            _ => return Err(Malformed("kind of request")),
        };
        fields.end()?;
        Ok((number, request))
    }
}

/// As [`RegionSet`] writes it, and in no other way.
fn read_region_set(text: &[u8]) -> Result<RegionSet, Malformed> {
    let set = RegionSet::parse(text).filter(|set| set.to_string().as_bytes() == text);
    set.ok_or(Malformed("region set"))
}

/// The text is the last field.
fn read_question(mut fields: Fields<'_>) -> Result<Question, Malformed> {
    let (id, service) = (fields.id()?, fields.name()?);
    let hash = Hash::of_code(fields.byte()?).ok_or(Malformed("hash"))?;
    let signature = match hash {
        Hash::Sha1 => fields.array::<20>()?.to_vec(),
        Hash::Sha256 => fields.array::<32>()?.to_vec(),
    };
    Question::new(id, service, hash, signature, fields.rest().to_vec()).ok_or(Malformed("question"))
}

fn push_name(body: &mut Vec<u8>, name: &str) {
    let length = u8::try_from(name.len()).expect("a scope name is at most 32 characters");
    body.push(length);
    body.extend_from_slice(name.as_bytes());
}
