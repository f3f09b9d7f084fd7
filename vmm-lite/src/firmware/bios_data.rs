//! The BIOS data area: what kernels that were written for a BIOS read before they look at anything else, most of all
//! where the extended area is and how the screen stands.

use super::e820::EBDA;
use crate::error::Result;
use crate::memory::Memory;

/// KiB of conventional memory.
const CONVENTIONAL_KIB: u16 = (EBDA >> 10) as u16;

/// Writes it, and the size of the extended area.
///
/// # Errors
/// When there is less than 640 KiB of memory.
pub fn write(memory: &Memory) -> Result<()> {
    const WORDS: [(u64, u16); 9] = [
        // The first serial port, and where the extended area is.
        (0x400, 0x3f8),
        (0x40e, (EBDA >> 4) as u16),
        // Equipment: a floating-point unit, 80 columns in colour, one serial port.
        (0x410, 0x0222),
        (0x413, CONVENTIONAL_KIB),
        // The screen: columns, bytes of a page, cursor shape, CRT controller, rows less one with 16 lines each.
        (0x44a, 80),
        (0x44c, 0x1000),
        (0x460, 0x0607),
        (0x463, 0x3d4),
        (0x484, 16 << 8 | 24),
    ];
    for (gpa, word) in WORDS {
        memory.write(gpa, &word.to_le_bytes())?;
    }
    // Video mode 3: text.
    memory.write(0x449, &[3])?;
    // In KiB.
    memory.write(EBDA, &[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extended_area_is_where_the_memory_map_has_it() {
        let memory = Memory::new(1 << 20).unwrap();
        write(&memory).unwrap();
        let segment: u16 = memory.read_value(0x40e).unwrap();
        let kib: u16 = memory.read_value(0x413).unwrap();
        assert_eq!((u64::from(segment) << 4, u64::from(kib) << 10), (EBDA, EBDA));
        assert_eq!(memory.read_value::<u8>(EBDA).unwrap(), 1);
    }
}
