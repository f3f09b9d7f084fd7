//! The memory map for `info mem`.
//!
//! GDB takes its addresses for the program's own, and refuses every access to what is not in the map. Which virtual
//! addresses there are changes with every table, so the map has all of them that can exist; where they are the same as
//! physical ones, as in a guest without paging or in the first gigabytes of many, its lines are those of RAM and devices.

use std::fmt::Write as _;

use gdbstub::target::TargetResult;
use gdbstub::target::ext::memory_map::MemoryMap;

use super::{PIECE, Target, part};
use crate::gdb::debuggee::Region;

/// The first address behind the lower half of those that five levels of tables can map.
const LOWER_END: u64 = 1 << 56;
/// The first address of the upper half.
const UPPER_START: u64 = LOWER_END.wrapping_neg();

/// The map, as GDB wants it.
pub(super) fn xml(regions: &[Region]) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\" \
         \"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n<memory-map>\n",
    );
    let mut line = |start: u64, length: u64| {
        if length > 0 {
            // A string takes everything.
            let _ = writeln!(xml, "<memory type=\"ram\" start=\"{start:#x}\" length=\"{length:#x}\"/>");
        }
    };
    let mut free = 0;
    for region in regions {
        let start = region.range.start.clamp(free, LOWER_END);
        let end = region.range.end.clamp(start, LOWER_END);
        line(free, start - free);
        line(start, end - start);
        free = end;
    }
    line(free, LOWER_END - free);
    line(UPPER_START, LOWER_END);
    xml.push_str("</memory-map>\n");
    xml
}

impl MemoryMap for Target<'_> {
    fn memory_map_xml(&self, offset: u64, length: usize, buffer: &mut [u8]) -> TargetResult<usize, Self> {
        Ok(part(&self.map, offset, length.min(PIECE), buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_that_can_exist_is_in_the_map() {
        let region = |range, ram| Region { range, ram };
        let regions = [region(0..0x400_0000, true), region(0xfec0_0000..0xfec0_1000, false)];
        insta::assert_snapshot!(xml(&regions));
    }

    #[test]
    fn nonsense_does_not_overlap() {
        let region = |range| Region { range, ram: true };
        let map = xml(&[region(0x1000..0x2000), region(0..0x1800), region(0x3000..u64::MAX)]);
        insta::assert_snapshot!(map);
    }
}
