//! Texts with wildcards and variables.

use super::context::{Context, Key};
use super::document::PolicyError;

/// How a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// `*` and `?` stand for others.
    pub wildcards: bool,
    /// `${key}` stands for a value.
    pub variables: bool,
}

/// A text that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    One(char),
    AnyOne,
    Any,
    Value(Key),
}

/// A part once the values are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    One(char),
    AnyOne,
    Any,
}

impl Pattern {
    pub fn read(text: &str, reading: Reading) -> Result<Self, PolicyError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            parts.push(match c {
                '$' if reading.variables && rest.starts_with('{') => {
                    let (name, after) = rest[1..].split_once('}').ok_or_else(|| bad_variable(text))?;
                    rest = after;
                    variable(name, text)?
                }
                '*' if reading.wildcards => Part::Any,
                '?' if reading.wildcards => Part::AnyOne,
                c => Part::One(c),
            });
        }
        Ok(Self(parts))
    }

    /// `None` if a variable has no value. What a value holds stands for itself: a name with a `*` in it matches no other.
    pub fn matches(&self, text: &str, context: &Context) -> Option<bool> {
        let mut tokens = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            match part {
                Part::One(c) => tokens.push(Token::One(*c)),
                Part::AnyOne => tokens.push(Token::AnyOne),
                Part::Any => tokens.push(Token::Any),
                Part::Value(key) => tokens.extend(context.get(key)?.chars().map(Token::One)),
            }
        }
        Some(matches(&tokens, text))
    }

    /// The text that it stands for, if there is no wildcard in it and every variable has a value.
    pub fn text(&self, context: &Context) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::One(c) => text.push(*c),
                Part::Value(key) => text.push_str(context.get(key)?),
                Part::AnyOne | Part::Any => return None,
            }
        }
        Some(text)
    }
}

/// `${*}`, `${?}` and `${$}` are the characters themselves.
fn variable(name: &str, text: &str) -> Result<Part, PolicyError> {
    match name {
        "*" => Ok(Part::One('*')),
        "?" => Ok(Part::One('?')),
        "$" => Ok(Part::One('$')),
        name => Key::parse(name).map(Part::Value).ok_or_else(|| bad_variable(text)),
    }
}

fn bad_variable(text: &str) -> PolicyError {
    PolicyError::new(format!("A policy variable in {} is not known here.", super::document::excerpt(text)))
}

/// Goes back to the last `*` only: at most the product of both lengths.
fn matches(pattern: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut place) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(Token::Any) => {
                last_any = Some((at, place));
                at += 1;
            }
            Some(Token::AnyOne) => (at, place) = (at + 1, place + 1),
            Some(Token::One(c)) if *c == text[place] => (at, place) = (at + 1, place + 1),
            _ => {
                let Some((any, taken)) = last_any else { return false };
                last_any = Some((any, taken + 1));
                (at, place) = (any + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|token| *token == Token::Any)
}

/// A resource in a policy: `*`, or an ARN each of whose six parts is a pattern. A wildcard never reaches across a colon, apart from
/// the last part, which may hold colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    All,
    Arn(Vec<Pattern>),
}

const PARTS: usize = 6;

impl Resource {
    pub fn read(text: &str, variables: bool) -> Result<Self, PolicyError> {
        if text == "*" {
            return Ok(Self::All);
        }
        let parts: Vec<_> = split(text);
        if parts.len() != PARTS || parts[0] != "arn" || parts[5].is_empty() {
            let shown = super::document::excerpt(text);
            return Err(PolicyError::new(format!("Resource {shown} must be in ARN format or \"*\".")));
        }
        let reading = Reading { wildcards: true, variables };
        Ok(Self::Arn(parts.into_iter().map(|part| Pattern::read(part, reading)).collect::<Result<_, _>>()?))
    }

    /// `None` if a variable has no value.
    pub fn matches(&self, resource: &str, context: &Context) -> Option<bool> {
        let Self::Arn(patterns) = self else { return Some(true) };
        let parts = split(resource);
        // An action about nothing in particular is about every ARN only where a policy says `*`.
        if parts.len() != PARTS {
            return Some(false);
        }
        let mut all = true;
        for (pattern, part) in patterns.iter().zip(parts) {
            all &= pattern.matches(part, context)?;
        }
        Some(all)
    }
}

/// At colons, those within a variable apart.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut within) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => within = true,
            '}' => within = false,
            ':' if !within && parts.len() < PARTS - 1 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
