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

/// The regions that were named, by id, for one day.
#[derive(Default)]
pub struct Regions(Mutex<Day>);

#[derive(Default)]
struct Day {
    date: [u8; 8],
    named: HashMap<AccessKeyId, HashSet<ScopeText>>,
}

impl Regions {
    /// Counts a region for an id on a scope's date; `false` when it is one too many.
    pub fn admit(&self, id: AccessKeyId, date: [u8; 8], region: ScopeText) -> bool {
        let mut day = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if day.date != date || day.named.len() >= IDS {
            *day = Day { date, named: HashMap::new() };
        }
        let named = day.named.entry(id).or_default();
        named.contains(&region) || (named.len() < REGIONS_A_DAY && named.insert(region))
    }
}
