//! Loading segment registers for a debugger and its steps, as `MOV` and far jumps do: a selector brings its base, limit
//! and attributes along.

use kvm_bindings::{kvm_segment, kvm_sregs};

use crate::error::{Error, Result};
use crate::kvm::segment_from_descriptor;
use crate::walk::{Paging, PhysicalMemory};

const CR0_PE: u64 = 1;
const EFER_LMA: u64 = 1 << 10;
const RFLAGS_VM: u64 = 1 << 17;
/// Bits of a selector: the table, and the privilege level.
const TABLE: u16 = 4;
const RPL: u16 = 3;
/// Types (SDM vol. 3, tables 3-1 and 3-2).
const CODE: u8 = 8;
const CONFORMING: u8 = 4;
/// Of code; of data it is "writable".
const READABLE: u8 = 2;
const ACCESSED: u8 = 1;
const LDT: u8 = 2;
const TSS_BUSY: u8 = 2;

/// A register that holds a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the registers' names")]
pub enum Segment {
    Cs,
    Ss,
    Ds,
    Es,
    Fs,
    Gs,
    Ldtr,
    Tr,
}

impl Segment {
    /// For messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cs => "CS",
            Self::Ss => "SS",
            Self::Ds => "DS",
            Self::Es => "ES",
            Self::Fs => "FS",
            Self::Gs => "GS",
            Self::Ldtr => "LDTR",
            Self::Tr => "TR",
        }
    }

    const fn of(self, sregs: &mut kvm_sregs) -> &mut kvm_segment {
        match self {
            Self::Cs => &mut sregs.cs,
            Self::Ss => &mut sregs.ss,
            Self::Ds => &mut sregs.ds,
            Self::Es => &mut sregs.es,
            Self::Fs => &mut sregs.fs,
            Self::Gs => &mut sregs.gs,
            Self::Ldtr => &mut sregs.ldt,
            Self::Tr => &mut sregs.tr,
        }
    }

    const fn is_system(self) -> bool {
        matches!(self, Self::Ldtr | Self::Tr)
    }
}

/// Loads `selectors` into `sregs` one after the other. Descriptors come from the guest's tables, through its paging; its
/// memory stays as it is, where the processor would mark them as accessed.
///
/// # Errors
/// When a selector names no descriptor that the register takes, or CS and SS would not have the same privilege level.
pub(crate) fn load(
    memory: &impl PhysicalMemory,
    paging: &Paging,
    sregs: &mut kvm_sregs,
    rflags: u64,
    selectors: &[(Segment, u16)],
) -> Result<()> {
    let refused =
        |register: Segment, selector, why| Error::Selector { register: register.name(), selector, why };
    let protected = sregs.cr0 & CR0_PE != 0;
    let virtual_8086 = protected && rflags & RFLAGS_VM != 0;
    for &(register, selector) in selectors {
        if protected && (!virtual_8086 || register.is_system()) {
            let loaded = from_descriptor(memory, paging, sregs, register, selector)
                .map_err(|why| refused(register, selector, why))?;
            *register.of(sregs) = loaded;
        } else if register.is_system() {
            return Err(refused(register, selector, "it cannot be loaded in real mode"));
        } else {
            let segment = register.of(sregs);
            segment.selector = selector;
            segment.base = u64::from(selector) << 4;
        }
    }
    let changed = selectors.iter().rev().find(|(register, _)| matches!(register, Segment::Cs | Segment::Ss));
    if let Some(&(register, selector)) = changed
        && protected
        && !virtual_8086
        && (sregs.cs.selector ^ sregs.ss.selector) & RPL != 0
    {
        return Err(refused(
            register,
            selector,
            "CS and SS must have the same privilege level: set both at once",
        ));
    }
    Ok(())
}

fn from_descriptor(
    memory: &impl PhysicalMemory,
    paging: &Paging,
    sregs: &kvm_sregs,
    register: Segment,
    selector: u16,
) -> Result<kvm_segment, &'static str> {
    let long_mode = sregs.efer & EFER_LMA != 0;
    if selector & !RPL == 0 {
        return null(sregs, register, selector, long_mode);
    }
    let (base, limit) = if register.is_system() && selector & TABLE != 0 {
        return Err("its descriptor must be in the GDT");
    } else if selector & TABLE == 0 {
        (sregs.gdt.base, u32::from(sregs.gdt.limit))
    } else if sregs.ldt.unusable == 0 && sregs.ldt.present != 0 {
        (sregs.ldt.base, sregs.ldt.limit)
    } else {
        return Err("there is no LDT");
    };
    // Those of system segments have 16 bytes in long mode.
    let wide = register.is_system() && long_mode;
    let mut bytes = [0; 16];
    let bytes = &mut bytes[..if wide { 16 } else { 8 }];
    let offset = u32::from(selector & !(TABLE | RPL));
    if offset + bytes.len() as u32 - 1 > limit {
        return Err("it is beyond the end of its table");
    }
    if paging.read(memory, base.wrapping_add(offset.into()), bytes) != bytes.len() {
        return Err("its table is not mapped there");
    }
    let half =
        |at: usize| bytes.get(at..at + 8).and_then(|half| half.try_into().ok()).map_or(0, u64::from_le_bytes);
    let mut segment = segment_from_descriptor(selector, half(0));
    segment.base |= half(8) << 32;
    check(&segment, register, long_mode)?;
    if register.is_system() {
        if register == Segment::Tr {
            segment.type_ |= TSS_BUSY;
        }
    } else {
        segment.type_ |= ACCESSED;
    }
    Ok(segment)
}

