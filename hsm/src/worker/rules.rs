//! What a worker refuses by itself, before the token is asked. Pure: configuration, request and time in, a reason out.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use super::MasterKeys;
use super::rate::{Cap, DailyCap};
use crate::access_key_id::{AccessKeyId, Account, Generation, Layout, Lifetime, Prefixes, TagKey};
use crate::config::{GenerationConfig, Rights, WorkerConfig, lists};
use crate::derivation::{Purpose, subkey_message};
use crate::feed_head::FeedHead;
use crate::secret::Secret32;
use crate::signing_key::ScopeDate;
use crate::wire::{Reason, Request};

/// From when on tomorrow's date is taken, in seconds of the day: 23:30 UTC, for clients whose clock is ahead.
const TOMORROW_FROM: i64 = 23 * 3600 + 30 * 60;
/// How far the time of a feed's head may be from this worker's clock, in seconds.
const HEAD_TIME: i64 = 5;
/// Heads a second: one, and one for each burst of changes.
const HEADS_PER_SECOND: u32 = 200;
/// How many days back a presigned URL may have been signed.
const PRESIGNED_DAYS: i64 = 7;

/// The time, as seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Now(pub i64);

impl Now {
    /// By this process's clock.
    pub fn from_clock() -> Self {
        // Before 1970 every date is refused, as it should be with such a clock.
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64))
    }
}

/// The rules of one worker.
pub struct Rules {
    token: String,
    rights: Rights,
    prefixes: Prefixes,
    layout: Layout,
    generations: HashMap<Generation, Live>,
    /// Of Signature V4, and public keys of V4A.
    signing_keys: Mutex<Cap>,
    matches_v2: Mutex<Cap>,
    heads: Mutex<Cap>,
    /// The last head that was allowed.
    last_head: Mutex<Option<FeedHead>>,
    issues: Mutex<Cap>,
    issues_by_account: Mutex<DailyCap>,
}

struct Live {
    config: GenerationConfig,
    tag_key: TagKey,
}

impl Rules {
    /// From the worker's configuration; the masters give the tag keys.
    pub fn new(config: &WorkerConfig, masters: &mut impl MasterKeys) -> Result<Self, String> {
        let mut generations = HashMap::new();
        for generation in &config.generations {
            let number = generation.generation().ok_or_else(|| format!("{} is not a generation", generation.number))?;
            let tag_key = tag_key_twice(masters, number)?;
            generations.insert(number, Live { config: generation.clone(), tag_key: TagKey::new(&tag_key) });
        }
        Ok(Self {
            token: config.token.name.clone(),
            prefixes: config.prefixes.parse().ok_or("the prefixes must be four letters A to Z, each used once")?,
            layout: config.layout.into(),
            generations,
            signing_keys: Mutex::new(Cap::new("signing keys", config.rights.signing_keys_per_second)),
            matches_v2: Mutex::new(Cap::new("signatures V2", config.rights.signatures_v2_per_second)),
            heads: Mutex::new(Cap::new("feed heads", HEADS_PER_SECOND)),
            last_head: Mutex::new(None),
            issues: Mutex::new(Cap::new("new keys", config.rights.issues_per_second)),
            issues_by_account: Mutex::new(DailyCap::new(config.rights.issues_per_account_a_day)),
            rights: config.rights.clone(),
        })
    }

    /// Whether the worker answers this request at this time.
    pub fn allow(&self, request: &Request, now: Now) -> Result<(), Reason> {
        match request {
            Request::SigningKey { id, date, region, service } => {
                self.allow_id(id)?;
                self.allow_service(service)?;
                self.allow_region(service, |listed| listed == region)?;
                self.allow_date(date, service, now)?;
                take(&self.signing_keys, now)
            }
            Request::SigV4aPublicKey { id, date, service, regions } => {
                self.allow_id(id)?;
                self.allow_service(service)?;
                self.allow_region(service, |listed| regions.contains(listed))?;
                self.allow_date(date, service, now)?;
                take(&self.signing_keys, now)
            }
            // Neither a region nor a date is part of such a signature in a way that could be checked here.
            Request::MatchesV2(question) => {
                self.allow_id(question.id())?;
                self.allow_service(question.service())?;
                self.allow_v2(question.service())?;
                take(&self.matches_v2, now)
            }
            // Answered where it is read.
            Request::Tally(_) => Ok(()),
            Request::TagKey(generation) | Request::Check(generation) => self.live(*generation).map(|_| ()),
            Request::SignHead(head) => {
                self.allow_head(head, now)?;
                take(&self.heads, now)
            }
            Request::Issue { generation, account, .. } => {
                self.allow_issue(*generation, *account)?;
                take(&self.issues, now)?;
                self.issues_by_account.lock().map_err(|_| Reason::Rate)?.take(*account, now)
            }
        }
    }

    /// The tag key of a generation, for making ids.
    pub fn tag_key(&self, generation: Generation) -> Result<&TagKey, Reason> {
        self.live(generation).map(|live| &live.tag_key)
    }

