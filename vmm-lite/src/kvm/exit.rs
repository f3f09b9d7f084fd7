//! A VM exit as an owned value.

use arrayvec::ArrayVec;
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_DIRTY_RING_FULL, KVM_EXIT_EXCEPTION, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT,
    KVM_EXIT_HYPERCALL, KVM_EXIT_HYPERV, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO,
    KVM_EXIT_IO_OUT, KVM_EXIT_IOAPIC_EOI, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MEMORY_FAULT, KVM_EXIT_MMIO,
    KVM_EXIT_NMI, KVM_EXIT_NOTIFY, KVM_EXIT_SET_TPR, KVM_EXIT_SHUTDOWN, KVM_EXIT_SYSTEM_EVENT,
    KVM_EXIT_TPR_ACCESS, KVM_EXIT_UNKNOWN, KVM_EXIT_WATCHDOG, KVM_EXIT_X86_BUS_LOCK, KVM_EXIT_X86_RDMSR,
    KVM_EXIT_X86_WRMSR, KVM_EXIT_XEN, kvm_run,
};

/// Why `KVM_RUN` returned: the part of `kvm_run` that belongs to the exit reason (Documentation/virt/kvm/api.rst,
/// section 5). Data that the monitor must supply goes back through [`super::Vcpu`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of struct kvm_run")]
pub(crate) enum Exit {
    /// Port I/O of `count` items of `size` bytes; the data is [`super::Vcpu::io_data`].
    Io {
        port: u16,
        size: u8,
        count: u32,
        write: bool,
    },
    Mmio {
        gpa: u64,
        len: u8,
        data: [u8; 8],
        write: bool,
    },
    ReadMsr {
        index: u32,
        reason: u32,
    },
    WriteMsr {
        index: u32,
        data: u64,
        reason: u32,
    },
    Hypercall {
        number: u64,
        arguments: [u64; 6],
    },
    Halt,
    Shutdown,
    InternalError {
        suberror: u32,
        instruction: ArrayVec<u8, 15>,
    },
    FailEntry {
        hardware_reason: u64,
        cpu: u32,
    },
    Debug {
        exception: u32,
        pc: u64,
        dr6: u64,
        dr7: u64,
    },
    InterruptWindow,
    /// `EINTR`, `EAGAIN` or `KVM_EXIT_INTR`: a signal, or `immediate_exit` was set.
    Interrupted,
    SetTpr,
    TprAccess {
        rip: u64,
        write: bool,
    },
    IoapicEoi {
        vector: u8,
    },
    SystemEvent {
        kind: u32,
        data: [u64; 2],
    },
    MemoryFault {
        flags: u64,
        gpa: u64,
        size: u64,
    },
    Unknown {
        hardware_reason: u64,
    },
    Exception {
        vector: u32,
        error_code: u32,
    },
    Nmi,
    HyperV {
        kind: u32,
    },
    Xen {
        kind: u32,
    },
    DirtyRingFull,
    BusLock,
    Notify {
        flags: u32,
    },
    Watchdog,
    /// A number without a case of its own here.
    Other {
        number: u32,
    },
}

