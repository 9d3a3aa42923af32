//! XML as the query protocol has it: `<XResponse xmlns><XResult>…</XResult><ResponseMetadata/></XResponse>`.

use quick_xml::Writer;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::action::Action;
use super::error::ErrorResponse;

/// A list: `<member>` for each item.
#[derive(Serialize)]
pub(super) struct Members<T> {
    member: Vec<T>,
}

impl<T> FromIterator<T> for Members<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self { member: items.into_iter().collect() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseMetadata<'a> {
    request_id: &'a str,
}

/// The answer to an action; without a result there is no `XResult` element.
pub(super) fn response<R: Serialize>(action: Action, result: Option<&R>, request_id: &str) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let root = format!("{}Response", action.name());
    let written = writer
        .create_element(root)
        .with_attribute(("xmlns", action.service().namespace()))
        .write_inner_content(|writer| {
            if let Some(result) = result {
                let name = format!("{}Result", action.name());
                writer.write_serializable(&name, result).map_err(std::io::Error::other)?;
            }
            let metadata = ResponseMetadata { request_id };
            writer.write_serializable("ResponseMetadata", &metadata).map_err(std::io::Error::other)
        })
        .is_ok();
    assert!(written, "structs of text become XML in memory");
    writer.into_inner()
}

/// An error's answer.
pub(super) fn error_response(response: &ErrorResponse<'_>) -> Vec<u8> {
    quick_xml::se::to_string_with_root("ErrorResponse", response)
        .expect("structs of text become XML in memory")
        .into_bytes()
}

/// ISO 8601 in UTC: `2010-05-08T23:59:59Z`.
pub fn timestamp(at: i64) -> String {
    // Years beyond 9999 have no such form; the registry can hold them, but nobody's clock shows them.
    let time = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".into())
}

/// The text with what XML 1.0 can't hold replaced: control characters come in with values that are quoted in messages.
pub(super) fn legal(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}
