//! The credential: `id/date/region/service/aws4_request`.

use super::ascii::{Table, is_all, table};
use super::authorization::Carrier;
use super::refusal::{CredentialFault, Refusal, shown};
use super::scan::{Byte, places};
use super::scope::{CredentialScope, TERMINATOR};

/// An access key id, and the scope of the signing key that it is said to have signed with.
pub(super) struct Credential<'a> {
    pub access_key_id: &'a str,
    pub scope: CredentialScope<'a>,
}

impl<'a> Credential<'a> {
    #[inline]
    pub fn read(text: &'a [u8], carrier: Carrier) -> Result<Self, Refusal> {
        Self::try_read(text, carrier).map_err(|fault| Refusal::MalformedCredential { carrier, fault })
    }

    /// `id/date/service/aws4_request`: Signature V4A's.
    pub fn read_without_region(text: &'a [u8], carrier: Carrier) -> Result<Self, Refusal> {
        let fault = |fault| Refusal::MalformedCredential { carrier, fault };
        let parts = std::str::from_utf8(text).ok().and_then(|text| split(text, carrier));
        let [id, date, service, terminator] = parts.ok_or_else(|| fault(CredentialFault::NotFiveParts(shown(text))))?;
        check_ends(id, terminator).map_err(fault)?;
        let scope = CredentialScope::without_region(date, service);
        let scope = scope.map_err(|part| fault(CredentialFault::Scope(part, shown(text))))?;
        Ok(Self { access_key_id: id, scope })
    }

    fn try_read(text: &'a [u8], carrier: Carrier) -> Result<Self, CredentialFault> {
        let parts = std::str::from_utf8(text).ok().and_then(|text| split(text, carrier));
        let [id, date, region, service, terminator] =
            parts.ok_or_else(|| CredentialFault::NotFiveParts(shown(text)))?;
        check_ends(id, terminator)?;
        let scope = CredentialScope::new(date, region, service);
        let scope = scope.map_err(|part| CredentialFault::Scope(part, shown(text)))?;
        Ok(Self { access_key_id: id, scope })
    }
}

/// The text of a credential that was read before, `id/date/region/service/aws4_request`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CredentialText {
    text: Box<str>,
    /// Where id, date, region and service end.
    ends: [u8; 4],
}

impl CredentialText {
    /// Of an id and a scope.
    pub fn new(access_key_id: &str, scope: &CredentialScope<'_>) -> Self {
        let (mut text, mut ends) = (String::new(), [0; 4]);
        for (part, end) in [access_key_id, scope.date(), scope.region(), scope.service()].into_iter().zip(&mut ends) {
            text.push_str(part);
            *end = u8::try_from(text.len()).expect("at most 128 + 8 + 32 + 32 characters, and slashes");
            text.push('/');
        }
        text.push_str(TERMINATOR);
        Self { text: text.into(), ends }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Reads a credential that reads the same.
    #[inline]
    pub(super) fn read_alike<'a>(&self, text: &'a [u8]) -> Option<Credential<'a>> {
        if *text != *self.as_bytes() {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let [id, date, region, service] = self.ends.map(usize::from);
        let part = |after: usize, end: usize| text.get(after + 1..end);
        let scope = CredentialScope::of_known(part(id, date)?, part(date, region)?, part(region, service)?);
        Some(Credential { access_key_id: &text[..id], scope })
    }
}

fn check_ends(id: &str, terminator: &str) -> Result<(), CredentialFault> {
    if !is_access_key_id(id) {
        return Err(CredentialFault::AccessKeyId(shown(id.as_bytes())));
    }
    if terminator != TERMINATOR {
        return Err(CredentialFault::Terminator(shown(terminator.as_bytes())));
    }
    Ok(())
}

/// Exactly so many parts. In a query the slashes may be escaped; no part has a character that needs an escape.
fn split<const PARTS: usize>(text: &str, carrier: Carrier) -> Option<[&str; PARTS]> {
    match carrier {
        Carrier::Header | Carrier::Form => split_at(text, places(text.as_bytes(), Byte(b'/')).map(|at| (at, at + 1))),
        Carrier::Query => split_at(text, slashes_in_query(text.as_bytes())),
    }
}

/// At each separator: where it is, and what comes after it.
#[inline]
fn split_at<const PARTS: usize>(text: &str, mut at: impl Iterator<Item = (usize, usize)>) -> Option<[&str; PARTS]> {
    let (mut parts, mut start) = ([""; PARTS], 0);
    for part in &mut parts[..PARTS - 1] {
        let (end, next) = at.next()?;
        (*part, start) = (&text[start..end], next);
    }
    parts[PARTS - 1] = &text[start..];
    at.next().is_none().then_some(parts)
}

/// Slashes, as such or escaped.
fn slashes_in_query(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    (0..text.len()).filter_map(|at| match text[at..] {
        [b'/', ..] => Some((at, at + 1)),
        [b'%', b'2', b'F' | b'f', ..] => Some((at, at + 3)),
        _ => None,
    })
}

/// `\w{1,128}`. AWS says 16 at least, but its published vectors have ids of 11; which ids are ours is step 2's to say.
fn is_access_key_id(text: &str) -> bool {
    static WORD: Table = table(b"_");
    let text = text.as_bytes();
    (1..=128).contains(&text.len()) && (is_plain_id(text) || is_all(text, &WORD))
}

/// Letters and digits alone, in an id as long as ours. Without a branch, a compiler makes a few vector instructions of it.
fn is_plain_id(text: &[u8]) -> bool {
    let Ok(text): Result<&[u8; 20], _> = text.try_into() else { return false };
    let is_plain = |byte: &u8| ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10);
    text.iter().fold(true, |all, byte| all & is_plain(byte))
}
