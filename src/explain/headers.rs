//! The lines of the signed headers and their list, in the forms in which signers write them, and with headers that may
//! have been changed or removed on the way.
//!
//! Where the value of Host goes stands [`HOST`], for it is varied by itself.

use super::given::Given;
use super::variants::{Part, Step};
use crate::sigv4::Body;

/// Stands for the value of Host: no header value can hold it.
pub(super) const HOST: u8 = 0;

/// What proxies and HTTP libraries add, remove or change, and what clients commonly send there.
const TOUCHED: [(&str, &[&str]); 13] = [
    (
        "accept-encoding",
        &["identity", "gzip", "gzip, deflate", "deflate, gzip", "gzip, deflate, br", "*", "gzip,deflate"],
    ),
    ("accept", &["*/*", "application/json", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"]),
    ("connection", &["keep-alive", "close", "Keep-Alive"]),
    ("content-encoding", &["aws-chunked", "gzip", "aws-chunked,gzip", "identity"]),
    ("content-length", &["0"]),
    (
        "content-type",
        &[
            "application/x-www-form-urlencoded; charset=utf-8",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "binary/octet-stream",
            "application/xml",
            "application/json",
            "text/plain",
            "application/x-amz-json-1.0",
            "application/x-amz-json-1.1",
        ],
    ),
    ("expect", &["100-continue", "100-Continue"]),
    ("te", &["trailers"]),
    ("transfer-encoding", &["chunked", "Chunked"]),
    ("trailer", &["x-amz-checksum-crc32"]),
    ("user-agent", &[]),
    ("cache-control", &["no-cache", "max-age=0"]),
    ("pragma", &["no-cache"]),
];

/// How the value of a header is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Runs of blanks as one, several values joined by a comma: as documented.
    Collapsed,
    /// Runs of blanks as they are.
    AsSent,
    /// Runs of blanks as they are between quotation marks, as the documentation once had it.
    QuotedKept,
    /// Only blanks collapsed, not tabs.
    TabsKept,
    /// Each byte taken for a character of Latin-1: HTTP libraries write them so what was signed in UTF-8.
    Utf8,
    /// The other way round.
    Latin1,
    /// The values of a repeated header in order.
    Sorted,
    JoinedWithBlank,
    First,
    Last,
    /// A line for each value.
    Lines,
    /// In the order of whole lines: `a-b:` stands before `a:`.
    SortedLines,
    /// A line for each value, and the name listed as often.
    LinesAndNames,
}

const FORMS: [(Values, &str, &str); 12] = [
    (Values::AsSent, "headers=nocollapse", "runs of blanks in header values were signed as they are, not as one blank"),
    (Values::QuotedKept, "headers=quoted-kept", "runs of blanks between quotation marks were signed as they are"),
    (Values::TabsKept, "headers=tabs-kept", "tabs in header values were signed as tabs, not as blanks"),
    (Values::Utf8, "headers=utf-8", "header values were signed in UTF-8 and sent in Latin-1"),
    (Values::Latin1, "headers=latin-1", "header values were signed in Latin-1 and sent in UTF-8"),
    (Values::SortedLines, "headers=sorted-as-lines", "header lines were sorted as `name:value` texts, not by name"),
    (Values::Sorted, "headers=sorted-values", "the values of a repeated header were sorted"),
    (Values::JoinedWithBlank, "headers=joined-with-blank", "the values of a repeated header were joined by `, `"),
    (Values::First, "headers=first-of-repeated", "of a repeated header only the first value were signed"),
    (Values::Last, "headers=last-of-repeated", "of a repeated header only the last value were signed"),
    (Values::Lines, "headers=lines", "a repeated header were signed in a line for each value, not joined"),
    (
        Values::LinesAndNames,
        "headers=lines-and-names",
        "a repeated header were signed, and listed, once for each value",
    ),
];

/// A list of signed headers, and what their lines are.
struct Block<'g, 'r, 'a> {
    given: &'g Given<'r, 'a>,
    /// In lower case, in the order of the lines.
    names: Vec<Vec<u8>>,
    /// The list at the end.
    list: Vec<u8>,
}

