//! Values that are words of a few: each is read in one place, for the file and for the environment.

use rederive_hsm::access_key_id::{Layout, Prefix};
use serde::{Deserialize, Deserializer};

use super::UnknownKeys;
use crate::feed::PublicKey;
use crate::registry::Location;

pub(super) fn parse_layout(text: &str) -> Result<Layout, String> {
    match text {
        "account" => Ok(Layout::Account),
        "opaque" => Ok(Layout::Opaque),
        other => Err(format!("there is no layout `{other}`: use \"account\" or \"opaque\"")),
    }
}

pub(super) fn parse_prefix(text: &str) -> Result<Prefix, String> {
    Prefix::parse(text).ok_or_else(|| format!("`{text}` is no prefix: it takes four letters A to Z"))
}

impl std::str::FromStr for UnknownKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "accept" => Ok(Self::Accept),
            other => Err(format!("there is no `{other}`: use \"refuse\" or \"accept\"")),
        }
    }
}

impl<'de> Deserialize<'de> for UnknownKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 64 hexadecimal digits, as `rederive feed key` prints them.
pub(super) fn parse_public_key(text: &str) -> Result<PublicKey, String> {
    let mut key = PublicKey::default();
    match base16ct::lower::decode(text, &mut key) {
        Ok(bytes) if bytes.len() == size_of::<PublicKey>() => Ok(key),
        _ => Err(format!("`{text}` is no public key: it takes the 64 hexadecimal digits of 'rederive feed key'")),
    }
}

pub(super) fn public_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_public_key(text).map_err(serde::de::Error::custom)).collect()
}

pub(super) fn layout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Layout, D::Error> {
    parse_layout(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

pub(super) fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Prefix, D::Error> {
    parse_prefix(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

pub(super) fn location<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Location>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A name as it stands in front of the port of a Host header.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match text.split('.').all(is_label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("`{text}` is no host name: write it without a scheme and without a port")),
    }
}

pub(super) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_host(text).map_err(serde::de::Error::custom)).collect()
}
