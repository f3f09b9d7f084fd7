//! How far a Linux kernel runs above where it was linked: address space layout randomization (KASLR).

use trace_format::Header;
use trace_format::event::{KERNEL_BASE, Slide};

/// Linux's entry for `SYSCALL`: what its boot writes into `IA32_LSTAR` (`arch/x86/kernel/cpu/common.c`,
/// `syscall_init`).
const SYSTEM_CALL_ENTRY: &str = "entry_SYSCALL_64";
/// The kernel moves by multiples of `CONFIG_PHYSICAL_ALIGN`, at least 2 MiB, and within 1 GiB.
const ALIGN: u64 = 2 << 20;
const MOST: u64 = 1 << 30;

/// The slide that the guest's write of `lstar` shows. `None` if it is the one that is known, or the guest is no kernel
/// that is linked and moved as Linux is.
pub(super) fn find(header: &Header, lstar: u64) -> Option<Slide> {
    let known = header.symbols.slide();
    let linked = header.symbols.address_of(SYSTEM_CALL_ENTRY)?.checked_sub(known)?;
    let slide = lstar.checked_sub(linked)?;
    let moved = linked >= KERNEL_BASE && slide.is_multiple_of(ALIGN) && slide < MOST;
    (moved && slide != known).then_some(Slide { slide })
}

#[cfg(test)]
mod tests {
    use trace_format::header::Symbol;

    use super::*;
    use crate::names::Names;

    #[test]
    fn the_entry_tells_how_far() {
        let entry = Symbol { address: KERNEL_BASE + 0x120_0080, size: 0, name: SYSTEM_CALL_ENTRY.to_owned() };
        let names = Names::new(Header { symbols: vec![entry].into(), ..Header::default() });
        let find = |lstar| names.slide(|header| find(header, lstar));
        assert_eq!(find(KERNEL_BASE + 0x120_0080), None, "not moved");
        assert_eq!(find(KERNEL_BASE + 0x120_0080 + (1 << 12)), None, "another entry");
        assert_eq!(find(0), None);
        assert_eq!(find(u64::MAX), None);
        let moved = KERNEL_BASE + 0x120_0080 + (34 << 20);
        assert_eq!(find(moved), Some(Slide { slide: 34 << 20 }));
        assert_eq!(find(moved), None, "each vCPU writes it");
        assert_eq!(names.header().symbolize(moved + 5), Some((SYSTEM_CALL_ENTRY, 5)));
        assert_eq!(super::find(&Header::default(), moved), None);
    }
}
