//! A policy document: read once, strictly, then trusted.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::condition::Condition;
use super::context::Context;
use super::json::Unambiguous;
use super::pattern::{Pattern, Reading, Resource};
use super::{Request, Verdict};

/// The most statements, patterns and conditions of one document together.
const MOST: usize = 1000;

/// Why a document is refused, for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

impl PolicyError {
    pub(super) fn new(message: String) -> Self {
        Self(message)
    }

    pub(super) fn syntax() -> Self {
        Self("Syntax errors in policy.".into())
    }
}

/// A policy that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(Vec<Statement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    allows: bool,
    actions: Listed<Pattern>,
    resources: Listed<Resource>,
    conditions: Vec<Condition>,
}

/// What is listed, or all else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed<T> {
    items: Vec<T>,
    is_not: bool,
}

impl Policy {
    /// Reads a JSON document. What is not known here is refused.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let Unambiguous(document) = serde_json::from_str(text).map_err(|_| PolicyError::syntax())?;
        let mut document = Elements::of(document)?;
        let variables = match document.take("Version") {
            None => false,
            Some(Value::String(version)) if version == "2008-10-17" => false,
            Some(Value::String(version)) if version == "2012-10-17" => true,
            Some(_) => return Err(PolicyError::syntax()),
        };
        if !matches!(document.take("Id"), None | Some(Value::String(_))) {
            return Err(PolicyError::syntax());
        }
        let statements = match document.take("Statement") {
            Some(Value::Array(statements)) => statements,
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(PolicyError::syntax()),
        };
        document.nothing_else()?;
        if statements.is_empty() {
            return Err(PolicyError::syntax());
        }
        let mut ids = HashSet::new();
        let statements = statements.into_iter().map(|statement| Statement::read(statement, variables, &mut ids));
        let policy = Self(statements.collect::<Result<_, _>>()?);
        let size: usize = policy.0.iter().map(Statement::size).sum();
        if size > MOST {
            return Err(PolicyError::new(format!("The policy has more than {MOST} parts.")));
        }
        Ok(policy)
    }

    /// What this policy alone says.
    pub(super) fn verdict(&self, request: &Request<'_>) -> Verdict {
        let applying = || self.0.iter().filter(|statement| statement.applies(request));
        if applying().any(|statement| !statement.allows) {
            return Verdict::ExplicitlyDenied;
        }
        if applying().next().is_some() { Verdict::Allowed } else { Verdict::ImplicitlyDenied }
    }
}

impl Statement {
    fn read(value: Value, variables: bool, ids: &mut HashSet<String>) -> Result<Self, PolicyError> {
        let mut elements = Elements::of(value)?;
        if let Some(id) = elements.take("Sid") {
            check_id(id, ids)?;
        }
        let allows = match elements.take("Effect") {
            Some(Value::String(effect)) if effect == "Allow" => true,
            Some(Value::String(effect)) if effect == "Deny" => false,
            _ => return Err(PolicyError::syntax()),
        };
        if elements.has("Principal") || elements.has("NotPrincipal") {
            return Err(PolicyError::new("Policy document should not specify a principal.".into()));
        }
        let actions = elements.listed("Action", "NotAction", "Policy statement must contain actions.", read_action)?;
        let read = |text: &str| Resource::read(text, variables);
        let resources = elements.listed("Resource", "NotResource", "Policy statement must contain resources.", read)?;
        let conditions = elements.take("Condition").map_or(Ok(Vec::new()), |block| conditions(block, variables))?;
        elements.nothing_else()?;
        Ok(Self { allows, actions, resources, conditions })
    }

    fn applies(&self, request: &Request<'_>) -> bool {
        self.is_about_action(request.action, request.context)
            && self.is_about_resource(request)
            && self.conditions.iter().all(|condition| condition.holds(request.context))
    }

    fn is_about_action(&self, action: &str, context: &Context) -> bool {
        let action = action.to_ascii_lowercase();
        let listed = self.actions.items.iter().any(|pattern| pattern.matches(&action, context) == Some(true));
        listed != self.actions.is_not
    }

