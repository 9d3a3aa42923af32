//! A verifier's copy of the deny feed on disk: the only thing that it keeps.
//!
//! `feed.log` holds the epoch and every entry, each behind its length in 4 bytes, and only ever grows. `feed.head` holds the
//! newest signed head and is replaced as a whole. The log comes to the disk first, so what follows the head in it was being
//! written when the process ended, and is dropped. Up to the head every bit counts: the hash of the last entry covers all.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rederive_hsm::feed_head::FeedHead;

use crate::feed::{Chain, Change, Epoch, NotNext, NotSigned, PublicKey, SignedHead};

const LOG: &str = "feed.log";
const HEAD: &str = "feed.head";
const LOG_MAGIC: &[u8; 16] = b"rederive feed 1\n";
const HEAD_MAGIC: &[u8; 16] = b"rederive head 1\n";
/// Bytes of a head: magic, epoch, number, hash, time, public key, signature.
const HEAD_LEN: usize = 16 + 16 + 8 + 32 + 8 + 32 + 64;
/// Where the public key stands in it.
const KEY_AT: usize = 16 + 16 + 8 + 32 + 8;
/// No entry is longer.
const MAX_ENTRY: usize = 22 + 3 * 65_535;
/// Entries that are handed over at a time.
const BATCH: usize = 65_536;

/// Why a copy is not used. Nobody goes on by it or past it: that would be an old or a forged list of denials.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error(
        "the copy of the deny feed in {directory} is damaged or was edited ({why}), and is refused. Find out who did that; then \
         remove {LOG} and {HEAD} there and start again: everything comes anew from an issuer, and until then nothing is decided"
    )]
    Edited {
        /// Where it is.
        directory: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The copy, open for more.
pub struct FeedCopy {
    directory: PathBuf,
    /// Two processes that write one copy would spoil it.
    _only: File,
    /// None before the first head.
    state: Option<State>,
}

struct State {
    epoch: Epoch,
    chain: Chain,
    log: File,
}

impl FeedCopy {
    /// Reads the copy in a directory, hands over its entries in order, and gives its head. There may be none yet.
    pub fn open(
        directory: &Path,
        pinned: &[PublicKey],
        mut take: impl FnMut(&[Change]),
    ) -> Result<(Self, Option<SignedHead>), CopyError> {
        let only = lock(directory).map_err(|source| CopyError::Io { path: directory.to_owned(), source })?;
        let mut copy = Self { directory: directory.to_owned(), _only: only, state: None };
        let Some(head) = copy.read_head(pinned)? else { return Ok((copy, None)) };
        let path = copy.path(LOG);
        let io = |source| CopyError::Io { path: path.clone(), source };
        let mut log = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(log) => log,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(copy.edited("the log is gone")),
            Err(error) => return Err(io(error)),
        };
        let (chain, length) = copy.read_log(&log, &head, &mut take)?;
        // What follows is not covered by the head: it was being written.
        log.set_len(length).and_then(|()| log.seek(SeekFrom::Start(length))).map_err(io)?;
        copy.state = Some(State { epoch: *head.epoch(), chain, log });
        Ok((copy, Some(head)))
    }

    /// Adds entries and the head that covers them. After an error the copy on disk stays as it was at the last head.
    pub fn add(&mut self, entries: &[bytes::Bytes], head: &SignedHead) -> Result<(), CopyError> {
        let io = |path: &str| {
            let path = self.directory.join(path);
            move |source| CopyError::Io { path: path.clone(), source }
        };
        let (log_failed, head_failed) = (io(LOG), io(HEAD));
        if self.state.is_none() {
            let log = begin_log(&self.path(LOG), head.epoch()).map_err(&log_failed)?;
            self.state = Some(State { epoch: *head.epoch(), chain: Chain::begin(head.epoch()), log });
        }
        let state = self.state.as_mut().expect("made above");
        if !entries.is_empty() {
            let lengths = entries.iter().map(|entry| (entry.len() as u32).to_be_bytes());
            let records: Vec<u8> =
                lengths.zip(entries).flat_map(|(length, entry)| [&length, &entry[..]].concat()).collect();
            state.log.write_all(&records).and_then(|()| state.log.sync_data()).map_err(&log_failed)?;
        }
        state.chain = head.chain();
        replace(&self.path(HEAD), &head_bytes(head)).map_err(&head_failed)
    }

    /// The epoch and how far the copy goes; `None` before the first head.
    pub fn position(&self) -> Option<(Epoch, Chain)> {
        self.state.as_ref().map(|state| (state.epoch, state.chain))
    }

    /// The head in a directory, signed by whatever key it names: for an issuer, which wrote it itself. Takes no lock.
    pub fn head_in(directory: &Path) -> Result<Option<SignedHead>, CopyError> {
        let path = directory.join(HEAD);
        let edited = |why: String| CopyError::Edited { directory: directory.to_owned(), why };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CopyError::Io { path, source }),
        };
        let key = bytes.get(KEY_AT..KEY_AT + 32).and_then(|key| key.try_into().ok());
        let head =
            key.and_then(|key| read_head(&bytes, &[key])).ok_or_else(|| edited("the head does not read".into()))?;
        head.map(Some).map_err(|error| edited(error.to_string()))
    }

    fn read_head(&self, pinned: &[PublicKey]) -> Result<Option<SignedHead>, CopyError> {
        let path = self.path(HEAD);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CopyError::Io { path, source }),
        };
        let head = read_head(&bytes, pinned).ok_or_else(|| self.edited("the head does not read"))?;
        head.map(Some).map_err(|error| self.edited(&error.to_string()))
    }

    /// Every entry up to the head, and where in the file the last one ends.
    fn read_log(
        &self,
        log: &File,
        head: &SignedHead,
        take: &mut impl FnMut(&[Change]),
    ) -> Result<(Chain, u64), CopyError> {
        let mut reader = BufReader::with_capacity(1 << 20, log);
        let mut start = [0; 32];
        reader.read_exact(&mut start).map_err(|error| self.unread(error))?;
        if start[..16] != *LOG_MAGIC || start[16..] != *head.epoch() {
            return Err(self.edited("the log is another epoch's than the head"));
        }
        let (mut chain, mut length) = (Chain::begin(head.epoch()), 32);
        let (mut entry, mut batch) = (Vec::new(), Vec::new());
        while chain.number < head.chain().number {
            length += read_entry(&mut reader, &mut entry).map_err(|error| self.unread(error))?;
            let (next, change) = chain.with_entry(&entry).map_err(|wrong: NotNext| self.edited(&wrong.to_string()))?;
            chain = next;
            batch.push(change);
            if batch.len() == BATCH {
                take(&batch);
                batch.clear();
            }
        }
        if chain != head.chain() {
            return Err(self.edited("its entries are not the ones that were signed"));
        }
        take(&batch);
        Ok((chain, length))
    }

    fn unread(&self, error: std::io::Error) -> CopyError {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                self.edited("the log ends before the head that was signed")
            }
            _ => CopyError::Io { path: self.path(LOG), source: error },
        }
    }

    fn edited(&self, why: &str) -> CopyError {
        CopyError::Edited { directory: self.directory.clone(), why: why.to_owned() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }
}

