//! The parameters of a query, or of a form in a body, decoded.

use memchr::memchr;

use crate::sigv4::{Place, Refusal, decode, shown};

/// `name=value`, decoded; the value is `None` where there was no `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub name: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// The parameters between `&`. A `+` is a blank, as forms have it; `%` without two digits stands for itself.
pub(crate) fn parameters(text: &[u8]) -> Vec<Parameter> {
    parameters_in(text, Place::Query)
}

/// The same, decoded as in another place.
pub(super) fn parameters_in(text: &[u8], place: Place) -> Vec<Parameter> {
    let decoded = |text: Vec<u8>| decode(&text, place).into_owned();
    let parameters = as_sent(text).into_iter();
    parameters.map(|Parameter { name, value }| Parameter { name: decoded(name), value: value.map(decoded) }).collect()
}

/// The same, not decoded.
pub(super) fn as_sent(text: &[u8]) -> Vec<Parameter> {
    let pieces = text.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let parameter = |piece: &[u8]| match memchr(b'=', piece) {
        Some(mark) => Parameter { name: piece[..mark].to_vec(), value: Some(piece[mark + 1..].to_vec()) },
        None => Parameter { name: piece.to_vec(), value: None },
    };
    pieces.map(parameter).collect()
}

impl Parameter {
    /// The name, for an error message.
    pub fn shown_name(&self) -> String {
        shown(&self.name)
    }
}

/// Whether some `%` has no two digits after it. Readers differ on what that means.
pub(super) fn has_broken_escape(text: &[u8]) -> bool {
    let is_escape =
        |at: usize| matches!(text.get(at + 1..at + 3), Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    memchr::memchr_iter(b'%', text).any(|at| !is_escape(at))
}

/// The value of a parameter that may come once.
///
/// # Errors
/// If it came twice: servers disagree on which of the two counts.
pub(super) fn only<'p>(parameters: &'p [Parameter], name: &'static str) -> Result<Option<&'p [u8]>, Refusal> {
    let mut found = parameters.iter().filter(|parameter| parameter.name == name.as_bytes());
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Refusal::RepeatedParameter(name)),
        (found, None) => Ok(found.map(|parameter| parameter.value.as_deref().unwrap_or_default())),
    }
}
