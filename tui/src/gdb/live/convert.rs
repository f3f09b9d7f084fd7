//! Registers of a vCPU as GDB gets them, and back.

use vmm_lite::{DebugRegisters, FloatingPoint, Msr, Registers, Segment, SystemRegisters, msr};

use super::{Failure, Feature, Register, RegisterFile};

/// The MSRs that GDB gets.
const MSRS: [(Register, u32); 11] = [
    (Register::SysenterCs, msr::IA32_SYSENTER_CS),
    (Register::SysenterEsp, msr::IA32_SYSENTER_ESP),
    (Register::SysenterEip, msr::IA32_SYSENTER_EIP),
    (Register::MiscEnable, msr::IA32_MISC_ENABLE),
    (Register::Pat, msr::IA32_PAT),
    (Register::Star, msr::IA32_STAR),
    (Register::Lstar, msr::IA32_LSTAR),
    (Register::Cstar, msr::IA32_CSTAR),
    (Register::Sfmask, msr::IA32_FMASK),
    (Register::KernelGsBase, msr::IA32_KERNEL_GS_BASE),
    (Register::TscAux, msr::IA32_TSC_AUX),
];

/// Segment registers that a selector is loaded into.
const SEGMENTS: [(Register, Segment); 8] = [
    (Register::Cs, Segment::Cs),
    (Register::Ss, Segment::Ss),
    (Register::Ds, Segment::Ds),
    (Register::Es, Segment::Es),
    (Register::Fs, Segment::Fs),
    (Register::Gs, Segment::Gs),
    (Register::Ldtr, Segment::Ldtr),
    (Register::Tr, Segment::Tr),
];

const DEBUG: [Register; 4] = [Register::Dr0, Register::Dr1, Register::Dr2, Register::Dr3];

/// A 64-bit register in both worlds.
macro_rules! each_general {
    ($registers:expr, $do:ident) => {
        $do!(Rax, $registers.general.rax);
        $do!(Rbx, $registers.general.rbx);
        $do!(Rcx, $registers.general.rcx);
        $do!(Rdx, $registers.general.rdx);
        $do!(Rsi, $registers.general.rsi);
        $do!(Rdi, $registers.general.rdi);
        $do!(Rbp, $registers.general.rbp);
        $do!(Rsp, $registers.general.rsp);
        $do!(R8, $registers.general.r8);
        $do!(R9, $registers.general.r9);
        $do!(R10, $registers.general.r10);
        $do!(R11, $registers.general.r11);
        $do!(R12, $registers.general.r12);
        $do!(R13, $registers.general.r13);
        $do!(R14, $registers.general.r14);
        $do!(R15, $registers.general.r15);
        $do!(Rip, $registers.general.rip);
        $do!(Eflags, $registers.general.rflags);
        $do!(FsBase, $registers.system.fs.base);
        $do!(GsBase, $registers.system.gs.base);
        $do!(Cr0, $registers.system.cr0);
        $do!(Cr2, $registers.system.cr2);
        $do!(Cr3, $registers.system.cr3);
        $do!(Cr4, $registers.system.cr4);
        $do!(Cr8, $registers.system.cr8);
        $do!(Efer, $registers.system.efer);
        $do!(CsBase, $registers.system.cs.base);
        $do!(SsBase, $registers.system.ss.base);
        $do!(DsBase, $registers.system.ds.base);
        $do!(EsBase, $registers.system.es.base);
        $do!(LdtrBase, $registers.system.ldt.base);
        $do!(TrBase, $registers.system.tr.base);
        $do!(GdtrBase, $registers.system.gdt.base);
        $do!(IdtrBase, $registers.system.idt.base);
    };
}

/// What KVM's general and system registers tell, for packets with AVX or without.
pub(super) fn registers(from: &Registers, avx: bool) -> RegisterFile {
    let mut file = RegisterFile::new(avx);
    macro_rules! read {
        ($register:ident, $value:expr) => {
            file.set(Register::$register, $value)
        };
    }
    each_general!(from, read);
    let system: &SystemRegisters = &from.system;
    let selectors = [
        (Register::Cs, system.cs),
        (Register::Ss, system.ss),
        (Register::Ds, system.ds),
        (Register::Es, system.es),
        (Register::Fs, system.fs),
        (Register::Gs, system.gs),
        (Register::Ldtr, system.ldt),
        (Register::Tr, system.tr),
    ];
    for (register, segment) in selectors {
        file.set(register, segment.selector);
    }
    for (register, segment) in [(Register::CsAttr, system.cs), (Register::SsAttr, system.ss)] {
        let bit = |value: u8, at: u32| u32::from(value & 1) << at;
        let value = u32::from(segment.type_ & 15)
            | bit(segment.s, 4)
            | u32::from(segment.dpl & 3) << 5
            | bit(segment.present, 7)
            | bit(segment.avl, 12)
            | bit(segment.l, 13)
            | bit(segment.db, 14)
            | bit(segment.g, 15)
            | bit(segment.unusable, 16);
        file.set(register, value);
    }
    file.set(Register::GdtrLimit, system.gdt.limit);
    file.set(Register::IdtrLimit, system.idt.limit);
    file.set(Register::ApicBase, system.apic_base);
    file.set(Register::OrigRax, u64::MAX);
    file
}

