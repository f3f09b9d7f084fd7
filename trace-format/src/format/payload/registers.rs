//! A vCPU's registers: which have changed, and by how much.

use super::super::varint;
use super::{Encoded, Encoder, Malformed, delta, quick, undelta};
use crate::event::Registers;

/// The last values of the vCPU in the block.
pub(super) struct Deltas([u64; Registers::COUNT]);

impl Default for Deltas {
    fn default() -> Self {
        Self([0; Registers::COUNT])
    }
}

/// A bit for each value that has changed, and then the differences of those, in the order of the bits. Later versions
/// may have more values, behind these.
pub(super) fn encode(registers: &Registers, last: &mut Deltas, e: &mut Encoder) -> Encoded {
    let values = registers.values();
    let changed = values
        .iter()
        .zip(&last.0)
        .rev()
        .fold(0_u64, |bits, (now, before)| bits << 1 | u64::from(now != before));
    e.put(&changed)?;
    for (now, before) in values.iter().zip(&mut last.0) {
        if now != before {
            e.put(&delta(*now, before))?;
        }
    }
    Ok(())
}

/// The inverse; none if a value is none of its register's.
pub(super) fn decode(mut bytes: &[u8], last: &mut Deltas) -> Result<Option<Registers>, Malformed> {
    let changed: u64 = varint::take(&mut bytes).ok_or(Malformed("payload"))?;
    for (bit, value) in last.0.iter_mut().enumerate() {
        if changed & 1 << bit != 0 {
            undelta(quick::signed(&mut bytes)?, value);
        }
    }
    Ok(Registers::from_values(&last.0))
}
