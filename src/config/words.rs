//! Values that are words of a few: each is read in one place, for the file and for the environment.

use rederive_hsm::access_key_id::{Layout, Prefix};
use serde::{Deserialize, Deserializer};

use super::UnknownKeys;

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
            other => Err(format!("`{other}` is not available: only \"refuse\" is, in this version")),
        }
    }
}

impl<'de> Deserialize<'de> for UnknownKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

pub(super) fn layout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Layout, D::Error> {
    parse_layout(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

pub(super) fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Prefix, D::Error> {
    parse_prefix(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
