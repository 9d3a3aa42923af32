//! Answers as they come: bytes in, whole answers out. Pure.

use zeroize::{Zeroize as _, Zeroizing};

use crate::wire::{self, Answer, Malformed};

/// The bytes that are read at a time, at most: no frame is longer.
const ROOM: usize = 64 * 1024;
const _: () = assert!(wire::LENGTH_BYTES + wire::MAX_BODY <= ROOM);

/// Bytes that have come and are no whole answer yet. They may hold a secret, so their place is wiped behind them.
pub(super) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: Zeroizing::new(vec![0; ROOM]), filled: 0 }
    }
}

impl Inbox {
    /// Where the next bytes are to be written, before [`Self::came`] is told how many they were.
    pub(super) fn place(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Hands every answer that is whole now to `take`, with its number.
    pub(super) fn came(&mut self, bytes: usize, mut take: impl FnMut(u64, Answer)) -> Result<(), Malformed> {
        self.filled += bytes;
        let mut used = 0;
        while let Some((prefix, rest)) = self.bytes[used..self.filled].split_first_chunk_mut() {
            let length = wire::body_length(*prefix)?;
            let Some(body) = rest.get_mut(..length) else { break };
            let (number, answer) = Answer::decode(body)?;
            take(number, answer);
            used += wire::LENGTH_BYTES + length;
        }
        let filled = self.filled;
        self.bytes.copy_within(used..filled, 0);
        self.filled = filled - used;
        self.bytes[self.filled..filled].zeroize();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret32;

    fn frame(number: u64, answer: &Answer) -> Vec<u8> {
        let body = answer.encode(number);
        [&wire::length_prefix(&body)[..], &body].concat()
    }

    /// What is made of these bytes when they come in pieces of this length.
    fn in_pieces(bytes: &[u8], length: usize) -> Result<Vec<(u64, String)>, Malformed> {
        let (mut inbox, mut taken) = (Inbox::default(), Vec::new());
        for piece in bytes.chunks(length) {
            inbox.place()[..piece.len()].copy_from_slice(piece);
            inbox.came(piece.len(), |number, answer| {
                let shown = match answer {
                    Answer::Key(key) => format!("key {:?}", key.expose()),
                    other => format!("{other:?}"),
                };
                taken.push((number, shown));
            })?;
            assert!(inbox.bytes[inbox.filled..].iter().all(|byte| *byte == 0), "wiped");
        }
        Ok(taken)
    }

    #[test]
    fn answers_come_whole_however_they_are_split_and_nothing_of_them_stays() {
        let answers = [
            frame(1, &Answer::Key(Secret32::take(&mut [1; 32]))),
            frame(2, &Answer::Trouble("in their midst".into())),
            frame(u64::MAX, &Answer::Matches(true)),
            frame(4, &Answer::Key(Secret32::take(&mut [4; 32]))),
        ];
        let bytes = answers.concat();
        let whole = in_pieces(&bytes, bytes.len()).expect("well-formed");
        assert_eq!(whole.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, u64::MAX, 4]);
        assert_eq!((&whole[0].1, &whole[3].1), (&format!("key {:?}", [1; 32]), &format!("key {:?}", [4; 32])));
        for length in 1..bytes.len() {
            assert_eq!(in_pieces(&bytes, length), Ok(whole.clone()), "in pieces of {length}");
        }
    }

    #[test]
    fn the_longest_frame_fits_and_a_longer_one_is_malformed() {
        let longest = frame(1, &Answer::Trouble("x".repeat(wire::MAX_BODY)));
        assert_eq!(longest.len(), wire::LENGTH_BYTES + wire::MAX_BODY);
        let two = [longest.clone(), longest].concat();
        assert_eq!(in_pieces(&two, 10_000).map(|taken| taken.len()), Ok(2));
        let longer = (wire::MAX_BODY as u32 + 1).to_be_bytes();
        assert!(in_pieces(&longer, 4).is_err());
    }
}