/// Whether a descriptor is one that the register takes (SDM vol. 3, 6.8.3 and vol. 2 on `MOV`, `LLDT` and `LTR`).
fn check(segment: &kvm_segment, register: Segment, long_mode: bool) -> Result<(), &'static str> {
    let is_code = segment.s == 1 && segment.type_ & CODE != 0;
    let is_data = segment.s == 1 && segment.type_ & CODE == 0;
    let rpl = (segment.selector & RPL) as u8;
    let conforming = segment.type_ & CONFORMING != 0;
    if segment.present == 0 {
        return Err("its descriptor is not present");
    }
    match register {
        Segment::Cs if !is_code => Err("its descriptor is not of code"),
        Segment::Cs if long_mode && segment.l == 1 && segment.db == 1 => {
            Err("its descriptor is of 64-bit and of 32-bit code")
        }
        Segment::Cs if conforming && segment.dpl > rpl || !conforming && segment.dpl != rpl => {
            Err("its privilege level is not its descriptor's")
        }
        Segment::Ss if !is_data || segment.type_ & READABLE == 0 => {
            Err("its descriptor is not of data that can be written")
        }
        Segment::Ss if segment.dpl != rpl => Err("its privilege level is not its descriptor's"),
        Segment::Ds | Segment::Es | Segment::Fs | Segment::Gs
            if !(is_data || is_code && segment.type_ & READABLE != 0) =>
        {
            Err("its descriptor is neither of data nor of code that can be read")
        }
        Segment::Ldtr if segment.s == 1 || segment.type_ != LDT => Err("its descriptor is not of an LDT"),
        // 16-bit TSSs do not exist in long mode; bit 1 is "busy".
        Segment::Tr
            if segment.s == 1 || !matches!((segment.type_ & !TSS_BUSY, long_mode), (9, _) | (1, false)) =>
        {
            Err("its descriptor is not of a TSS")
        }
        _ => Ok(()),
    }
}

