//! The registers that GDB gets: a plain table, in the order of the `g` packet.
//!
//! It is the same in every mode of the CPU, 64 bits wide. The names of the features and of the registers in them are
//! those that GDB knows; what it does not know is in features of our own. AVX comes last, so that leaving it out moves
//! nothing.
//!
//! `info registers` of an x86 GDB shows all of them, whatever group they are put in, and a call of a guest's function puts
//! all of them back: limits of segments and the TSC are not among them.

use super::Feature;

/// One register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// For the user.
    pub(crate) name: &'static str,
    /// Its size in bits, a multiple of 8.
    pub(crate) bits: u16,
    /// Its type: GDB's, or one that the target description defines.
    pub(crate) kind: &'static str,
    /// Where it belongs.
    pub(crate) feature: Feature,
}

macro_rules! table {
    ($($variant:ident $name:literal $bits:literal $kind:literal $feature:ident;)*) => {
        /// A register.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub(crate) enum Register {
            $($variant,)*
        }

        impl Register {
            /// All, in order.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What it is.
            pub(crate) const fn spec(self) -> Spec {
                match self {
                    $(Self::$variant => Spec {
                        name: $name,
                        bits: $bits,
                        kind: $kind,
                        feature: Feature::$feature,
                    },)*
                }
            }
        }
    };
}