/// All forms of the header lines with their list.
pub(super) fn part(given: &Given<'_, '_>) -> Part {
    let mut part = Part::default();
    for (block, steps) in blocks(given) {
        block.add_forms(&mut part, &steps);
    }
    part
}

/// The blocks for a list as it stands, and for the list as it should be. Signers order lines and list independently.
fn blocks<'g, 'r, 'a>(given: &'g Given<'r, 'a>) -> Vec<(Block<'g, 'r, 'a>, Vec<Step>)> {
    let listed: Vec<Vec<u8>> = given.signed_headers.iter().map(<[u8]>::to_vec).collect();
    let lower: Vec<Vec<u8>> = listed.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut sorted = lower.clone();
    sorted.sort();
    sorted.dedup();
    let block = |names: &[Vec<u8>], list: &[Vec<u8>]| Block { given, names: names.to_vec(), list: list.join(&b';') };
    if listed == sorted {
        return vec![(block(&sorted, &sorted), vec![])];
    }
    let is_repeated = lower.len() != sorted.len();
    let is_cased = listed != lower;
    let step = match (is_repeated, is_cased) {
        (true, _) => Step::new("signed-headers=repeated", "SignedHeaders may name a header twice"),
        (_, true) => Step::new("signed-headers=case", "SignedHeaders may be in another case than lower"),
        _ => Step::new("signed-headers=unsorted", "SignedHeaders need not be sorted"),
    };
    let mut once = lower.clone();
    once.dedup();
    let forms = [
        (&lower, &listed),
        (&lower, &lower),
        (&once, &listed),
        (&sorted, &sorted),
        (&sorted, &listed),
        (&sorted, &lower),
    ];
    forms.into_iter().map(|(names, list)| (block(names, list), vec![step.clone()])).collect()
}

impl Block<'_, '_, '_> {
    fn add_forms(&self, part: &mut Part, steps: &[Step]) {
        let with = |more: &[Step]| [steps, more].concat();
        let absent: Vec<_> = self.names.iter().filter(|name| self.given.values(name).next().is_none()).collect();
        match &absent[..] {
            [] => part.add(self.write(Values::Collapsed, None), with(&[])),
            [name] => self.add_absent(part, name, &with),
            // What several headers were that are gone, nobody can guess; the lines may be empty or missing.
            _ => {
                let names = absent.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(";");
                let step = Step::new(
                    format!("header=absent:{names}"),
                    format!("`{names}` had no value: they are listed as signed and are not there"),
                );
                part.add(self.write(Values::Collapsed, None), with(std::slice::from_ref(&step)));
                part.add(self.write(Values::Collapsed, Some((absent[0], None))), with(&[step]));
            }
        }
        for (values, name, condition) in FORMS {
            part.add(self.write(values, None), with(&[Step::new(name, condition)]));
        }
        for name in self.names.iter().filter(|name| self.given.values(name).next().is_some()) {
            for value in candidates(self.given, name) {
                part.add(
                    self.write(Values::Collapsed, Some((name, Some(&value)))),
                    with(&[changed("changed", name, &value)]),
                );
            }
        }
    }

    /// A header that is listed and not there.
    fn add_absent(&self, part: &mut Part, name: &[u8], with: &impl Fn(&[Step]) -> Vec<Step>) {
        let shown = String::from_utf8_lossy(name);
        let step = Step::new(
            format!("header=absent:{shown}"),
            format!("`{shown}` counted as empty: it is listed as signed and is not there"),
        );
        part.add(self.write(Values::Collapsed, Some((name, Some(b"")))), with(std::slice::from_ref(&step)));
        part.add(self.write(Values::Collapsed, None), with(&[step]));
        for value in candidates(self.given, name) {
            part.add(
                self.write(Values::Collapsed, Some((name, Some(&value)))),
                with(&[changed("removed", name, &value)]),
            );
        }
    }

    /// The lines, an empty line, and the list. `instead`: a header with another value than came. A header without a
    /// value has no line.
    fn write(&self, values: Values, instead: Option<(&[u8], Option<&[u8]>)>) -> Vec<u8> {
        let mut text = Vec::new();
        let mut names: Vec<_> = self.names.iter().collect();
        if values == Values::SortedLines {
            names.sort_by_key(|name| [name, &b":"[..]].concat());
        }
        for name in names {
            let got: Vec<&[u8]> = match instead {
                Some((changed, value)) if changed == name => value.into_iter().collect(),
                _ if name == b"host" => vec![&[HOST]],
                _ => self.given.values(name).collect(),
            };
            put_lines(&mut text, name, &got, values);
        }
        text.push(b'\n');
        match values {
            Values::LinesAndNames => {
                let names = self.names.iter().flat_map(|name| vec![&name[..]; self.given.values(name).count().max(1)]);
                text.extend(names.collect::<Vec<_>>().join(&b';'));
            }
            _ => text.extend_from_slice(&self.list),
        }
        text
    }
}

