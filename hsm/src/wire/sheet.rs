//! A worker's counts on the wire: `mark (8) ‖ instance (8) ‖ three tables`, each `entries (2) ‖ (kind (1) ‖ generation (1) ‖ count (8))…`.

use super::Malformed;
use super::fields::Fields;
use crate::tally::{Sheet, Tally};

/// Counts in a table, at the most: seven kinds in 128 generations.
const ENTRIES: usize = 1024;

pub(super) fn encode(sheet: &Sheet, body: &mut Vec<u8>) {
    body.extend_from_slice(&sheet.mark.to_be_bytes());
    body.extend_from_slice(&sheet.instance);
    for tally in [&sheet.own, &sheet.all, &sheet.uses] {
        let counts: Vec<_> = tally.iter().take(ENTRIES).collect();
        body.extend_from_slice(&(counts.len() as u16).to_be_bytes());
        for ((code, generation), count) in counts {
            body.extend_from_slice(&[code, generation]);
            body.extend_from_slice(&count.to_be_bytes());
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Sheet, Malformed> {
    let mut fields = Fields(bytes);
    let (mark, instance) = (u64::from_be_bytes(fields.array()?), fields.array()?);
    let (own, all, uses) = (table(&mut fields)?, table(&mut fields)?, table(&mut fields)?);
    fields.end()?;
    Ok(Sheet { mark, instance, own, all, uses })
}

fn table(fields: &mut Fields<'_>) -> Result<Tally, Malformed> {
    let entries = usize::from(u16::from_be_bytes(fields.array()?));
    if entries > ENTRIES {
        return Err(Malformed("too many counts"));
    }
    let entry = |_| Ok((fields.byte()?, fields.byte()?, u64::from_be_bytes(fields.array()?)));
    Ok((0..entries).map(entry).collect::<Result<Vec<_>, Malformed>>()?.into())
}
