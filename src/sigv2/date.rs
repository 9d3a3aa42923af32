//! Times as old clients write them.

use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use crate::sigv4::{AmzDate, UnixSeconds};

/// Reads RFC 1123 with the zones that clients write (`GMT`, `+0000`, `UTC`), or the basic form of ISO 8601.
pub(super) fn parse_http_date(text: &[u8]) -> Option<UnixSeconds> {
    if let Some(date) = AmzDate::parse_date_header(text) {
        return Some(date.unix());
    }
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |start| format!("{start}GMT"));
    OffsetDateTime::parse(&text, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}

/// Reads ISO 8601 in its extended form, in UTC if it names no zone, or in its basic form.
pub(super) fn parse_timestamp(text: &[u8]) -> Option<UnixSeconds> {
    if let Some(date) = AmzDate::parse(text) {
        return Some(date.unix());
    }
    let text = std::str::from_utf8(text).ok()?;
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp);
    parse(text).or_else(|| parse(&format!("{text}Z")))
}
