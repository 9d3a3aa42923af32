//! The live generations: which ids can be ours at all, and where new ones are made.

use std::collections::BTreeMap;

use rederive_hsm::access_key_id::{AccessKeyId, Account, Generation, TagKey};
use rederive_hsm::config::GenerationConfig;
use rederive_hsm::derivation::share;
use rederive_hsm::pkcs11::hex;

use crate::registry::{GenerationRow, GenerationState};

/// Why an id cannot be one of ours. All of these look the same from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Nobody has announced its generation.
    #[error("its generation is unknown")]
    UnknownGeneration,
    /// Its generation was closed.
    #[error("its generation is closed")]
    ClosedGeneration,
    /// The tag is not the one that its generation's tag key makes.
    #[error("its tag is wrong")]
    Tag,
    /// The account is not in its generation's range of shares.
    #[error("its account is outside its generation's shares")]
    Share,
}

/// A generation and, once the worker has told it, its tag key.
struct Live {
    row: GenerationRow,
    tag_key: Option<TagKey>,
}

/// The generations as the registry has them, with the tag keys that the worker gave.
#[derive(Default)]
pub struct Generations(BTreeMap<Generation, Live>);

/// The outcome of looking at an id: ours, not ours, or nobody can tell because the tag key is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtered {
    /// Well-tagged, in the range of a live generation.
    Ours,
    /// It was never issued, or its generation is closed.
    NotOurs(NotOurs),
    /// The worker has not given the tag key yet.
    Unknown(Generation),
}

impl Generations {
    /// From the registry's rows.
    pub fn of(rows: Vec<GenerationRow>) -> Self {
        let mut generations = Self::default();
        generations.update(rows);
        generations
    }

    /// Takes in the registry's rows. Tag keys never change, so those that are known stay.
    pub fn update(&mut self, rows: Vec<GenerationRow>) {
        for row in rows {
            let tag_key = self.0.remove(&row.number).and_then(|known| known.tag_key);
            self.0.insert(row.number, Live { row, tag_key });
        }
    }

    /// Closes those that are known and closed among these rows, and nothing else.
    pub fn close(&mut self, rows: &[GenerationRow]) {
        for row in rows.iter().filter(|row| row.state == GenerationState::Closed) {
            if let Some(live) = self.0.get_mut(&row.number) {
                live.row.state = GenerationState::Closed;
            }
        }
    }

    /// The generations whose tag keys are still to be asked for.
    pub fn without_tag_key(&self) -> Vec<Generation> {
        let missing = |live: &&Live| live.tag_key.is_none() && live.row.state != GenerationState::Closed;
        self.0.values().filter(missing).map(|live| live.row.number).collect()
    }

    /// Takes a tag key in.
    pub fn set_tag_key(&mut self, generation: Generation, tag_key: TagKey) {
        if let Some(live) = self.0.get_mut(&generation) {
            live.tag_key = Some(tag_key);
        }
    }

    /// Whether the generation of an id lives: the part of [`Generations::filter`] that can change with time.
    pub fn is_live(&self, id: &AccessKeyId) -> Result<(), NotOurs> {
        let live = self.0.get(&id.fields().generation()).ok_or(NotOurs::UnknownGeneration)?;
        if live.row.state == GenerationState::Closed { Err(NotOurs::ClosedGeneration) } else { Ok(()) }
    }

    /// Whether an id can be one of ours: its generation lives, its tag is right, its account is in range.
    pub fn filter(&self, id: &AccessKeyId) -> Filtered {
        if let Err(why) = self.is_live(id) {
            return Filtered::NotOurs(why);
        }
        let fields = id.fields();
        let Some(live) = self.0.get(&fields.generation()) else {
            return Filtered::NotOurs(NotOurs::UnknownGeneration);
        };
        let Some(tag_key) = &live.tag_key else { return Filtered::Unknown(fields.generation()) };
        if !id.has_tag_of(tag_key) {
            return Filtered::NotOurs(NotOurs::Tag);
        }
        match fields.account() {
            Some(account) if !live.row.shares.contains(&share(account)) => Filtered::NotOurs(NotOurs::Share),
            _ => Filtered::Ours,
        }
    }

    /// The generation that new keys of an account are made in: the newest issuing one that is good for it, that is on enough
    /// tokens, and that was announced for so many seconds. Without one that old, the first: nobody can know keys of another
    /// then.
    pub fn issuing_for(
        &self,
        account: Account,
        now: i64,
        announce: i64,
        is_on_enough_tokens: impl Fn(Generation) -> bool,
    ) -> Option<Generation> {
        let usable = || self.issuing(account).filter(|live| is_on_enough_tokens(live.row.number));
        let announced = |live: &&Live| now - live.row.created_at >= announce;
        let newest = usable().rev().find(announced).or_else(|| usable().next());
        newest.map(|live| live.row.number)
    }

    /// Whether no key is made in a generation any more. One that this node has yet to hear of may make some.
    pub fn has_retired(&self, generation: Generation) -> bool {
        self.0.get(&generation).is_some_and(|live| live.row.state > GenerationState::Issuing)
    }

    /// The first issuing generation that is good for an account.
    pub fn first_issuing_for(&self, account: Account) -> Option<Generation> {
        self.issuing(account).next().map(|live| live.row.number)
    }

    fn issuing(&self, account: Account) -> impl DoubleEndedIterator<Item = &Live> {
        let share = share(account);
        let good = move |live: &&Live| live.row.state == GenerationState::Issuing && live.row.shares.contains(&share);
        self.0.values().filter(good)
    }

    /// What a worker is told of them. Closed ones it never hears of.
    pub fn for_worker(&self) -> Vec<GenerationConfig> {
        let open = self.0.values().filter(|live| live.row.state != GenerationState::Closed);
        open.map(|live| worker_view(&live.row)).collect()
    }
}

/// What a worker is told of a generation.
pub fn worker_view(row: &GenerationRow) -> GenerationConfig {
    GenerationConfig {
        number: row.number.number(),
        issuing: row.state == GenerationState::Issuing,
        check_value: hex(&row.check_value),
        class: row.class,
        share_first: *row.shares.start(),
        share_last: *row.shares.end(),
    }
}
