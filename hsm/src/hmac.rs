//! HMAC-SHA256 (RFC 2104) of one short message: a step of the derivation.
//!
//! The general types of `hmac` and `sha2` buffer what they are given, and wipe each buffer byte by byte: with them a step takes nearly
//! half as long again as its hashing. The compression is the `sha2` crate's.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

const BLOCK: usize = 64;
/// The state of SHA-256 before the first block (FIPS 180-4, 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Writes `HMAC-SHA256(key, message)` to where it is to stay; the key is these parts one after the other.
pub(crate) fn hmac_sha256_into(key: &[&[u8]], message: &[u8], place: &mut [u8; 32]) {
    let mut keyed = Keyed { inner: START, outer: START };
    keyed.take_key(key);
    keyed.sign_into(message, place);
}

/// Makes `HMAC-SHA256(key, message)` of a key, in its place.
pub(crate) fn hmac_sha256_in_place(key: &mut [u8; 32], message: &[u8]) {
    let mut keyed = Keyed { inner: START, outer: START };
    keyed.take_key(&[key]);
    keyed.sign_into(message, key);
}

/// The states of the two hashes, wiped when dropped. It is never moved, so that nothing stays behind elsewhere.
struct Keyed {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Keyed {
    /// Takes in the key, which may have any length.
    fn take_key(&mut self, key: &[&[u8]]) {
        let mut block = [0; BLOCK];
        if key.iter().map(|part| part.len()).sum::<usize>() > BLOCK {
            let hash = key.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
            hash.finalize_into((&mut block[..32]).try_into().expect("32 bytes"));
        } else {
            let mut free = &mut block[..];
            for part in key {
                let (place, rest) = free.split_at_mut(part.len());
                place.copy_from_slice(part);
                free = rest;
            }
        }
        block.iter_mut().for_each(|byte| *byte ^= 0x36);
        compress(&mut self.inner, &block);
        block.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
        compress(&mut self.outer, &block);
        wipe(&mut block);
    }

    fn sign_into(&mut self, message: &[u8], place: &mut [u8; 32]) {
        let mut rest = message;
        while let Some((block, after)) = rest.split_first_chunk() {
            compress(&mut self.inner, block);
            rest = after;
        }
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        if rest.len() >= BLOCK - 8 {
            compress(&mut self.inner, &last);
            last = [0; BLOCK];
        }
        put_length(&mut last, message.len());
        compress(&mut self.inner, &last);
        // Of the hash inside, which depends on the key.
        last = [0; BLOCK];
        put_words(&mut last[..32], &self.inner);
        last[32] = 0x80;
        put_length(&mut last, 32);
        compress(&mut self.outer, &last);
        put_words(place, &self.outer);
        wipe(&mut last);
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        wipe(&mut self.inner);
        wipe(&mut self.outer);
    }
}

/// Takes the block from where it is: a copy would have to be wiped as well.
#[inline]
fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    compress256(state, std::slice::from_ref(block));
}

/// Ends the last block with the number of bits hashed: the message's, and those of the block of the key before it.
fn put_length(block: &mut [u8; BLOCK], message: usize) {
    block[BLOCK - 8..].copy_from_slice(&(8 * (BLOCK + message) as u64).to_be_bytes());
}

fn put_words(place: &mut [u8], words: &[u32; 8]) {
    place.as_chunks_mut().0.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_be_bytes());
}

/// As `zeroize` does it, but not byte by byte.
fn wipe<T: Default + Copy, const N: usize>(secret: &mut [T; N]) {
    *secret = [T::default(); N];
    optimization_barrier(secret);
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};

    use super::*;

    /// Keys and messages of every length up to some blocks, so that every way of padding is met.
    #[test]
    fn the_crates_say_the_same() {
        let text: Vec<u8> = (0..3 * BLOCK).map(|number| number as u8).collect();
        for (key, message) in (0..text.len()).flat_map(|key| (0..text.len()).map(move |message| (key, message))) {
            let (key, message) = (&text[..key], &text[..message]);
            let theirs = Hmac::<Sha256>::new_from_slice(key).expect("any length").chain_update(message).finalize();
            let (first, second) = key.split_at(key.len() / 3);
            let mut ours = [0; 32];
            hmac_sha256_into(&[first, second], message, &mut ours);
            assert_eq!(ours[..], theirs.into_bytes()[..], "key of {} bytes, message of {}", key.len(), message.len());
            if let Ok(mut key) = <[u8; 32]>::try_from(key) {
                hmac_sha256_in_place(&mut key, message);
                assert_eq!(key, ours);
            }
        }
    }
}
