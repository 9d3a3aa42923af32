//! How many regions one id may name in a day where any region is taken (IAM and STS).
//!
//! Without a bound, somebody who has seen an id could have a signing key derived for every word that looks like a region.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use rederive_hsm::access_key_id::AccessKeyId;

use super::signing_keys::ScopeText;

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
    named: HashMap<AccessKeyId, HashSet<([u8; 8], ScopeText)>>,
}

impl Regions {
    /// Counts a region of a scope with a date for an id; `false` when it is one too many.
    pub fn admit(&self, id: AccessKeyId, date: [u8; 8], region: ScopeText, now: i64) -> bool {
        let mut today = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let day = now.div_euclid(86_400);
        if today.day != day || today.named.len() >= IDS {
            *today = Day { day, named: HashMap::new() };
        }
        let named = today.named.entry(id).or_default();
        named.contains(&(date, region)) || (named.len() < REGIONS_A_DAY && named.insert((date, region)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_dates_are_no_way_around_the_bound() {
        let regions = Regions::default();
        let id = AccessKeyId::parse(b"AKIARZPUZDIKAAERULUU").expect("well-formed");
        let region = |number: usize| ScopeText::new(&format!("region-{number}")).expect("short");
        let admitted = |now| {
            let dates = [*b"20260101", *b"20260102", *b"20260103"];
            (0..60).filter(|number| regions.admit(id, dates[number % 3], region(*number), now)).count()
        };
        assert_eq!(admitted(1_767_355_200), REGIONS_A_DAY);
        assert_eq!(admitted(1_767_355_201), REGIONS_A_DAY, "the same ones again, and no others");
        assert!(regions.admit(id, *b"20260103", region(99), 1_767_355_200 + 86_400), "the next day");
    }
}
