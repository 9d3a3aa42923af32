//! What conditions and variables may look at: the keys that are known here, and their values in one request.

use std::collections::BTreeMap;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A text that is an ARN.
    Arn,
    /// An IP address.
    Address,
    /// A moment.
    Moment,
}

/// Keys without a part after `/`.
const PLAIN: [(&str, Kind); 10] = [
    ("aws:username", Kind::Text),
    ("aws:userid", Kind::Text),
    ("aws:principalarn", Kind::Arn),
    ("aws:principalaccount", Kind::Text),
    ("aws:principaltype", Kind::Text),
    ("aws:useragent", Kind::Text),
    ("aws:requestedregion", Kind::Text),
    ("aws:sourceip", Kind::Address),
    ("aws:currenttime", Kind::Moment),
    ("iam:policyarn", Kind::Arn),
];
/// Keys with a tag's key after `/`.
const OF_TAGS: [&str; 4] = ["aws:principaltag/", "aws:resourcetag/", "aws:requesttag/", "iam:resourcetag/"];

/// A key that is known here. Keys are compared without regard to case, those of tags included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// `None` for a key that is not known here.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let of_tag = OF_TAGS.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|tag| !tag.is_empty()));
        (of_tag || PLAIN.iter().any(|(plain, _)| *plain == name)).then_some(Self(name))
    }

    pub(super) fn kind(&self) -> Kind {
        PLAIN.iter().find(|(plain, _)| *plain == self.0).map_or(Kind::Text, |(_, kind)| *kind)
    }
}

/// The values of one request. A key without one is absent.
#[derive(Clone, Debug, Default)]
pub struct Context {
    values: BTreeMap<Key, String>,
    now: i64,
}

impl Context {
    /// A request at a time, in unix seconds.
    pub fn at(now: i64) -> Self {
        Self { values: BTreeMap::new(), now }
    }

    /// With the value of a key that is known here; of others nothing asks.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        if let Some(key) = Key::parse(key) {
            self.values.insert(key, value.into());
        }
        self
    }

    /// With tags below `aws:principaltag`, `aws:resourcetag` or `aws:requesttag`.
    #[must_use]
    pub fn with_tags<'t>(self, kind: &str, tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        tags.into_iter().fold(self, |all, (key, value)| all.with(&format!("{kind}/{key}"), value))
    }

    pub(super) fn get(&self, key: &Key) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    pub(super) fn now(&self) -> i64 {
        self.now
    }
}
