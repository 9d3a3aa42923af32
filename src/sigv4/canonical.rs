//! The canonical request: what a signature is made over, hashed as it is written.
//!
//! Source: "Create a signed AWS API request", step 1; S3's differences in "Signature Calculations for the Authorization
//! Header".

use memchr::memchr;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::encode::{Place, put_encoded, put_reencoded};
use super::head::{Header, RequestHead, is_blank};
use super::headers::HeaderSet;
use super::names::{NameIndex, is_after};
use super::presigned::SIGNATURE;
use super::refusal::{SignedHeadersFault, shown};
use super::scan::{Blank, find, places};
use super::scope::Family;
use super::shape::Shape;
use super::signed_headers::SignedHeaders;
use super::sink::Sink;
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

/// What a canonical request is written from, but for its last line.
pub(super) struct CanonicalParts<'r, 'a> {
    pub head: &'r RequestHead<'a>,
    pub target: &'r Target<'a>,
    pub path_style: PathStyle,
    pub signed_headers: SignedHeaders<'a>,
    /// What is known of them already.
    pub shape: Option<&'r Shape>,
}

/// What the signed headers are, found out while they are written.
#[derive(Default)]
pub(super) struct Coverage {
    /// The headers whose names are listed.
    pub signed: HeaderSet,
    /// Whether `host` is listed.
    pub has_host: bool,
    /// What the list should not be like.
    pub fault: Option<SignedHeadersFault>,
}

impl CanonicalParts<'_, '_> {
    /// Writes everything up to the last line, which says what the signature covers of the body. That line depends on
    /// which headers turn out to be signed.
    pub fn put_to(&self, sink: &mut impl Sink) -> Coverage {
        sink.put(self.head.method());
        sink.end_line();
        match self.path_style {
            PathStyle::S3 => put_s3_path(sink, &self.target.path),
            PathStyle::Normalized => put_normalized_path(sink, self.target.path.raw),
        }
        sink.end_line();
        put_query(sink, &self.target.parameters);
        sink.end_line();
        let headers = self.head.headers();
        let coverage = match self.shape {
            Some(shape) => put_known_headers(sink, headers, shape),
            None => put_headers(sink, headers, self.signed_headers),
        };
        put_names(sink, self.signed_headers);
        coverage
    }
}

/// A canonical request as text, for people. Nothing is ever accepted by it.
pub struct CanonicalRequest(Vec<u8>);

impl CanonicalRequest {
    pub(super) fn new(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// The text. Header values may hold any bytes.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// Its SHA-256, as it stands in the string to sign.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

/// The lines `name:values`, in the order of the list; a name under which nothing was received has none.
fn put_headers(sink: &mut impl Sink, headers: &[Header<'_>], signed_headers: SignedHeaders<'_>) -> Coverage {
    let (mut coverage, index) = (Coverage::default(), NameIndex::new(headers));
    let mut previous: &[u8] = b"";
    for name in signed_headers.iter() {
        if !is_after(name, previous) {
            coverage.fault = Some(SignedHeadersFault::NotSorted);
        }
        previous = name;
        coverage.has_host |= name == b"host";
        let Some(first) = index.first(headers, name) else {
            coverage.fault.get_or_insert_with(|| SignedHeadersFault::Absent(shown(name)));
            continue;
        };
        coverage.signed |= 1 << first;
        let value = headers[first].value;
        let mut next = index.next(headers, name, first);
        if next.is_none() {
            put_line(sink, name, value);
            continue;
        }
        sink.put(name);
        sink.put(b":");
        put_header_value(sink, value);
        while let Some(place) = next {
            coverage.signed |= 1 << place;
            sink.put(b",");
            put_header_value(sink, headers[place].value);
            next = index.next(headers, name, place);
        }
        sink.end_line();
    }
    coverage
}

/// The same where it is known which header each name is.
fn put_known_headers(sink: &mut impl Sink, headers: &[Header<'_>], shape: &Shape) -> Coverage {
    shape.signed().for_each(|(name, place)| put_line(sink, name, headers[place].value));
    shape.coverage()
}

/// The line of a name that came once.
#[inline]
fn put_line(sink: &mut impl Sink, name: &[u8], value: &[u8]) {
    if next_run(value).is_none() {
        return sink.put_pair(name, b':', value, b'\n');
    }
    sink.put(name);
    sink.put(b":");
    put_header_value(sink, value);
    sink.end_line();
}

/// The list of signed headers, a line break on either side.
fn put_names(sink: &mut impl Sink, signed_headers: SignedHeaders<'_>) {
    if let Some(list) = signed_headers.as_plain() {
        return sink.put_pair(b"", b'\n', list, b'\n');
    }
    for (index, name) in signed_headers.iter().enumerate() {
        sink.put(if index == 0 { b"\n" } else { b";" });
        sink.put(name);
    }
    sink.end_line();
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
#[inline]
fn next_run(text: &[u8]) -> Option<usize> {
    // Most values have no blank at all.
    find(text, Blank)?;
    places(text, Blank).find(|at| {
        let is_single = text[*at] == b' ' && !text.get(at + 1).is_none_or(|next| is_blank(*next));
        // Control characters that are no blanks stay as they are.
        !is_single && is_blank(text[*at])
    })
}

/// Whether a Host header and the authority of an absolute-form target are the same.
pub(super) fn is_same_authority(host: Option<&[u8]>, authority: &[u8]) -> bool {
    memchr(b'@', authority).is_none() && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}
