//! Lists of service and region names.

use std::fmt;
use std::str::FromStr;

use rederive_hsm::wire::is_scope_name;
use serde::{Deserialize, Deserializer};

/// Which names of services or regions are meant. The empty list means none, and is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// `["*"]`: every name.
    Any,
    /// These and no others.
    Only(Vec<String>),
}

impl Names {
    /// Whether a name is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.iter().any(|known| known == name),
        }
    }

    /// The names as a worker's configuration lists them, `*` for every one.
    pub fn to_list(&self) -> Vec<String> {
        match self {
            Self::Any => vec!["*".into()],
            Self::Only(names) => names.clone(),
        }
    }

    /// Whether no name is.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    /// The names that are in both.
    pub fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, names) | (names, Self::Any) => names.clone(),
            (Self::Only(names), _) => Self::Only(names.iter().filter(|name| other.contains(name)).cloned().collect()),
        }
    }

    fn new(names: Vec<String>) -> Result<Self, String> {
        if names.iter().any(|name| name == "*") {
            return match names.len() {
                1 => Ok(Self::Any),
                _ => Err("\"*\" stands for every name: leave the others out".into()),
            };
        }
        match names.iter().find(|name| !is_scope_name(name.as_bytes())) {
            Some(bad) => Err(format!("`{bad}` is no name of a service or region: 1 to 32 letters, digits or hyphens")),
            None => Ok(Self::Only(names)),
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// Comma-separated, as an environment variable has them.
impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self::new(names.map(str::to_owned).collect())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Only(names) => f.write_str(&names.join(", ")),
        }
    }
}