    /// A variable without a value matches nothing. Where what is listed is left out, nobody knows then what is; so a statement that
    /// allows says nothing, and one that denies does.
    fn is_about_resource(&self, request: &Request<'_>) -> bool {
        let matches = self.resources.items.iter().map(|resource| resource.matches(request.resource, request.context));
        let (mut listed, mut unsure) = (false, false);
        for matched in matches {
            listed |= matched == Some(true);
            unsure |= matched.is_none();
        }
        match self.resources.is_not {
            false => listed,
            true => !listed && (!unsure || !self.allows),
        }
    }

    fn size(&self) -> usize {
        1 + self.actions.items.len() + self.resources.items.len() + self.conditions.len()
    }
}

/// Letters and digits, once in a document.
fn check_id(id: Value, ids: &mut HashSet<String>) -> Result<(), PolicyError> {
    let Value::String(id) = id else { return Err(PolicyError::syntax()) };
    if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let text = "Statement IDs (SID) in a single policy must be alpha numeric. Check that your input satisfies the regular \
                    expression [0-9A-Za-z]*";
        return Err(PolicyError::new(text.into()));
    }
    if !id.is_empty() && !ids.insert(id) {
        return Err(PolicyError::new("Statement IDs (SID) in a single policy must be unique.".into()));
    }
    Ok(())
}

/// `*`, or `service:Action` with wildcards; without regard to case.
fn read_action(text: &str) -> Result<Pattern, PolicyError> {
    let is_name =
        |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-*?".contains(&b)) && !part.is_empty();
    let parts: Vec<_> = text.split(':').collect();
    match parts.as_slice() {
        ["*"] => {}
        [service, action] if is_name(service) && is_name(action) => {}
        [_] => {
            let text = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
            return Err(PolicyError::new(text.into()));
        }
        _ => return Err(PolicyError::new(format!("The action {} is not known here.", excerpt(text)))),
    }
    Pattern::read(&text.to_ascii_lowercase(), Reading { wildcards: true, variables: false })
}

fn conditions(block: Value, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let Value::Object(operators) = block else { return Err(PolicyError::syntax()) };
    let mut all = Vec::new();
    for (operator, keys) in operators {
        let Value::Object(keys) = keys else { return Err(PolicyError::syntax()) };
        for (key, values) in keys {
            all.push(Condition::read(&operator, &key, &values, variables)?);
        }
    }
    Ok(all)
}

/// An object's elements, each taken once.
struct Elements(Map<String, Value>);

impl Elements {
    fn of(value: Value) -> Result<Self, PolicyError> {
        match value {
            Value::Object(elements) => Ok(Self(elements)),
            _ => Err(PolicyError::syntax()),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// One of two elements, with one or more items.
    fn listed<T>(
        &mut self,
        name: &str,
        not_name: &str,
        missing: &str,
        read: impl Fn(&str) -> Result<T, PolicyError>,
    ) -> Result<Listed<T>, PolicyError> {
        let (items, is_not) = match (self.take(name), self.take(not_name)) {
            (Some(items), None) => (items, false),
            (None, Some(items)) => (items, true),
            (None, None) => return Err(PolicyError::new(missing.into())),
            (Some(_), Some(_)) => return Err(PolicyError::syntax()),
        };
        let is_text = |value: &Value| value.is_string();
        let only_texts = items.as_array().map_or_else(|| is_text(&items), |items| items.iter().all(is_text));
        let items = one_or_many(&items)?;
        if items.is_empty() || !only_texts {
            return Err(PolicyError::new(missing.into()));
        }
        Ok(Listed { items: items.iter().map(|item| read(item)).collect::<Result<_, _>>()?, is_not })
    }

    fn nothing_else(&self) -> Result<(), PolicyError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(PolicyError::new(format!("The element {} is not known here.", excerpt(name)))),
        }
    }
}

/// A text, number or truth value, or a list of such, as texts.
pub(super) fn one_or_many(value: &Value) -> Result<Vec<String>, PolicyError> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(PolicyError::syntax()),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// As much of a text as a message quotes.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}
