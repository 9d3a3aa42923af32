//! The head of an HTTP request, as bytes: method, target and headers in arrival order, read but not interpreted.
//!
//! Everything borrows from the caller's bytes, and nothing is rewritten: what was signed is what arrived.

use memchr::{memchr, memchr_iter, memchr2};
use smallvec::SmallVec;
use thiserror::Error;

use super::ascii::{Table, is_all, run_length, table};
use super::scan::{Byte, Control, Places, UnlikeName, find, places};

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

/// Where a head is read to and stays. A head is large, and each move of it costs a short verification some of its time.
pub struct HeadPlace<'a>(RequestHead<'a>);

impl Default for HeadPlace<'_> {
    fn default() -> Self {
        Self(RequestHead::empty())
    }
}

impl<'a> HeadPlace<'a> {
    /// As [`RequestHead::parse`].
    ///
    /// # Errors
    /// As [`RequestHead::parse`].
    #[inline]
    pub fn parse(&mut self, bytes: &'a [u8], limits: &Limits) -> Result<(&RequestHead<'a>, usize), HeadError> {
        let body_starts = self.0.read(bytes, limits)?;
        Ok((&self.0, body_starts))
    }

    /// As [`RequestHead::from_fields`].
    ///
    /// # Errors
    /// As [`RequestHead::from_fields`].
    pub fn take(
        &mut self,
        method: &'a [u8],
        target: &'a [u8],
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<&RequestHead<'a>, HeadError> {
        self.0.take(method, target, fields, limits)?;
        Ok(&self.0)
    }
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
    /// What no public function gives out.
    fn empty() -> Self {
        Self { method: b"", target: b"", headers: SmallVec::new() }
    }

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
        let mut head = Self::empty();
        head.take(method, target, fields, limits)?;
        Ok(head)
    }

    /// Takes the parts into this one, in place of what was in it.
    fn take(
        &mut self,
        method: &'a [u8],
        target: &'a [u8],
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<(), HeadError> {
        let mut builder = Builder::start(self, method, target, limits)?;
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
        Ok(())
    }

    /// Reads a raw HTTP/1.1 head and tells where the body starts. Lines end in CRLF or LF; the empty line at the end
    /// may be missing, as it is in files.
    ///
    /// # Errors
    /// If it is over `limits`, or a line cannot be read.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<(Self, usize), HeadError> {
        let mut place = HeadPlace::default();
        let (_, body_starts) = place.parse(bytes, limits)?;
        Ok((place.0, body_starts))
    }

    /// Reads a raw head into this one, in place of what was in it.
    fn read(&mut self, bytes: &'a [u8], limits: &Limits) -> Result<usize, HeadError> {
        let mut controls = places(bytes, Control);
        let line_end = controls.find(|at| bytes[*at] == b'\n').map_or(bytes.len(), |end| end + 1);
        let (method, target) = parse_request_line(&bytes[..line_end])?;
        let mut builder = Builder::start(self, method, target, limits)?;
        let mut at = line_end;
        let body = loop {
            match bytes[at..] {
                [] => break at,
                [b'\n', ..] => break at + 1,
                [b'\r', b'\n', ..] => break at + 2,
                _ => {
                    let line = parse_header_line(bytes, at, &mut controls);
                    let (header, next) = line.map_err(|why| bad_line(bytes, at, why))?;
                    builder.push(header)?;
                    at = next;
                }
            }
            builder.reaches(at)?;
        };
        builder.reaches(body)?;
        Ok(body)
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
struct Builder<'h, 'a> {
    head: &'h mut RequestHead<'a>,
    limits: Limits,
    bytes: usize,
}

impl<'h, 'a> Builder<'h, 'a> {
    fn start(
        head: &'h mut RequestHead<'a>,
        method: &'a [u8],
        target: &'a [u8],
        limits: &Limits,
    ) -> Result<Self, HeadError> {
        if !is_token(method) {
            return Err(HeadError::Method);
        }
        if target.is_empty() {
            return Err(HeadError::EmptyTarget);
        }
        (head.method, head.target) = (method, target);
        head.headers.clear();
        let limits = Limits { headers: limits.headers.min(MAX_HEADERS), ..*limits };
        let mut builder = Self { head, limits, bytes: 0 };
        builder.count_bytes(method.len() + target.len() + " HTTP/1.1\r\n".len() + 1)?;
        Ok(builder)
    }

    fn count_bytes(&mut self, more: usize) -> Result<(), HeadError> {
        self.bytes += more;
        self.reaches(self.bytes)
    }

    /// The head is at least so long.
    fn reaches(&self, bytes: usize) -> Result<(), HeadError> {
        let limit = self.limits.head_bytes;
        if bytes > limit { Err(HeadError::TooLong { limit }) } else { Ok(()) }
    }

    fn push(&mut self, header: Header<'a>) -> Result<(), HeadError> {
        let limit = self.limits.headers;
        if self.head.headers.len() == limit {
            return Err(HeadError::TooManyHeaders { limit });
        }
        self.head.headers.push(header);
        Ok(())
    }
}

/// `method SP target SP HTTP/x.y`. The target reaches from the first blank to the last: published requests have blanks
/// in their path, and what they mean is beyond doubt.
fn parse_request_line(line: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let bad = |why| HeadError::RequestLine { why };
    // Elsewhere this is another method, or none.
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(bad("a blank before the method"));
    }
    let line = trim_blanks(line);
    let method_ends = find(line, Byte(b' ')).ok_or(bad("no blank after the method"))?;
    let (method, rest) = (&line[..method_ends], &line[method_ends + 1..]);
    let version = VERSIONS.iter().find(|version| rest.ends_with(version));
    match version.map(|version| &rest[..rest.len() - version.len()]) {
        Some([target @ .., b' ']) => Ok((method, target)),
        _ if memchr(b' ', rest).is_none() => Err(bad("no HTTP version after the target")),
        _ => Err(bad("it does not end in an HTTP version")),
    }
}

