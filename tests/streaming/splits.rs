//! However a body is split, what comes out is the same; and no flipped bit of it goes unseen.

use crate::cases::cases;
use crate::signer::Wire;

/// Every byte of a short body; of a long one, the bytes near its ends and some between.
fn places(length: usize) -> Vec<usize> {
    match length {
        0..2000 => (0..length).collect(),
        _ => (0..400).chain((400..length - 400).step_by(997)).chain(length - 400..length).collect(),
    }
}

#[test]
fn every_split_gives_the_same() {
    let mut splits = 0;
    for case in cases() {
        let wire = case.wire();
        let whole = wire.decode();
        for place in places(wire.body.len()) {
            let split = wire.decode_in([place]);
            assert_eq!(whole.summary(), split.summary(), "{}, split at {place}", case.name);
            splits += 1;
        }
        for size in [1, 2, 7, 64, 1000] {
            let split = wire.decode_in((0..wire.body.len()).step_by(size));
            assert_eq!(whole.summary(), split.summary(), "{}, in pieces of {size}", case.name);
        }
    }
    assert!(splits > 5000, "{splits}");
}

#[test]
fn every_flipped_bit_is_refused_unless_it_means_the_same() {
    let (mut refused, mut same) = (0, Vec::new());
    for case in cases().into_iter().filter(|case| case.data.is_some()) {
        let wire = case.wire();
        let whole = wire.decode();
        for place in places(wire.body.len()) {
            for bit in 0..8 {
                let mut flipped = wire.clone();
                flipped.body[place] ^= 1 << bit;
                let outcome = flipped.decode();
                match outcome.end {
                    Err(_) => refused += 1,
                    Ok(_) => {
                        assert_eq!(whole.summary(), outcome.summary(), "{}, bit {bit} of {place}", case.name);
                        same.push((wire.body[place], flipped.body[place]));
                    }
                }
            }
        }
    }
    // A size or the name of a trailer in the other case, and line breaks that become other blanks.
    let harmless = |(from, to): &(u8, u8)| {
        from.eq_ignore_ascii_case(to) || (from.is_ascii_whitespace() && to.is_ascii_whitespace())
    };
    assert!(same.iter().all(harmless), "{same:?}");
    assert!(refused > 10_000 && !same.is_empty(), "{refused} refused, {} the same", same.len());
}

#[test]
fn every_cut_is_refused() {
    for case in cases().into_iter().filter(|case| case.data.is_some()) {
        let wire = case.wire();
        for place in places(wire.body.len()) {
            let cut = Wire { body: wire.body[..place].to_vec(), ..wire.clone() }.decode();
            // What is left of a trailer is complete without its last, empty line.
            let rest = &wire.body[place..];
            let is_complete = wire.kind.has_trailer() && matches!(rest, b"\r\n" | b"\n");
            assert!(cut.end.is_err() || is_complete, "{}, cut at {place}", case.name);
        }
    }
}
