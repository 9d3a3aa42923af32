//! A request that is written as one before: what follows from the names of its headers is known already.
//!
//! A client writes its requests alike. From one to the next the values differ, while the headers keep their names, case
//! and order, and the list of signed headers stays as it was. A [`Shape`] keeps that, together with all that follows from
//! it: where the headers are that the rules name, which ones are signed and in which order, and that the list is as it must
//! be. Reading a request by its shape gives what [`SignedRequest::parse`] gives, or nothing; what depends on values is
//! read and checked either way.

use std::ops::Range;

use super::ascii::is_lower_case_of;
use super::authorization::{ALGORITHM, Algorithm, Authorization, Carrier};
use super::canonical::Coverage;
use super::credential::CredentialText;
use super::head::{Header, RequestHead};
use super::headers::{HeaderSet, NamedHeaders};
use super::hex::Digits;
use super::names::{NameIndex, is_after, is_same};
use super::presigned::QueryCredentials;
use super::request::{SignedRequest, read_target};
use super::scan::{Byte, find};
use super::signed_headers::SignedHeaders;
use super::time::AmzDate;

/// What requests have in common that are written alike.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The names of all headers as they are written, in the order of arrival, one after the other.
    names: Box<[u8]>,
    /// Where each of them ends.
    ends: Box<[u16]>,
    /// The Authorization header between the credential and the signature.
    between: Box<[u8]>,
    /// Where the list of signed headers stands in that.
    list: Range<u16>,
    /// The headers in the order of the list.
    signed: Box<[SignedHeader]>,
    /// The same, as a set.
    signed_set: HeaderSet,
    places: Places,
}

/// A header that is signed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SignedHeader {
    /// Where its name stands in the list.
    name: Range<u16>,
    /// Its place among all headers.
    place: u8,
}

/// The places of the headers that [`NamedHeaders`] has the values of.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Places {
    host: u8,
    amz_date: u8,
    date: Option<u8>,
    content_sha256: Option<u8>,
    amz: HeaderSet,
    content_sha256_bit: HeaderSet,
}

/// The credential as a head has it in its Authorization header, before anything of it is judged.
#[derive(Clone, Copy)]
pub struct Claimed<'a> {
    authorization: &'a [u8],
    /// `id/date/region/service/aws4_request`, if it is one.
    pub credential: &'a [u8],
    after: &'a [u8],
}

impl<'a> Claimed<'a> {
    /// `None` where it is written in some rarer way.
    #[inline]
    pub fn find(head: &RequestHead<'a>) -> Option<Self> {
        const NAME: &[u8] = b"authorization";
        let authorization = head.headers().iter().find(|header| is_lower_case_of(NAME, header.name))?.value;
        let rest = authorization.strip_prefix(ALGORITHM.as_bytes())?.strip_prefix(b" Credential=")?;
        let (credential, after) = rest.split_at(find(rest, Byte(b','))?);
        Some(Self { authorization, credential, after })
    }
}

impl Shape {
    /// The shape of a request; `None` if it is of a rarer kind, or would take more memory than there is room for, in bytes.
    pub fn of(request: &SignedRequest<'_, '_>, room: usize) -> Option<Self> {
        let SignedRequest { head, named, authorization, .. } = request;
        let claimed = Claimed::find(head)?;
        let (between, signature) = claimed.after.split_last_chunk::<64>()?;
        let is_plain = authorization.carrier == Carrier::Header
            && authorization.algorithm == Algorithm::HmacSha256
            && authorization.session_token.is_none()
            && std::ptr::eq(signature, authorization.signature.as_bytes());
        if !is_plain {
            return None;
        }
        let headers = head.headers();
        // Before anything is built: requests without a shape keep coming.
        let names = headers.iter().map(|header| header.name.len()).sum();
        if bytes(headers.len(), names, between.len()) > room {
            return None;
        }
        let raw_list = authorization.signed_headers.as_plain()?;
        let list_starts = raw_list.as_ptr().addr().checked_sub(between.as_ptr().addr())?;
        let list = range(list_starts, raw_list.len())?;
        if between.get(as_usize(&list)) != Some(raw_list) {
            return None;
        }
        let (signed, signed_set) = signed_headers(headers, authorization.signed_headers)?;
        let mut ends = Vec::with_capacity(headers.len());
        let mut names = Vec::new();
        for header in headers {
            names.extend_from_slice(header.name);
            ends.push(u16::try_from(names.len()).ok()?);
        }
        let place_of = |name: &[u8]| headers.iter().position(|header| is_lower_case_of(name, header.name));
        let place_of = |name| place_of(name).and_then(|place| u8::try_from(place).ok());
        let places = Places {
            host: place_of(b"host")?,
            amz_date: place_of(b"x-amz-date")?,
            date: place_of(b"date"),
            content_sha256: place_of(b"x-amz-content-sha256"),
            amz: named.amz,
            content_sha256_bit: named.content_sha256_bit,
        };
        Some(Self { names: names.into(), ends: ends.into(), between: between.into(), list, signed, signed_set, places })
    }

