//! A vCPU's state for debuggers, whoever keeps it: `kvm_run`, KVM behind an ioctl, or the monitor's local APIC.

use kvm_bindings::{kvm_debugregs, kvm_sregs};

use super::{Activity, Segment, VcpuThread, segments};
use crate::control::{DebugRegisters, Registers};
use crate::error::{Error, Result};
use crate::irq::{MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST, MSR_X2APIC_LAST};
use crate::msr::{IA32_EFER, IA32_FS_BASE, IA32_GS_BASE, IA32_LSTAR, IA32_TIME_STAMP_COUNTER};

/// The task priority has four bits.
const MOST_CR8: u64 = 15;

impl VcpuThread {
    /// General, segment and control registers; CR8 and `IA32_APIC_BASE` as whoever plays the local APIC has them.
    pub(crate) fn registers(&mut self) -> Registers {
        let general = self.vcpu.regs();
        let mut system = self.vcpu.sregs();
        if let Some((cr8, base)) = self.with_lapic(|lapic| (lapic.cr8(), lapic.base())) {
            (system.cr8, system.apic_base) = (cr8.into(), base);
        }
        Registers { general, system }
    }

    pub(crate) fn set_registers(&mut self, registers: &Registers) -> Result<()> {
        let Registers { general, system } = *registers;
        if system.cr8 > MOST_CR8 {
            let why = "a task priority is 0 to 15";
            return Err(Error::RegisterValue { register: "CR8", value: system.cr8, why });
        }
        let before = self.vcpu.rip();
        let apic_base = self.vcpu.sregs().apic_base;
        self.vcpu.try_set(&general, &kvm_sregs { apic_base, ..system })?;
        if self.with_lapic(|lapic| lapic.set_cr8(system.cr8 as u8)).is_some() {
            self.set_priority(system.cr8 as u8);
        } else {
            self.cr8 = system.cr8;
        }
        // An interrupt may be deliverable by RFLAGS or CR8.
        self.look = true;
        if general.rip != before && self.activity == Activity::Halted {
            self.machine.local_apic.wake(self)?;
        }
        Ok(())
    }

    pub(crate) fn load_segments(&mut self, selectors: &[(Segment, u16)]) -> Result<()> {
        let (regs, mut sregs) = (self.vcpu.regs(), self.vcpu.sregs());
        let paging = self.machine.probes.paging(&sregs);
        segments::load(self.machine.memory.map(), &paging, &mut sregs, regs.rflags, selectors)?;
        self.vcpu.try_set(&regs, &sregs)
    }

    pub(crate) fn debug_registers(&mut self) -> Result<DebugRegisters> {
        let kvm_debugregs { db, dr6, dr7, .. } = self.vcpu.debug_registers()?;
        Ok(DebugRegisters { addresses: db, dr6, dr7 })
    }

    pub(crate) fn set_debug_registers(&mut self, registers: &DebugRegisters) -> Result<()> {
        let DebugRegisters { addresses, dr6, dr7 } = *registers;
        let before = self.vcpu.debug_registers()?;
        self.vcpu.set_debug_registers(&kvm_debugregs { db: addresses, dr6, dr7, ..before })
    }

    /// An MSR; `None` if there is none of that number.
    pub(crate) fn msr(&mut self, index: u32) -> Result<Option<u64>> {
        match self.kept_msr(index) {
            Some(value) => Ok(value),
            None => self.vcpu.msr(index),
        }
    }

    /// Each of these MSRs, `None` for those that are not there. What KVM keeps is read at once.
    pub(crate) fn msrs(&mut self, indices: impl Iterator<Item = u32>) -> Result<Vec<Option<u64>>> {
        let kept: Vec<(u32, Option<Option<u64>>)> =
            indices.map(|index| (index, self.kept_msr(index))).collect();
        let of_kvm = |(index, kept): &(u32, Option<_>)| kept.is_none().then_some(*index);
        let read = self.vcpu.known_msrs(&kept.iter().filter_map(of_kvm).collect::<Vec<_>>())?;
        let value = |index| read.iter().find(|entry| entry.index == index).map(|entry| entry.data);
        Ok(kept.into_iter().map(|(index, kept)| kept.unwrap_or_else(|| value(index))).collect())
    }

    /// An MSR that is a register to the monitor, or its local APIC's: that may have none of this number. `None` if KVM
    /// keeps it.
    fn kept_msr(&mut self, index: u32) -> Option<Option<u64>> {
        let sregs = self.vcpu.sregs();
        match index {
            IA32_EFER => Some(Some(sregs.efer)),
            IA32_FS_BASE => Some(Some(sregs.fs.base)),
            IA32_GS_BASE => Some(Some(sregs.gs.base)),
            _ if is_apics(index) => {
                let now = self.machine.clock.now();
                self.with_lapic(|lapic| lapic.read_msr(index, now).ok())
            }
            _ => None,
        }
    }

    pub(crate) fn set_msr(&mut self, index: u32, value: u64) -> Result<()> {
        let (regs, mut sregs) = (self.vcpu.regs(), self.vcpu.sregs());
        let register = match index {
            IA32_EFER => Some(&mut sregs.efer),
            IA32_FS_BASE => Some(&mut sregs.fs.base),
            IA32_GS_BASE => Some(&mut sregs.gs.base),
            _ => None,
        };
        if let Some(register) = register {
            *register = value;
            return self.vcpu.try_set(&regs, &sregs).map_err(|_| Error::MsrValue { index, value });
        }
        let own_apic = self.with_lapic(|_| ()).is_some();
        let now = self.machine.clock.now();
        let done = match index {
            MSR_X2APIC_FIRST..=MSR_X2APIC_LAST => false,
            _ if own_apic && is_apics(index) => self.write_apic_msr(index, value, now)?,
            _ => self.vcpu.set_msr(index, value)?,
        };
        if !done {
            return Err(Error::MsrValue { index, value });
        }
        match index {
            IA32_LSTAR => self.move_syscall_probe(value, now),
            // Where KVM plays the local APIC, it is among the registers of `kvm_run` too.
            MSR_APIC_BASE if !own_apic => self.vcpu.fetch_sregs(),
            // A local APIC that the monitor plays counts from the TSC that it is given with each write.
            IA32_TIME_STAMP_COUNTER | MSR_TSC_DEADLINE => {
                self.machine.timekeeper.poke();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an MSR belongs to the local APIC.
const fn is_apics(index: u32) -> bool {
    matches!(index, MSR_APIC_BASE | MSR_TSC_DEADLINE | MSR_X2APIC_FIRST..=MSR_X2APIC_LAST)
}
