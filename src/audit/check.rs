//! Checking a log, line by line. Pure.

use super::chain::{BEGINS, Entry, Link, LogId, NotAnEntry};
use super::torn::Torn;

/// What is wrong with a log, where, and what to do about it. Lines are counted from 1, over all files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A line is no entry, and nothing after it says that a write was cut short there.
    #[error(
        "line {line} is no entry of an audit log, and no entry after it tells of a write that was cut short. Somebody wrote \
         into the file, or it is another file: compare it with a copy"
    )]
    NotAnEntry {
        /// Where.
        line: u64,
    },
    /// An entry's bytes are others than its hash covers.
    #[error(
        "line {line}: entry {number} was edited: its bytes are not those that its hash covers. Compare it with a copy of the log \
         (every later entry stands on it)"
    )]
    Edited {
        /// Where.
        line: u64,
        /// The number it bears.
        number: u64,
    },
    /// Entries are missing.
    #[error(
        "line {line}: entries {first} to {last} are missing before it. They were cut out, or stand in a file that was not given: \
         give all files of the log, the oldest first"
    )]
    Missing {
        /// Where.
        line: u64,
        /// The first that is missing.
        first: u64,
        /// The last.
        last: u64,
    },
    /// An entry comes again or out of order.
    #[error(
        "line {line}: entry {number} stands after entry {after}: entries were moved or copied. If you gave several files, give the \
         oldest first, each once"
    )]
    Order {
        /// Where.
        line: u64,
        /// The entry there.
        number: u64,
        /// The one before it.
        after: u64,
    },
    /// An entry does not follow the one before it, though its number does.
    #[error(
        "line {line}: entry {number} does not follow the entry before it (it names another hash): what stands here was spliced from \
         two versions of the log. Compare both parts with a copy"
    )]
    Spliced {
        /// Where.
        line: u64,
        /// The entry there.
        number: u64,
    },
    /// An entry of another log.
    #[error(
        "line {line}: entry {number} belongs to another log than the lines before it. If several logs stand in this file (a journal, \
         a container's output), verify with --mixed; else somebody put it there"
    )]
    OtherLog {
        /// Where.
        line: u64,
        /// The entry there.
        number: u64,
    },
    /// The last line ends in the middle.
    #[error(
        "line {line}, the last, is torn: a write was cut short there (kill -9, power). Start rederive: it says so in the log and goes \
         on after it; then verify again"
    )]
    TornEnd {
        /// Where.
        line: u64,
    },
    /// A checkpoint was given, and the log has another entry of its number.
    #[error(
        "entry {} is another than the checkpoint says: the log was rewritten from there or from before. Trust the copy that the \
         checkpoint fits, not this file", .checkpoint.number
    )]
    Rewritten {
        /// The checkpoint.
        checkpoint: Link,
    },
    /// A checkpoint was given, and the log does not go that far.
    #[error(
        "the log ends with entry {last}, before the checkpoint of entry {}: its end was cut off, or a later file was not given",
        .checkpoint.number
    )]
    TooShort {
        /// The checkpoint.
        checkpoint: Link,
        /// The last entry there is.
        last: u64,
    },
    /// Nothing was checked.
    #[error("there is no entry in it: is it the right file? A node writes one when it starts")]
    Empty,
}

/// What a log is, once it was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sound {
    /// The number of the first entry that was given.
    pub first: u64,
    /// The last.
    pub last: Link,
    /// Writes that were cut short, each told by the entry after it.
    pub torn: u64,
}

/// Checks the lines of one log in their order.
#[derive(Debug)]
pub struct Checker {
    checkpoints: Vec<Link>,
    log: Option<LogId>,
    first: u64,
    last: Link,
    torn: Option<(u64, Torn)>,
    torn_count: u64,
}

impl Checker {
    /// `after` is the last entry of the files that are not given: [`Link::START`] where all are. Each checkpoint must be met.
    pub fn new(after: Link, checkpoints: Vec<Link>) -> Self {
        Self { checkpoints, log: None, first: 0, last: after, torn: None, torn_count: 0 }
    }