    /// Reads a request of this shape, whose credential reads as one that is known. `None` if it has another shape, or its values
    /// are not as they should be.
    #[inline]
    pub fn read<'r, 'a>(
        &'r self,
        head: &'r RequestHead<'a>,
        claimed: &Claimed<'a>,
        known: &CredentialText,
    ) -> Option<SignedRequest<'r, 'a>> {
        let headers = head.headers();
        let (between, signature) = claimed.after.split_last_chunk::<64>()?;
        if *between != *self.between || !self.has_names_of(headers) {
            return None;
        }
        let at = |place: u8| headers[usize::from(place)].value;
        let Places { host, amz_date, date, content_sha256, amz, content_sha256_bit } = self.places;
        let named = NamedHeaders {
            host: Some(at(host)),
            authorization: Some(claimed.authorization),
            date: date.map(at),
            amz_date: Some(at(amz_date)),
            content_sha256: content_sha256.map(at),
            session_token: None,
            amz,
            content_sha256_bit,
        };
        let target = read_target(head, &named).ok()?;
        let Ok(QueryCredentials::None) = QueryCredentials::find(&target) else { return None };
        let credential = known.read_alike(claimed.credential)?;
        let authorization = Authorization {
            algorithm: Algorithm::HmacSha256,
            carrier: Carrier::Header,
            access_key_id: credential.access_key_id,
            scope: credential.scope,
            signed_headers: SignedHeaders::plain(&between[as_usize(&self.list)]),
            signature: Digits::read(signature)?,
            date: AmzDate::parse(at(amz_date))?,
            expires: None,
            session_token: None,
            content_sha256: None,
        };
        Some(SignedRequest { head, named, target, authorization, form: None, shape: Some(self) })
    }

    /// The signed headers, in the order of the list: name, and place among all headers.
    #[inline]
    pub(super) fn signed(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let list = &self.between[as_usize(&self.list)];
        self.signed.iter().map(|header| (&list[as_usize(&header.name)], usize::from(header.place)))
    }

    /// How much memory it takes at most, in bytes.
    pub fn bytes(&self) -> usize {
        bytes(self.ends.len(), self.names.len(), self.between.len())
    }

    /// What was found out about them.
    pub(super) fn coverage(&self) -> Coverage {
        Coverage { signed: self.signed_set, has_host: true, fault: None }
    }

