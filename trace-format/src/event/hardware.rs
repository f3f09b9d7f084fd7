//! Exits as the hardware numbers them, most of which KVM deals with itself and no monitor sees.

use serde::{Deserialize, Serialize};

/// An exit that a host's KVM saw and what it knew of it, for recordings that were made by the host (`vmscope import`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Whose numbers these are.
    pub isa: Isa,
    /// The exit reason: the basic one of VMX with the flags above it (SDM vol. 3, appendix C), the exit code of SVM (APM
    /// vol. 2, appendix C).
    pub code: u32,
    /// VMX: the exit qualification. SVM: `EXITINFO1`.
    pub info1: u64,
    /// VMX: the information on the event that was being delivered. SVM: `EXITINFO2`.
    pub info2: u64,
    /// The interruption information of VMX, `EXITINTINFO` of SVM: of exceptions and interrupts, vector in the low byte.
    pub interrupt: u32,
    /// The error code that belongs to it.
    pub error_code: u32,
    /// The guest physical address that the exit was about, where that is known.
    pub gpa: Option<u64>,
}

/// Whose virtualization extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Isa {
    /// Intel's.
    Vmx,
    /// AMD's.
    Svm,
}

impl Isa {
    /// The name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vmx => "vmx",
            Self::Svm => "svm",
        }
    }
}

/// A reason: its code, its name, and the name that KVM's tracepoints print if that is another than the name in capitals,
/// with underscores.
pub(crate) type Reason = (u32, &'static str, Option<&'static str>);

impl Hardware {
    /// The basic reason: without the flags that VMX has above it.
    #[must_use]
    pub const fn basic(&self) -> u32 {
        match self.isa {
            Isa::Vmx => self.code & 0xffff,
            Isa::Svm => self.code,
        }
    }

    /// The name used in reports, filters and JSON; that of the ISA for a code that this program does not know.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let code = self.basic();
        let table = reasons(self.isa);
        match table.binary_search_by_key(&code, |reason| reason.0).ok().and_then(|at| table.get(at)) {
            Some((_, name, _)) => name,
            None => self.isa.name(),
        }
    }
}

/// Every reason of `isa`, by code.
pub(crate) const fn reasons(isa: Isa) -> &'static [Reason] {
    match isa {
        Isa::Vmx => &VMX,
        Isa::Svm => &SVM,
    }
}

#[rustfmt::skip]
const VMX: [Reason; 78] = [
    (0, "exception-nmi", None),
    (1, "external-interrupt", None),
    (2, "triple-fault", None),
    (3, "init-signal", None),
    (4, "sipi-signal", None),
    (5, "io-smi", None),
    (6, "other-smi", None),
    (7, "interrupt-window", None),
    (8, "nmi-window", None),
    (9, "task-switch", None),
    (10, "cpuid", None),
    (11, "getsec", None),
    (12, "hlt", None),
    (13, "invd", None),
    (14, "invlpg", None),
    (15, "rdpmc", None),
    (16, "rdtsc", None),
    (17, "rsm", None),
    (18, "vmcall", None),
    (19, "vmclear", None),
    (20, "vmlaunch", None),
    (21, "vmptrld", None),
    (22, "vmptrst", None),
    (23, "vmread", None),
    (24, "vmresume", None),
    (25, "vmwrite", None),
    (26, "vmoff", None),
    (27, "vmon", None),
    (28, "cr-access", None),
    (29, "dr-access", None),
    (30, "io-instruction", None),
    (31, "msr-read", None),
    (32, "msr-write", None),
    (33, "invalid-state", None),
    (34, "msr-load-fail", None),
    (36, "mwait-instruction", None),
    (37, "monitor-trap-flag", None),
    (39, "monitor-instruction", None),
    (40, "pause-instruction", None),
    (41, "mce-during-vmentry", None),
    (43, "tpr-below-threshold", None),
    (44, "apic-access", None),
    (45, "eoi-induced", None),
    (46, "gdtr-idtr", None),
    (47, "ldtr-tr", None),
    (48, "ept-violation", None),
    (49, "ept-misconfig", None),
    (50, "invept", None),
    (51, "rdtscp", None),
    (52, "preemption-timer", None),
    (53, "invvpid", None),
    (54, "wbinvd", None),
    (55, "xsetbv", None),
    (56, "apic-write", None),
    (57, "rdrand", None),
    (58, "invpcid", None),
    (59, "vmfunc", None),
    (60, "encls", None),
    (61, "rdseed", None),
    (62, "pml-full", None),
    (63, "xsaves", None),
    (64, "xrstors", None),
    (65, "pconfig", None),
    (66, "spp", None),
    (67, "umwait", None),
    (68, "tpause", None),
    (69, "loadiwkey", None),
    (70, "enclv", None),
    (72, "enqcmd", None),
    (73, "enqcmds", None),
    (74, "bus-lock", None),
    (75, "notify", None),
    (76, "seamcall", None),
    (77, "tdcall", None),
    (78, "rdmsrlist", None),
    (79, "wrmsrlist", None),
    (84, "msr-read-imm", None),
    (85, "msr-write-imm", None),
];