/// The null selector: no segment.
fn null(
    sregs: &kvm_sregs,
    register: Segment,
    selector: u16,
    long_mode: bool,
) -> Result<kvm_segment, &'static str> {
    let none = kvm_segment { selector, unusable: 1, ..kvm_segment::default() };
    match register {
        Segment::Cs => Err("CS must not be null"),
        Segment::Tr => Err("TR must not be null"),
        // Where 64-bit code runs in rings 0 to 2; the privilege level stays.
        Segment::Ss if long_mode && sregs.cs.l == 1 && selector & RPL != RPL => {
            Ok(kvm_segment { dpl: (selector & RPL) as u8, ..none })
        }
        Segment::Ss => Err("SS must not be null here"),
        _ => Ok(none),
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    use super::*;
    use crate::kvm::{code_segment, data_segment};

    /// A GDT at 0x1000 in memory without paging: null, code, data, user data, user code, not present, TSS (two places),
    /// LDT (two places).
    fn machine(long_mode: bool) -> (GuestMemoryMmap, kvm_sregs) {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x3000)]).unwrap();
        let gdt: [u64; 10] = [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9200_0000_ffff,
            0x12cf_f334_5678_ffff,
            0x00af_fb00_0000_ffff,
            0x00cf_1300_0000_ffff,
            0x0000_8900_2000_0067,
            0xffff_8000,
            0x0000_8200_2800_000f,
            0,
        ];
        for (n, descriptor) in (0..).zip(gdt) {
            memory.write_obj(descriptor, GuestAddress(0x1000 + 8 * n)).unwrap();
        }
        memory.write_obj(0x00cf_9300_1000_00ff_u64, GuestAddress(0x2808)).unwrap();
        let mut sregs = kvm_sregs {
            cr0: CR0_PE,
            cs: code_segment(8, 0),
            ss: data_segment(0x10, 0),
            ..kvm_sregs::default()
        };
        (sregs.gdt.base, sregs.gdt.limit) = (0x1000, 8 * 10 - 1);
        sregs.ldt.unusable = 1;
        if long_mode {
            sregs.efer = EFER_LMA;
        }
        (memory, sregs)
    }

    fn try_load(long_mode: bool, selectors: &[(Segment, u16)]) -> Result<kvm_sregs, String> {
        let (memory, mut sregs) = machine(long_mode);
        match load(&memory, &Paging::default(), &mut sregs, 2, selectors) {
            Ok(()) => Ok(sregs),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_selector_brings_its_segment_along() {
        let sregs = try_load(true, &[(Segment::Ds, 0x1b)]).unwrap();
        assert_eq!((sregs.ds.base, sregs.ds.limit, sregs.ds.dpl), (0x1234_5678, 0xffff_ffff, 3));
        let sregs = try_load(true, &[(Segment::Ss, 0x10)]).unwrap();
        assert_eq!(sregs.ss.type_, 3, "marked as accessed");
        let sregs = try_load(true, &[(Segment::Fs, 0)]).unwrap();
        assert_eq!((sregs.fs.unusable, sregs.fs.base), (1, 0));
    }

    #[test]
    fn the_privilege_level_changes_with_both_registers() {
        let sregs = try_load(true, &[(Segment::Ss, 0x1b), (Segment::Cs, 0x23)]).unwrap();
        assert_eq!((sregs.cs.dpl, sregs.ss.dpl, sregs.cs.l), (3, 3, 1));
        let error = try_load(true, &[(Segment::Cs, 0x23)]).unwrap_err();
        assert!(error.contains("CS") && error.contains("0x23") && error.contains("set both"), "{error}");
        let sregs = try_load(true, &[(Segment::Ss, 0)]).unwrap();
        assert_eq!((sregs.ss.unusable, sregs.ss.dpl), (1, 0));
    }

    #[test]
    fn system_segments_have_wide_descriptors_in_long_mode() {
        let sregs = try_load(true, &[(Segment::Tr, 0x30), (Segment::Ldtr, 0x40)]).unwrap();
        assert_eq!((sregs.tr.base, sregs.tr.type_, sregs.tr.limit), (0xffff_8000_0000_2000, 11, 0x67));
        assert_eq!((sregs.ldt.base, sregs.ldt.limit), (0x2800, 15));
        let sregs = try_load(false, &[(Segment::Tr, 0x30)]).unwrap();
        assert_eq!(sregs.tr.base, 0x2000);
    }

    #[test]
    fn the_ldt_is_looked_at_when_it_is_asked_for() {
        assert!(try_load(true, &[(Segment::Es, 0x0c)]).unwrap_err().contains("no LDT"));
        let sregs = try_load(true, &[(Segment::Ldtr, 0x40), (Segment::Es, 0x0c)]).unwrap();
        assert_eq!((sregs.es.base, sregs.es.limit), (0x1000, 0xf00f_ffff));
        assert!(try_load(true, &[(Segment::Ldtr, 0x40), (Segment::Es, 0x14)]).is_err(), "beyond its end");
    }

    #[test]
    fn what_is_no_such_segment_is_refused() {
        for (register, selector, why) in [
            (Segment::Cs, 0, "null"),
            (Segment::Ss, 0x3, "null"),
            (Segment::Tr, 0, "null"),
            (Segment::Cs, 0x10, "not of code"),
            (Segment::Cs, 0x0b, "privilege"),
            (Segment::Ss, 0x08, "not of data"),
            (Segment::Ss, 0x13, "privilege"),
            (Segment::Ds, 0x28, "not present"),
            (Segment::Ds, 0x30, "neither"),
            (Segment::Ldtr, 0x30, "not of an LDT"),
            (Segment::Ldtr, 0x44, "GDT"),
            (Segment::Tr, 0x10, "not of a TSS"),
            (Segment::Ds, 0x50, "beyond"),
            (Segment::Tr, 0x48, "beyond"),
            (Segment::Ds, 0xfff8, "beyond"),
        ] {
            let error = try_load(true, &[(register, selector)]).unwrap_err();
            assert!(error.contains(why), "{register:?} {selector:#x}: {error}");
        }
    }

    #[test]
    fn a_table_outside_memory_is_refused() {
        let (memory, mut sregs) = machine(true);
        for base in [0x2ff8, 1 << 40] {
            sregs.gdt.base = base;
            let error = load(&memory, &Paging::default(), &mut sregs, 2, &[(Segment::Ds, 0x10)]).unwrap_err();
            assert!(error.to_string().contains("not mapped"), "{error}");
        }
    }

    #[test]
    fn in_real_and_virtual_8086_mode_the_base_is_the_selector() {
        let (memory, mut sregs) = machine(false);
        sregs.cr0 = 0;
        let before = sregs.ds;
        load(&memory, &Paging::default(), &mut sregs, 2, &[(Segment::Ds, 0x1234)]).unwrap();
        assert_eq!(sregs.ds, kvm_segment { selector: 0x1234, base: 0x12340, ..before });
        assert!(load(&memory, &Paging::default(), &mut sregs, 2, &[(Segment::Tr, 0x30)]).is_err());
        sregs.cr0 = CR0_PE;
        load(&memory, &Paging::default(), &mut sregs, RFLAGS_VM, &[(Segment::Cs, 0x23)]).unwrap();
        assert_eq!(sregs.cs.base, 0x230);
    }
}