    #[inline]
    fn has_names_of(&self, headers: &[Header<'_>]) -> bool {
        if headers.len() != self.ends.len() {
            return false;
        }
        let mut start = 0;
        headers.iter().zip(&self.ends).all(|(header, end)| {
            let end = usize::from(*end);
            let name = &self.names[start..end];
            start = end;
            is_same(name, header.name)
        })
    }
}

/// How much memory a shape takes whose headers are all signed.
fn bytes(headers: usize, names: usize, between: usize) -> usize {
    size_of::<Shape>() + names + between + headers * (size_of::<u16>() + size_of::<SignedHeader>())
}

/// The headers of a list that is as it must be, each of which came once; with `host` among them.
fn signed_headers(headers: &[Header<'_>], list: SignedHeaders<'_>) -> Option<(Box<[SignedHeader]>, HeaderSet)> {
    let index = NameIndex::new(headers);
    let (mut signed, mut set, mut has_host) = (Vec::new(), 0, false);
    let (mut previous, mut at): (&[u8], usize) = (b"", 0);
    for name in list.iter() {
        let place = index.first(headers, name)?;
        if !is_after(name, previous) || index.next(headers, name, place).is_some() {
            return None;
        }
        signed.push(SignedHeader { name: range(at, name.len())?, place: u8::try_from(place).ok()? });
        set |= 1 << place;
        has_host |= name == b"host";
        at += name.len() + 1;
        previous = name;
    }
    has_host.then(|| (signed.into(), set))
}

fn range(start: usize, length: usize) -> Option<Range<u16>> {
    Some(u16::try_from(start).ok()?..u16::try_from(start + length).ok()?)
}

#[inline]
fn as_usize(range: &Range<u16>) -> Range<usize> {
    usize::from(range.start)..usize::from(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::Limits;

    const REQUEST: &str = "GET /b/k HTTP/1.1\n\
         Host: s3.example\n\
         User-Agent: any\n\
         Range: bytes=0-1\n\
         X-Amz-Date: 20260102T030405Z\n\
         x-amz-content-sha256: UNSIGNED-PAYLOAD\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/local/s3/aws4_request, \
         SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
         Signature=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n";

    fn shape_of(request: &str) -> Option<(Shape, CredentialText)> {
        let (head, _) = RequestHead::parse(request.as_bytes(), &Limits::default()).expect("a head");
        let request = SignedRequest::parse(&head).expect("well formed");
        Shape::of(&request, usize::MAX)
            .map(|shape| (shape, CredentialText::new(request.access_key_id(), &request.scope())))
    }

    /// Whether the request has the shape of [`REQUEST`] once all of this is replaced in it.
    fn is_alike(replace: &[(&str, &str)]) -> bool {
        let (shape, credential) = shape_of(REQUEST).expect("of a common kind");
        let request = replace.iter().fold(REQUEST.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let (head, _) = RequestHead::parse(request.as_bytes(), &Limits::default()).expect("a head");
        let claimed = Claimed::find(&head);
        claimed.is_some_and(|claimed| shape.read(&head, &claimed, &credential).is_some())
    }

    #[test]
    fn values_may_differ() {
        assert!(is_alike(&[]));
        assert!(is_alike(&[("/b/k", "/other?a=b"), ("s3.example", "other"), ("any", "a  b"), ("bytes=0-1", "")]));
        assert!(is_alike(&[("030405Z", "030406Z"), ("UNSIGNED-PAYLOAD", "anything"), ("e3b0", "0000")]));
    }

    #[test]
    fn nothing_else_may() {
        for replace in [
            ("Host: ", "host: "),
            ("User-Agent: any\n", ""),
            ("User-Agent: any\n", "User-Agent: any\nAccept: any\n"),
            ("User-Agent: any\nRange: bytes=0-1\n", "Range: bytes=0-1\nUser-Agent: any\n"),
            ("User-Agent: any\n", "Host: other\n"),
            ("User-Agent: any\n", "X-Amz-Acl: any\n"),
            ("host;range;", "host;"),
            ("host;range;", "range;host;"),
            ("host;range", "host;user-agent"),
            ("7EXAMPLE", "8EXAMPLE"),
            ("/20260102", "/20260103"),
            ("/s3", "/s4"),
            (", SignedHeaders", ",SignedHeaders"),
            (", Signature=", ", Signatures="),
            ("e3b0", "E3B0"),
            ("e3b0", "e3b"),
            ("b855\n", "b855,\n"),
            ("20260102T", "20261302T"),
            ("/b/k", "/b/k?X-Amz-Signature=1"),
            ("/b/k", "/b/k?X-Amz-Security-Token=1"),
            ("/b/k", "/b/k?AWSAccessKeyId=1"),
            ("/b/k", "/b/%"),
            ("/b/k", "http://other/b/k"),
        ] {
            assert!(!is_alike(&[replace]), "{replace:?}");
        }
    }

    #[test]
    fn rarer_kinds_have_no_shape() {
        for (from, to) in [
            ("X-Amz-Date: 20260102T030405Z", "Date: 20260102T030405Z"),
            ("User-Agent: any", "X-Amz-Security-Token: any"),
            ("User-Agent: any", "Range: bytes=1-2"),
            ("host;range;", "range;host;"),
            ("host;range;", "host;host;"),
            ("host;range;", "host;absent;"),
            ("host;range;", "range;"),
        ] {
            let request = REQUEST.replacen(from, to, 1);
            assert!(request != REQUEST && shape_of(&request).is_none(), "{to}");
        }
        assert!(shape_of(&REQUEST.replace(", SignedHeaders", ",   SignedHeaders")).is_some());
    }
}
