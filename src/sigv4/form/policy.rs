//! The policy document: when it expires, and its conditions.
//!
//! Source: S3's "Creating a POST Policy". Its own words are read in their case only; names of fields and operators in
//! any.

use std::fmt;

use base64::prelude::*;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::time::AmzDate;

/// A policy document.
#[derive(Debug)]
pub(super) struct Policy {
    pub expiration: AmzDate,
    pub conditions: Vec<Condition>,
}

/// What a policy demands. Names of fields are in lower case.
#[derive(Debug)]
pub(super) enum Condition {
    /// The field has this value.
    Equals { field: String, value: String },
    /// The field begins with this.
    StartsWith { field: String, prefix: String },
    /// The file has so many bytes, both included.
    ContentLength { least: u64, most: u64 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    expiration: std::borrow::Cow<'a, str>,
    conditions: Vec<Condition>,
}

impl Policy {
    /// Reads the policy from its field. An error says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let json = BASE64_STANDARD.decode(text).map_err(|_| "it is not standard base64 with padding".to_owned())?;
        let document: Document<'_> = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        let expiration = read_expiration(&document.expiration);
        let expiration = expiration.ok_or_else(|| format!("invalid 'expiration' value: '{}'", document.expiration))?;
        Ok(Self { expiration, conditions: document.conditions })
    }
}

/// `YYYY-MM-DD'T'HH:MM:SS'Z'`, with or without a fraction of a second, which is cut off.
fn read_expiration(text: &str) -> Option<AmzDate> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let [date, seconds] = [separated(date, '-')?, separated(seconds, ':')?];
    is_fraction.then(|| AmzDate::parse(format!("{date}T{seconds}Z").as_bytes())).flatten()
}

/// Three numbers without the separators between them, the last two of which have two digits.
fn separated(text: &str, separator: char) -> Option<String> {
    let mut parts = text.rsplit(separator);
    let [last, middle, first] = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && last.len() == 2 && middle.len() == 2).then(|| format!("{first}{middle}{last}"))
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConditionVisitor)
    }
}

struct ConditionVisitor;

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a condition: {\"field\": \"value\"}, or a list of an operator and its two operands")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Condition, A::Error> {
        const ONE: &str = "invalid Simple-Condition: it must have exactly one property";
        let (field, value): (String, String) = map.next_entry()?.ok_or_else(|| A::Error::custom(ONE))?;
        match map.next_entry::<IgnoredAny, IgnoredAny>()? {
            None => Ok(Condition::Equals { field: field.to_ascii_lowercase(), value }),
            Some(_) => Err(A::Error::custom(ONE)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Condition, A::Error> {
        let short = || A::Error::custom("a condition has three parts");
        let operator: String = list.next_element()?.ok_or_else(short)?;
        let condition = match operator.to_ascii_lowercase().as_str() {
            "eq" => {
                let field = list.next_element::<FieldName>()?.ok_or_else(short)?.0;
                Condition::Equals { field, value: list.next_element()?.ok_or_else(short)? }
            }
            "starts-with" => {
                let field = list.next_element::<FieldName>()?.ok_or_else(short)?.0;
                Condition::StartsWith { field, prefix: list.next_element()?.ok_or_else(short)? }
            }
            "content-length-range" => {
                let Bytes(least) = list.next_element()?.ok_or_else(short)?;
                let Bytes(most) = list.next_element()?.ok_or_else(short)?;
                Condition::ContentLength { least, most }
            }
            _ => return Err(A::Error::custom(format_args!("'{operator}' is no operator of a condition"))),
        };
        if list.next_element::<IgnoredAny>()?.is_some() {
            return Err(short());
        }
        Ok(condition)
    }
}

/// The name of a field after its dollar sign, in lower case.
struct FieldName(String);

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.strip_prefix('$').filter(|name| !name.is_empty());
        name.map(|name| Self(name.to_ascii_lowercase())).ok_or_else(|| D::Error::custom("a field's name begins with $"))
    }
}

/// A number of bytes, which some signers write as a string.
struct Bytes(u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of bytes")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Bytes, E> {
                Ok(Bytes(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text);
                let number = digits.and_then(|digits| digits.parse().ok());
                number.map(Bytes).ok_or_else(|| E::custom("a length is not a whole number"))
            }
        }
        deserializer.deserialize_any(Number)
    }
}
