//! The canonical request: what a signature is made over, written as it is hashed.
//!
//! Source: "Create a signed AWS API request", step 1; S3's differences in "Signature Calculations for the Authorization
//! Header".

use memchr::{memchr, memchr3};
use smallvec::SmallVec;

use super::encode::{Place, put_encoded, put_reencoded};
use super::head::RequestHead;
use super::headers::HeaderSet;
use super::payload::Line;
use super::presigned::SIGNATURE;
use super::scope::Family;
use super::signed_headers::SignedHeaders;
use super::sink::{HashSink, Sink};
use super::target::{Parameter, Target, Text};

/// How the path of a request is brought into canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStyle {
    /// Decoded once and encoded once, else as sent: an object key may hold `//` and `..`.
    S3,
    /// Dot segments and empty segments removed, and the text that was sent encoded once more.
    Normalized,
}

impl PathStyle {
    /// The style of a family of services.
    pub fn of(family: Family) -> Self {
        match family {
            Family::S3 => Self::S3,
            Family::Query => Self::Normalized,
        }
    }
}

/// A canonical request, ready to be written.
pub struct CanonicalRequest<'r, 'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'r Target<'a>,
    pub(super) path_style: PathStyle,
    pub(super) headers: SignedLines<'a>,
    pub(super) signed_headers: SignedHeaders<'a>,
    pub(super) payload: Line<'a>,
}

impl CanonicalRequest<'_, '_> {
    /// The same request in another path style, to find out how a signer deviates. Nothing is ever accepted by it.
    pub fn with_path_style(mut self, path_style: PathStyle) -> Self {
        self.path_style = path_style;
        self
    }

    /// Its SHA-256, without ever holding the whole text.
    pub fn sha256(&self) -> [u8; 32] {
        let mut sink = HashSink::default();
        self.write_to(&mut sink);
        sink.finish()
    }

    /// Its text, for people.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.write_to(&mut text);
        text
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.put(self.method);
        sink.put(b"\n");
        match self.path_style {
            PathStyle::S3 => put_s3_path(sink, &self.target.path),
            PathStyle::Normalized => put_normalized_path(sink, self.target.path.raw),
        }
        sink.put(b"\n");
        put_query(sink, &self.target.parameters);
        sink.put(b"\n");
        self.headers.put(sink);
        sink.put(b"\n");
        for (index, name) in self.signed_headers.iter().enumerate() {
            sink.put(if index == 0 { b"" } else { b";" });
            sink.put(name);
        }
        sink.put(b"\n");
        sink.put(self.payload.as_bytes());
    }
}

fn put_s3_path(sink: &mut impl Sink, path: &Text<'_>) {
    if path.is_canonical {
        sink.put(path.raw);
    } else {
        put_reencoded(sink, path.raw, Place::Path);
    }
}

/// Without empty and `.` segments; `..` takes the segment before it away; a slash at the end stays.
fn put_normalized_path(sink: &mut impl Sink, path: &[u8]) {
    let segments = normalized_segments(path).0;
    for segment in &segments {
        sink.put(b"/");
        put_encoded(sink, segment);
    }
    if segments.is_empty() || path.ends_with(b"/") {
        sink.put(b"/");
    }
}

/// Whether `..` leads out of the path at some point.
pub(super) fn climbs_above_root(path: &[u8]) -> bool {
    normalized_segments(path).1
}

fn normalized_segments(path: &[u8]) -> (SmallVec<[&[u8]; 16]>, bool) {
    let (mut segments, mut above_root) = (SmallVec::new(), false);
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => above_root |= segments.pop().is_none(),
            _ => segments.push(segment),
        }
    }
    (segments, above_root)
}

/// Every parameter but the signature, sorted by encoded name, then by encoded value.
fn put_query(sink: &mut impl Sink, parameters: &[Parameter<'_>]) {
    let mut sorted: SmallVec<[&Parameter<'_>; 16]> = parameters.iter().filter(|p| !is_signature(p)).collect();
    sorted.sort_unstable_by(|a, b| a.compare(b));
    for (index, parameter) in sorted.iter().enumerate() {
        sink.put(if index == 0 { b"" } else { b"&" });
        put_query_text(sink, &parameter.name);
        sink.put(b"=");
        put_query_text(sink, &parameter.value);
    }
}

fn is_signature(parameter: &Parameter<'_>) -> bool {
    *parameter.name.decoded(Place::Query) == *SIGNATURE
}

fn put_query_text(sink: &mut impl Sink, text: &Text<'_>) {
    if text.is_canonical {
        sink.put(text.raw);
    } else {
        put_reencoded(sink, text.raw, Place::Query);
    }
}

/// The canonical header lines, located in the request, and what is wrong with the list of them.
pub(super) struct SignedLines<'a> {
    /// One for each header received under a signed name; a name's values in arrival order.
    lines: SmallVec<[SignedLine<'a>; 16]>,
    /// The headers among them.
    pub signed: HeaderSet,
    /// The first signed name under which nothing was received.
    pub absent: Option<&'a [u8]>,
    /// Whether `host` is a signed name.
    pub has_host: bool,
}

struct SignedLine<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// Whether the line before has the same name.
    continues: bool,
}

impl<'a> SignedLines<'a> {
    pub fn locate(head: &RequestHead<'a>, signed_headers: SignedHeaders<'a>) -> Self {
        let mut found = Self { lines: SmallVec::new(), signed: 0, absent: None, has_host: false };
        for name in signed_headers.iter() {
            let mut continues = false;
            for (index, header) in head.headers().iter().enumerate() {
                if header.name.len() == name.len() && header.name.eq_ignore_ascii_case(name) {
                    found.lines.push(SignedLine { name, value: header.value, continues });
                    found.signed |= 1 << index;
                    continues = true;
                }
            }
            found.has_host |= name == b"host";
            if !continues && found.absent.is_none() {
                found.absent = Some(name);
            }
        }
        found
    }

    fn put(&self, sink: &mut impl Sink) {
        let mut is_first = true;
        for line in &self.lines {
            if line.continues {
                sink.put(b",");
            } else {
                sink.put(if is_first { b"" } else { b"\n" });
                sink.put(line.name);
                sink.put(b":");
            }
            put_header_value(sink, line.value);
            is_first = false;
        }
        sink.put(if is_first { b"" } else { b"\n" });
    }
}

/// The value with each run of blanks, tabs and folded line ends as one blank. It has none at its ends.
fn put_header_value(sink: &mut impl Sink, value: &[u8]) {
    let mut rest = value;
    while let Some(at) = next_run(rest) {
        sink.put(&rest[..at]);
        sink.put(b" ");
        let run = rest[at..].iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[at + run..];
    }
    sink.put(rest);
}

/// Where the next run of blanks begins that is not a single blank.
fn next_run(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr3(b' ', b'\t', b'\n', &text[from..])?;
        // A folded line end may have a CR before its LF.
        let start = if at > from && text[at - 1] == b'\r' { at - 1 } else { at };
        if text[start] != b' ' || text.get(start + 1).is_none_or(|next| is_blank(*next)) {
            return Some(start);
        }
        from = at + 1;
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether a Host header and the authority of an absolute-form target are the same.
pub(super) fn is_same_authority(host: Option<&[u8]>, authority: &[u8]) -> bool {
    memchr(b'@', authority).is_none() && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}
