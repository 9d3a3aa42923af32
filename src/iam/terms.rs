//! The terms of a key that CreateAccessKey is asked for: `ExpiresAt`, `Services`, `Regions`. AWS has none of them.

use rederive_hsm::region_set::RegionSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::constraint::{Check, Shape};
use super::error::ApiError;
use crate::key_terms::{KeyScope, KeyTerms, ServiceSet};

const EXPIRES_AT: Shape = Shape::new(20, 35, "date and time of RFC 3339, as 2027-01-31T00:00:00Z", is_time);
const SERVICES: Shape = Shape::new(1, 1100, "[A-Za-z0-9-]{1,32}(,[A-Za-z0-9-]{1,32}){0,31}", is_services);
const REGIONS: Shape = Shape::new(1, 1100, "[A-Za-z0-9*-]{1,32}(,[A-Za-z0-9*-]{1,32}){0,31}", is_regions);

/// Reads them. What is wrong with them is gathered in `check`.
pub(super) fn read(check: &mut Check<'_>) -> KeyTerms {
    let expires_at = check.optional("ExpiresAt", &EXPIRES_AT).and_then(unix);
    let services = check.optional("Services", &SERVICES).and_then(ServiceSet::parse);
    let regions = check.optional("Regions", &REGIONS).and_then(|text| RegionSet::parse(text.as_bytes()));
    KeyTerms { expires_at, scope: KeyScope { services, regions } }
}

/// Nobody wants a key that is over before it begins.
pub(super) fn check_not_over(terms: &KeyTerms, now: i64) -> Result<(), ApiError> {
    match terms.have_expired(now) {
        true => Err(ApiError::sender(400, "ValidationError", "ExpiresAt lies in the past".into())),
        false => Ok(()),
    }
}

fn unix(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

fn is_time(text: &str) -> bool {
    unix(text).is_some()
}

fn is_services(text: &str) -> bool {
    ServiceSet::parse(text).is_some()
}

fn is_regions(text: &str) -> bool {
    RegionSet::parse(text.as_bytes()).is_some()
}
