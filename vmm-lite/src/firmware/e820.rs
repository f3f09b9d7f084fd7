//! The memory map: what every boot protocol hands to its kernel in a form of its own.
//!
//! ```text
//!           0 ..    0x9fc00  usable
//!     0x9fc00 ..    0xa0000  reserved  extended BIOS data area
//!     0xa0000 ..    0xf0000  a hole: video memory and option ROMs
//!     0xf0000 ..   0x100000  reserved  ACPI and MP tables
//!    0x100000 .. low end     usable    up to 3 GiB
//!  0xfec00000 .. 0xfec01000  reserved  IOAPIC
//!  0xfee00000 .. 0xfee01000  reserved  local APICs
//! 0x100000000 .. high end    usable    what does not fit below 3 GiB
//! ```

use arrayvec::ArrayVec;

use crate::irq::{IOAPIC_BASE, IOAPIC_SIZE};
use crate::memory::{HIGH_START, LOW_END};

/// The extended BIOS data area: the last KiB of conventional memory, gpa.
pub const EBDA: u64 = 0x9_fc00;
/// Where conventional memory ends and video memory begins, gpa.
pub const CONVENTIONAL_END: u64 = 0xa_0000;
/// Where the tables begin that the machine's firmware would have in its ROM, gpa.
pub const TABLES: u64 = 0xf_0000;
/// Where they end and extended memory begins, gpa.
pub const TABLES_END: u64 = 0x10_0000;
/// gpa of text memory: the screen of VGA's text modes (IBM VGA, "Technical Reference", mode 3).
pub const TEXT_MEMORY: u64 = 0xb_8000;
/// The most ranges that a map has.
pub const MOST_RANGES: usize = 8;

/// The local APICs' registers, gpa and bytes.
const LOCAL_APIC: (u64, u64) = (0xfee0_0000, 0x1000);

/// What a range of memory is for. The values are those of BIOS function 0xe820, of multiboot's and of PVH's memory
/// maps (ACPI 6.5, table 15.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Memory that the kernel may use.
    Usable = 1,
    /// Memory or registers that it must leave alone.
    Reserved = 2,
    /// ACPI tables: memory that it may use when it has read them.
    AcpiReclaimable = 3,
    /// Memory that it must leave alone and keep over sleep.
    AcpiNvs = 4,
}

/// A range of the guest's physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First gpa.
    pub start: u64,
    /// Bytes, not 0.
    pub len: u64,
    /// What it is for.
    pub kind: Kind,
}

impl Range {
    /// The gpa after its last.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// The map of a machine with `memory_bytes` of memory, laid out by [`crate::memory::Memory::new`]: in ascending order,
/// without overlaps.
#[must_use]
pub fn memory_map(memory_bytes: u64) -> ArrayVec<Range, MOST_RANGES> {
    let (ioapic_end, (apic, apic_bytes)) = (IOAPIC_BASE + IOAPIC_SIZE, LOCAL_APIC);
    let low_end = memory_bytes.min(LOW_END);
    let high_end = HIGH_START.saturating_add(memory_bytes.saturating_sub(LOW_END));
    [
        (0, low_end.min(EBDA), Kind::Usable),
        (EBDA, low_end.min(CONVENTIONAL_END), Kind::Reserved),
        (TABLES, low_end.min(TABLES_END), Kind::Reserved),
        (TABLES_END, low_end, Kind::Usable),
        (IOAPIC_BASE, ioapic_end, Kind::Reserved),
        (apic, apic + apic_bytes, Kind::Reserved),
        (HIGH_START, high_end, Kind::Usable),
    ]
    .into_iter()
    .filter(|(start, end, _)| start < end)
    .map(|(start, end, kind)| Range { start, len: end - start, kind })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use proptest::prelude::*;

    fn usable(memory_bytes: u64) -> Vec<(u64, u64)> {
        let map = memory_map(memory_bytes);
        map.iter()
            .filter(|range| range.kind == Kind::Usable)
            .map(|range| (range.start, range.end()))
            .collect()
    }

    #[test]
    fn usable_memory_by_size() {
        assert_eq!(usable(1 << 20), [(0, 0x9_fc00)]);
        assert_eq!(usable(64 << 20), [(0, 0x9_fc00), (0x10_0000, 64 << 20)]);
        assert_eq!(usable(3 << 30), [(0, 0x9_fc00), (0x10_0000, 3 << 30)]);
        assert_eq!(usable(5 << 30), [(0, 0x9_fc00), (0x10_0000, 3 << 30), (4 << 30, 6 << 30)]);
    }

    #[test]
    fn the_controllers_are_reserved() {
        let map = memory_map(64 << 20);
        let of =
            |gpa| map.iter().find(|range| (range.start..range.end()).contains(&gpa)).map(|range| range.kind);
        assert_eq!([0xfec0_0010, 0xfee0_00b0, 0xf_0000].map(of), [Some(Kind::Reserved); 3]);
        assert_eq!([0xb_8000, 0xd000_0000, 64 << 20].map(of), [None; 3]);
    }

    proptest! {
        #[test]
        fn ordered_apart_and_backed(pages in 1u64..1 << 32) {
            let bytes = pages << 12;
            let map = memory_map(bytes);
            for pair in map.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].start, "{pair:?}");
            }
            prop_assert!(map.iter().all(|range| range.len > 0));
            let total: u64 = usable(bytes).iter().map(|(start, end)| end - start).sum();
            prop_assert!(total <= bytes && bytes - total <= TABLES_END - EBDA);
        }
    }

    #[test]
    fn usable_memory_is_memory() {
        let memory = Memory::new(2 << 20).unwrap();
        for (start, end) in usable(2 << 20) {
            memory.write(start, &[1]).unwrap();
            memory.write(end - 1, &[1]).unwrap();
        }
    }
}
