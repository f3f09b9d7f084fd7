//! The single trials.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::guest::{
    self, DATA, END_PORT, HANDLER_PORT, KERNEL_CODE, STAR, SYSCALL_HANDLER, USER_CODE, report,
};
use super::{BreakpointStop, Calibration, SyscallEntry, instructions};
use crate::cpuid::features;
use crate::error::Result;
use crate::kvm::{DebugControl, Exit, HardwareBreakpoint, Host, Kick, Vcpu, VmFd};
use crate::memory::Memory;
use crate::msr::{IA32_FMASK, IA32_LSTAR, IA32_STAR};

/// How long a trial may take; a guest that does not get to an exit is interrupted.
const PATIENCE: Duration = Duration::from_millis(500);
/// gpa of the read-only page, behind the guest's memory.
const READ_ONLY: u64 = 0x80_0000;
const INT3: u8 = 0xcc;
const NOP: u8 = 0x90;
const VECTOR_BP: u16 = 3;
const VECTOR_PF: u16 = 14;
const SYSCALL_PORT: u16 = HANDLER_PORT + 32;

/// Runs all trials.
pub(super) fn run(host: &Host) -> Result<Calibration> {
    let (kernel_breakpoint, user_breakpoint) = (breakpoint(host, false)?, breakpoint(host, true)?);
    Ok(Calibration {
        kernel_breakpoint,
        user_breakpoint,
        kernel_hardware: hardware(host, false)?,
        user_hardware: hardware(host, true)?,
        kernel_step: step(host, false)?,
        user_step: step(host, true)?,
        watchpoint: watchpoint(host)?,
        syscall: syscall(host)?,
        x2apic: x2apic(host)?,
        read_only_memory: read_only_memory(host)?,
        kernel_lacks: instructions::missing_in_kernel_code(
            host,
            features::offered(host.supported_cpuid()?.as_slice()),
        )?,
    })
}

/// Where a trial's guest ended up.
#[derive(Debug)]
pub(super) struct Stop {
    exit: Exit,
    rip: u64,
    cpl: u8,
}

/// A machine of its own for each trial, so that no state is left over.
pub(super) fn machine(host: &Host, code: &[u8], user: bool) -> Result<(VmFd, Vcpu)> {
    let memory = Memory::new(guest::MEMORY)?;
    guest::write(&memory, if user { &[] } else { code }, if user { code } else { &[] })?;
    let vm = host.create_vm(memory)?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_cpuid(&host.supported_cpuid()?)?;
    guest::enter(&mut vcpu, user);
    Ok((vm, vcpu))
}

/// Runs until the first exit that is no interruption.
pub(super) fn run_once(vcpu: &mut Vcpu) -> Result<Stop> {
    let kick = Kick::default();
    let done = AtomicBool::new(false);
    let target = vcpu.kick_target(&kick)?;
    let exit = thread::scope(|scope| {
        let guard = scope.spawn(|| {
            thread::park_timeout(PATIENCE);
            if !done.load(Ordering::Acquire) {
                kick.kick();
            }
        });
        let exit = vcpu.run();
        done.store(true, Ordering::Release);
        guard.thread().unpark();
        exit
    })?;
    drop(target);
    let stop = Stop { exit, rip: vcpu.regs().rip, cpl: vcpu.sregs().ss.dpl };
    Ok(stop)
}

pub(super) fn is_port(stop: &Stop, wanted: u16) -> bool {
    matches!(stop.exit, Exit::Io { port, write: true, .. } if port == wanted)
}

fn breakpoint(host: &Host, user: bool) -> Result<BreakpointStop> {
    let mut code = vec![INT3];
    code.extend(report(END_PORT));
    let (_vm, mut vcpu) = machine(host, &code, user)?;
    vcpu.set_debug(DebugControl { software_breakpoints: true, ..DebugControl::default() })?;
    let stop = run_once(&mut vcpu)?;
    let at = if user { USER_CODE } else { KERNEL_CODE };
    Ok(match &stop.exit {
        Exit::Debug { exception: 3, pc, .. } if *pc == at => BreakpointStop::Direct,
        Exit::InternalError { suberror: 1, .. } if stop.rip == at => BreakpointStop::Error,
        _ if is_port(&stop, HANDLER_PORT + VECTOR_BP) => BreakpointStop::Bounce,
        _ => BreakpointStop::Unseen,
    })
}

