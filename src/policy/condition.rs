//! Conditions: an operator, a key, and the values that it is compared with.
//!
//! All conditions of a statement must hold; of several values one must (with a negated operator: none may be equal). A key that the
//! request does not have makes a condition fail, unless its operator is negated or ends with `IfExists`.

use std::net::IpAddr;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::address::Network;
use super::context::{Context, Key, Kind};
use super::document::{PolicyError, excerpt, one_or_many};
use super::pattern::{Pattern, Reading};

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    key: Key,
    test: Test,
    negated: bool,
    if_exists: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// Equal, with wildcards where the operator has them.
    Like(Vec<Pattern>),
    /// Equal without regard to ASCII case.
    IgnoreCase(Vec<Pattern>),
    In(Vec<Network>),
    /// On which sides of a moment: before it, at it, after it.
    Moment([bool; 3], Vec<i64>),
    /// Whether the key is absent.
    Null(bool),
}

/// The operators that are known here, without `IfExists`.
#[derive(Clone, Copy)]
enum Compare {
    Text { wildcards: bool, ignore_case: bool },
    Arn,
    Address,
    Moment([bool; 3]),
}

const EQUALS: Compare = Compare::Text { wildcards: false, ignore_case: false };
const IGNORE_CASE: Compare = Compare::Text { wildcards: false, ignore_case: true };
const LIKE: Compare = Compare::Text { wildcards: true, ignore_case: false };

/// Name, what is compared, whether it is negated.
const OPERATORS: [(&str, Compare, bool); 18] = [
    ("StringEquals", EQUALS, false),
    ("StringNotEquals", EQUALS, true),
    ("StringEqualsIgnoreCase", IGNORE_CASE, false),
    ("StringNotEqualsIgnoreCase", IGNORE_CASE, true),
    ("StringLike", LIKE, false),
    ("StringNotLike", LIKE, true),
    // AWS reads both pairs alike, with wildcards.
    ("ArnEquals", Compare::Arn, false),
    ("ArnNotEquals", Compare::Arn, true),
    ("ArnLike", Compare::Arn, false),
    ("ArnNotLike", Compare::Arn, true),
    ("IpAddress", Compare::Address, false),
    ("NotIpAddress", Compare::Address, true),
    ("DateEquals", Compare::Moment([false, true, false]), false),
    ("DateNotEquals", Compare::Moment([false, true, false]), true),
    ("DateLessThan", Compare::Moment([true, false, false]), false),
    ("DateLessThanEquals", Compare::Moment([true, true, false]), false),
    ("DateGreaterThan", Compare::Moment([false, false, true]), false),
    ("DateGreaterThanEquals", Compare::Moment([false, true, true]), false),
];

impl Condition {
    /// Reads one operator's part of a `Condition` block.
    pub fn read(operator: &str, key: &str, values: &Value, variables: bool) -> Result<Self, PolicyError> {
        let known = Key::parse(key);
        let key =
            known.ok_or_else(|| PolicyError::new(format!("The condition key {} is not known here.", excerpt(key))))?;
        let values = one_or_many(values)?;
        if values.is_empty() {
            return Err(PolicyError::syntax());
        }
        if operator == "Null" {
            let test = Test::Null(truth(&values)?);
            return Ok(Self { key, test, negated: false, if_exists: false });
        }
        let (name, if_exists) = match operator.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (operator, false),
        };
        let unknown = || PolicyError::new(format!("Invalid Condition type : {}.", excerpt(operator)));
        let (_, compare, negated) = OPERATORS.iter().find(|(known, ..)| *known == name).ok_or_else(unknown)?;
        let test = Test::read(*compare, &key, &values, variables)?;
        Ok(Self { key, test, negated: *negated, if_exists })
    }

    /// Whether it holds for a request.
    pub fn holds(&self, context: &Context) -> bool {
        let present = self.key.kind() == Kind::Moment || context.get(&self.key).is_some();
        if let Test::Null(absent) = self.test {
            return absent != present;
        }
        if !present {
            return self.if_exists || self.negated;
        }
        self.test.any_equal(context, context.get(&self.key).unwrap_or_default()) != self.negated
    }
}

impl Test {
    fn read(compare: Compare, key: &Key, values: &[String], variables: bool) -> Result<Self, PolicyError> {
        let patterns = |wildcards| {
            let reading = Reading { wildcards, variables };
            values.iter().map(|value| Pattern::read(value, reading)).collect::<Result<Vec<_>, _>>()
        };
        match (compare, key.kind()) {
            (Compare::Text { ignore_case: true, .. }, Kind::Text | Kind::Arn) => Ok(Self::IgnoreCase(patterns(false)?)),
            (Compare::Text { wildcards, .. }, Kind::Text | Kind::Arn) => Ok(Self::Like(patterns(wildcards)?)),
            (Compare::Arn, Kind::Arn) => Ok(Self::Like(patterns(true)?)),
            (Compare::Address, Kind::Address) => {
                let networks = values.iter().map(|value| Network::read(value));
                Ok(Self::In(networks.collect::<Option<_>>().ok_or_else(|| bad_value("an IP address or a network"))?))
            }
            (Compare::Moment(sides), Kind::Moment) => {
                let moments = values.iter().map(|value| moment(value));
                Ok(Self::Moment(sides, moments.collect::<Option<_>>().ok_or_else(|| bad_value("a time"))?))
            }
            _ => Err(PolicyError::new("A condition compares a key with values of another type.".into())),
        }
    }

    /// Whether the key's value is one of those of the condition.
    fn any_equal(&self, context: &Context, value: &str) -> bool {
        match self {
            Self::Like(patterns) => patterns.iter().any(|pattern| pattern.matches(value, context) == Some(true)),
            Self::IgnoreCase(patterns) => {
                let equal =
                    |pattern: &Pattern| pattern.text(context).is_some_and(|text| text.eq_ignore_ascii_case(value));
                patterns.iter().any(equal)
            }
            Self::In(networks) => {
                let address = value.parse::<IpAddr>();
                address.is_ok_and(|address| networks.iter().any(|network| network.holds(address)))
            }
            Self::Moment([before, at, after], moments) => {
                moments.iter().any(|moment| match context.now().cmp(moment) {
                    std::cmp::Ordering::Less => *before,
                    std::cmp::Ordering::Equal => *at,
                    std::cmp::Ordering::Greater => *after,
                })
            }
            Self::Null(_) => false,
        }
    }
}

fn truth(values: &[String]) -> Result<bool, PolicyError> {
    match values {
        [value] if value == "true" => Ok(true),
        [value] if value == "false" => Ok(false),
        _ => Err(bad_value("true or false")),
    }
}

/// RFC 3339, or seconds since 1970.
fn moment(text: &str) -> Option<i64> {
    let written = OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp);
    written.ok().or_else(|| text.parse().ok())
}

fn bad_value(wanted: &str) -> PolicyError {
    PolicyError::new(format!("A value of a condition is not {wanted}."))
}
