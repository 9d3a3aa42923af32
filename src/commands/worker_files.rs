//! Workers of their own in a rotation: what their configurations must say, when, and in which words. Nobody but an operator edits them.

use std::path::{Path, PathBuf};

use clap::Args;
use rederive::config::WorkerFile;
use rederive::registry::GenerationRow;
use rederive_hsm::pkcs11::hex;

use super::generation::table;
use super::{Failure, output};

#[derive(Args)]
pub struct WorkerFiles {
    /// The configuration of a worker that has a user of its own, or a copy of it, as often as there are any: the rotation goes on when
    /// they know the next generation, and tells what is to be put into them
    #[arg(long = "worker-config", value_name = "FILE")]
    paths: Vec<PathBuf>,
}

impl WorkerFiles {
    /// One more line of a plan, where there are such workers.
    pub fn plan(&self) -> Option<String> {
        let names: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        let wait = "           before that, it waits for you to put the generation into";
        (!names.is_empty()).then(|| format!("{wait} {}", names.join(", ")))
    }

    /// Refuses to go on, and tells what to do, unless every worker answers for a generation, and makes keys in it if it makes any.
    pub fn must_know(&self, row: &GenerationRow) -> Result<(), Failure> {
        let mut is_missing = false;
        for path in &self.paths {
            let file = load(path)?;
            if !knows(&file, row) {
                is_missing = true;
                let (place, number) = (path.display(), row.number);
                output::line(&format!(
                    "{place} needs this table, in the place of one for generation {number} if it has one:"
                ))?;
                output::line(&format!("\n{}", table(row, true)))?;
            }
        }
        if is_missing {
            let next = "put that in, reload each of these workers (systemctl reload rederive-hsm), then run this command again";
            return Err(next.into());
        }
        Ok(())
    }

    /// Tells which of them would still make keys in a generation that was retired.
    pub fn remind_of_retired(&self, number: u8) -> Result<(), Failure> {
        for path in &self.paths {
            let file = load(path)?;
            if file.rights.issue && file.generation.iter().any(|one| one.number == number && one.issuing) {
                let place = path.display();
                eprintln!(
                    "In {place}, set issuing = false for generation {number}, and reload that worker: it would still make keys."
                );
            }
        }
        Ok(())
    }

    /// Tells which of them still answer for a generation that was closed.
    pub fn remind_of_closed(&self, number: u8) -> Result<(), Failure> {
        for path in &self.paths {
            if load(path)?.generation.iter().any(|one| one.number == number) {
                let place = path.display();
                eprintln!(
                    "In {place}, take the table of generation {number} out, and reload that worker: it still answers for it."
                );
            }
        }
        Ok(())
    }
}

fn load(path: &Path) -> Result<WorkerFile, Failure> {
    WorkerFile::load(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn knows(file: &WorkerFile, row: &GenerationRow) -> bool {
    let shares = format!("{:04x}-{:04x}", row.shares.start(), row.shares.end());
    file.generation.iter().any(|one| {
        one.number == row.number.number()
            && one.check_value == hex(&row.check_value)
            && one.class == row.class
            && one.shares == shares
            && (one.issuing || !file.rights.issue)
    })
}
