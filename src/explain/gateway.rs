//! Targets that a client may have sent, where a gateway has put another in their place.

use super::given::{Given, first_segment, split_target};
use super::variants::Step;
use crate::sigv4::Body;

/// Headers in which gateways hand on the target that they received.
const ORIGINAL_TARGETS: [&str; 6] = [
    "x-original-uri",
    "x-forwarded-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-envoy-original-path",
    "x-forwarded-path",
];

/// Paths that may have been sent, each with what that would mean.
pub(super) fn paths(given: &Given<'_, '_>) -> Vec<(Vec<u8>, Step)> {
    let (path, _) = given.path_and_query();
    let mut paths = Vec::new();
    for (name, target) in original_targets(given) {
        let step = Step::new(format!("uri={name}"), format!("the path were that of {name}: a proxy rewrote it"));
        paths.push((split_target(target).0.to_vec(), step));
    }
    if let Some(prefix) = given.header("x-forwarded-prefix") {
        let step = Step::new("uri=prefix-stripped", "the path began with X-Forwarded-Prefix: a proxy stripped it");
        paths.push(([prefix.strip_suffix(b"/").unwrap_or(prefix), path].concat(), step));
    }
    if let Some((prefix, rest)) = first_segment(path) {
        paths.push((rest.to_vec(), prefix_added(prefix)));
        if let Some((second, rest)) = first_segment(rest) {
            paths.push((rest.to_vec(), prefix_added(&[prefix, b"/", second].concat())));
        }
    }
    if let Some(label) = given.header("host").and_then(|host| host.split(|byte| *byte == b'.').next()) {
        let name = String::from_utf8_lossy(label);
        let condition = format!("the path began with `/{name}`: the bucket was moved from the path into Host");
        paths.push(([b"/", label, path].concat(), Step::new("uri=bucket-in-path", condition)));
    }
    let last = memchr::memrchr(b'/', path).unwrap_or(0);
    if let Some(mark) = memchr::memchr(b';', &path[last..]) {
        let condition = "the path ended in front of the `;` of its last segment: Python's urlparse cuts it there";
        paths.push((path[..last + mark].to_vec(), Step::new("uri=cut-at-semicolon", condition)));
    }
    match path.strip_suffix(b"/") {
        Some(without) if !without.is_empty() => {
            let condition = "the path did not end in a slash: it was added after signing";
            paths.push((without.to_vec(), Step::new("uri=slash-added", condition)));
        }
        _ => {
            let condition = "the path ended in a slash: it was taken off after signing";
            paths.push(([path, b"/"].concat(), Step::new("uri=slash-removed", condition)));
        }
    }
    paths
}

/// Queries that may have been sent.
pub(super) fn queries(given: &Given<'_, '_>) -> Vec<(Vec<u8>, Step)> {
    let query = |(name, target): (&str, &[u8])| {
        let step = Step::new(format!("query={name}"), format!("the query were that of {name}: a proxy rewrote it"));
        (split_target(target).1.to_vec(), step)
    };
    original_targets(given).into_iter().map(query).chain(with_form(given)).collect()
}

/// The parameters of a form in the body, as if they stood in the query.
fn with_form(given: &Given<'_, '_>) -> Option<(Vec<u8>, Step)> {
    let is_form = given.header("content-type")?.starts_with(b"application/x-www-form-urlencoded");
    let Body::Bytes(body) = given.body else { return None };
    let (_, query) = given.path_and_query();
    let condition = "the parameters of the body were signed as if they stood in the query";
    is_form.then(|| ([query, b"&", body].concat(), Step::new("query=with-form", condition)))
}

fn prefix_added(prefix: &[u8]) -> Step {
    let prefix = String::from_utf8_lossy(prefix);
    Step::new(
        "uri=prefix-added",
        format!("the path did not begin with `/{prefix}`: a proxy added it, or moved the bucket there"),
    )
}

fn original_targets<'a>(given: &Given<'_, 'a>) -> Vec<(&'static str, &'a [u8])> {
    ORIGINAL_TARGETS.iter().filter_map(|name| Some((*name, given.header(name)?))).collect()
}
