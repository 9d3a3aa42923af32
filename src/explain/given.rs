//! What arrived, as the parts of a signature need it: the same for Signature V4 and V4A.

use memchr::memchr;

use crate::sigv4::{Body, Carrier, Family, RequestHead, SignedHeaders, split_authority};

/// A request with credentials that could be read.
pub(super) struct Given<'r, 'a> {
    pub head: &'r RequestHead<'a>,
    pub carrier: Carrier,
    pub signed_headers: SignedHeaders<'a>,
    /// X-Amz-Content-Sha256 of a presigned query.
    pub content_sha256: Option<&'a [u8]>,
    pub family: Family,
    pub body: Body<'a>,
    /// Names that the caller knows this service by.
    pub hosts: &'r [String],
}

impl<'a> Given<'_, 'a> {
    /// The value of the first header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name.as_bytes()).next()
    }

    /// The values of all headers of that name, in whatever case.
    pub fn values(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.head.headers().iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        headers.map(|header| header.value)
    }

    /// Whether a header is among those that were signed.
    pub fn is_signed(&self, name: &[u8]) -> bool {
        self.signed_headers.iter().any(|signed| signed.eq_ignore_ascii_case(name))
    }

    /// The authority of an absolute form.
    pub fn authority(&self) -> Option<&'a [u8]> {
        split_authority(self.head.target()).0
    }

    /// Path and query as they were sent.
    pub fn path_and_query(&self) -> (&'a [u8], &'a [u8]) {
        split_target(self.head.target())
    }
}

/// Path and query of a request target.
pub(super) fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    let (_, target) = split_authority(target);
    let (path, query) = match memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &[][..]),
    };
    (if path.is_empty() { b"/" } else { path }, query)
}

/// The first segment of a path, which is the bucket of a path-style request, and what follows it.
pub(super) fn first_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = path.strip_prefix(b"/")?;
    let end = memchr(b'/', rest).unwrap_or(rest.len());
    (end > 0).then(|| (&rest[..end], if end == rest.len() { b"/" } else { &rest[end..] }))
}
