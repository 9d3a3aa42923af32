//! The head of an HTTP request, as bytes: method, target and headers in arrival order, read but not interpreted.
//!
//! Everything borrows from the caller's bytes, and nothing is rewritten: what was signed is what arrived.

use memchr::{memchr, memchr2};
use smallvec::SmallVec;
use thiserror::Error;

/// The most headers any [`Limits`] can allow: one bit each in the set of headers that must be signed.
pub const MAX_HEADERS: usize = 128;

/// How large a request head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head: request line, header lines and the empty line.
    pub head_bytes: usize,
    /// Header lines, at most [`MAX_HEADERS`].
    pub headers: usize,
}

impl Default for Limits {
    /// 32 KiB and 128 headers.
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, headers: MAX_HEADERS }
    }
}

/// One header line. The name is a token in the case it arrived in; the value has no blanks around it.
///
/// A value that was folded over several lines keeps its line breaks: every reader takes them for blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// A token (RFC 9110, 5.6.2).
    pub name: &'a [u8],
    /// Any bytes but NUL.
    pub value: &'a [u8],
}

/// Method, target and headers of one request.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    method: &'a [u8],
    target: &'a [u8],
    headers: SmallVec<[Header<'a>; 16]>,
}

/// Why bytes are not a request head: the call is malformed, which says nothing about the signature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// Larger than [`Limits::head_bytes`].
    #[error("the request head is longer than {limit} bytes")]
    TooLong {
        /// The limit in force.
        limit: usize,
    },
    /// More header lines than [`Limits::headers`].
    #[error("the request head has more than {limit} headers")]
    TooManyHeaders {
        /// The limit in force.
        limit: usize,
    },
    /// The first line is not `method target HTTP/x.y`.
    #[error("line 1 is not a request line: {why}")]
    RequestLine {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The method is not a token.
    #[error("the method is not an HTTP token")]
    Method,
    /// The target is empty.
    #[error("the request target is empty")]
    EmptyTarget,
    /// A header line that cannot be read.
    #[error("line {line} is not a header line: {why}")]
    HeaderLine {
        /// Counted from 1, the request line.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A header field that no header line could carry.
    #[error("header {index} cannot be a header: {why}")]
    HeaderField {
        /// Counted from 0.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

const NAME_IS_NO_TOKEN: &str = "its name is not an HTTP token";
const NUL_IN_VALUE: &str = "its value holds a NUL byte";
const BREAK_IN_VALUE: &str = "its value holds a line break";

impl<'a> RequestHead<'a> {
    /// A head from its parts. `target` is the request target as received; values may have blanks around them.
    ///
    /// # Errors
    /// If it is over `limits`, or a part could not stand in an HTTP head.
    pub fn from_fields(
        method: &'a [u8],
        target: &'a [u8],
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<Self, HeadError> {
        let mut builder = Builder::start(method, target, limits)?;
        for (index, (name, value)) in fields.into_iter().enumerate() {
            let why = match () {
                () if !is_token(name) => Some(NAME_IS_NO_TOKEN),
                () if memchr(0, value).is_some() => Some(NUL_IN_VALUE),
                () if memchr2(b'\r', b'\n', value).is_some() => Some(BREAK_IN_VALUE),
                () => None,
            };
            if let Some(why) = why {
                return Err(HeadError::HeaderField { index, why });
            }
            // ": " and the line break, as in a raw head.
            builder.count_bytes(name.len() + value.len() + 4)?;
            builder.push(Header { name, value: trim_blanks(value) })?;
        }
        Ok(builder.head)
    }

    /// Reads a raw HTTP/1.1 head and tells where the body starts. Lines end in CRLF or LF; the empty line at the end
    /// may be missing, as it is in files.
    ///
    /// # Errors
    /// If it is over `limits`, or a line cannot be read.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<(Self, usize), HeadError> {
        let mut lines = Lines { bytes, at: 0, number: 0 };
        let (method, target) = parse_request_line(lines.next().unwrap_or_default())?;
        let mut builder = Builder::start(method, target, limits)?;
        while let Some(line) = lines.next_folded() {
            if lines.at > limits.head_bytes {
                return Err(HeadError::TooLong { limit: limits.head_bytes });
            }
            if line.is_empty() {
                break;
            }
            let header = parse_header_line(line).map_err(|why| HeadError::HeaderLine { line: lines.number, why })?;
            builder.push(header)?;
        }
        Ok((builder.head, lines.at))
    }

    /// The method, in the case it arrived in.
    pub fn method(&self) -> &'a [u8] {
        self.method
    }

    /// The request target as received.
    pub fn target(&self) -> &'a [u8] {
        self.target
    }

    /// The header lines in arrival order.
    pub fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }
}

