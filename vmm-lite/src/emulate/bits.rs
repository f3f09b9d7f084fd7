//! Instructions that only compute: bit counting, CRC-32C, BMI1, BMI2 and ADX (SDM vol. 2). Flags that the manual calls
//! undefined stay as they are.

use iced_x86::{Instruction, Mnemonic};

use super::Step;
use super::operand::{Operands, mask};

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;

/// Whether it is one of those here.
pub(super) fn knows(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Popcnt
            | M::Crc32
            | M::Andn
            | M::Bextr
            | M::Blsi
            | M::Blsmsk
            | M::Blsr
            | M::Bzhi
            | M::Mulx
            | M::Pdep
            | M::Pext
            | M::Rorx
            | M::Sarx
            | M::Shlx
            | M::Shrx
            | M::Adcx
            | M::Adox
    )
}

/// Carries out one of those that this module knows.
pub(super) fn compute(instruction: &Instruction, operands: &mut Operands<'_>) -> Step {
    let mnemonic = instruction.mnemonic();
    let width = 8 * operands.size(instruction, 0) as u32;
    let first = operands.read(instruction, 1)?;
    if mnemonic == Mnemonic::Mulx {
        let product =
            u128::from(operands.regs.rdx & mask(width)) * u128::from(operands.read(instruction, 2)?);
        // The high half last: if both go into one register, that is what stays.
        operands.write(instruction, 1, product as u64 & mask(width))?;
        return operands.write(instruction, 0, (product >> width) as u64);
    }
    let computed = match mnemonic {
        Mnemonic::Crc32 => {
            let bytes = operands.size(instruction, 1);
            let crc = operands.read(instruction, 0)? as u32;
            Computed::without_flags(crc32c(crc, first, bytes).into())
        }
        Mnemonic::Adcx | Mnemonic::Adox => {
            let carry = if mnemonic == Mnemonic::Adcx { CF } else { OF };
            let carried = operands.regs.rflags & carry != 0;
            add_with(operands.read(instruction, 0)?, first, carried, carry, width)
        }
        _ if instruction.op_count() > 2 => two(mnemonic, first, operands.read(instruction, 2)?, width),
        _ => one(mnemonic, first, width),
    };
    operands.write(instruction, 0, computed.value)?;
    let regs = &mut operands.regs;
    regs.rflags = regs.rflags & !computed.defined | computed.flags & computed.defined;
    Ok(())
}

/// A result, and what it does to the flags.
#[derive(Debug, PartialEq, Eq)]
struct Computed {
    value: u64,
    flags: u64,
    /// Which flags it sets or clears.
    defined: u64,
}

impl Computed {
    fn without_flags(value: u64) -> Self {
        Self { value, flags: 0, defined: 0 }
    }

    /// SF and ZF from the value, OF cleared, CF as given.
    fn logic(value: u64, carry: bool, width: u32) -> Self {
        let flags = of(CF, carry) | of(ZF, value == 0) | of(SF, value >> (width - 1) & 1 == 1);
        Self { value, flags, defined: CF | ZF | SF | OF }
    }
}

fn of(flag: u64, set: bool) -> u64 {
    if set { flag } else { 0 }
}

fn one(mnemonic: Mnemonic, source: u64, width: u32) -> Computed {
    match mnemonic {
        Mnemonic::Blsi => Computed::logic(source & source.wrapping_neg() & mask(width), source != 0, width),
        Mnemonic::Blsr => Computed::logic(source & source.wrapping_sub(1) & mask(width), source == 0, width),
        Mnemonic::Blsmsk => {
            // ZF is cleared although the value is never 0 either.
            Computed::logic((source ^ source.wrapping_sub(1)) & mask(width), source == 0, width)
        }
        // POPCNT
        _ => Computed {
            value: source.count_ones().into(),
            flags: of(ZF, source == 0),
            defined: CF | PF | AF | ZF | SF | OF,
        },
    }
}

fn two(mnemonic: Mnemonic, first: u64, second: u64, width: u32) -> Computed {
    let count = second as u32 & (width - 1);
    match mnemonic {
        Mnemonic::Andn => Computed::logic(!first & second & mask(width), false, width),
        Mnemonic::Bextr => {
            let (start, length) = (second as u32 & 0xff, second as u32 >> 8 & 0xff);
            let value = first.checked_shr(start).unwrap_or(0) & mask(length);
            Computed { value, flags: of(ZF, value == 0), defined: CF | ZF | OF }
        }
        Mnemonic::Bzhi => {
            let keep = second as u32 & 0xff;
            Computed::logic(first & mask(keep.min(width)), keep > width - 1, width)
        }
        Mnemonic::Pdep => Computed::without_flags(deposit(first, second)),
        Mnemonic::Pext => Computed::without_flags(extract(first, second)),
        Mnemonic::Rorx if width == 32 => Computed::without_flags((first as u32).rotate_right(count).into()),
        Mnemonic::Rorx => Computed::without_flags(first.rotate_right(count)),
        Mnemonic::Sarx if width == 32 => Computed::without_flags((first as i32 >> count) as u32 as u64),
        Mnemonic::Sarx => Computed::without_flags((first as i64 >> count) as u64),
        Mnemonic::Shlx => Computed::without_flags(first << count & mask(width)),
        // SHRX
        _ => Computed::without_flags(first >> count),
    }
}

