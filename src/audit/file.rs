//! A log in a file that several processes may append to: the node, and commands beside it.
//!
//! Each append holds the file's lock, goes on from what is there by then, and leaves either all of its lines or none. A write that
//! was cut short by a kill is told by the entry after it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::chain::{Entry, Link, LogId, seal};
use super::event::Event;
use super::torn::Torn;
use super::{AuditError, now};

/// How much of the end is read at first to find the last entry.
const TAIL: u64 = 64 * 1024;

/// The file, and how far it was known to go.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    log: LogId,
    last: Link,
    /// Its length after the last append of this process; what differs was written by another.
    known_length: u64,
}

/// The end of a log.
struct End {
    log: Option<LogId>,
    last: Link,
    /// Bytes after the last line break.
    rest: Vec<u8>,
}

impl LogFile {
    /// Opens the log, made if it is missing, and looks at its end.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let opened = Self::open_inner(path);
        opened.map_err(|error| AuditError::new(format!("{}: {error}", path.display())))
    }

    fn open_inner(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.lock()?;
        let end = read_end(&file)?;
        file.unlock()?;
        let log = match end.log {
            Some(log) => log,
            None => random_id()?,
        };
        Ok(Self { path: path.to_owned(), file, log, last: end.last, known_length: u64::MAX })
    }

    /// Appends events, all or none. `durable` waits for the disk.
    pub fn append(&mut self, events: &[Vec<u8>], durable: bool) -> io::Result<Link> {
        self.lock_current()?;
        let outcome = self.append_locked(events, durable);
        self.file.unlock()?;
        outcome
    }

    /// Locks the file that stands under the path: it may have been moved away (rotated), and the chain goes on in a new one.
    fn lock_current(&mut self) -> io::Result<()> {
        loop {
            self.file.lock()?;
            let here = self.file.metadata()?;
            let there = std::fs::metadata(&self.path).ok();
            if there.is_some_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
                return Ok(());
            }
            self.catch_up()?;
            let moved = std::mem::replace(&mut self.file, open(&self.path)?);
            moved.unlock()?;
            self.known_length = u64::MAX;
        }
    }

    /// Takes in what others have appended.
    fn catch_up(&mut self) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        if length == self.known_length {
            return Ok(Vec::new());
        }
        let end = read_end(&self.file)?;
        if let Some(log) = end.log {
            (self.log, self.last) = (log, end.last);
        }
        Ok(end.rest)
    }

    fn append_locked(&mut self, events: &[Vec<u8>], durable: bool) -> io::Result<Link> {
        let rest = self.catch_up()?;
        let (mut bytes, mut last) = self.mend(&rest);
        for event in events {
            let (line, link) = seal(&self.log, &last, event);
            bytes.extend(line);
            bytes.push(b'\n');
            last = link;
        }
        let before = self.file.metadata()?.len();
        if let Err(error) = self.write(&bytes, durable) {
            // What does not go away is told by the next entry.
            self.file.set_len(before).ok();
            self.known_length = u64::MAX;
            return Err(error);
        }
        (self.last, self.known_length) = (last, before + bytes.len() as u64);
        Ok(last)
    }

    /// What makes a torn end whole, and the link after it. If only the line break is missing, nothing else is.
    fn mend(&self, rest: &[u8]) -> (Vec<u8>, Link) {
        if rest.is_empty() {
            return (Vec::new(), self.last);
        }
        let whole = Entry::read(rest).ok().filter(|entry| entry.log == self.log && entry.previous == self.last.hash);
        if let Some(entry) = whole {
            return (b"\n".to_vec(), entry.link);
        }
        tracing::warn!(bytes = rest.len(), file = %self.path.display(), "the audit log ends in a torn line");
        let event = Event::recovered(&Torn::of(rest), now()).to_json();
        let (line, link) = seal(&self.log, &self.last, &event);
        ([b"\n", line.as_slice(), b"\n"].concat(), link)
    }

    fn write(&mut self, bytes: &[u8], durable: bool) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        if durable { self.file.sync_data() } else { Ok(()) }
    }

    /// The log's id.
    pub fn log(&self) -> &LogId {
        &self.log
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

pub(super) fn random_id() -> io::Result<LogId> {
    let mut id = LogId::default();
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}

/// Reads the last line that ended with a line break, and what stands after it. A torn line may stand in between, with the entry
/// that tells of it after it.
fn read_end(file: &File) -> io::Result<End> {
    let length = file.metadata()?.len();
    let mut take = TAIL.min(length);
    loop {
        let mut tail = vec![0; take as usize];
        file.read_exact_at(&mut tail, length - take)?;
        let cut = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = tail.split_at(cut);
        let begin = lines[..cut.saturating_sub(1)].iter().rposition(|b| *b == b'\n').map(|at| at + 1);
        if begin.is_none() && take < length {
            take = (take * 4).min(length);
            continue;
        }
        let line = &lines[begin.unwrap_or(0)..cut.saturating_sub(1).max(begin.unwrap_or(0))];
        if line.is_empty() && length == rest.len() as u64 {
            return Ok(End { log: None, last: Link::START, rest: rest.to_vec() });
        }
        let not_ours =
            "its last line is no entry of an audit log: look at it with 'rederive audit verify', and move it away";
        let entry = Entry::read(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, not_ours))?;
        return Ok(End { log: Some(entry.log), last: entry.link, rest: rest.to_vec() });
    }
}
