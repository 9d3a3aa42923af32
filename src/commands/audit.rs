//! `rederive audit`: is the audit log what was written?

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use base16ct::lower::encode_string as to_hex;
use clap::{Args, Subcommand};
use rederive::audit::chain::{Entry, Link, LogId};
use rederive::audit::check::{Checker, Flaw, MixedChecker, Sound};
use rederive::config::Config;
use rederive::follower::all_seen;
use rederive::registry::{Change, ChangeKind, Registry};
use rederive::site::Site;

use super::{Failure, block_on, output};

#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Check that no entry was edited, cut out, moved or spliced in
    ///
    /// Whoever can write the file can also make a whole new chain, or cut the end off. What shows that is a checkpoint that stands
    /// elsewhere: the ordinary log tells them, and the deny feed has one a minute at the most, and the last (--config, --seen).
    Verify {
        /// The files of one log, the oldest first
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A checkpoint of the log, as the ordinary log told it; several times for several
        #[arg(long, value_name = "NUMBER:HASH")]
        checkpoint: Vec<Link>,
        /// The node's configuration: the log must fit the checkpoints in its deny feed
        #[arg(long, value_name = "FILE", conflicts_with = "mixed")]
        config: Option<PathBuf>,
        /// A verifier's state directory, or a copy of it: the log must fit the checkpoints in that copy of the deny feed
        #[arg(long, value_name = "DIR", conflicts_with_all = ["mixed", "config"])]
        seen: Option<PathBuf>,
        /// The last entry of the files that are not given
        #[arg(long, value_name = "NUMBER:HASH")]
        after: Option<Link>,
        /// The files hold logs of several processes and other lines, too: a journal, or the output of a container
        #[arg(long, conflicts_with_all = ["checkpoint", "after"])]
        mixed: bool,
    },
}

impl Audit {
    pub fn run(self) -> Result<(), Failure> {
        let AuditCommand::Verify { files, mut checkpoint, config, seen, after, mixed } = self.command;
        if mixed {
            return verify_mixed(&files);
        }
        if let Some(feed) = feed(config, seen)? {
            let known = of_log(&feed, log_of(&files)?)?;
            output::line(&format!("checkpoints in the deny feed: {}", known.len()))?;
            checkpoint.extend(known);
        }
        let mut checker = Checker::new(after.unwrap_or(Link::START), checkpoint);
        let (lines, whole) = each_line(&files, |line, bytes| checker.line(line, bytes))?;
        let sound = checker.finish(lines, whole)?;
        output::line(&describe(&sound))?;
        Ok(())
    }
}

/// The entries of the deny feed, from the registry or from a copy.
fn feed(config: Option<PathBuf>, seen: Option<PathBuf>) -> Result<Option<Vec<Change>>, Failure> {
    if let Some(directory) = seen {
        let (_, entries) =
            all_seen(&directory)?.ok_or_else(|| format!("{} holds no copy of the deny feed", directory.display()))?;
        return Ok(Some(entries));
    }
    let Some(config) = config else { return Ok(None) };
    let site = Site::new(Config::load(&config)?);
    block_on(async { Ok(Some(Registry::open_to_read(&site.registry()?).await?.audit_checkpoints().await?)) })
}

/// The checkpoints of a log. One that the feed does not know may be a whole new one in the place of another.
fn of_log(feed: &[Change], log: LogId) -> Result<Vec<Link>, Failure> {
    let log = to_hex(&log);
    let entries = feed.iter().filter(|entry| entry.kind == ChangeKind::AuditCheckpoint && entry.subject == log);
    let links = entries.map(|entry| entry.detail.parse()).collect::<Result<Vec<Link>, _>>()?;
    if links.is_empty() {
        return Err(format!(
            "the deny feed knows no checkpoint of the log {log}: this is another node's log, one whose first checkpoint is still to come, or \
             it was made anew as a whole. Compare it with a copy"
        )
        .into());
    }
    Ok(links)
}

/// The id in the first line.
fn log_of(files: &[PathBuf]) -> Result<LogId, Failure> {
    let path = files.first().expect("the command takes one or more");
    let mut line = Vec::new();
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    BufReader::new(file).read_until(b'\n', &mut line)?;
    line.pop_if(|last| *last == b'\n');
    let entry = Entry::read(&line).map_err(|_| format!("{}: its first line is no entry", path.display()))?;
    Ok(entry.log)
}

fn verify_mixed(files: &[PathBuf]) -> Result<(), Failure> {
    let mut checker = MixedChecker::default();
    let (lines, _) = each_line(files, |line, bytes| checker.line(line, bytes))?;
    for (log, sound) in checker.finish(lines)? {
        output::line(&format!("log {}: {}", to_hex(&log), describe(&sound)))?;
    }
    Ok(())
}

fn describe(sound: &Sound) -> String {
    let torn = match sound.torn {
        0 => String::new(),
        count => format!("; {count} torn by a write that was cut short, each told by the entry after it"),
    };
    format!("sound: entries {} to {}{torn}\nlast entry  {}", sound.first, sound.last.number, sound.last)
}

/// Reads every line of the files, counted over all of them; how many there are, and whether the last one is whole. A node may go on
/// writing: its lock keeps the end from being read in the middle of a write.
fn each_line(files: &[PathBuf], mut take: impl FnMut(u64, &[u8]) -> Result<(), Flaw>) -> Result<(u64, bool), Failure> {
    let (mut number, mut whole) = (0, true);
    for path in files {
        let named = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(named)?;
        file.lock_shared().map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        file.unlock().map_err(named)?;
        let mut reader = BufReader::new(std::io::Read::take(file, length));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(named)? > 0 {
            number += 1;
            whole = line.pop_if(|last| *last == b'\n').is_some();
            if whole {
                take(number, &line).map_err(|flaw| format!("{}: {flaw}", path.display()))?;
            }
            line.clear();
        }
    }
    Ok((number, whole))
}
