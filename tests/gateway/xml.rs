//! The XML of S3, written and read as far as the clients need it.

use std::borrow::Cow;

use rederive::sigv4::Outside;

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Problem {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    pub fn xml(&self) -> String {
        element("Error", &(text("Code", &self.code) + &text("Message", &self.message) + &text("RequestId", "0")))
    }
}

impl From<Outside> for Problem {
    fn from(outside: Outside) -> Self {
        Self::new(outside.http_status, outside.code, outside.message)
    }
}

/// An element around others.
pub fn element(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// An element around text.
pub fn text(name: &str, text: impl AsRef<str>) -> String {
    element(name, &quick_xml::escape::escape(text.as_ref()))
}

/// A document.
pub fn document(name: &str, inner: &str) -> Vec<u8> {
    let namespace = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name} {namespace}>{inner}</{name}>").into_bytes()
}

/// The text of every element of that name.
pub fn texts(document: &[u8], name: &str) -> Vec<String> {
    let document = String::from_utf8_lossy(document).into_owned();
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inner = document.split(&open).skip(1).filter_map(|rest| rest.split(&close).next());
    inner.map(|text| quick_xml::escape::unescape(text).unwrap_or(Cow::Borrowed("")).into_owned()).collect()
}
