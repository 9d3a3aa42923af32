//! Checksums of a body: those that its headers or its trailer state, against what it has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::error::BodyFault;
use crate::sigv4::{RequestHead, shown};

/// The checksums of S3 that are verified here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChecksumAlgorithm {
    /// CRC-32 of ISO-HDLC, as in zlib.
    Crc32,
    /// CRC-32 of Castagnoli, as in iSCSI.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// In the order of their header names, which is that of a canonical trailer.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name of the header or trailer that states it, in lower case.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// As S3 writes it, such as `CRC64NVME`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// By the name of its header, in any case.
    pub fn of_header(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().as_bytes().eq_ignore_ascii_case(name))
    }

    fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn start(self) -> Running {
        match self {
            Self::Crc32 => Running::Crc(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc)),
            Self::Crc32c => Running::Crc(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi)),
            Self::Crc64Nvme => Running::Crc(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme)),
            Self::Sha1 => Running::Sha1(Sha1::new()),
            Self::Sha256 => Running::Sha256(Sha256::new()),
        }
    }
}

/// A checksum of what came so far.
enum Running {
    Crc(crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

/// Checksums that a body must have, computed while it passes.
#[derive(Default)]
pub struct Checksums(Vec<Entry>);

struct Entry {
    algorithm: ChecksumAlgorithm,
    running: Running,
    /// In base64: what a header states, what the trailer states.
    stated: Vec<String>,
}

impl Checksums {
    /// Those that the headers state. For the body of a PutObject or UploadPart: elsewhere the same headers speak of
    /// something else than the body of the request, such as the whole object that CompleteMultipartUpload puts together.
    ///
    /// # Errors
    /// If one came twice, or is not base64 of its size.
    pub fn of_headers(head: &RequestHead<'_>) -> Result<Self, BodyFault> {
        let mut checksums = Self::default();
        for header in head.headers() {
            let Some(algorithm) = ChecksumAlgorithm::of_header(header.name) else { continue };
            if checksums.0.iter().any(|entry| entry.algorithm == algorithm) {
                return Err(BodyFault::RepeatedHeader(algorithm.header()));
            }
            let bad = || BodyFault::MalformedHeader { name: algorithm.header(), got: shown(header.value) };
            let stated = canonical(algorithm, header.value).ok_or_else(bad)?;
            checksums.compute(algorithm).stated.push(stated);
        }
        Ok(checksums)
    }

    /// Computes this one, too, whoever will state it.
    pub(super) fn await_trailer(&mut self, algorithm: ChecksumAlgorithm) {
        self.compute(algorithm);
    }

    /// The trailer states it.
    pub(super) fn state(&mut self, algorithm: ChecksumAlgorithm, value: &[u8]) -> Result<(), BodyFault> {
        let stated = canonical(algorithm, value).ok_or(BodyFault::MalformedChecksum(algorithm))?;
        self.compute(algorithm).stated.push(stated);
        Ok(())
    }

    fn compute(&mut self, algorithm: ChecksumAlgorithm) -> &mut Entry {
        let place = self.0.iter().position(|entry| entry.algorithm == algorithm).unwrap_or_else(|| {
            self.0.push(Entry { algorithm, running: algorithm.start(), stated: Vec::new() });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// The next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for entry in &mut self.0 {
            match &mut entry.running {
                Running::Crc(crc) => crc.update(bytes),
                Running::Sha1(hash) => hash.update(bytes),
                Running::Sha256(hash) => hash.update(bytes),
            }
        }
    }

    /// What was stated and is right, each in base64.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn finish(self) -> Result<Vec<(ChecksumAlgorithm, String)>, BodyFault> {
        let right = |entry: Entry| {
            let computed = STANDARD.encode(entry.running.finish(entry.algorithm.bytes()));
            match entry.stated.iter().all(|stated| *stated == computed) {
                true => Ok((entry.algorithm, computed)),
                false => Err(BodyFault::ChecksumMismatch(entry.algorithm)),
            }
        };
        self.0.into_iter().map(right).collect()
    }
}

impl Running {
    fn finish(self, bytes: usize) -> Vec<u8> {
        match self {
            Self::Crc(crc) => crc.finalize().to_be_bytes()[8 - bytes..].to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
        }
    }
}

/// The text again, if it is base64 of the right size with padding.
fn canonical(algorithm: ChecksumAlgorithm, text: &[u8]) -> Option<String> {
    let decoded = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == algorithm.bytes())?;
    Some(STANDARD.encode(decoded))
}
