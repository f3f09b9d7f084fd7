//! A vCPU's registers as GDB gets them: the target's architecture for [`gdbstub`].

mod description;
mod table;

use std::num::NonZeroUsize;

use gdbstub::arch;

pub(crate) use description::description;
pub(crate) use table::Register;

/// A part of the target description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// General registers, selectors, x87.
    Core,
    /// SSE.
    Sse,
    /// What GDB wants of Linux, so that `catch syscall` can be asked for.
    Linux,
    /// The bases that 64-bit code uses.
    Segments,
    /// Control registers and EFER.
    Control,
    /// Segment descriptors as loaded, descriptor tables, debug registers.
    Descriptors,
    /// Model-specific registers.
    Msr,
    /// The upper halves of AVX registers.
    Avx,
}

impl Feature {
    /// In the order of [`Register::ALL`].
    const ALL: [Self; 8] = [
        Self::Core,
        Self::Sse,
        Self::Linux,
        Self::Segments,
        Self::Control,
        Self::Descriptors,
        Self::Msr,
        Self::Avx,
    ];

    /// GDB's name for it, or ours.
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "org.gnu.gdb.i386.core",
            Self::Sse => "org.gnu.gdb.i386.sse",
            Self::Linux => "org.gnu.gdb.i386.linux",
            Self::Segments => "org.gnu.gdb.i386.segments",
            Self::Control => "vmscope.x86.control",
            Self::Descriptors => "vmscope.x86.descriptors",
            Self::Msr => "vmscope.x86.msr",
            Self::Avx => "org.gnu.gdb.i386.avx",
        }
    }
}

impl Register {
    /// Its number in GDB's packets.
    pub(crate) const fn number(self) -> usize {
        self as usize
    }

    /// Its size in bytes.
    pub(crate) const fn bytes(self) -> usize {
        self.spec().bits as usize / 8
    }

    /// The register `by` places behind this one, for those that come in rows: `St0`, `Xmm0`, `Ymm0h`.
    #[cfg(any(test, all(feature = "live", target_os = "linux", target_arch = "x86_64")))]
    pub(crate) fn offset(self, by: usize) -> Option<Self> {
        Self::ALL.get(self.number() + by).copied()
    }
}

/// Values of registers; each is known or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegisterFile {
    values: Vec<Option<u128>>,
    /// The AVX registers are in the packets, too.
    avx: bool,
}

impl Default for RegisterFile {
    fn default() -> Self {
        Self { values: vec![None; Register::ALL.len()], avx: false }
    }
}

impl RegisterFile {
    /// None is known.
    pub(crate) fn new(avx: bool) -> Self {
        Self { avx, ..Self::default() }
    }

    /// A register's value, if it is known.
    pub(crate) fn get(&self, register: Register) -> Option<u128> {
        self.values.get(register.number()).copied().flatten()
    }

    /// A register's value, if it is known; its lower half if it is a wide one.
    pub(crate) fn get_u64(&self, register: Register) -> Option<u64> {
        self.get(register).map(|value| value as u64)
    }

    /// Notes a register's value; what is wider than the register is cut off.
    pub(crate) fn set(&mut self, register: Register, value: impl Into<u128>) {
        let value = value.into();
        let bits = u32::from(register.spec().bits);
        if let Some(slot) = self.values.get_mut(register.number()) {
            *slot = Some(value & (u128::MAX >> (128 - bits)));
        }
    }

    /// Those that are known.
    pub(crate) fn known(&self) -> impl Iterator<Item = (Register, u128)> {
        Register::ALL.iter().filter_map(|register| Some((*register, self.get(*register)?)))
    }

    /// Those that have another value than in `old`, which knows them.
    pub(crate) fn changed_from(&self, old: &Self) -> Self {
        let mut changed = Self::new(self.avx);
        for (register, value) in self.known() {
            if old.get(register).is_some_and(|old| old != value) {
                changed.set(register, value);
            }
        }
        changed
    }

    fn in_packets(&self) -> impl Iterator<Item = Register> {
        let avx = self.avx;
        Register::ALL.iter().copied().filter(move |register| avx || register.spec().feature != Feature::Avx)
    }
}

