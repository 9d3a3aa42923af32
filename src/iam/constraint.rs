//! Checking parameters against the API's model. All violations are reported at once, in AWS's words.

use std::collections::BTreeMap;

use super::error::{ApiError, excerpt};
use super::parameters::Parameters;
use super::record::small_first as member;
use crate::registry::{MAX_TAGS, Tag};

/// What a text must look like.
pub(super) struct Shape {
    min: usize,
    max: usize,
    /// As the model writes it, for the message.
    pattern: &'static str,
    matches: fn(&str) -> bool,
}

impl Shape {
    /// Of so many characters at the least and at the most.
    pub const fn new(min: usize, max: usize, pattern: &'static str, matches: fn(&str) -> bool) -> Self {
        Self { min, max, pattern, matches }
    }

    /// Whether a text is of it.
    pub fn allows(&self, text: &str) -> bool {
        (self.min..=self.max).contains(&text.chars().count()) && (self.matches)(text)
    }
}

const NAME: &str = r"[\w+=,.@-]+";
const PATH: &str = r"(\u002F)|(\u002F[\u0021-\u007E]+\u002F)";

/// A name to give to a user.
pub(super) const NEW_USER_NAME: Shape = Shape { min: 1, max: 64, pattern: NAME, matches: is_name };
/// The name of a user that exists, or not.
pub(super) const USER_NAME: Shape = Shape { min: 1, max: 128, pattern: NAME, matches: is_name };
/// A user's path.
pub(super) const USER_PATH: Shape = Shape { min: 1, max: 512, pattern: PATH, matches: is_path };
/// The beginning of a path.
pub(super) const PATH_PREFIX: Shape =
    Shape { min: 1, max: 512, pattern: r"\u002F[\u0021-\u007F]*", matches: is_path_prefix };