/// Adds x87, SSE and AVX.
pub(super) fn floating_point(from: &FloatingPoint, file: &mut RegisterFile) {
    for (n, value) in from.st.iter().enumerate() {
        let mut bytes = [0; 16];
        bytes[..value.len()].copy_from_slice(value);
        put(file, Register::St0.offset(n), u128::from_le_bytes(bytes));
    }
    for (n, value) in from.xmm.iter().enumerate() {
        put(file, Register::Xmm0.offset(n), *value);
    }
    for (n, value) in from.ymm_upper.iter().flatten().enumerate() {
        put(file, Register::Ymm0h.offset(n), *value);
    }
    // In 64-bit mode the addresses are 64 bits long; GDB has them in two registers of 32.
    let words = [
        (Register::Fctrl, u32::from(from.fcw)),
        (Register::Fstat, u32::from(from.fsw)),
        (Register::Ftag, u32::from(from.tag_word())),
        (Register::Fop, u32::from(from.fop)),
        (Register::Fiseg, (from.fip >> 32) as u32),
        (Register::Fioff, from.fip as u32),
        (Register::Foseg, (from.fdp >> 32) as u32),
        (Register::Fooff, from.fdp as u32),
        (Register::Mxcsr, from.mxcsr),
    ];
    for (register, value) in words {
        file.set(register, value);
    }
}

fn put(file: &mut RegisterFile, register: Option<Register>, value: u128) {
    if let Some(register) = register {
        file.set(register, value);
    }
}

/// Adds debug registers and MSRs.
pub(super) fn special(debug: &DebugRegisters, msrs: &[Msr], file: &mut RegisterFile) {
    for (register, value) in DEBUG.into_iter().zip(debug.addresses) {
        file.set(register, value);
    }
    file.set(Register::Dr6, debug.dr6);
    file.set(Register::Dr7, debug.dr7);
    for (register, index) in MSRS {
        if let Some(msr) = msrs.iter().find(|msr| msr.index == index) {
            file.set(register, msr.value);
        }
    }
}

/// What is to be changed, sorted by how a vCPU takes it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// For [`apply`].
    pub(super) general: Vec<(Register, u64)>,
    /// For [`apply_floating_point`].
    pub(super) floating_point: Vec<(Register, u128)>,
    pub(super) debug: Vec<(Register, u64)>,
    /// Number and value.
    pub(super) msrs: Vec<(u32, u64)>,
    pub(super) segments: Vec<(Segment, u16)>,
}

impl Changes {
    pub(super) fn of(changed: &RegisterFile) -> Self {
        let mut sorted = Self::default();
        let is_floating = |register: Register| {
            matches!(register.spec().feature, Feature::Sse | Feature::Avx)
                || (Register::St0.number()..=Register::Fop.number()).contains(&register.number())
        };
        let is_debug = |register: Register| {
            (Register::Dr0.number()..=Register::Dr7.number()).contains(&register.number())
        };
        for (register, value) in changed.known() {
            let low = value as u64;
            if is_floating(register) {
                sorted.floating_point.push((register, value));
            } else if is_debug(register) {
                sorted.debug.push((register, low));
            } else if let Some((_, index)) = MSRS.iter().find(|(msr, _)| *msr == register) {
                sorted.msrs.push((*index, low));
            } else if let Some((_, segment)) = SEGMENTS.iter().find(|(selector, _)| *selector == register) {
                sorted.segments.push((*segment, low as u16));
            } else {
                sorted.general.push((register, low));
            }
        }
        sorted
    }
}

