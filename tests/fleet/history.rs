//! Whether what several clients saw of one user's keys can have happened one after the other: a checker for linearizability.
//!
//! The search is that of Wing and Gong, with Lowe's memory of what was tried: an operation may come next if no other one had
//! ended before it began; it must then answer as the model does. One whose answer was lost may have happened at any time since it
//! began, or not at all.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

/// Keys that a user may have.
const QUOTA: usize = 2;

/// The keys of a user: whether each is active.
pub type Keys = BTreeMap<String, bool>;

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Create,
    Switch(String, bool),
    Delete(String),
    List,
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Created(String),
    QuotaExceeded,
    Done,
    NoSuchKey,
    Listed(Keys),
    /// The answer was lost.
    Nothing,
}

/// One operation. Times are of one clock.
#[derive(Clone, Debug)]
pub struct Operation {
    pub asked: Asked,
    pub told: Told,
    pub began: Instant,
    pub ended: Instant,
}

/// Whether the history, of at most 64 operations, has an order.
pub fn is_linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= 64, "a longer one takes too long");
    Search { history, orphans: orphans(history), tried: HashSet::new() }.from(0, &Keys::new())
}

/// Ids that somebody saw, and that no answer to a create told: a create whose answer was lost made them.
fn orphans(history: &[Operation]) -> BTreeSet<String> {
    let told = history.iter().filter_map(|one| if let Told::Created(id) = &one.told { Some(id) } else { None });
    let told: BTreeSet<_> = told.collect();
    let seen =
        history.iter().filter_map(|one| if let Told::Listed(keys) = &one.told { Some(keys.keys()) } else { None });
    seen.flatten().filter(|id| !told.contains(id)).cloned().collect()
}

struct Search<'h> {
    history: &'h [Operation],
    orphans: BTreeSet<String>,
    tried: HashSet<(u64, Keys)>,
}

impl Search<'_> {
    /// Whether the rest has an order after those that are done.
    fn from(&mut self, done: u64, keys: &Keys) -> bool {
        let open = |at: &usize| done & (1 << at) == 0;
        let rest: Vec<usize> = (0..self.history.len()).filter(open).collect();
        if rest.iter().all(|&at| self.history[at].told == Told::Nothing) {
            return true;
        }
        if !self.tried.insert((done, keys.clone())) {
            return false;
        }
        rest.iter().any(|&next| {
            self.may_come_next(next, &rest)
                && self.after(&self.history[next], keys).iter().any(|keys| self.from(done | 1 << next, keys))
        })
    }

    fn may_come_next(&self, next: usize, rest: &[usize]) -> bool {
        let has_ended_before =
            |other: &Operation| other.told != Told::Nothing && other.ended < self.history[next].began;
        !rest.iter().any(|&other| has_ended_before(&self.history[other]))
    }

    /// The keys after an operation that answers so; several ways for one whose answer was lost.
    fn after(&self, operation: &Operation, keys: &Keys) -> Vec<Keys> {
        let with = |id: &String, active| keys.clone().into_iter().chain([(id.clone(), active)]).collect::<Keys>();
        let without =
            |id: &String| keys.iter().filter(|(other, _)| *other != id).map(|(id, on)| (id.clone(), *on)).collect();
        let room = keys.len() < QUOTA;
        match (&operation.asked, &operation.told) {
            (Asked::Create, Told::Created(id)) if room && !keys.contains_key(id) => vec![with(id, true)],
            (Asked::Create, Told::QuotaExceeded) if !room => vec![keys.clone()],
            (Asked::Create, Told::Nothing) if room => {
                let unseen = format!("unseen {:?}", operation.began);
                self.orphans
                    .iter()
                    .chain([&unseen])
                    .filter(|id| !keys.contains_key(*id))
                    .map(|id| with(id, true))
                    .collect()
            }
            (Asked::Switch(id, active), Told::Done | Told::Nothing) if keys.contains_key(id) => vec![with(id, *active)],
            (Asked::Delete(id), Told::Done | Told::Nothing) if keys.contains_key(id) => vec![without(id)],
            (Asked::Switch(id, _) | Asked::Delete(id), Told::NoSuchKey) if !keys.contains_key(id) => vec![keys.clone()],
            (Asked::List, Told::Listed(listed)) if listed == keys => vec![keys.clone()],
            // What changes nothing, lost answer and all.
            (_, Told::Nothing) => vec![keys.clone()],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(asked: Asked, told: Told, began: u64, ended: u64) -> Operation {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let time = |number| *START + Duration::from_millis(number);
        Operation { asked, told, began: time(began), ended: time(ended) }
    }

    fn listed(keys: &[(&str, bool)]) -> Told {
        Told::Listed(keys.iter().map(|(id, active)| ((*id).to_owned(), *active)).collect())
    }

    #[test]
    fn planted_violations_are_found_and_what_can_be_is_not() {
        let created = |began, ended, id: &str| at(Asked::Create, Told::Created(id.into()), began, ended);
        let off = |began, ended, told| at(Asked::Switch("a".into(), false), told, began, ended);
        let delete = |began, ended, told| at(Asked::Delete("a".into()), told, began, ended);
        let list = |began, ended, keys: &[(&str, bool)]| at(Asked::List, listed(keys), began, ended);
        for (what, good, history) in [
            ("in order", true, vec![created(0, 1, "a"), off(2, 3, Told::Done), list(4, 5, &[("a", false)])]),
            ("a stale list", false, vec![created(0, 1, "a"), off(2, 3, Told::Done), list(4, 5, &[("a", true)])]),
            (
                "a list at the same time",
                true,
                vec![created(0, 1, "a"), off(2, 5, Told::Done), list(3, 4, &[("a", true)])],
            ),
            (
                "back and forth",
                false,
                vec![
                    created(0, 1, "a"),
                    off(2, 9, Told::Done),
                    list(3, 4, &[("a", false)]),
                    list(5, 6, &[("a", true)]),
                ],
            ),
            ("a third key", false, vec![created(0, 1, "a"), created(0, 1, "b"), created(2, 3, "c")]),
            (
                "a third key after a deletion",
                true,
                vec![created(0, 1, "a"), created(0, 1, "b"), delete(2, 5, Told::Done), created(3, 4, "c")],
            ),
            (
                "back from the dead",
                false,
                vec![created(0, 1, "a"), delete(2, 3, Told::Done), list(4, 5, &[("a", false)])],
            ),
            ("deleted twice", false, vec![created(0, 1, "a"), delete(2, 3, Told::Done), delete(4, 5, Told::Done)]),
            (
                "a lost create that happened",
                true,
                vec![at(Asked::Create, Told::Nothing, 0, 1), list(2, 3, &[]), list(4, 5, &[("a", true)])],
            ),
            (
                "a lost create that came and went",
                false,
                vec![at(Asked::Create, Told::Nothing, 0, 1), list(2, 3, &[("a", true)]), list(4, 5, &[])],
            ),
            (
                "a lost delete may come late",
                true,
                vec![created(0, 1, "a"), delete(2, 3, Told::Nothing), list(4, 5, &[("a", true)]), list(6, 7, &[])],
            ),
            ("an acknowledged key that was lost", false, vec![created(0, 1, "a"), list(2, 3, &[])]),
            (
                "a quota that is not reached",
                false,
                vec![created(0, 1, "a"), at(Asked::Create, Told::QuotaExceeded, 2, 3)],
            ),
        ] {
            assert_eq!(is_linearizable(&history), good, "{what}");
        }
    }
}