/// A head under construction, within its limits.
struct Builder<'a> {
    head: RequestHead<'a>,
    limits: Limits,
    bytes: usize,
}

impl<'a> Builder<'a> {
    fn start(method: &'a [u8], target: &'a [u8], limits: &Limits) -> Result<Self, HeadError> {
        if !is_token(method) {
            return Err(HeadError::Method);
        }
        if target.is_empty() {
            return Err(HeadError::EmptyTarget);
        }
        let head = RequestHead { method, target, headers: SmallVec::new() };
        let mut builder = Self { head, limits: *limits, bytes: 0 };
        builder.count_bytes(method.len() + target.len() + " HTTP/1.1\r\n".len() + 1)?;
        Ok(builder)
    }

    fn count_bytes(&mut self, more: usize) -> Result<(), HeadError> {
        self.bytes += more;
        let limit = self.limits.head_bytes;
        if self.bytes > limit { Err(HeadError::TooLong { limit }) } else { Ok(()) }
    }

    fn push(&mut self, header: Header<'a>) -> Result<(), HeadError> {
        let limit = self.limits.headers.min(MAX_HEADERS);
        if self.head.headers.len() == limit {
            return Err(HeadError::TooManyHeaders { limit });
        }
        self.head.headers.push(header);
        Ok(())
    }
}

/// The lines of a head, their ends cut off.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    /// A header line together with the lines folded under it: those that begin with a blank.
    fn next_folded(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut line = self.next()?;
        while !line.is_empty() && matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
            self.next();
            line = without_line_end(&self.bytes[start..self.at]);
        }
        Some(line)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        self.at += length;
        self.number += 1;
        Some(without_line_end(&rest[..length]))
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// `method SP target SP HTTP/x.y`. The target reaches from the first blank to the last: published requests have blanks
/// in their path, and what they mean is beyond doubt.
fn parse_request_line(line: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let bad = |why| HeadError::RequestLine { why };
    let first = memchr(b' ', line).ok_or(bad("no blank after the method"))?;
    let last =
        memchr::memrchr(b' ', line).filter(|last| *last > first).ok_or(bad("no HTTP version after the target"))?;
    match &line[last + 1..] {
        b"HTTP/1.1" | b"HTTP/1.0" | b"HTTP/2" | b"HTTP/2.0" | b"HTTP/3" => Ok((&line[..first], &line[first + 1..last])),
        _ => Err(bad("it does not end in an HTTP version")),
    }
}

fn parse_header_line(line: &[u8]) -> Result<Header<'_>, &'static str> {
    let colon = memchr(b':', line).ok_or("no colon")?;
    let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
    if !is_token(name) {
        return Err(NAME_IS_NO_TOKEN);
    }
    if memchr2(0, b'\r', value).is_some() && !is_cleanly_folded(value) {
        return Err("its value holds a NUL byte or a lone CR");
    }
    Ok(Header { name, value })
}

/// Whether the value has no NUL, and CR only where a folded line ends.
fn is_cleanly_folded(value: &[u8]) -> bool {
    value.iter().enumerate().all(|(at, byte)| match byte {
        0 => false,
        b'\r' => value.get(at + 1) == Some(&b'\n'),
        _ => true,
    })
}

/// Cuts blanks, tabs and line breaks off both ends.
pub(super) fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = value {
        value = rest;
    }
    value
}

/// A token of RFC 9110, 5.6.2: what a method or a header name consists of.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};