/// Changes x87, SSE and AVX.
pub(super) fn apply_floating_point(
    changed: &[(Register, u128)],
    to: &mut FloatingPoint,
) -> Result<(), Failure> {
    for (register, value) in changed {
        let number = register.number();
        let word = *value as u32;
        let place = |first: Register| number.wrapping_sub(first.number());
        if let Some(st) = to.st.get_mut(place(Register::St0)) {
            let length = st.len();
            st.copy_from_slice(&value.to_le_bytes()[..length]);
        } else if let Some(xmm) = to.xmm.get_mut(place(Register::Xmm0)) {
            *xmm = *value;
        } else if let Some(half) =
            to.ymm_upper.as_mut().and_then(|halves| halves.get_mut(place(Register::Ymm0h)))
        {
            *half = *value;
        } else {
            let half = |old: u64, high: bool| match high {
                true => old & 0xffff_ffff | u64::from(word) << 32,
                false => old & !0xffff_ffff | u64::from(word),
            };
            match register {
                Register::Fctrl => to.fcw = word as u16,
                Register::Fstat => to.fsw = word as u16,
                Register::Ftag => to.set_tag_word(word as u16),
                Register::Fop => to.fop = word as u16 & 0x7ff,
                Register::Fiseg => to.fip = half(to.fip, true),
                Register::Fioff => to.fip = half(to.fip, false),
                Register::Foseg => to.fdp = half(to.fdp, true),
                Register::Fooff => to.fdp = half(to.fdp, false),
                Register::Mxcsr => to.mxcsr = word,
                other => return Err(refused(*other)),
            }
        }
    }
    Ok(())
}

/// Changes debug registers.
pub(super) fn apply_debug(changed: &[(Register, u64)], to: &mut DebugRegisters) -> Result<(), Failure> {
    for (register, value) in changed {
        match register {
            Register::Dr6 => to.dr6 = *value,
            Register::Dr7 => to.dr7 = *value,
            other => match DEBUG.iter().position(|dr| dr == other).and_then(|n| to.addresses.get_mut(n)) {
                Some(address) => *address = *value,
                None => return Err(refused(*other)),
            },
        }
    }
    Ok(())
}

fn refused(register: Register) -> Failure {
    Failure(format!("{} cannot be set", register.spec().name))
}

/// Changes general and system registers.
pub(super) fn apply(changed: &[(Register, u64)], to: &mut Registers) -> Result<(), Failure> {
    for (register, value) in changed {
        macro_rules! write {
            ($register:ident, $place:expr) => {
                if *register == Register::$register {
                    $place = *value;
                    continue;
                }
            };
        }
        each_general!(to, write);
        return Err(refused(*register));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_of_x87_sse_and_avx_goes_back() {
        let mut state =
            FloatingPoint { fcw: 0x27f, fip: 0x1234_5678_9abc, mxcsr: 0x1f80, ..FloatingPoint::default() };
        state.st[3] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        state.xmm[15] = u128::MAX - 5;
        state.in_use = 0b1010_0001;
        state.ymm_upper = Some(std::array::from_fn(|n| 1 << (8 * n)));
        let mut file = RegisterFile::new(true);
        floating_point(&state, &mut file);
        let mut back = FloatingPoint { ymm_upper: Some([0; 16]), ..FloatingPoint::default() };
        let changes = Changes::of(&file);
        assert!(changes.general.is_empty() && changes.msrs.is_empty());
        apply_floating_point(&changes.floating_point, &mut back).unwrap();
        assert_eq!(back, state);
        let none = &mut FloatingPoint::default();
        assert_eq!(apply_floating_point(&changes.floating_point, none), Err(refused(Register::Ymm0h)));
    }

    #[test]
    fn changes_are_sorted_by_how_they_are_made() {
        let mut file = RegisterFile::new(false);
        file.set(Register::Rax, 1_u64);
        file.set(Register::Fs, 0x18_u32);
        file.set(Register::Lstar, 0x1000_u64);
        file.set(Register::Dr1, 0x2000_u64);
        let changes = Changes::of(&file);
        assert_eq!(changes.general, [(Register::Rax, 1)]);
        assert_eq!(changes.segments, [(Segment::Fs, 0x18)]);
        assert_eq!(changes.msrs, [(msr::IA32_LSTAR, 0x1000)]);
        let mut debug = DebugRegisters::default();
        apply_debug(&changes.debug, &mut debug).unwrap();
        assert_eq!(debug.addresses, [0, 0x2000, 0, 0]);
        file.set(Register::CsAttr, 0_u32);
        let mut registers = Registers { general: Default::default(), system: Default::default() };
        assert!(apply(&Changes::of(&file).general, &mut registers).is_err());
    }
}