impl Exit {
    /// Whether KVM has part of the instruction still to do, in the next `KVM_RUN`: Documentation/virt/kvm/api.rst, the
    /// note on `KVM_EXIT_IO` and others in section 5.
    pub(crate) fn awaits_completion(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::Mmio { .. }
                | Self::ReadMsr { .. }
                | Self::WriteMsr { .. }
                | Self::Hypercall { .. }
                | Self::HyperV { .. }
                | Self::Xen { .. }
        )
    }

    /// Copies the exit out of `run`, which `KVM_RUN` has just filled.
    #[inline]
    pub(super) fn read(run: &kvm_run) -> Self {
        let payload = &run.__bindgen_anon_1;
        match run.exit_reason {
            KVM_EXIT_IO => {
                // SAFETY: the exit reason says that `io` is the active member; it is plain data.
                let io = unsafe { payload.io };
                Self::Io {
                    port: io.port,
                    size: io.size,
                    count: io.count,
                    write: u32::from(io.direction) == KVM_EXIT_IO_OUT,
                }
            }
            KVM_EXIT_MMIO => {
                // SAFETY: the exit reason says that `mmio` is the active member; it is plain data.
                let mmio = unsafe { payload.mmio };
                Self::Mmio {
                    gpa: mmio.phys_addr,
                    len: mmio.len.min(8) as u8,
                    data: mmio.data,
                    write: mmio.is_write != 0,
                }
            }
            _ => Self::read_rarer(run),
        }
    }

    /// Apart from the commonest, so that these become part of the loop.
    #[inline(never)]
    fn read_rarer(run: &kvm_run) -> Self {
        let payload = &run.__bindgen_anon_1;
        match run.exit_reason {
            KVM_EXIT_X86_RDMSR => {
                // SAFETY: the exit reason says that `msr` is the active member; it is plain data.
                let msr = unsafe { payload.msr };
                Self::ReadMsr { index: msr.index, reason: msr.reason }
            }
            KVM_EXIT_X86_WRMSR => {
                // SAFETY: the exit reason says that `msr` is the active member; it is plain data.
                let msr = unsafe { payload.msr };
                Self::WriteMsr { index: msr.index, data: msr.data, reason: msr.reason }
            }
            KVM_EXIT_HYPERCALL => {
                // SAFETY: the exit reason says that `hypercall` is the active member; it is plain data.
                let call = unsafe { payload.hypercall };
                Self::Hypercall { number: call.nr, arguments: call.args }
            }
            KVM_EXIT_HLT => Self::Halt,
            KVM_EXIT_SHUTDOWN => Self::Shutdown,
            KVM_EXIT_INTERNAL_ERROR => Self::read_internal_error(run),
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: the exit reason says that `fail_entry` is the active member; it is plain data.
                let fail = unsafe { payload.fail_entry };
                Self::FailEntry { hardware_reason: fail.hardware_entry_failure_reason, cpu: fail.cpu }
            }
            KVM_EXIT_DEBUG => {
                // SAFETY: the exit reason says that `debug` is the active member; it is plain data.
                let arch = unsafe { payload.debug }.arch;
                Self::Debug { exception: arch.exception, pc: arch.pc, dr6: arch.dr6, dr7: arch.dr7 }
            }
            KVM_EXIT_IRQ_WINDOW_OPEN => Self::InterruptWindow,
            KVM_EXIT_INTR => Self::Interrupted,
            KVM_EXIT_SET_TPR => Self::SetTpr,
            KVM_EXIT_TPR_ACCESS => {
                // SAFETY: the exit reason says that `tpr_access` is the active member; it is plain data.
                let access = unsafe { payload.tpr_access };
                Self::TprAccess { rip: access.rip, write: access.is_write != 0 }
            }
            KVM_EXIT_IOAPIC_EOI => {
                // SAFETY: the exit reason says that `eoi` is the active member; it is plain data.
                let eoi = unsafe { payload.eoi };
                Self::IoapicEoi { vector: eoi.vector }
            }
            KVM_EXIT_SYSTEM_EVENT => {
                // SAFETY: the exit reason says that `system_event` is the active member; it is plain data.
                let event = unsafe { payload.system_event };
                // SAFETY: `flags` and `data` of the inner union are plain data of at most the same size.
                let words = unsafe { event.__bindgen_anon_1.data };
                let known = |i: usize| if (i as u32) < event.ndata { words[i] } else { 0 };
                Self::SystemEvent { kind: event.type_, data: [known(0), known(1)] }
            }
            KVM_EXIT_MEMORY_FAULT => {
                // SAFETY: the exit reason says that `memory_fault` is the active member; it is plain data.
                let fault = unsafe { payload.memory_fault };
                Self::MemoryFault { flags: fault.flags, gpa: fault.gpa, size: fault.size }
            }
            KVM_EXIT_UNKNOWN => {
                // SAFETY: the exit reason says that `hw` is the active member; it is plain data.
                let hw = unsafe { payload.hw };
                Self::Unknown { hardware_reason: hw.hardware_exit_reason }
            }
            KVM_EXIT_EXCEPTION => {
                // SAFETY: the exit reason says that `ex` is the active member; it is plain data.
                let ex = unsafe { payload.ex };
                Self::Exception { vector: ex.exception, error_code: ex.error_code }
            }
            KVM_EXIT_NMI => Self::Nmi,
            KVM_EXIT_HYPERV => {
                // SAFETY: the exit reason says that `hyperv` is the active member; `type_` is plain data.
                let kind = unsafe { payload.hyperv.type_ };
                Self::HyperV { kind }
            }
            KVM_EXIT_XEN => {
                // SAFETY: the exit reason says that `xen` is the active member; `type_` is plain data.
                let kind = unsafe { payload.xen.type_ };
                Self::Xen { kind }
            }
            KVM_EXIT_DIRTY_RING_FULL => Self::DirtyRingFull,
            KVM_EXIT_X86_BUS_LOCK => Self::BusLock,
            KVM_EXIT_NOTIFY => {
                // SAFETY: the exit reason says that `notify` is the active member; it is plain data.
                let notify = unsafe { payload.notify };
                Self::Notify { flags: notify.flags }
            }
            KVM_EXIT_WATCHDOG => Self::Watchdog,
            number => Self::Other { number },
        }
    }

    /// Suberror 1 (emulation failure) carries flags and the instruction: data[0] is the flags, the next bytes are its
    /// size and up to 15 bytes (`struct kvm_run.emulation_failure`).
    fn read_internal_error(run: &kvm_run) -> Self {
        const HAS_INSTRUCTION: u64 = 1;
        // SAFETY: the exit reason says that `internal` is the active member; it is plain data.
        let internal = unsafe { run.__bindgen_anon_1.internal };
        let mut instruction = ArrayVec::new();
        if internal.suberror == 1 && internal.ndata >= 1 && internal.data[0] & HAS_INSTRUCTION != 0 {
            let bytes =
                internal.data[1..3].iter().flat_map(|word| word.to_le_bytes()).collect::<ArrayVec<u8, 16>>();
            let size = usize::from(bytes[0]).min(15);
            instruction.extend(bytes[1..=size].iter().copied());
        }
        Self::InternalError { suberror: internal.suberror, instruction }
    }
}