/// What a request line may end in.
const VERSIONS: [&[u8]; 5] = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"HTTP/2.0", b"HTTP/3"];

/// Reads the header line at `start`, together with the lines folded under it, and tells where the next one starts. The
/// control characters are those of the bytes, from this line on.
#[inline]
fn parse_header_line<'a>(
    bytes: &'a [u8],
    start: usize,
    controls: &mut Places<'a, Control>,
) -> Result<(Header<'a>, usize), &'static str> {
    let text = &bytes[start..];
    let end = find(text, UnlikeName).unwrap_or(text.len());
    // A token may have other characters, too.
    let colon = if text.get(end) == Some(&b':') { end } else { end + run_length(&text[end..], &TOKEN) };
    if colon == 0 || text.get(colon) != Some(&b':') {
        return Err(no_header_line(text));
    }
    let name = &text[..colon];
    let (end, next) = find_line_end(bytes, controls)?;
    Ok((Header { name, value: trim_blanks(&bytes[start + colon + 1..end]) }, next))
}

#[cold]
fn no_header_line(text: &[u8]) -> &'static str {
    let has_colon = memchr2(b':', b'\n', text).is_some_and(|at| text[at] == b':');
    if has_colon { NAME_IS_NO_TOKEN } else { "no colon" }
}

/// Where the line ends, and where the next one starts that is not folded under it.
#[inline]
fn find_line_end<'a>(bytes: &'a [u8], controls: &mut Places<'a, Control>) -> Result<(usize, usize), &'static str> {
    while let Some(end) = controls.next() {
        let next = match bytes[end..] {
            [b'\n', ..] => end + 1,
            [b'\r', b'\n', ..] => {
                controls.next();
                end + 2
            }
            [b'\r' | 0, ..] => return Err("its value holds a NUL byte or a lone CR"),
            _ => continue,
        };
        if !matches!(bytes.get(next), Some(b' ' | b'\t')) {
            return Ok((end, next));
        }
    }
    Ok((bytes.len(), bytes.len()))
}

#[cold]
fn bad_line(bytes: &[u8], at: usize, why: &'static str) -> HeadError {
    let line = 1 + memchr_iter(b'\n', &bytes[..at]).count();
    HeadError::HeaderLine { line, why }
}

/// Cuts blanks, tabs and line breaks off both ends.
#[inline]
pub(super) fn trim_blanks(value: &[u8]) -> &[u8] {
    match value {
        // As nearly all values come: one blank in front.
        [b' ', trimmed @ ..] | trimmed if is_trimmed(trimmed) => trimmed,
        _ => trim_ends(value),
    }
}

#[inline]
fn is_trimmed(value: &[u8]) -> bool {
    matches!(value, [first, .., last] if *first > b' ' && *last > b' ')
}

fn trim_ends(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_blank(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_blank(*last)
    {
        value = rest;
    }
    value
}

/// A blank, a tab, or part of a line break: a value that is folded holds its line breaks.
pub(super) fn is_blank(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A token of RFC 9110, 5.6.2: what a method or a header name consists of.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && is_all(text, &TOKEN)
}

static TOKEN: Table = table(b"!#$%&'*+-.^_`|~");
