//! How many regions one id may name in a day where any region is taken (IAM and STS).
//!
//! Without a bound, somebody who has seen an id could have a signing key derived for every word that looks like a region.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use rederive_hsm::access_key_id::AccessKeyId;

use crate::sigv4::CredentialScope;

/// Regions one id may name in a day.
pub const REGIONS_A_DAY: usize = 16;
/// Ids that are watched at a time. Past it the day's counts start anew, which only means more work for the HSM.
const IDS: usize = 100_000;

/// What each id named in one day of our clock. A region counts anew for each date of a scope: each costs a signing key, and
/// a presigned request may choose among the dates of a week.
#[derive(Default)]
pub struct Regions(Mutex<Day>);

#[derive(Default)]
struct Day {
    day: i64,
    named: HashMap<AccessKeyId, HashSet<DateAndRegion>>,
}

type DateAndRegion = (Box<str>, Box<str>);

impl Regions {
    /// Counts the date and region of a scope for an id; `false` when they are one too many.
    pub fn admit(&self, id: AccessKeyId, scope: &CredentialScope<'_>, now: i64) -> bool {
        let name = (scope.date().into(), scope.region().into());
        let mut today = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let day = now.div_euclid(86_400);
        if today.day != day || today.named.len() >= IDS {
            *today = Day { day, named: HashMap::new() };
        }
        let named = today.named.entry(id).or_default();
        named.contains(&name) || (named.len() < REGIONS_A_DAY && named.insert(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_dates_are_no_way_around_the_bound() {
        let regions = Regions::default();
        let id = AccessKeyId::parse(b"AKIARZPUZDIKAAERULUU").expect("well-formed");
        let admit = |date: &str, region: usize, now| {
            let region = format!("region-{region}");
            regions.admit(id, &CredentialScope::new(date, &region, "iam").expect("a scope"), now)
        };
        let admitted = |now| {
            let dates = ["20260101", "20260102", "20260103"];
            (0..60).filter(|number| admit(dates[number % 3], *number, now)).count()
        };
        assert_eq!(admitted(1_767_355_200), REGIONS_A_DAY);
        assert_eq!(admitted(1_767_355_201), REGIONS_A_DAY, "the same ones again, and no others");
        assert!(admit("20260103", 99, 1_767_355_200 + 86_400), "the next day");
    }
}