fn put_lines(text: &mut Vec<u8>, name: &[u8], got: &[&[u8]], values: Values) {
    let mut one: Vec<Vec<u8>> = got.iter().map(|value| write_value(value, values)).collect();
    if values == Values::Sorted {
        one.sort();
    }
    let lines = match values {
        _ if one.is_empty() => vec![],
        Values::First => vec![one[0].clone()],
        Values::Last => vec![one[one.len() - 1].clone()],
        Values::Lines | Values::LinesAndNames => one,
        Values::JoinedWithBlank => vec![one.join(&b", "[..])],
        _ => vec![one.join(&b',')],
    };
    for line in lines {
        text.extend_from_slice(name);
        text.push(b':');
        text.extend(line);
        text.push(b'\n');
    }
}

fn write_value(value: &[u8], values: Values) -> Vec<u8> {
    match values {
        Values::AsSent => value.to_vec(),
        Values::QuotedKept => {
            let parts = value.split(|byte| *byte == b'"').enumerate();
            let collapse = |part: &[u8]| {
                let words = collapsed(part);
                let blank = |is: bool| if is && !words.is_empty() { &b" "[..] } else { b"" };
                let is_blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
                [blank(is_blank(part.first())), &words, blank(is_blank(part.last()))].concat()
            };
            let parts = parts.map(|(at, part)| if at % 2 == 1 { part.to_vec() } else { collapse(part) });
            parts.collect::<Vec<_>>().join(&b'"').trim_ascii().to_vec()
        }
        Values::TabsKept => {
            let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(&b' ')
        }
        Values::Utf8 => collapsed(value).into_iter().map(char::from).collect::<String>().into_bytes(),
        Values::Latin1 => {
            let text = String::from_utf8(collapsed(value)).unwrap_or_default();
            text.chars().filter_map(|char| u8::try_from(char).ok()).collect()
        }
        _ => collapsed(value),
    }
}

/// The value with each run of blanks as one.
pub(super) fn collapsed(value: &[u8]) -> Vec<u8> {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// What clients commonly send in a header that is changed on the way.
pub(super) fn common_values(name: &str) -> &'static [&'static str] {
    TOUCHED.iter().find(|(touched, _)| *touched == name).map_or(&[], |(_, values)| values)
}

/// Values that a header may have had when it was signed.
fn candidates(given: &Given<'_, '_>, name: &[u8]) -> Vec<Vec<u8>> {
    let common = TOUCHED.iter().find(|(touched, _)| touched.as_bytes() == name);
    let mut values: Vec<Vec<u8>> = Vec::new();
    let text = String::from_utf8_lossy(name);
    for copy in [format!("x-original-{text}"), format!("x-forwarded-{text}")] {
        values.extend(given.values(copy.as_bytes()).map(collapsed));
    }
    if name == b"host" {
        return Vec::new();
    }
    if name == b"content-length" {
        values.extend(given.header("x-amz-decoded-content-length").map(<[u8]>::to_vec));
        if let Body::Bytes(body) = given.body {
            values.push(body.len().to_string().into_bytes());
        }
    }
    values.extend(common.into_iter().flat_map(|(_, values)| values.iter()).map(|value| value.as_bytes().to_vec()));
    if common.is_some() || name.starts_with(b"x-amz-") {
        values.push(Vec::new());
    }
    values
}

fn changed(how: &str, name: &[u8], value: &[u8]) -> Step {
    let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    Step::new(format!("header={how}:{name}"), format!("`{name}` were `{value}`: it was {how} on the way"))
}
