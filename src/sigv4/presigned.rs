//! The credentials in a query: parameters `X-Amz-…` of a presigned URL, or those of Signature V2.
//!
//! Source: S3's "Authenticating Requests: Using Query Parameters". Names are read in the case they are defined in; a
//! variant in another case, or a second one, is refused, for servers disagree on which of the two counts.

use super::authorization::Carrier;
use super::encode::Place;
use super::refusal::{Refusal, shown};
use super::target::Target;

/// The longest that a presigned URL may live: seven days, in seconds.
pub const MAX_EXPIRES: u32 = 604_800;

/// A parameter that carries a part of the credentials.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Algorithm,
    Credential,
    Date,
    Expires,
    SignedHeaders,
    Signature,
    SecurityToken,
    ContentSha256,
}

/// The parameter that the canonical query leaves out.
pub(super) const SIGNATURE: &[u8] = b"X-Amz-Signature";

const PARTS: [(Part, &str); 8] = [
    (Part::Algorithm, "X-Amz-Algorithm"),
    (Part::Credential, "X-Amz-Credential"),
    (Part::Date, "X-Amz-Date"),
    (Part::Expires, "X-Amz-Expires"),
    (Part::SignedHeaders, "X-Amz-SignedHeaders"),
    (Part::Signature, "X-Amz-Signature"),
    (Part::SecurityToken, "X-Amz-Security-Token"),
    (Part::ContentSha256, "X-Amz-Content-Sha256"),
];

/// S3 Express's name for the session token.
const EXPRESS_TOKEN: (Part, &str) = (Part::SecurityToken, "X-Amz-S3session-Token");

/// The values of a presigned query as they stand there, escapes and all.
#[derive(Default)]
pub(super) struct Parts<'a>([Option<&'a [u8]>; PARTS.len()]);

/// Those that no presigned query can do without.
pub(super) struct Required<'a> {
    pub credential: &'a [u8],
    pub date: &'a [u8],
    pub expires: &'a [u8],
    pub signed_headers: &'a [u8],
    pub signature: &'a [u8],
}

/// Which credentials a query holds.
pub(super) enum QueryCredentials<'a> {
    None,
    V4(Parts<'a>),
    V2,
    Several,
}

impl<'a> QueryCredentials<'a> {
    /// # Errors
    /// If a parameter of a presigned query is repeated or in another case.
    pub fn find(target: &Target<'a>) -> Result<Self, Refusal> {
        let (mut parts, mut is_v4, mut is_v2, mut has_token) = (Parts::default(), false, false, false);
        for parameter in &target.parameters {
            let name = parameter.name.decoded(Place::Query);
            if let Some(part) =
                PARTS.iter().chain([&EXPRESS_TOKEN]).find(|(_, n)| name.eq_ignore_ascii_case(n.as_bytes()))
            {
                parts.note(part, &name, parameter.value.raw)?;
                // URLs of Signature V2 bear a token of this name as well.
                *(if part.0 == Part::SecurityToken { &mut has_token } else { &mut is_v4 }) = true;
            }
            is_v2 |= name.eq_ignore_ascii_case(b"AWSAccessKeyId");
        }
        Ok(match (is_v4 || (has_token && !is_v2), is_v2) {
            (false, false) => Self::None,
            (true, false) => Self::V4(parts),
            (false, true) => Self::V2,
            (true, true) => Self::Several,
        })
    }
}

/// Whether a parameter is the session token, by its name.
pub(super) fn is_token(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"X-Amz-Security-Token")
}

impl<'a> Parts<'a> {
    pub fn get(&self, part: Part) -> Option<&'a [u8]> {
        self.0[part as usize]
    }

    fn note(&mut self, (part, defined): &(Part, &'static str), name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        // Some signers write the token's name in lower case. It is signed either way, and a second one is refused.
        if name != defined.as_bytes() && *part != Part::SecurityToken {
            return Err(Refusal::MiscasedParameter(defined));
        }
        match self.0[*part as usize].replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::RepeatedParameter(defined)),
        }
    }

    /// # Errors
    /// Names all that are missing.
    pub fn required(&self) -> Result<Required<'a>, Refusal> {
        let is_there = |part: Part| self.get(part).is_some_and(|value| !value.is_empty());
        let missing: Vec<_> = PARTS[..6].iter().filter(|(part, _)| !is_there(*part)).map(|(_, name)| *name).collect();
        if !missing.is_empty() {
            return Err(Refusal::MissingParts { carrier: Carrier::Query, parts: missing });
        }
        let value = |part| self.get(part).unwrap_or_default();
        Ok(Required {
            credential: value(Part::Credential),
            date: value(Part::Date),
            expires: value(Part::Expires),
            signed_headers: value(Part::SignedHeaders),
            signature: value(Part::Signature),
        })
    }
}

/// Reads X-Amz-Expires: whole seconds from 1 to [`MAX_EXPIRES`], digits only.
pub(super) fn read_expires(text: &[u8]) -> Result<u32, Refusal> {
    let bad = || Refusal::MalformedExpires { got: shown(text) };
    let digits =
        text.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(text).ok()).flatten().ok_or_else(bad)?;
    digits.parse().ok().filter(|seconds| (1..=MAX_EXPIRES).contains(seconds)).ok_or_else(bad)
}
