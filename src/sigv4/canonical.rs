//! The canonical request: what a signature is made over, written as it is hashed.
//!
//! Source: "Create a signed AWS API request", step 1; S3's differences in "Signature Calculations for the Authorization
//! Header".

use memchr::{memchr, memchr3};
use smallvec::SmallVec;

use super::encode::{Place, put_encoded, put_reencoded};
use super::head::{Header, MAX_HEADERS, RequestHead};
use super::headers::HeaderSet;
use super::payload::Line;
use super::presigned::SIGNATURE;
use super::refusal::{SignedHeadersFault, shown};
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
    pub(super) head: &'r RequestHead<'a>,
    pub(super) target: &'r Target<'a>,
    pub(super) path_style: PathStyle,
    pub(super) lines: SignedLines,
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
        sink.put(self.head.method());
        sink.put(b"\n");
        match self.path_style {
            PathStyle::S3 => put_s3_path(sink, &self.target.path),
            PathStyle::Normalized => put_normalized_path(sink, self.target.path.raw),
        }
        sink.put(b"\n");
        put_query(sink, &self.target.parameters);
        sink.put(b"\n");
        self.lines.put(sink, self.head.headers(), self.signed_headers);
        sink.put(b"\n");
        put_names(sink, self.signed_headers);
        sink.put(b"\n");
        sink.put(self.payload.as_bytes());
    }
}

fn put_names(sink: &mut impl Sink, signed_headers: SignedHeaders<'_>) {
    if let Some(list) = signed_headers.as_plain() {
        return sink.put(list);
    }
    for (index, name) in signed_headers.iter().enumerate() {
        sink.put(if index == 0 { b"" } else { b";" });
        sink.put(name);
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
    if parameters.is_empty() {
        return;
    }
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

/// The headers that a list of names picks from a request, and what is wrong with the list.
pub(super) struct SignedLines {
    /// One for each header received under a signed name, in the order of the names; a name's values in arrival order.
    lines: SmallVec<[SignedLine; 24]>,
    /// The headers among them.
    pub signed: HeaderSet,
    /// Whether `host` is a signed name.
    pub has_host: bool,
    /// What the list should not be like.
    pub fault: Option<SignedHeadersFault>,
}

#[derive(Clone, Copy)]
struct SignedLine {
    /// Its place among the headers.
    header: u8,
    /// Where its name stands in the list.
    name: (u16, u16),
}

impl SignedLines {
    pub fn locate(head: &RequestHead<'_>, signed_headers: SignedHeaders<'_>) -> Self {
        let mut found = Self { lines: SmallVec::new(), signed: 0, has_host: false, fault: None };
        let index = NameIndex::new(head.headers());
        let mut previous: &[u8] = b"";
        for span in signed_headers.spans() {
            let name = signed_headers.name(span.clone());
            if !is_after(name, previous) {
                found.fault = Some(SignedHeadersFault::NotSorted);
            }
            previous = name;
            let before = found.signed;
            for header in index.places(head.headers(), name) {
                found.signed |= 1 << header;
                found.lines.push(SignedLine { header, name: (span.start as u16, span.end as u16) });
            }
            if found.signed == before {
                found.fault.get_or_insert_with(|| SignedHeadersFault::Absent(shown(name)));
            }
            found.has_host |= name == b"host";
        }
        found
    }

    fn put(&self, sink: &mut impl Sink, headers: &[Header<'_>], signed_headers: SignedHeaders<'_>) {
        let mut previous = None;
        for line in &self.lines {
            if previous == Some(line.name) {
                sink.put(b",");
            } else {
                sink.put(if previous.is_none() { b"" } else { b"\n" });
                sink.put(signed_headers.name(line.name.0.into()..line.name.1.into()));
                sink.put(b":");
            }
            put_header_value(sink, headers[usize::from(line.header)].value);
            previous = Some(line.name);
        }
        sink.put(if previous.is_none() { b"" } else { b"\n" });
    }
}

/// Whether a name comes after another in the order of the bytes. Eight bytes at once decide nearly always.
fn is_after(name: &[u8], previous: &[u8]) -> bool {
    match (name.first_chunk(), previous.first_chunk()) {
        (Some(a), Some(b)) if a != b => u64::from_be_bytes(*a) > u64::from_be_bytes(*b),
        _ => name > previous,
    }
}

/// Headers by their names: a small hash table, built anew for each request, so that a hundred names in a hundred headers
/// are found as quickly as six in nine.
struct NameIndex {
    /// The first header of each bucket; counted from 1, 0 for none.
    first: [u8; Self::BUCKETS],
    /// The header after each header in its bucket, likewise.
    next: [u8; MAX_HEADERS],
}

impl NameIndex {
    const BUCKETS: usize = 64;

    fn new(headers: &[Header<'_>]) -> Self {
        let mut index = Self { first: [0; Self::BUCKETS], next: [0; MAX_HEADERS] };
        // From the last to the first, so that a bucket is in arrival order.
        for (place, header) in headers.iter().enumerate().rev() {
            let first = &mut index.first[Self::bucket(header.name)];
            index.next[place] = *first;
            *first = place as u8 + 1;
        }
        index
    }

    /// By the length, and by what the names of AWS differ in most, whatever their case: the last letter.
    fn bucket(name: &[u8]) -> usize {
        let last = name.last().map_or(0, |byte| usize::from(byte & 0x1f));
        (name.len() * 5 + last) % Self::BUCKETS
    }

    /// The places of the headers whose name, in lower case, this is. A name with an upper-case letter has none.
    fn places(&self, headers: &[Header<'_>], name: &[u8]) -> impl Iterator<Item = u8> {
        let mut next = self.first[Self::bucket(name)];
        std::iter::from_fn(move || {
            while let Some(place) = next.checked_sub(1) {
                next = self.next[usize::from(place)];
                if is_lower_case_of(name, headers[usize::from(place)].name) {
                    return Some(place);
                }
            }
            None
        })
    }
}

fn is_lower_case_of(lower: &[u8], name: &[u8]) -> bool {
    // Without an early exit, which a compiler makes vector instructions of.
    let same = |(lower, byte): (&u8, &u8)| *lower == byte.to_ascii_lowercase();
    lower.len() == name.len() && lower.iter().zip(name).map(same).fold(true, |all, same| all & same)
}

/// The value with each run of blanks, tabs and folded line ends as one blank. It has none at its ends.
fn put_header_value(sink: &mut impl Sink, value: &[u8]) {
    // Most values have no blank at all. Without an early exit, which a compiler makes vector instructions of.
    if !value.iter().fold(false, |any, byte| any | (*byte <= b' ')) {
        return sink.put(value);
    }
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
