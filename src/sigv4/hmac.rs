//! HMAC-SHA256 of what is written into it (RFC 2104).

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::sha256::{BLOCK, State};
use super::sink::HashSink;

/// HMAC-SHA256 with the key's own two compressions already done.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct HmacKey {
    inner: State,
    outer: State,
}

/// Behind the inner hash: the end of a message of a block and 32 bytes, of which this is the length in bits.
const PADDING: [u8; 32] = {
    let (mut padding, bits) = ([0; 32], (8 * (BLOCK + 32) as u16).to_be_bytes());
    (padding[0], padding[30], padding[31]) = (0x80, bits[0], bits[1]);
    padding
};

impl HmacKey {
    /// Of a key of 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        let state_after = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK]);
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = State::START;
            state.blocks(&*block);
            state
        };
        Self { inner: state_after(0x36), outer: state_after(0x5c) }
    }

    /// `HMAC(key, message)`, of what `put` writes.
    #[inline]
    pub fn sign(&self, put: impl FnOnce(&mut HashSink)) -> [u8; 32] {
        let mut inner = HashSink::after(self.inner, BLOCK);
        put(&mut inner);
        let hash = inner.finish();
        inner.wipe();
        let mut last = [0; BLOCK];
        last[..hash.len()].copy_from_slice(&hash);
        last[hash.len()..].copy_from_slice(&PADDING);
        let mut outer = self.outer;
        outer.blocks(&last);
        let signature = outer.bytes();
        outer.zeroize();
        signature
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::sigv4::sink::Sink as _;

    /// Every length up to six blocks, so that every way of padding is met, and pieces of every length.
    #[test]
    fn the_crates_say_the_same() {
        let text: Vec<u8> = (0..6 * BLOCK).map(|number| number as u8).collect();
        for length in 0..text.len() {
            let (message, pieces) = (&text[..length], length % 70 + 1);
            let mut sink = HashSink::default();
            message.chunks(pieces).for_each(|piece| sink.put(piece));
            assert_eq!(sink.finish()[..], Sha256::digest(message)[..], "{length} bytes");
            let key: [u8; 32] = Sha256::digest(message).into();
            let theirs = Hmac::<Sha256>::new_from_slice(&key).expect("a key").chain_update(message).finalize();
            let ours = HmacKey::new(&key).sign(|sink| message.chunks(pieces).for_each(|piece| sink.put(piece)));
            assert_eq!(ours[..], theirs.into_bytes()[..], "{length} bytes");
        }
    }
}
