//! The credential: `id/date/region/service/aws4_request`.

use super::ascii::{Table, find_byte, is_all, table};
use super::authorization::Carrier;
use super::refusal::{CredentialFault, Refusal, shown};
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
    let (mut parts, mut start) = ([""; PARTS], 0);
    for part in &mut parts[..PARTS - 1] {
        let (end, next) = find_slash(text.as_bytes(), start, carrier)?;
        (*part, start) = (&text[start..end], next);
    }
    parts[PARTS - 1] = &text[start..];
    find_slash(text.as_bytes(), start, carrier).is_none().then_some(parts)
}

/// Where the next slash is, and what comes after it.
#[inline]
fn find_slash(text: &[u8], from: usize, carrier: Carrier) -> Option<(usize, usize)> {
    let slash = find_byte(text, from, b'/').map(|at| (at, at + 1));
    match carrier {
        Carrier::Header | Carrier::Form => return slash,
        Carrier::Query => {}
    }
    let is_escaped_slash = |at: &usize| matches!(text[*at..], [_, b'2', b'F' | b'f', ..]);
    let escaped = find_byte(text, from, b'%').filter(is_escaped_slash).map(|at| (at, at + 3));
    slash.into_iter().chain(escaped).min()
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
