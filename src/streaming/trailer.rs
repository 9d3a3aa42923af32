//! What follows the last chunk: the trailer, its signature, and the end.
//!
//! Clients break its lines by CRLF or LF, once or twice. They are read in either way; what is hashed is the one canonical
//! form.

use sha2::{Digest as _, Sha256};

use super::chain::Chain;
use super::checksum::{ChecksumAlgorithm, Checksums};
use super::error::BodyFault;

/// How far the trailer was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Lines of the trailer may come.
    Lines,
    /// An empty line ended it. Where it is signed, the signature is still to come.
    LinesEnded,
    /// The signature was right.
    Sealed,
    /// An empty line followed the signature.
    Ended,
}

pub(super) struct Trailer {
    awaited: Vec<ChecksumAlgorithm>,
    is_signed: bool,
    stage: Stage,
    /// `name:value` and a line break for each that came, by its name.
    came: Vec<(ChecksumAlgorithm, String)>,
}

const SIGNATURE: &[u8] = b"x-amz-trailer-signature";

impl Trailer {
    /// `awaited` is sorted, and empty for a body without one, after which comes one empty line.
    pub fn new(awaited: Vec<ChecksumAlgorithm>, is_signed: bool) -> Self {
        Self { awaited, is_signed, stage: Stage::Lines, came: Vec::new() }
    }

    /// Reads a line with its line break.
    pub fn read(&mut self, line: &[u8], checksums: &mut Checksums, chain: Option<&mut Chain>) -> Result<(), BodyFault> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.stage = match (self.stage, line.is_empty()) {
            (Stage::Lines, true) => Stage::LinesEnded,
            (Stage::Sealed, true) => Stage::Ended,
            (Stage::Lines | Stage::LinesEnded, false) if self.is_signed => self.read_signed(line, checksums, chain)?,
            (Stage::Lines, false) => self.read_line(line, checksums)?,
            (Stage::LinesEnded | Stage::Ended, true) | (_, false) => return Err(BodyFault::AfterEnd),
        };
        Ok(())
    }

    fn read_signed(
        &mut self,
        line: &[u8],
        checksums: &mut Checksums,
        chain: Option<&mut Chain>,
    ) -> Result<Stage, BodyFault> {
        let (name, signature) = split(line)?;
        if !name.eq_ignore_ascii_case(SIGNATURE) {
            return match self.stage {
                Stage::Lines => self.read_line(line, checksums),
                _ => Err(BodyFault::Trailer("its signature does not follow its empty line")),
            };
        }
        self.check_complete()?;
        let hash = self.canonical_hash();
        match chain.is_some_and(|chain| chain.accepts_trailer(&hash, signature)) {
            true => Ok(Stage::Sealed),
            false => Err(BodyFault::TrailerSignature),
        }
    }

    fn read_line(&mut self, line: &[u8], checksums: &mut Checksums) -> Result<Stage, BodyFault> {
        let (name, value) = split(line)?;
        let algorithm = ChecksumAlgorithm::of_header(name).filter(|algorithm| self.awaited.contains(algorithm));
        let algorithm = algorithm.ok_or(BodyFault::Trailer("it holds what x-amz-trailer does not announce"))?;
        if self.came.iter().any(|(known, _)| *known == algorithm) {
            return Err(BodyFault::Trailer("it states one checksum twice"));
        }
        checksums.state(algorithm, value)?;
        self.came.push((algorithm, format!("{}:{}\n", algorithm.header(), String::from_utf8_lossy(value))));
        Ok(Stage::Lines)
    }

    fn canonical_hash(&mut self) -> [u8; 32] {
        self.came.sort();
        let hash = self.came.iter().fold(Sha256::new(), |hash, (_, line)| hash.chain_update(line));
        hash.finalize().into()
    }

    fn check_complete(&self) -> Result<(), BodyFault> {
        match self.came.len() == self.awaited.len() {
            true => Ok(()),
            false => Err(BodyFault::Trailer("it lacks what x-amz-trailer announces")),
        }
    }

    /// The body ended here.
    pub fn finish(&self) -> Result<(), BodyFault> {
        self.check_complete()?;
        match (self.stage, self.is_signed, self.awaited.is_empty()) {
            (Stage::Sealed | Stage::Ended, true, _) => Ok(()),
            (_, true, _) => Err(BodyFault::Trailer("it has no x-amz-trailer-signature")),
            (Stage::LinesEnded, false, _) | (_, false, false) => Ok(()),
            // The line break after the last chunk is all that there is to tell a complete body by.
            (_, false, true) => Err(BodyFault::Ended("before the empty line at its end")),
        }
    }
}

/// `name:value`, with blanks around the value.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), BodyFault> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(BodyFault::Trailer("a line of it has no colon"))?;
    Ok((&line[..colon], line[colon + 1..].trim_ascii()))
}
