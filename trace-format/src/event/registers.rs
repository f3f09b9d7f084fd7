//! What is in a vCPU's registers.

use serde::{Deserialize, Serialize};

/// A vCPU's registers at the event's time: as the guest left them when it exited, or as a trap's handler found them.
///
/// It comes before everything else that is told of the same moment. Selectors have 16 bits, and the bases of those that
/// 64-bit code ignores 32. The vectors, x87 and SSE are not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8 to R15.
    pub general: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// FS.base and GS.base.
    pub bases: [u64; 2],
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// RFLAGS, whose upper half is always 0.
    pub rflags: u32,
    /// CR0, likewise.
    pub cr0: u32,
    /// EFER, likewise.
    pub efer: u32,
    /// The bases of CS, SS, DS, ES.
    pub flat_bases: [u32; 4],
    /// The selectors of CS, SS, DS, ES, FS, GS.
    pub selectors: [u16; 6],
    /// CR8, the task priority.
    pub cr8: u8,
    /// The privilege level.
    pub cpl: u8,
}

/// Where RSP is among [`Registers::general`].
const RSP: usize = 7;

impl Registers {
    /// What [`Self::values`] gives, by name and in the same order.
    pub const NAMES: [&str; Self::COUNT] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15", "rip", "rflags", "cs", "ss", "ds", "es", "fs", "gs", "cs.base", "ss.base", "ds.base",
        "es.base", "fs.base", "gs.base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "cpl",
    ];
    /// How many values there are.
    pub const COUNT: usize = 37;

    /// RSP.
    #[must_use]
    pub const fn rsp(&self) -> u64 {
        self.general[RSP]
    }

    /// Every value, in the order of the file format: `FORMAT.md` numbers them.
    #[must_use]
    pub fn values(&self) -> [u64; Self::COUNT] {
        let mut values = [0; Self::COUNT];
        let all = (self.general.into_iter())
            .chain([self.rip, self.rflags.into()])
            .chain(self.selectors.map(u64::from))
            .chain(self.flat_bases.map(u64::from))
            .chain(self.bases)
            .chain([
                self.cr0.into(),
                self.cr2,
                self.cr3,
                self.cr4,
                self.cr8.into(),
                self.efer.into(),
                self.cpl.into(),
            ]);
        values.iter_mut().zip(all).for_each(|(to, value)| *to = value);
        values
    }

    /// The inverse of [`Self::values`]; `None` if one is too large for its register.
    #[must_use]
    pub fn from_values(values: &[u64; Self::COUNT]) -> Option<Self> {
        let [
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            rsp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rip,
            rflags,
            cs,
            ss,
            ds,
            es,
            fs,
            gs,
            cs_base,
            ss_base,
            ds_base,
            es_base,
            fs_base,
            gs_base,
            cr0,
            cr2,
            cr3,
            cr4,
            cr8,
            efer,
            cpl,
        ] = *values;
        let word = |value: u64| u32::try_from(value).ok();
        let selector = |value: u64| u16::try_from(value).ok();
        Some(Self {
            general: [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15],
            rip,
            bases: [fs_base, gs_base],
            cr2,
            cr3,
            cr4,
            rflags: word(rflags)?,
            cr0: word(cr0)?,
            efer: word(efer)?,
            flat_bases: [word(cs_base)?, word(ss_base)?, word(ds_base)?, word(es_base)?],
            selectors: [
                selector(cs)?,
                selector(ss)?,
                selector(ds)?,
                selector(es)?,
                selector(fs)?,
                selector(gs)?,
            ],
            cr8: u8::try_from(cr8).ok()?,
            cpl: u8::try_from(cpl).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_order_of_their_names() {
        let mut registers = Registers { rip: 1, cr8: 2, ..Registers::default() };
        registers.general[RSP] = 3;
        registers.bases[1] = 4;
        registers.flat_bases[3] = 5;
        registers.selectors[0] = 6;
        let values = registers.values();
        let value = |name| values[Registers::NAMES.iter().position(|known| *known == name).unwrap()];
        let names = ["rip", "cr8", "rsp", "gs.base", "es.base", "cs"];
        assert_eq!(names.map(value), [1, 2, 3, 4, 5, 6]);
        assert_eq!(Registers::from_values(&values), Some(registers));
    }

    #[test]
    fn what_is_too_large_for_its_register_is_none() {
        for (at, name) in Registers::NAMES.iter().enumerate() {
            let mut values = [0; Registers::COUNT];
            values[at] = u64::MAX;
            let wide = Registers::from_values(&values).is_some();
            let narrow = ["rflags", "cs", "ss", "ds", "es", "fs", "gs", "cr0", "cr8", "efer", "cpl"]
                .contains(name)
                || name.ends_with(".base") && !["fs.base", "gs.base"].contains(name);
            assert_eq!(wide, !narrow, "{name}");
        }
    }
}
