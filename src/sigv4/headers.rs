//! The headers that the rules of Signature V4 name, found in one pass.

use super::ascii::{is_lower_case_of, to_lower};
use super::head::{Header, RequestHead};
use super::refusal::Refusal;

/// A set of headers of one request: a bit for each, in arrival order.
pub(super) type HeaderSet = u128;

/// Values of the headers that verification reads, each of which may come once.
#[derive(Clone, Debug, Default)]
pub(super) struct NamedHeaders<'a> {
    pub host: Option<&'a [u8]>,
    pub authorization: Option<&'a [u8]>,
    pub date: Option<&'a [u8]>,
    pub amz_date: Option<&'a [u8]>,
    pub content_sha256: Option<&'a [u8]>,
    /// x-amz-security-token, or x-amz-s3session-token of S3 Express.
    pub session_token: Option<&'a [u8]>,
    /// All headers named `x-amz-…`.
    pub amz: HeaderSet,
    /// x-amz-content-sha256 alone.
    pub content_sha256_bit: HeaderSet,
}

impl<'a> NamedHeaders<'a> {
    /// # Errors
    /// If one of the fields of this type came twice.
    pub fn read(&mut self, head: &RequestHead<'a>) -> Result<(), Refusal> {
        let repeated = head.headers().iter().enumerate().find_map(|(place, header)| self.note(place, header));
        repeated.map_or(Ok(()), |name| Err(Refusal::RepeatedHeader(name)))
    }

    /// Gives the name of a header that came twice and may not.
    #[inline]
    fn note(&mut self, place: usize, header: &Header<'a>) -> Option<&'static str> {
        let is = |name: &[u8]| is_lower_case_of(name, header.name);
        // The length and first letter rule out most names before any is compared.
        let (slot, name) = match (header.name.len(), header.name[0] | 0x20) {
            (4, b'h') if is(b"host") => (&mut self.host, "host"),
            (4, b'd') if is(b"date") => (&mut self.date, "date"),
            (13, b'a') if is(b"authorization") => (&mut self.authorization, "authorization"),
            (6.., b'x') if is_amz(header.name) => {
                self.amz |= 1 << place;
                match header.name.len() {
                    10 if is(b"x-amz-date") => (&mut self.amz_date, "x-amz-date"),
                    20 if is(b"x-amz-content-sha256") => {
                        self.content_sha256_bit = 1 << place;
                        (&mut self.content_sha256, "x-amz-content-sha256")
                    }
                    20 if is(b"x-amz-security-token") => (&mut self.session_token, "x-amz-security-token"),
                    21 if is(b"x-amz-s3session-token") => (&mut self.session_token, "x-amz-s3session-token"),
                    _ => return None,
                }
            }
            _ => return None,
        };
        slot.replace(header.value).map(|_| name)
    }
}

/// Whether a name begins with `x-amz-`, with underscores for hyphens or not: behind a gateway that hands headers on in
/// CGI's way, both become the same.
fn is_amz(name: &[u8]) -> bool {
    is_amz_as_written(name) || (name.get(..6).is_some_and(is_amz_with_underscores))
}

fn is_amz_with_underscores(start: &[u8]) -> bool {
    matches!(start, [b'x' | b'X', b'-' | b'_', b'a' | b'A', b'm' | b'M', b'z' | b'Z', b'-' | b'_'])
}

fn is_amz_as_written(name: &[u8]) -> bool {
    const PREFIX: u64 = u64::from_be_bytes(*b"\0\0x-amz-");
    match name.first_chunk() {
        Some(start) => to_lower(u64::from_be_bytes(*start)) >> 16 == PREFIX,
        None => name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-")),
    }
}
