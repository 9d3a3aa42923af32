//! The body of a form: `multipart/form-data` (RFC 7578), read strictly.
//!
//! Own code, for its strictness: what two readers could take for different fields is refused. Whoever stores the file
//! reads the same bytes with another reader, and must come to the same fields.

use memchr::{memchr, memmem};

use super::super::head::RequestHead;
use super::super::refusal::FormFault;
use super::{FormFile, MAX_FORM_FIELDS};

type Content<'a> = (Vec<(&'a str, &'a str)>, FormFile<'a>);

/// The Content-Type of a form that was posted, if this is one: there must not be another.
pub(super) fn content_type<'a>(head: &RequestHead<'a>) -> Option<&'a [u8]> {
    let mut values = head.headers().iter().filter(|header| header.name.eq_ignore_ascii_case(b"content-type"));
    match (values.next(), values.next()) {
        (Some(only), None) if head.method() == b"POST" && is_form_data(only.value) => Some(only.value),
        _ => None,
    }
}

fn is_form_data(content_type: &[u8]) -> bool {
    let end = memchr(b';', content_type).unwrap_or(content_type.len());
    content_type[..end].trim_ascii().eq_ignore_ascii_case(b"multipart/form-data")
}

/// The fields in front of the file, and the file. What follows the file does not count, as with S3.
pub(super) fn read<'a>(content_type: &'a [u8], body: &'a [u8]) -> Result<Content<'a>, FormFault> {
    let delimiter = [b"\r\n--", boundary(content_type)?].concat();
    let mut rest =
        body.strip_prefix(&delimiter[2..]).ok_or(FormFault::Malformed("it does not begin with its boundary"))?;
    let mut fields = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let (headers, after) = split_at_blank_line(part)?;
        let disposition = Disposition::of_part(headers)?;
        let end = memmem::find(after, &delimiter).ok_or(FormFault::Malformed("a part has no end"))?;
        let (value, next) = (&after[..end], &after[end + delimiter.len()..]);
        if disposition.name.eq_ignore_ascii_case("file") {
            return if next.starts_with(b"\r\n") || next.starts_with(b"--") {
                Ok((fields, FormFile { name: disposition.file_name, size: Some(value.len() as u64) }))
            } else {
                Err(NO_BOUNDARY)
            };
        }
        if disposition.file_name.is_some() {
            return Err(FormFault::NotOneFile);
        }
        if body.len() - next.len() > MAX_FORM_FIELDS {
            return Err(FormFault::FieldsTooLong);
        }
        fields.push((disposition.name, text(value)?));
        rest = next;
    }
    if rest.starts_with(b"--") { Err(FormFault::NotOneFile) } else { Err(NO_BOUNDARY) }
}

const NO_BOUNDARY: FormFault = FormFault::Malformed("something follows a boundary");

fn text(bytes: &[u8]) -> Result<&str, FormFault> {
    std::str::from_utf8(bytes).map_err(|_| FormFault::Malformed("a field is not UTF-8"))
}

/// The parameter `boundary` of a Content-Type: 1 to 70 characters (RFC 2046, 5.1.1).
fn boundary(content_type: &[u8]) -> Result<&[u8], FormFault> {
    const FAULT: FormFault = FormFault::Malformed("its Content-Type has no boundary that can be read");
    let parameters = text(content_type)?.split_once(';').ok_or(FAULT)?.1;
    let mut found = None;
    for parameter in Parameters(Some(parameters)) {
        let (name, value) = parameter.ok_or(FAULT)?;
        if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
            return Err(FAULT);
        }
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_boundary = |b: &&str| (1..=70).contains(&b.len()) && b.bytes().all(is_allowed) && !b.ends_with(' ');
    found.filter(is_boundary).map(str::as_bytes).ok_or(FAULT)
}

/// The header lines of a part, and what follows the empty line after them.
fn split_at_blank_line(part: &[u8]) -> Result<(&str, &[u8]), FormFault> {
    const END: &[u8] = b"\r\n\r\n";
    let window = &part[..part.len().min(MAX_FORM_FIELDS)];
    let end = memmem::find(window, END).ok_or(FormFault::Malformed("the head of a part has no end"))?;
    Ok((text(&part[..end])?, &part[end + END.len()..]))
}

/// What a part says that it is.
struct Disposition<'a> {
    name: &'a str,
    file_name: Option<&'a str>,
}

impl<'a> Disposition<'a> {
    fn of_part(headers: &'a str) -> Result<Self, FormFault> {
        let mut found = None;
        for line in headers.split("\r\n") {
            let (name, value) =
                line.split_once(':').ok_or(FormFault::Malformed("a part has a line without a colon"))?;
            let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !is_token || value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return Err(FormFault::Malformed("a part has a line that is no header"));
            }
            let value = value.trim_matches([' ', '\t']);
            if name.eq_ignore_ascii_case("content-disposition") && found.replace(Self::read(value)?).is_some() {
                return Err(FormFault::Malformed("a part has two Content-Disposition"));
            }
            let is_plain = || ["binary", "8bit", "7bit"].iter().any(|plain| value.eq_ignore_ascii_case(plain));
            if name.eq_ignore_ascii_case("content-transfer-encoding") && !is_plain() {
                return Err(FormFault::Malformed("a part is encoded"));
            }
        }
        found.ok_or(FormFault::Malformed("a part has no Content-Disposition"))
    }

    /// `form-data; name="…"; filename="…"`. `filename*`, which no form should have, does not count (RFC 7578, 4.2).
    fn read(value: &'a str) -> Result<Self, FormFault> {
        const FAULT: FormFault = FormFault::Malformed("a Content-Disposition cannot be read");
        let (kind, parameters) = value.split_once(';').ok_or(FAULT)?;
        if !kind.trim_end().eq_ignore_ascii_case("form-data") {
            return Err(FAULT);
        }
        let (mut name, mut file_name) = (None, None);
        for parameter in Parameters(Some(parameters)) {
            let (key, value) = parameter.ok_or(FAULT)?;
            let place = match key.to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "filename" => &mut file_name,
                "filename*" => continue,
                _ => return Err(FAULT),
            };
            if place.replace(value).is_some() {
                return Err(FAULT);
            }
        }
        Ok(Self { name: name.filter(|name| !name.is_empty()).ok_or(FAULT)?, file_name })
    }
}

/// `name=value` with `;` between them; a value may be in quotes. Readers disagree on what a backslash before a quote
/// means, so that it is refused (`None`).
struct Parameters<'a>(Option<&'a str>);

impl<'a> Parameters<'a> {
    fn next_of(rest: &'a str) -> Option<((&'a str, &'a str), Option<&'a str>)> {
        let (name, rest) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').filter(|(value, _)| !value.ends_with('\\'))?,
            None => rest.split_at(rest.find([';', ' ', '\t']).unwrap_or(rest.len())),
        };
        let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'*' || b == b'-');
        let rest = rest.trim_start_matches([' ', '\t']);
        let rest = if rest.is_empty() { None } else { Some(rest.strip_prefix(';')?) };
        is_token.then_some(((name, value), rest))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.take().filter(|rest| !rest.trim().is_empty())?;
        let parameter = Self::next_of(rest);
        self.0 = parameter.and_then(|(_, rest)| rest);
        Some(parameter.map(|(parameter, _)| parameter))
    }
}
