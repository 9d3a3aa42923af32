//! The parameters of a request: a form in the body of a POST, or the query of a GET.

use std::collections::HashMap;

use http::Method;
use sha2::{Digest, Sha256};

use super::error::{ApiError, excerpt};

/// Most bytes of a form, escapes included. The largest request of today (50 tags) is a third of it.
const MAX_BYTES: usize = 64 * 1024;
/// Most parameters.
const MAX_COUNT: usize = 256;
/// Query parameters that belong to the signature begin so.
const OF_SIGNATURE: &str = "X-Amz-";

/// Names and values, decoded. Each name stands once.
#[derive(Debug)]
pub struct Parameters(HashMap<String, String>);

impl Parameters {
    /// Reads the parameters of a request: the query, and with POST the body, too (a form of the media type
    /// `application/x-www-form-urlencoded`). `+` is a blank in both.
    pub fn parse(method: &Method, query: Option<&str>, body: &[u8]) -> Result<Self, ApiError> {
        let body = match *method {
            Method::POST => std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))?,
            Method::GET => "",
            _ => return Err(ApiError::sender(405, "MethodNotAllowed", format!("Use GET or POST, not {method}"))),
        };
        let mut parameters = Self(HashMap::new());
        for form in [query.unwrap_or_default(), body] {
            parameters.add_all(form)?;
        }
        Ok(parameters)
    }

    /// The value of a parameter, which may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The parameters whose name begins so, each with the rest of its name.
    pub fn under(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Adds what came in a header; the same value may stand in both places.
    pub fn add_from_header(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        match self.get(name) {
            Some(known) if known == value => Ok(()),
            _ => self.add(name.to_owned(), value.to_owned()),
        }
    }

    /// SHA-256 of all parameters but one, in the order of their names, each text behind its length (8 bytes, big-endian).
    pub(super) fn digest(&self, but: &str) -> [u8; 32] {
        let mut all: Vec<_> = self.0.iter().filter(|(name, _)| *name != but).collect();
        all.sort();
        let texts = all.into_iter().flat_map(|(name, value)| [name, value]);
        let hash = texts
            .fold(Sha256::new(), |hash, text| hash.chain_update((text.len() as u64).to_be_bytes()).chain_update(text));
        hash.finalize().into()
    }

    fn add_all(&mut self, form: &str) -> Result<(), ApiError> {
        if form.len() > MAX_BYTES {
            let text = format!("The parameters are longer than {MAX_BYTES} bytes");
            return Err(ApiError::sender(413, "RequestEntityTooLarge", text));
        }
        check_escapes(form)?;
        for (name, value) in form_urlencoded::parse(form.as_bytes()) {
            if name.starts_with(OF_SIGNATURE) {
                continue;
            }
            self.add(name.into_owned(), value.into_owned())?;
        }
        Ok(())
    }

    fn add(&mut self, name: String, value: String) -> Result<(), ApiError> {
        // The decoder puts U+FFFD for what is not UTF-8. No parameter may hold that character anyway.
        if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(malformed("a parameter is not UTF-8"));
        }
        if self.0.len() == MAX_COUNT {
            return Err(malformed(&format!("there are more than {MAX_COUNT} parameters")));
        }
        if self.0.contains_key(&name) {
            return Err(malformed(&format!("the parameter {} stands twice", excerpt(&name))));
        }
        self.0.insert(name, value);
        Ok(())
    }
}

/// Every `%` is followed by two hexadecimal digits.
fn check_escapes(form: &str) -> Result<(), ApiError> {
    let whole = |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if form.split('%').skip(1).all(whole) { Ok(()) } else { Err(malformed("an escape is incomplete")) }
}

fn malformed(why: &str) -> ApiError {
    ApiError::sender(400, "MalformedQueryString", format!("The query string is malformed: {why}"))
}