table! {
    Rax "rax" 64 "int64" Core;
    Rbx "rbx" 64 "int64" Core;
    Rcx "rcx" 64 "int64" Core;
    Rdx "rdx" 64 "int64" Core;
    Rsi "rsi" 64 "int64" Core;
    Rdi "rdi" 64 "int64" Core;
    Rbp "rbp" 64 "data_ptr" Core;
    Rsp "rsp" 64 "data_ptr" Core;
    R8 "r8" 64 "int64" Core;
    R9 "r9" 64 "int64" Core;
    R10 "r10" 64 "int64" Core;
    R11 "r11" 64 "int64" Core;
    R12 "r12" 64 "int64" Core;
    R13 "r13" 64 "int64" Core;
    R14 "r14" 64 "int64" Core;
    R15 "r15" 64 "int64" Core;
    Rip "rip" 64 "code_ptr" Core;
    Eflags "eflags" 32 "i386_eflags" Core;
    Cs "cs" 32 "int32" Core;
    Ss "ss" 32 "int32" Core;
    Ds "ds" 32 "int32" Core;
    Es "es" 32 "int32" Core;
    Fs "fs" 32 "int32" Core;
    Gs "gs" 32 "int32" Core;
    St0 "st0" 80 "i387_ext" Core;
    St1 "st1" 80 "i387_ext" Core;
    St2 "st2" 80 "i387_ext" Core;
    St3 "st3" 80 "i387_ext" Core;
    St4 "st4" 80 "i387_ext" Core;
    St5 "st5" 80 "i387_ext" Core;
    St6 "st6" 80 "i387_ext" Core;
    St7 "st7" 80 "i387_ext" Core;
    Fctrl "fctrl" 32 "int" Core;
    Fstat "fstat" 32 "int" Core;
    Ftag "ftag" 32 "int" Core;
    Fiseg "fiseg" 32 "int" Core;
    Fioff "fioff" 32 "int" Core;
    Foseg "foseg" 32 "int" Core;
    Fooff "fooff" 32 "int" Core;
    Fop "fop" 32 "int" Core;
    Xmm0 "xmm0" 128 "vec128" Sse;
    Xmm1 "xmm1" 128 "vec128" Sse;
    Xmm2 "xmm2" 128 "vec128" Sse;
    Xmm3 "xmm3" 128 "vec128" Sse;
    Xmm4 "xmm4" 128 "vec128" Sse;
    Xmm5 "xmm5" 128 "vec128" Sse;
    Xmm6 "xmm6" 128 "vec128" Sse;
    Xmm7 "xmm7" 128 "vec128" Sse;
    Xmm8 "xmm8" 128 "vec128" Sse;
    Xmm9 "xmm9" 128 "vec128" Sse;
    Xmm10 "xmm10" 128 "vec128" Sse;
    Xmm11 "xmm11" 128 "vec128" Sse;
    Xmm12 "xmm12" 128 "vec128" Sse;
    Xmm13 "xmm13" 128 "vec128" Sse;
    Xmm14 "xmm14" 128 "vec128" Sse;
    Xmm15 "xmm15" 128 "vec128" Sse;
    Mxcsr "mxcsr" 32 "i386_mxcsr" Sse;
    OrigRax "orig_rax" 64 "int" Linux;
    FsBase "fs_base" 64 "int64" Segments;
    GsBase "gs_base" 64 "int64" Segments;
    Cr0 "cr0" 64 "x86_cr0" Control;
    Cr2 "cr2" 64 "data_ptr" Control;
    Cr3 "cr3" 64 "x86_cr3" Control;
    Cr4 "cr4" 64 "x86_cr4" Control;
    Cr8 "cr8" 64 "int64" Control;
    Efer "efer" 64 "x86_efer" Control;
    CsBase "cs_base" 64 "data_ptr" Descriptors;
    SsBase "ss_base" 64 "data_ptr" Descriptors;
    DsBase "ds_base" 64 "data_ptr" Descriptors;
    EsBase "es_base" 64 "data_ptr" Descriptors;
    Ldtr "ldtr" 32 "int32" Descriptors;
    LdtrBase "ldtr_base" 64 "data_ptr" Descriptors;
    Tr "tr" 32 "int32" Descriptors;
    TrBase "tr_base" 64 "data_ptr" Descriptors;
    CsAttr "cs_attr" 32 "x86_segment" Descriptors;
    SsAttr "ss_attr" 32 "x86_segment" Descriptors;
    GdtrBase "gdtr_base" 64 "data_ptr" Descriptors;
    GdtrLimit "gdtr_limit" 32 "uint32" Descriptors;
    IdtrBase "idtr_base" 64 "data_ptr" Descriptors;
    IdtrLimit "idtr_limit" 32 "uint32" Descriptors;
    Dr0 "dr0" 64 "int64" Descriptors;
    Dr1 "dr1" 64 "int64" Descriptors;
    Dr2 "dr2" 64 "int64" Descriptors;
    Dr3 "dr3" 64 "int64" Descriptors;
    Dr6 "dr6" 64 "int64" Descriptors;
    Dr7 "dr7" 64 "int64" Descriptors;
    ApicBase "apic_base" 64 "x86_apic_base" Msr;
    Star "star" 64 "int64" Msr;
    Lstar "lstar" 64 "code_ptr" Msr;
    Cstar "cstar" 64 "code_ptr" Msr;
    Sfmask "sfmask" 64 "int64" Msr;
    KernelGsBase "kernel_gs_base" 64 "data_ptr" Msr;
    SysenterCs "sysenter_cs" 64 "int64" Msr;
    SysenterEsp "sysenter_esp" 64 "data_ptr" Msr;
    SysenterEip "sysenter_eip" 64 "code_ptr" Msr;
    Pat "pat" 64 "int64" Msr;
    TscAux "tsc_aux" 64 "int64" Msr;
    MiscEnable "misc_enable" 64 "int64" Msr;
    Ymm0h "ymm0h" 128 "uint128" Avx;
    Ymm1h "ymm1h" 128 "uint128" Avx;
    Ymm2h "ymm2h" 128 "uint128" Avx;
    Ymm3h "ymm3h" 128 "uint128" Avx;
    Ymm4h "ymm4h" 128 "uint128" Avx;
    Ymm5h "ymm5h" 128 "uint128" Avx;
    Ymm6h "ymm6h" 128 "uint128" Avx;
    Ymm7h "ymm7h" 128 "uint128" Avx;
    Ymm8h "ymm8h" 128 "uint128" Avx;
    Ymm9h "ymm9h" 128 "uint128" Avx;
    Ymm10h "ymm10h" 128 "uint128" Avx;
    Ymm11h "ymm11h" 128 "uint128" Avx;
    Ymm12h "ymm12h" 128 "uint128" Avx;
    Ymm13h "ymm13h" 128 "uint128" Avx;
    Ymm14h "ymm14h" 128 "uint128" Avx;
    Ymm15h "ymm15h" 128 "uint128" Avx;
}