fn hardware(host: &Host, user: bool) -> Result<bool> {
    let mut code = vec![NOP, NOP];
    code.extend(report(END_PORT));
    let (_vm, mut vcpu) = machine(host, &code, user)?;
    let at = if user { USER_CODE } else { KERNEL_CODE } + 1;
    let mut debug = DebugControl::default();
    debug.hardware[0] = Some(HardwareBreakpoint::Execute(at));
    vcpu.set_debug(debug)?;
    let stop = run_once(&mut vcpu)?;
    Ok(matches!(stop.exit, Exit::Debug { exception: 1, pc, .. } if pc == at))
}

fn step(host: &Host, user: bool) -> Result<bool> {
    let mut code = vec![NOP, NOP];
    code.extend(report(END_PORT));
    let (_vm, mut vcpu) = machine(host, &code, user)?;
    let start = if user { USER_CODE } else { KERNEL_CODE };
    // The first touch of each page may repeat a step at the same place (Bochs), so there are more tries than steps.
    for _ in 0..10 {
        vcpu.set_debug(DebugControl { single_step: true, ..DebugControl::default() })?;
        let stop = run_once(&mut vcpu)?;
        if !matches!(stop.exit, Exit::Debug { exception: 1, .. }) {
            return Ok(false);
        }
        if stop.rip == start + 2 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn watchpoint(host: &Host) -> Result<bool> {
    // mov byte [DATA], al
    let mut code = vec![0x88, 0x04, 0x25];
    code.extend((DATA as u32).to_le_bytes());
    code.extend(report(END_PORT));
    let (_vm, mut vcpu) = machine(host, &code, false)?;
    let mut debug = DebugControl::default();
    debug.hardware[0] = Some(HardwareBreakpoint::Write { address: DATA, len: 1 });
    vcpu.set_debug(debug)?;
    let stop = run_once(&mut vcpu)?;
    Ok(matches!(stop.exit, Exit::Debug { exception: 1, .. }))
}

fn syscall(host: &Host) -> Result<SyscallEntry> {
    const EFER_SCE: u64 = 1;
    let (_vm, mut vcpu) = machine(host, &[0x0f, 0x05], true)?;
    for (msr, value) in [(IA32_STAR, STAR), (IA32_LSTAR, SYSCALL_HANDLER), (IA32_FMASK, 0)] {
        if !vcpu.set_msr(msr, value)? {
            return Ok(SyscallEntry::Broken);
        }
    }
    let mut sregs = vcpu.sregs();
    sregs.efer |= EFER_SCE;
    vcpu.set_sregs(&sregs);
    let stop = run_once(&mut vcpu)?;
    Ok(if is_port(&stop, SYSCALL_PORT) && stop.cpl == 0 {
        SyscallEntry::Normal
    } else if is_port(&stop, HANDLER_PORT + VECTOR_PF) && vcpu.sregs().cr2 == SYSCALL_HANDLER {
        SyscallEntry::UserPrivilege
    } else {
        SyscallEntry::Broken
    })
}

fn x2apic(host: &Host) -> Result<bool> {
    // mov ecx, 0x802; rdmsr
    let mut code = vec![0xb9, 0x02, 0x08, 0, 0, 0x0f, 0x32];
    code.extend(report(END_PORT));
    let (_vm, mut vcpu) = machine(host, &code, false)?;
    let stop = run_once(&mut vcpu)?;
    Ok(matches!(stop.exit, Exit::ReadMsr { index: 0x802, .. }))
}

fn read_only_memory(host: &Host) -> Result<bool> {
    // mov byte [READ_ONLY], al
    let mut code = vec![0x88, 0x04, 0x25];
    code.extend((READ_ONLY as u32).to_le_bytes());
    code.extend(report(END_PORT));
    let (vm, mut vcpu) = machine(host, &code, false)?;
    if vm.add_read_only_alias(1, READ_ONLY, DATA).is_err() {
        return Ok(false);
    }
    let stop = run_once(&mut vcpu)?;
    Ok(matches!(stop.exit, Exit::Mmio { gpa: READ_ONLY, write: true, .. }))
}