    /// Takes the next line, without its line break. `line` is its number.
    pub fn line(&mut self, line: u64, bytes: &[u8]) -> Result<(), Flaw> {
        match Entry::read(bytes) {
            Ok(entry) => self.entry(line, &entry),
            Err(NotAnEntry::Hash { number }) => Err(Flaw::Edited { line, number }),
            Err(NotAnEntry::Form) if self.torn.is_some() => self.not_torn(),
            Err(NotAnEntry::Form) => {
                self.torn = Some((line, Torn::of(bytes)));
                Ok(())
            }
        }
    }

    /// The end of the log. `whole` is whether its last line ended with a line break.
    pub fn finish(mut self, lines: u64, whole: bool) -> Result<Sound, Flaw> {
        if !whole {
            return Err(Flaw::TornEnd { line: lines });
        }
        self.not_torn()?;
        if self.log.is_none() {
            return Err(Flaw::Empty);
        }
        let beyond = self.checkpoints.iter().find(|checkpoint| checkpoint.number > self.last.number);
        if let Some(checkpoint) = beyond {
            return Err(Flaw::TooShort { checkpoint: *checkpoint, last: self.last.number });
        }
        Ok(Sound { first: self.first, last: self.last, torn: self.torn_count })
    }

    fn entry(&mut self, line: u64, entry: &Entry<'_>) -> Result<(), Flaw> {
        let (number, expected) = (entry.link.number, self.last.number + 1);
        if self.log.is_some_and(|log| log != entry.log) {
            return Err(Flaw::OtherLog { line, number });
        }
        if number > expected {
            return Err(Flaw::Missing { line, first: expected, last: number - 1 });
        }
        if number < expected {
            return Err(Flaw::Order { line, number, after: self.last.number });
        }
        if entry.previous != self.last.hash {
            return Err(Flaw::Spliced { line, number });
        }
        self.explain_torn(entry)?;
        self.meet_checkpoints(entry.link)?;
        if self.log.is_none() {
            (self.log, self.first) = (Some(entry.log), number);
        }
        self.last = entry.link;
        Ok(())
    }

    /// A torn line is right when the next entry tells of it.
    fn explain_torn(&mut self, entry: &Entry<'_>) -> Result<(), Flaw> {
        match self.torn.take() {
            None => Ok(()),
            Some((_, torn)) if torn.is_told_by(entry.fields) => {
                self.torn_count += 1;
                Ok(())
            }
            Some((line, _)) => Err(Flaw::NotAnEntry { line }),
        }
    }

    fn not_torn(&mut self) -> Result<(), Flaw> {
        self.torn.take().map_or(Ok(()), |(line, _)| Err(Flaw::NotAnEntry { line }))
    }

    fn meet_checkpoints(&self, link: Link) -> Result<(), Flaw> {
        let other = |checkpoint: &&Link| checkpoint.number == link.number && checkpoint.hash != link.hash;
        match self.checkpoints.iter().find(other) {
            Some(checkpoint) => Err(Flaw::Rewritten { checkpoint: *checkpoint }),
            None => Ok(()),
        }
    }
}

/// The entries of many logs in one file, such as a journal: what is no entry is passed over, each log is checked by itself from its
/// first entry on.
#[derive(Debug, Default)]
pub struct MixedChecker {
    logs: Vec<(LogId, Checker)>,
}

impl MixedChecker {
    /// Takes the next line: an entry, after whatever a journal puts before it.
    pub fn line(&mut self, line: u64, bytes: &[u8]) -> Result<(), Flaw> {
        let Some(start) = memchr::memmem::find(bytes, BEGINS) else { return Ok(()) };
        let entry = match Entry::read(&bytes[start..]) {
            Ok(entry) => entry,
            Err(NotAnEntry::Hash { number }) => return Err(Flaw::Edited { line, number }),
            Err(NotAnEntry::Form) => return Err(Flaw::NotAnEntry { line }),
        };
        let known = self.logs.iter().position(|(log, _)| *log == entry.log);
        let at = known.unwrap_or_else(|| {
            self.logs.push((entry.log, Checker::new(Link::START, Vec::new())));
            self.logs.len() - 1
        });
        self.logs[at].1.entry(line, &entry)
    }

    /// Each log with what it is.
    pub fn finish(self, lines: u64) -> Result<Vec<(LogId, Sound)>, Flaw> {
        if self.logs.is_empty() {
            return Err(Flaw::Empty);
        }
        self.logs.into_iter().map(|(log, checker)| Ok((log, checker.finish(lines, true)?))).collect()
    }
}
