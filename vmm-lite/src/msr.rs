//! Model-specific registers by name (Intel SDM vol. 4, table 2-2; `MSR_KVM_SYSTEM_TIME_NEW` is KVM's own).

macro_rules! msrs {
    ($($name:ident = $index:literal, $about:literal;)*) => {
        $(
            #[doc = $about]
            pub const $name: u32 = $index;
        )*

        /// Those that a debugger shows: what the manuals call them, and their numbers.
        pub const MSRS: &[(&str, u32)] = &[$((stringify!($name), $name),)*];
    };
}

msrs! {
    IA32_TIME_STAMP_COUNTER = 0x10, "The TSC.";
    IA32_APIC_BASE = 0x1b, "Where the local APIC is and in which mode (SDM vol. 3, 12.4.4).";
    IA32_SYSENTER_CS = 0x174, "The segments that `SYSENTER` and `SYSEXIT` load.";
    IA32_SYSENTER_ESP = 0x175, "The stack of `SYSENTER`.";
    IA32_SYSENTER_EIP = 0x176, "Where `SYSENTER` goes.";
    IA32_MISC_ENABLE = 0x1a0, "Features that can be switched.";
    IA32_PAT = 0x277, "The memory types that page-table entries select.";
    IA32_MTRR_DEF_TYPE = 0x2ff, "The memory type of what no MTRR covers.";
    IA32_TSC_DEADLINE = 0x6e0, "When the local APIC's timer fires, in TSC ticks (SDM vol. 3, 12.5.4.1).";
    IA32_EFER = 0xc000_0080, "Long mode, `SYSCALL`, no-execute.";
    IA32_STAR = 0xc000_0081, "The segments that `SYSCALL` and `SYSRET` load.";
    IA32_LSTAR = 0xc000_0082, "Where `SYSCALL` goes in 64-bit mode.";
    IA32_CSTAR = 0xc000_0083, "Where `SYSCALL` goes in compatibility mode.";
    IA32_FMASK = 0xc000_0084, "The flags that `SYSCALL` clears.";
    IA32_FS_BASE = 0xc000_0100, "The base of FS.";
    IA32_GS_BASE = 0xc000_0101, "The base of GS.";
    IA32_KERNEL_GS_BASE = 0xc000_0102, "What `SWAPGS` exchanges with the base of GS.";
    IA32_TSC_AUX = 0xc000_0103, "What `RDTSCP` and `RDPID` return beside.";
    MSR_KVM_SYSTEM_TIME_NEW = 0x4b56_4d01, "Where the guest has its KVM clock.";
}