impl arch::Registers for RegisterFile {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.get_u64(Register::Rip).unwrap_or(0)
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        for register in self.in_packets() {
            let value = self.get(register).map(u128::to_le_bytes);
            for at in 0..register.bytes() {
                write_byte(value.and_then(|bytes| bytes.get(at).copied()));
            }
        }
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        for avx in [false, true] {
            self.avx = avx;
            let registers: Vec<Register> = self.in_packets().collect();
            if registers.iter().map(|register| register.bytes()).sum::<usize>() != bytes.len() {
                continue;
            }
            let mut rest = bytes;
            for register in registers {
                let (value, others) = rest.split_at_checked(register.bytes()).ok_or(())?;
                self.set(register, le_value(value).ok_or(())?);
                rest = others;
            }
            return Ok(());
        }
        Err(())
    }
}

/// A number of at most 16 bytes, the lowest first.
pub(crate) fn le_value(bytes: &[u8]) -> Option<u128> {
    let mut value = [0; 16];
    value.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u128::from_le_bytes(value))
}

impl arch::RegId for Register {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let register = *Self::ALL.get(id)?;
        Some((register, NonZeroUsize::new(register.bytes())))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.number())
    }
}

/// x86-64 with everything a hypervisor knows of it.
#[derive(Debug)]
pub(crate) enum X86 {}

impl arch::Arch for X86 {
    type Usize = u64;
    type Registers = RegisterFile;
    type BreakpointKind = usize;
    type RegId = Register;
}

#[cfg(test)]
mod tests {
    use gdbstub::arch::Registers as _;
    use proptest::prelude::*;

    use super::*;

    fn bytes(file: &RegisterFile) -> Vec<Option<u8>> {
        let mut bytes = Vec::new();
        file.gdb_serialize(|byte| bytes.push(byte));
        bytes
    }

    #[test]
    fn features_are_together_and_avx_is_last() {
        let mut features: Vec<Feature> =
            Register::ALL.iter().map(|register| register.spec().feature).collect();
        features.dedup();
        assert_eq!(features, Feature::ALL);
        assert!(Register::ALL.iter().enumerate().all(|(n, register)| register.number() == n));
    }

    #[test]
    fn names_are_unique_and_sizes_are_whole_bytes() {
        let mut names: Vec<&str> = Register::ALL.iter().map(|register| register.spec().name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(Register::ALL.iter().all(|register| matches!(register.spec().bits, 32 | 64 | 80 | 128)));
    }

    #[test]
    fn what_is_not_known_is_left_out_of_the_packet() {
        let mut file = RegisterFile::new(false);
        file.set(Register::Rbx, 0x1122_u64);
        let bytes = bytes(&file);
        assert_eq!(bytes[..8], [None; 8]);
        assert_eq!(bytes[8..11], [Some(0x22), Some(0x11), Some(0)]);
        assert!(bytes[16..].iter().all(Option::is_none));
    }

    #[test]
    fn rows_of_registers() {
        assert_eq!(Register::Xmm0.offset(15), Some(Register::Xmm15));
        assert_eq!(Register::St0.offset(7), Some(Register::St7));
        assert_eq!(Register::Ymm0h.offset(15), Some(Register::Ymm15h));
        assert_eq!(Register::Ymm15h.offset(1), None);
    }

    #[test]
    fn only_what_is_new_is_changed() {
        let (mut old, mut new) = (RegisterFile::new(false), RegisterFile::new(false));
        old.set(Register::Rax, 1_u64);
        old.set(Register::Rbx, 2_u64);
        new.set(Register::Rax, 1_u64);
        new.set(Register::Rbx, 3_u64);
        new.set(Register::Rcx, 4_u64);
        let changed: Vec<_> = new.changed_from(&old).known().collect();
        assert_eq!(changed, [(Register::Rbx, 3)], "nobody knows RCX, so that GDB's value of it is invented");
    }

    proptest! {
        #[test]
        fn a_packet_comes_back(values in prop::collection::vec(any::<u128>(), Register::ALL.len()), avx: bool) {
            let mut file = RegisterFile::new(avx);
            for register in file.in_packets().collect::<Vec<_>>() {
                file.set(register, values[register.number()]);
            }
            let packet: Vec<u8> = bytes(&file).into_iter().map(Option::unwrap).collect();
            let mut back = RegisterFile::default();
            prop_assert!(back.gdb_deserialize(&packet).is_ok());
            prop_assert_eq!(back, file);
        }

        #[test]
        fn any_packet_is_taken_or_refused(packet in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = RegisterFile::default().gdb_deserialize(&packet);
        }
    }
}
