//! Why a signature does not match: the fewest known deviations under which it would.

use std::sync::Arc;

use serde::Serialize;

use super::effort::Effort;
use super::given::Given;
use super::search::{CanonicalForms, Found, search};
use super::variants::{Part, Step};
use super::{ExplainOptions, checks, gateway, headers, host, path, payload, query, seals, unread};
use crate::sigv4::{
    Body, Expectation, Family, PreparedSigningKey, Refusal, Regions, RequestHead, SignedRequest, UnixSeconds,
};

/// Methods that gateways put in the place of another: `auth_request` of nginx makes a GET of everything.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// What would have to be otherwise for a signature to be right; where there are several, all of them together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// For machines, and stable: `aspect=form`, or `aspect=form:detail`.
    pub name: String,
    /// For people: "matches if …", and "and if …" for those that follow.
    pub message: String,
    /// Names of deviations that come to the same in this request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub same_as: Vec<String>,
}

/// With the secrets that the options give.
pub(super) fn offline<'a>(
    request: &SignedRequest<'_, 'a>,
    head: &RequestHead<'a>,
    body: Body<'a>,
    service: &str,
    options: &ExplainOptions<'_>,
    refusal: &Refusal,
) -> Vec<Deviation> {
    let given = given(request, head, body, options.hosts);
    let seals = seals::offline(&given, request.authorization(), options);
    let Some(found) = search(forms(&given, request), &seals, Effort::OFFLINE) else { return Vec::new() };
    let regions = options.region.map_or(Regions::Any, Regions::Named);
    let expectation = Expectation { service, regions };
    let check = |at| request.check_scope_and_time(&expectation, at).err();
    let mut steps = refused_for_time_and_scope(check, request.date().unix(), options.at, &given);
    steps.extend(refused_for_content(refusal, &given));
    describe(steps, found)
}

/// With the signing key of the scope that the request states; `region`, `service` and date are not tried.
pub(crate) fn with_key<'a>(
    request: &SignedRequest<'_, 'a>,
    head: &RequestHead<'a>,
    body: Body<'a>,
    key: &Arc<PreparedSigningKey>,
    refusal: &Refusal,
) -> Vec<Deviation> {
    let given = given(request, head, body, &[]);
    let seals = seals::with_key(&given, request.authorization(), key);
    let found = search(forms(&given, request), &seals, Effort::ONLINE);
    found.map_or(Vec::new(), |found| describe(refused_for_content(refusal, &given), found))
}

/// Where a request cannot be read: which rule it is, and what would be taken. Nothing has a part in it but the request.
pub(crate) fn readable_if(refusal: &Refusal, head: &RequestHead<'_>) -> Vec<Deviation> {
    let steps = unread::steps(refusal, head).into_iter().enumerate();
    let message = |index, condition| format!("{} if {condition}", if index == 0 { "is read" } else { "and" });
    let deviation = |(index, step): (usize, Step)| Deviation {
        message: message(index, step.condition),
        name: step.name,
        same_as: Vec::new(),
    };
    steps.map(deviation).collect()
}

pub(super) fn given<'r, 'a>(
    request: &SignedRequest<'_, 'a>,
    head: &'r RequestHead<'a>,
    body: Body<'a>,
    hosts: &'r [String],
) -> Given<'r, 'a> {
    let authorization = request.authorization();
    Given {
        head,
        carrier: authorization.carrier,
        signed_headers: authorization.signed_headers,
        content_sha256: authorization.content_sha256,
        family: Family::of(authorization.scope.service()),
        body,
        hosts,
    }
}

pub(super) fn forms(given: &Given<'_, '_>, request: &SignedRequest<'_, '_>) -> CanonicalForms {
    let (path, query) = given.path_and_query();
    let mut uri = path::part(path, &gateway::paths(given), given.family);
    path::add_targets(&mut uri, given);
    CanonicalForms {
        method: methods(given.head.method()),
        uri,
        query: query::part(query, &gateway::queries(given)),
        headers: headers::part(given),
        host: host::part(given, Some(&request.scope())),
        payload: payload::part(given),
    }
}

fn methods(method: &[u8]) -> Part {
    let mut part = Part::with_base(method);
    for other in METHODS {
        let condition = format!("the method were {other}: it was changed on the way");
        part.add(other, vec![Step::new(format!("method={other}"), condition)]);
    }
    part
}

/// What must be signed and is not, and a body that is another.
pub(super) fn refused_for_content(refusal: &Refusal, given: &Given<'_, '_>) -> Vec<Step> {
    let body = matches!(refusal, Refusal::BodyMismatch { .. }).then(|| checks::steps(refusal, given));
    checks::not_signed(given).into_iter().chain(body.into_iter().flatten()).collect()
}

/// What the checks of time and scope find; each of them is asked apart from the other.
///
/// `check` is the check for a certain time.
pub(super) fn refused_for_time_and_scope(
    check: impl Fn(UnixSeconds) -> Option<Refusal>,
    signed: UnixSeconds,
    now: UnixSeconds,
    given: &Given<'_, '_>,
) -> Vec<Step> {
    let steps = |refusal: Option<Refusal>| refusal.map_or(Vec::new(), |refusal| checks::steps(&refusal, given));
    let now = check(now).filter(|refusal| !matches!(refusal, Refusal::WrongScope { .. }));
    [steps(now), steps(check(signed))].concat()
}

/// A list of steps that are all needed.
pub(super) fn describe_steps(found: Vec<Step>, checks: Vec<Step>) -> Vec<Deviation> {
    describe(checks, found.into_iter().map(|step| Found { step, same_as: Vec::new() }).collect())
}

pub(super) fn describe(checks: Vec<Step>, found: Vec<Found>) -> Vec<Deviation> {
    let checks = checks.into_iter().map(|step| Found { step, same_as: Vec::new() });
    let all = found.into_iter().chain(checks).enumerate();
    all.map(|(index, Found { step, same_as })| Deviation {
        name: step.name,
        message: format!("{} if {}", if index == 0 { "matches" } else { "and" }, step.condition),
        same_as,
    })
    .collect()
}