/// An access key id, ours or not.
pub(super) const ACCESS_KEY_ID: Shape = Shape { min: 16, max: 128, pattern: r"[\w]+", matches: is_word };
/// What makes a request one that may be sent again.
pub(super) const CLIENT_TOKEN: Shape = Shape { min: 1, max: 64, pattern: r"[\u0021-\u007E]+", matches: is_visible };
/// What a key is described by: a tag's value, and not nothing.
pub(super) const DESCRIPTION: Shape =
    Shape { min: 1, max: 256, pattern: r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+", matches: is_tag };
/// Where a list goes on.
pub(super) const MARKER: Shape = Shape { min: 1, max: 320, pattern: r"[\u0020-\u00FF]+", matches: is_latin };
/// The name of an inline policy.
pub(super) const POLICY_NAME: Shape = Shape { min: 1, max: 128, pattern: NAME, matches: is_name };
/// The ARN of a managed policy, there or not.
pub(super) const POLICY_ARN: Shape = Shape { min: 20, max: 2048, pattern: r"[\u0020-\u00FF]+", matches: is_latin };
/// A policy document.
pub(super) const POLICY_DOCUMENT: Shape =
    Shape { min: 1, max: 131_072, pattern: r"[\u0009\u000A\u000D\u0020-\u00FF]+", matches: is_document };
/// The version of a managed policy.
pub(super) const VERSION_ID: Shape =
    Shape { min: 1, max: 32, pattern: r"v[1-9][0-9]*(\.[A-Za-z0-9-]*)?", matches: is_version };
const TAG_KEY: Shape = Shape { min: 1, max: 128, pattern: r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+", matches: is_tag };
const TAG_VALUE: Shape = Shape { min: 0, max: 256, pattern: r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", matches: is_tag };

/// Items on a page unless the client says otherwise, and at most.
const ITEMS: (u32, u32) = (100, 1000);

/// Reads parameters and gathers what is wrong with them.
pub(super) struct Check<'a> {
    parameters: &'a Parameters,
    violations: Vec<String>,
}

impl<'a> Check<'a> {
    pub fn new(parameters: &'a Parameters) -> Self {
        Self { parameters, violations: Vec::new() }
    }

    /// What was read, if all of it is right.
    pub fn finish<T>(self, read: T) -> Result<T, ApiError> {
        let count = self.violations.len();
        if count == 0 {
            return Ok(read);
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let text = format!("{count} validation {errors} detected: {}", self.violations.join("; "));
        Err(ApiError::sender(400, "ValidationError", text))
    }

    pub fn optional(&mut self, name: &str, shape: &Shape) -> Option<&'a str> {
        let value = self.parameters.get(name)?;
        self.check(&member(name), value, shape);
        Some(value)
    }

    /// Empty if it is missing; [`finish`](Self::finish) says so then.
    pub fn required(&mut self, name: &str, shape: &Shape) -> &'a str {
        self.optional(name, shape).unwrap_or_else(|| self.missing(&member(name)))
    }

    /// One of some words; the first if it is missing or another, which [`finish`](Self::finish) says then.
    pub fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> T {
        let Some(value) = self.parameters.get(name) else {
            self.missing(&member(name));
            return words[0].1;
        };
        let known = words.iter().find(|(word, _)| *word == value);
        if known.is_none() {
            let set = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.violation(&member(name), value, &format!("Member must satisfy enum value set: [{set}]"));
        }
        known.map_or(words[0].1, |(_, meaning)| *meaning)
    }

    /// `MaxItems`.
    pub fn max_items(&mut self) -> u32 {
        let (default, max) = ITEMS;
        let Some(value) = self.parameters.get("MaxItems") else { return default };
        let wrong = match value.parse::<i128>() {
            Ok(number) if number < 1 => "Member must have value greater than or equal to 1".into(),
            Ok(number) if number > i128::from(max) => format!("Member must have value less than or equal to {max}"),
            Ok(number) => return u32::try_from(number).expect("from 1 to 1000"),
            Err(_) => "Member must be an integer".into(),
        };
        self.violation("maxItems", value, &wrong);
        default
    }

    /// `Tags.member.N.Key` and `.Value`, in the order of their numbers.
    pub fn tags(&mut self) -> Vec<Tag> {
        let mut numbered: BTreeMap<u32, (Option<&'a str>, Option<&'a str>)> = BTreeMap::new();
        for (rest, value) in self.parameters.under("Tags.member.") {
            let place = rest.split_once('.').and_then(|(number, part)| Some((tag_number(number)?, part)));
            match place {
                Some((number, "Key")) => numbered.entry(number).or_default().0 = Some(value),
                Some((number, "Value")) => numbered.entry(number).or_default().1 = Some(value),
                _ => self.violation("tags", rest, "Member must have a number, and Key or Value"),
            }
        }
        if numbered.len() > MAX_TAGS {
            let count = numbered.len().to_string();
            self.violation("tags", &count, &format!("Member must have length less than or equal to {MAX_TAGS}"));
        }
        numbered.into_iter().map(|(number, (key, value))| self.tag(number, key, value)).collect()
    }

    /// `TagKeys.member.N`, in the order of their numbers.
    pub fn tag_keys(&mut self) -> Vec<&'a str> {
        let mut numbered = BTreeMap::new();
        for (rest, value) in self.parameters.under("TagKeys.member.") {
            match tag_number(rest) {
                Some(number) => _ = numbered.insert(number, value),
                None => self.violation("tagKeys", rest, "Member must have a number"),
            }
            self.check("tagKeys", value, &TAG_KEY);
        }
        if numbered.is_empty() {
            self.missing("tagKeys");
        }
        numbered.into_values().collect()
    }

    fn tag(&mut self, number: u32, key: Option<&str>, value: Option<&str>) -> Tag {
        let mut part = |part: &str, text: Option<&str>, shape: &Shape| {
            let name = format!("tags.{number}.member.{part}");
            match text {
                Some(text) => self.check(&name, text, shape),
                None => _ = self.missing(&name),
            }
            text.unwrap_or_default().to_owned()
        };
        Tag { key: part("key", key, &TAG_KEY), value: part("value", value, &TAG_VALUE) }
    }

    fn check(&mut self, name: &str, value: &str, shape: &Shape) {
        let length = value.chars().count();
        if !(shape.matches)(value) {
            let wrong = format!("Member must satisfy regular expression pattern: {}", shape.pattern);
            self.violation(name, value, &wrong);
        }
        if length < shape.min {
            self.violation(name, value, &format!("Member must have length greater than or equal to {}", shape.min));
        }
        if length > shape.max {
            self.violation(name, value, &format!("Member must have length less than or equal to {}", shape.max));
        }
    }

    fn missing(&mut self, name: &str) -> &'static str {
        let text = format!("Value null at '{name}' failed to satisfy constraint: Member must not be null");
        self.violations.push(text);
        ""
    }

    /// `name` as AWS writes it: the parameter with a small first letter.
    fn violation(&mut self, name: &str, value: &str, constraint: &str) {
        let quoted = excerpt(value);
        self.violations.push(format!("Value '{quoted}' at '{name}' failed to satisfy constraint: {constraint}"));
    }
}

/// In one spelling only, so that no two parameters mean one tag.
fn tag_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == text)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_path(text: &str) -> bool {
    let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    text == "/" || inner.is_some_and(|inner| !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_graphic()))
}

fn is_path_prefix(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| (0x21..=0x7f).contains(&b))
}

fn is_latin(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| (' '..='\u{ff}').contains(&c))
}

fn is_document(text: &str) -> bool {
    let allowed = |c| matches!(c, '\t' | '\n' | '\r') || (' '..='\u{ff}').contains(&c);
    !text.is_empty() && text.chars().all(allowed)
}

fn is_version(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or_default();
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Letters, separators, numbers and some signs. Rust's character classes are the nearest to `\p{L}`, `\p{Z}` and `\p{N}`.
fn is_tag(text: &str) -> bool {
    let separator = |c: char| c == ' ' || (c.is_whitespace() && !c.is_control());
    text.chars().all(|c| c.is_alphanumeric() || separator(c) || "_.:/=+-@".contains(c))
}