    /// The prefix of new long-term ids and their layout.
    pub fn issuing_form(&self) -> (crate::access_key_id::Prefix, Layout) {
        (self.prefixes.issuing(Lifetime::LongTerm), self.layout)
    }

    /// The generations that this worker answers for.
    pub fn generations(&self) -> impl Iterator<Item = &GenerationConfig> {
        self.generations.values().map(|live| &live.config)
    }

    /// What the configuration calls the token.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn live(&self, generation: Generation) -> Result<&Live, Reason> {
        self.generations.get(&generation).ok_or(Reason::Generation)
    }

    fn allow_id(&self, id: &AccessKeyId) -> Result<(), Reason> {
        if self.prefixes.lifetime(id.prefix()) != Some(Lifetime::LongTerm) {
            return Err(Reason::Prefix);
        }
        let fields = id.fields();
        let live = self.live(fields.generation())?;
        if !id.has_tag_of(&live.tag_key) {
            return Err(Reason::Tag);
        }
        match fields.account() {
            Some(account) if !live.config.covers(account) => Err(Reason::Share),
            _ => Ok(()),
        }
    }

    fn allow_service(&self, service: &str) -> Result<(), Reason> {
        // Users manage keys at issuers: a verifier has nothing to do with that.
        let is_right = lists(&self.rights.services, service) && (self.rights.issue || !takes_any_region(service));
        if is_right { Ok(()) } else { Err(Reason::Service) }
    }

    /// `is_meant` tells whether the request is for a region of this worker's.
    fn allow_region(&self, service: &str, is_meant: impl Fn(&str) -> bool) -> Result<(), Reason> {
        let is_right = |listed: &String| listed == "*" || is_meant(listed);
        match takes_any_region(service) || self.rights.regions.iter().any(is_right) {
            true => Ok(()),
            false => Err(Reason::Region),
        }
    }

    fn allow_date(&self, date: &[u8; 8], service: &str, now: Now) -> Result<(), Reason> {
        let day = ScopeDate::parse(date).ok_or(Reason::Date)?.days_since_1970();
        let today = now.0.div_euclid(86_400);
        let last = today + i64::from(now.0.rem_euclid(86_400) >= TOMORROW_FROM);
        let back = if lists(&self.rights.presigned, service) { PRESIGNED_DAYS } else { 1 };
        if (today - back..=last).contains(&day) { Ok(()) } else { Err(Reason::Date) }
    }

    /// Keys are managed by Signature V4 alone, whatever the configuration says.
    fn allow_v2(&self, service: &str) -> Result<(), Reason> {
        let is_right = lists(&self.rights.signature_v2, service) && !takes_any_region(service);
        if is_right { Ok(()) } else { Err(Reason::Version) }
    }

    /// A head that goes back, or names another hash for a number that was signed, would fork the feed: within the life of this
    /// worker there is none.
    fn allow_head(&self, head: &FeedHead, now: Now) -> Result<(), Reason> {
        if !self.rights.issue {
            return Err(Reason::NotIssuer);
        }
        if (head.time - now.0).abs() > HEAD_TIME {
            return Err(Reason::Date);
        }
        let mut last = self.last_head.lock().map_err(|_| Reason::Fork)?;
        if let Some(last) = last.as_ref() {
            let forks = head.number == last.number && head.hash != last.hash;
            if head.epoch != last.epoch || head.number < last.number || forks {
                tracing::error!(
                    number = head.number,
                    signed = last.number,
                    "ALARM: asked to sign a fork of the deny feed"
                );
                return Err(Reason::Fork);
            }
        }
        *last = Some(*head);
        Ok(())
    }

    fn allow_issue(&self, generation: Generation, account: Account) -> Result<(), Reason> {
        if !self.rights.issue {
            return Err(Reason::NotIssuer);
        }
        let live = self.live(generation)?;
        if !live.config.issuing {
            return Err(Reason::NotIssuing);
        }
        if live.config.covers(account) { Ok(()) } else { Err(Reason::Share) }
    }
}

/// The services that manage keys, whose requests may name any region.
fn takes_any_region(service: &str) -> bool {
    matches!(service, "iam" | "sts")
}

/// Twice, because a wrong one would make every id look wrong for as long as this worker lives.
fn tag_key_twice(masters: &mut impl MasterKeys, generation: Generation) -> Result<Secret32, String> {
    let mut derive =
        || masters.hmac(generation, &subkey_message(Purpose::AccessKeyIdTag)).map_err(|error| error.to_string());
    let (tag_key, again) = (derive()?, derive()?);
    let differ = || format!("the token gave two tag keys for generation {generation}");
    tag_key.ct_eq(&again).then_some(tag_key).ok_or_else(differ)
}

fn take(cap: &Mutex<Cap>, now: Now) -> Result<(), Reason> {
    // A poisoned lock means a thread panicked while counting: refuse rather than run without a cap.
    cap.lock().map_err(|_| Reason::Rate)?.take(now)
}