#[rustfmt::skip]
const SVM: [Reason; 108] = [
    (0x000, "read-cr0", Some("read_cr0")),
    (0x002, "read-cr2", Some("read_cr2")),
    (0x003, "read-cr3", Some("read_cr3")),
    (0x004, "read-cr4", Some("read_cr4")),
    (0x008, "read-cr8", Some("read_cr8")),
    (0x010, "write-cr0", Some("write_cr0")),
    (0x012, "write-cr2", Some("write_cr2")),
    (0x013, "write-cr3", Some("write_cr3")),
    (0x014, "write-cr4", Some("write_cr4")),
    (0x018, "write-cr8", Some("write_cr8")),
    (0x020, "read-dr0", Some("read_dr0")),
    (0x021, "read-dr1", Some("read_dr1")),
    (0x022, "read-dr2", Some("read_dr2")),
    (0x023, "read-dr3", Some("read_dr3")),
    (0x024, "read-dr4", Some("read_dr4")),
    (0x025, "read-dr5", Some("read_dr5")),
    (0x026, "read-dr6", Some("read_dr6")),
    (0x027, "read-dr7", Some("read_dr7")),
    (0x030, "write-dr0", Some("write_dr0")),
    (0x031, "write-dr1", Some("write_dr1")),
    (0x032, "write-dr2", Some("write_dr2")),
    (0x033, "write-dr3", Some("write_dr3")),
    (0x034, "write-dr4", Some("write_dr4")),
    (0x035, "write-dr5", Some("write_dr5")),
    (0x036, "write-dr6", Some("write_dr6")),
    (0x037, "write-dr7", Some("write_dr7")),
    (0x040, "de-exception", Some("DE excp")),
    (0x041, "db-exception", Some("DB excp")),
    (0x042, "nmi-exception", Some("NMI excp")),
    (0x043, "bp-exception", Some("BP excp")),
    (0x044, "of-exception", Some("OF excp")),
    (0x045, "br-exception", Some("BR excp")),
    (0x046, "ud-exception", Some("UD excp")),
    (0x047, "nm-exception", Some("NM excp")),
    (0x048, "df-exception", Some("DF excp")),
    (0x04a, "ts-exception", Some("TS excp")),
    (0x04b, "np-exception", Some("NP excp")),
    (0x04c, "ss-exception", Some("SS excp")),
    (0x04d, "gp-exception", Some("GP excp")),
    (0x04e, "pf-exception", Some("PF excp")),
    (0x050, "mf-exception", Some("MF excp")),
    (0x051, "ac-exception", Some("AC excp")),
    (0x052, "mc-exception", Some("MC excp")),
    (0x053, "xf-exception", Some("XF excp")),
    (0x055, "cp-exception", Some("CP excp")),
    (0x060, "external-interrupt", Some("interrupt")),
    (0x061, "nmi", Some("nmi")),
    (0x062, "smi", Some("smi")),
    (0x063, "init", Some("init")),
    (0x064, "virtual-interrupt", Some("vintr")),
    (0x065, "selective-cr0-write", Some("cr0_sel_write")),
    (0x066, "read-idtr", Some("read_idtr")),
    (0x067, "read-gdtr", Some("read_gdtr")),
    (0x068, "read-ldtr", Some("read_ldtr")),
    (0x069, "read-tr", Some("read_rt")),
    (0x06a, "write-idtr", Some("write_idtr")),
    (0x06b, "write-gdtr", Some("write_gdtr")),
    (0x06c, "write-ldtr", Some("write_ldtr")),
    (0x06d, "write-tr", Some("write_rt")),
    (0x06e, "rdtsc", Some("rdtsc")),
    (0x06f, "rdpmc", Some("rdpmc")),
    (0x070, "pushf", Some("pushf")),
    (0x071, "popf", Some("popf")),
    (0x072, "cpuid", Some("cpuid")),
    (0x073, "rsm", Some("rsm")),
    (0x074, "iret", Some("iret")),
    (0x075, "software-interrupt", Some("swint")),
    (0x076, "invd", Some("invd")),
    (0x077, "pause", Some("pause")),
    (0x078, "hlt", Some("hlt")),
    (0x079, "invlpg", Some("invlpg")),
    (0x07a, "invlpga", Some("invlpga")),
    (0x07b, "io-instruction", Some("io")),
    (0x07c, "msr-access", Some("msr")),
    (0x07d, "task-switch", Some("task_switch")),
    (0x07e, "ferr-freeze", Some("ferr_freeze")),
    (0x07f, "shutdown", Some("shutdown")),
    (0x080, "vmrun", Some("vmrun")),
    (0x081, "vmmcall", Some("hypercall")),
    (0x082, "vmload", Some("vmload")),
    (0x083, "vmsave", Some("vmsave")),
    (0x084, "stgi", Some("stgi")),
    (0x085, "clgi", Some("clgi")),
    (0x086, "skinit", Some("skinit")),
    (0x087, "rdtscp", Some("rdtscp")),
    (0x088, "icebp", Some("icebp")),
    (0x089, "wbinvd", Some("wbinvd")),
    (0x08a, "monitor", Some("monitor")),
    (0x08b, "mwait", Some("mwait")),
    (0x08c, "mwait-conditional", Some("mwait_cond")),
    (0x08d, "xsetbv", Some("xsetbv")),
    (0x08e, "rdpru", Some("rdpru")),
    (0x08f, "write-efer-trap", Some("write_efer_trap")),
    (0x090, "write-cr0-trap", Some("write_cr0_trap")),
    (0x094, "write-cr4-trap", Some("write_cr4_trap")),
    (0x098, "write-cr8-trap", Some("write_cr8_trap")),
    (0x0a0, "invlpgb", Some("invlpgb")),
    (0x0a1, "invlpgb-illegal", Some("invlpgb_illegal")),
    (0x0a2, "invpcid", Some("invpcid")),
    (0x0a3, "mcommit", Some("mcommit")),
    (0x0a4, "tlbsync", Some("tlbsync")),
    (0x0a5, "bus-lock", Some("buslock")),
    (0x0a6, "idle-hlt", Some("idle-halt")),
    (0x400, "npf", Some("npf")),
    (0x401, "avic-incomplete-ipi", Some("avic_incomplete_ipi")),
    (0x402, "avic-no-acceleration", Some("avic_unaccelerated_access")),
    (0x403, "vmgexit", Some("vmgexit")),
    (0xffffffff, "invalid-guest-state", Some("invalid_guest_state")),
];

