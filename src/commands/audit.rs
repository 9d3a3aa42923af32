//! `rederive audit`: is the audit log what was written?

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use base16ct::lower::encode_string as to_hex;
use clap::{Args, Subcommand};
use rederive::audit::chain::Link;
use rederive::audit::check::{Checker, Flaw, MixedChecker, Sound};

use super::{Failure, output};

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
    /// elsewhere: the ordinary log tells them.
    Verify {
        /// The files of one log, the oldest first
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A checkpoint of the log, as the ordinary log told it; several times for several
        #[arg(long, value_name = "NUMBER:HASH")]
        checkpoint: Vec<Link>,
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
        let AuditCommand::Verify { files, checkpoint, after, mixed } = self.command;
        if mixed {
            return verify_mixed(&files);
        }
        let mut checker = Checker::new(after.unwrap_or(Link::START), checkpoint);
        let (lines, whole) = each_line(&files, |line, bytes| checker.line(line, bytes))?;
        let sound = checker.finish(lines, whole)?;
        output::line(&describe(&sound))?;
        Ok(())
    }
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
