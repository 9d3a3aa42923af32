//! What is signed of a body in chunks.

use crate::sigv4::{AmzDate, lower_hex};

/// The length of a signature in a chunk's header: shorter ones are padded with `*` on the right.
pub const PADDED_SIGNATURE: usize = 144;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What all chunks of a body have in common.
#[derive(Clone, Debug)]
pub struct ChunkScope<'a> {
    /// The time of the request.
    pub date: AmzDate,
    /// `date/service/aws4_request`.
    pub scope: &'a str,
}

impl ChunkScope<'_> {
    /// The string to sign of a chunk. `previous` is the signature before it in hexadecimal, without padding: the
    /// request's for the first one.
    pub fn chunk(&self, previous: &str, sha256: &[u8; 32]) -> String {
        format!("{}{EMPTY}\n{}", self.start("PAYLOAD", previous), hex(sha256))
    }

    /// The string to sign of the trailer: `sha256` is of its lines `name:value`, each with its LF.
    pub fn trailer(&self, previous: &str, sha256: &[u8; 32]) -> String {
        format!("{}{}", self.start("TRAILER", previous), hex(sha256))
    }

    fn start(&self, kind: &str, previous: &str) -> String {
        let Self { date, scope } = self;
        format!("{}-{kind}\n{date}\n{scope}\n{previous}\n", super::ALGORITHM)
    }
}

/// A signature as it stands in a chunk's header, without its padding.
pub fn unpadded(signature: &[u8]) -> &[u8] {
    let end = signature.iter().rposition(|byte| *byte != b'*').map_or(0, |last| last + 1);
    &signature[..end]
}

fn hex(hash: &[u8; 32]) -> String {
    String::from_utf8_lossy(&lower_hex(hash)).into_owned()
}