/// The names that a [`Hardware`] can have and no other exit has: see [`super::ExitReason::NAMES`].
#[rustfmt::skip]
pub(crate) const NAMES: [&str; 167] = [
    "exception-nmi", "external-interrupt", "triple-fault", "init-signal", "sipi-signal", "io-smi",
    "other-smi", "nmi-window", "task-switch", "cpuid", "getsec", "invd", "invlpg", "rdpmc", "rdtsc", "rsm",
    "vmcall", "vmclear", "vmlaunch", "vmptrld", "vmptrst", "vmread", "vmresume", "vmwrite", "vmoff", "vmon",
    "cr-access", "dr-access", "io-instruction", "msr-read", "msr-write", "invalid-state", "msr-load-fail",
    "mwait-instruction", "monitor-trap-flag", "monitor-instruction", "pause-instruction",
    "mce-during-vmentry", "tpr-below-threshold", "apic-access", "eoi-induced", "gdtr-idtr", "ldtr-tr",
    "ept-violation", "ept-misconfig", "invept", "rdtscp", "preemption-timer", "invvpid", "wbinvd", "xsetbv",
    "apic-write", "rdrand", "invpcid", "vmfunc", "encls", "rdseed", "pml-full", "xsaves", "xrstors",
    "pconfig", "spp", "umwait", "tpause", "loadiwkey", "enclv", "enqcmd", "enqcmds", "seamcall", "tdcall",
    "rdmsrlist", "wrmsrlist", "msr-read-imm", "msr-write-imm", "read-cr0", "read-cr2", "read-cr3", "read-cr4",
    "read-cr8", "write-cr0", "write-cr2", "write-cr3", "write-cr4", "write-cr8", "read-dr0", "read-dr1",
    "read-dr2", "read-dr3", "read-dr4", "read-dr5", "read-dr6", "read-dr7", "write-dr0", "write-dr1",
    "write-dr2", "write-dr3", "write-dr4", "write-dr5", "write-dr6", "write-dr7", "de-exception",
    "db-exception", "nmi-exception", "bp-exception", "of-exception", "br-exception", "ud-exception",
    "nm-exception", "df-exception", "ts-exception", "np-exception", "ss-exception", "gp-exception",
    "pf-exception", "mf-exception", "ac-exception", "mc-exception", "xf-exception", "cp-exception", "smi",
    "init", "virtual-interrupt", "selective-cr0-write", "read-idtr", "read-gdtr", "read-ldtr", "read-tr",
    "write-idtr", "write-gdtr", "write-ldtr", "write-tr", "pushf", "popf", "iret", "software-interrupt",
    "pause", "invlpga", "msr-access", "ferr-freeze", "vmrun", "vmmcall", "vmload", "vmsave", "stgi", "clgi",
    "skinit", "icebp", "monitor", "mwait", "mwait-conditional", "rdpru", "write-efer-trap", "write-cr0-trap",
    "write-cr4-trap", "write-cr8-trap", "invlpgb", "invlpgb-illegal", "mcommit", "tlbsync", "idle-hlt", "npf",
    "avic-incomplete-ipi", "avic-no-acceleration", "vmgexit", "invalid-guest-state", "vmx", "svm",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_their_names_are_listed() {
        for isa in [Isa::Vmx, Isa::Svm] {
            assert!(reasons(isa).is_sorted_by(|a, b| a.0 < b.0));
            for &(code, name, _) in reasons(isa) {
                let hardware =
                    Hardware { isa, code, info1: 0, info2: 0, interrupt: 0, error_code: 0, gpa: None };
                assert_eq!(hardware.name(), name);
                assert!(crate::event::ExitReason::NAMES.contains(&name), "{name}");
            }
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names = crate::event::ExitReason::NAMES.to_vec();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
