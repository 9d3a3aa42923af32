//! SHA-256 from a given state: the compression is the `sha2` crate's.
//!
//! The general types of `sha2` and `hmac` copy what they are given into a buffer, clone and wipe that buffer with every key,
//! and take a tenth of a short verification for it. Source: FIPS 180-4, 5.3.3.

use sha2::block_api::compress256;
use zeroize::Zeroize;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// The state of SHA-256 after some whole blocks.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct State([u32; 8]);

impl State {
    /// Before the first block.
    pub const START: Self =
        Self([0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19]);

    /// Takes whole blocks in; gives what is left of `bytes`.
    #[inline]
    pub fn blocks<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        compress256(&mut self.0, blocks);
        rest
    }

    /// The hash, after the last block.
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *place = word.to_be_bytes();
        }
        bytes
    }
}