/// Held for as long as the copy is open.
fn lock(directory: &Path) -> std::io::Result<File> {
    let file = File::open(directory)?;
    let busy = "another verifier runs on this state_dir: give each its own";
    file.try_lock().map_err(|_| std::io::Error::new(std::io::ErrorKind::ResourceBusy, busy))?;
    Ok(file)
}

fn begin_log(path: &Path, epoch: &Epoch) -> std::io::Result<File> {
    let mut log = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    log.write_all(&[&LOG_MAGIC[..], epoch].concat())?;
    Ok(log)
}

/// One entry; how many bytes it takes in the file.
fn read_entry(reader: &mut impl Read, entry: &mut Vec<u8>) -> std::io::Result<u64> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_ENTRY {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    entry.resize(length, 0);
    reader.read_exact(entry)?;
    Ok(4 + length as u64)
}

/// Puts a new file in the place of an old one: whoever reads finds one of the two, whole.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("head.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&new, path)
}

fn head_bytes(signed: &SignedHead) -> Vec<u8> {
    let head = signed.head();
    [
        &HEAD_MAGIC[..],
        &head.epoch,
        &head.number.to_be_bytes(),
        &head.hash,
        &head.time.to_be_bytes(),
        signed.public_key(),
        signed.signature(),
    ]
    .concat()
}

fn read_head(bytes: &[u8], pinned: &[PublicKey]) -> Option<Result<SignedHead, NotSigned>> {
    let mut rest = bytes.strip_prefix(HEAD_MAGIC).filter(|_| bytes.len() == HEAD_LEN)?;
    let head = FeedHead {
        epoch: array(&mut rest)?,
        number: u64::from_be_bytes(array(&mut rest)?),
        hash: array(&mut rest)?,
        time: i64::from_be_bytes(array(&mut rest)?),
    };
    Some(SignedHead::check(head, array(&mut rest)?, array(&mut rest)?, pinned))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*array)
}