fn add_with(first: u64, second: u64, carried: bool, carry: u64, width: u32) -> Computed {
    let sum = u128::from(first) + u128::from(second) + u128::from(carried);
    Computed { value: sum as u64 & mask(width), flags: of(carry, sum >> width != 0), defined: carry }
}

/// The low bits of `source` at the places of the set bits of `places`.
fn deposit(mut source: u64, mut places: u64) -> u64 {
    let mut value = 0;
    while places != 0 {
        let lowest = places & places.wrapping_neg();
        value |= if source & 1 == 1 { lowest } else { 0 };
        source >>= 1;
        places ^= lowest;
    }
    value
}

/// The bits of `source` at the places of the set bits of `places`, next to each other.
fn extract(source: u64, mut places: u64) -> u64 {
    let (mut value, mut next) = (0, 1);
    while places != 0 {
        let lowest = places & places.wrapping_neg();
        value |= if source & lowest != 0 { next } else { 0 };
        next <<= 1;
        places ^= lowest;
    }
    value
}

/// Goes on with a CRC-32C (polynomial 0x11edc6f41, bits reflected) over the low `bytes` bytes of `data`.
fn crc32c(crc: u32, data: u64, bytes: usize) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    data.to_le_bytes().iter().take(bytes).fold(crc, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn crc32c_of_the_check_string() {
        // The check value of CRC-32C over "123456789" (Castagnoli), before the final complement.
        let crc = b"123456789".iter().fold(!0, |crc, byte| crc32c(crc, u64::from(*byte), 1));
        assert_eq!(!crc, 0xe306_9283);
        assert_eq!(crc32c(crc32c(!0, 0x3837_3635_3433_3231, 8), 0x39, 1), crc);
    }

    #[test]
    fn flags_of_logic_follow_the_operand_size() {
        let andn = two(Mnemonic::Andn, 0, 0x8000_0000, 32);
        assert_eq!((andn.value, andn.flags), (0x8000_0000, SF));
        assert_eq!(two(Mnemonic::Andn, 0, 0x8000_0000, 64).flags, 0);
        assert_eq!(two(Mnemonic::Andn, u64::MAX, 1, 64).flags, ZF);
    }

    #[test]
    fn bzhi_says_when_its_index_is_too_large() {
        assert_eq!(two(Mnemonic::Bzhi, 0xff, 4, 32).value, 0xf);
        assert_eq!(two(Mnemonic::Bzhi, 0xffff_ffff, 32, 32).flags & CF, CF);
        assert_eq!(two(Mnemonic::Bzhi, 0xffff_ffff, 32, 64).flags & CF, 0);
    }

    #[test]
    fn bextr_beyond_the_operand_is_zero() {
        assert_eq!(two(Mnemonic::Bextr, u64::MAX, 0x0840, 64).flags, ZF);
        assert_eq!(two(Mnemonic::Bextr, 0xabcd, 0x0804, 64).value, 0xbc);
    }

    #[test]
    fn the_lowest_bit_of_nothing() {
        assert_eq!(one(Mnemonic::Blsi, 0, 64).flags, ZF);
        assert_eq!(one(Mnemonic::Blsmsk, 0, 32), Computed::logic(0xffff_ffff, true, 32));
        assert_eq!(one(Mnemonic::Blsr, 0, 64).flags, ZF | CF);
    }

    proptest! {
        #[test]
        fn extract_undoes_deposit(source: u64, places: u64) {
            let bits = mask(places.count_ones());
            prop_assert_eq!(extract(deposit(source, places), places), source & bits);
            prop_assert_eq!(deposit(extract(source, places), places), source & places);
        }

        #[test]
        fn adding_carries_as_the_language_does(first: u32, second: u32, carried: bool) {
            let sum = add_with(first.into(), second.into(), carried, OF, 32);
            let (partial, one) = first.overflowing_add(second);
            let (value, two) = partial.overflowing_add(carried.into());
            prop_assert_eq!((sum.value as u32, sum.flags == OF), (value, one | two));
        }
    }
}
