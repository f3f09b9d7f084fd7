//! Telling what a handler was entered for.

use std::sync::atomic::Ordering;

use trace_format::event::{
    Fixup, FixupKind, HostMapping, Mnemonic, Payload, Trap, TrapClass, TrapReturn, VECTOR_SYSCALL, WalkCause,
    WalkOutcome,
};

use super::carry_out::Executor;
use super::frame::Frame;
use super::returns::Return;
use super::site::Site;
use super::{Context, OPEN_TRAPS, Probes};
use crate::error::Result;
use crate::recorder::{RecordRegisters, registers_of};
use crate::walk::{Paging, access_of_fault};

const VECTOR_PF: u8 = 14;
const EXCEPTIONS: u8 = 32;

/// A handler that has been entered and has not returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenTrap {
    id: u64,
    vector: u16,
    /// gva of the frame that its `IRETQ` will pop; for a system call the RCX that its `SYSRETQ` will use.
    key: u64,
    entered_ns: u64,
}

impl Probes {
    /// Records what the breakpoint at `site` is there for.
    pub(super) fn record(&mut self, site: &Site, cx: &mut Context<'_>, paging: &Paging) {
        if site.roles.syscall {
            self.record_syscall(site, cx);
        }
        if !site.roles.vectors.is_empty() {
            self.record_vector(site, cx, paging);
        }
        if let Some(kind) = site.roles.returns {
            self.record_return(kind, cx, paging);
        }
    }

    fn record_syscall(&mut self, site: &Site, cx: &mut Context<'_>) {
        const USER_CPL: u8 = 3;
        let regs = cx.vcpu.regs();
        let trap = Trap {
            id: self.shared.next_trap.fetch_add(1, Ordering::Relaxed),
            vector: VECTOR_SYSCALL,
            shared_by: 1,
            class: TrapClass::SystemCall,
            code: Some(regs.rax),
            rip: regs.rcx,
            cs: cx.vcpu.sregs().cs.selector,
            cpl: USER_CPL,
            rsp: regs.rsp,
            handler: site.instruction.ip(),
            cr2: None,
        };
        self.enter(&trap, regs.rcx, cx.time);
        self.record_registers(cx);
        cx.lane.record_at(cx.time, Payload::Trap(trap));
    }

    /// What a handler finds in the registers. Where every exit's are recorded, these are.
    fn record_registers(&self, cx: &mut Context<'_>) {
        if self.shared.registers == RecordRegisters::Traps && cx.lane.is_on() {
            let registers = registers_of(cx.vcpu);
            cx.lane.record_at(cx.time, Payload::Registers(registers));
        }
    }

    /// Whether the frame returns behind an `INT vector`.
    fn is_after_int(&self, frame: &Frame, vector: u8, cx: &mut Context<'_>) -> bool {
        self.is_int(vector, frame.rip.wrapping_sub(2), cx)
    }

    fn record_vector(&mut self, site: &Site, cx: &mut Context<'_>, paging: &Paging) {
        let regs = cx.vcpu.regs();
        let vectors = site.roles.vectors;
        let injected = cx.injected.filter(|v| vectors.contains(*v));
        let Some(vector) = injected.or_else(|| vectors.first()) else { return };
        let pushes = vector < EXCEPTIONS && injected.is_none() && Trap::pushes_error_code(vector);
        let frame_at = regs.rsp.wrapping_add(if pushes { 8 } else { 0 });
        let Some(frame) = Frame::read(cx.memory, paging, frame_at) else { return };
        let class = match TrapClass::of_exception(vector) {
            _ if injected.is_some() => TrapClass::ExternalInterrupt,
            Some(class) => class,
            None if self.shared.unseen_interrupts && !self.is_after_int(&frame, vector, cx) => {
                TrapClass::ExternalInterrupt
            }
            None => TrapClass::SoftwareInterrupt,
        };
        let code = if pushes { read_word(cx, paging, regs.rsp) } else { None };
        let cr2 = (vector == VECTOR_PF && pushes).then(|| cx.vcpu.sregs().cr2);
        let trap = Trap {
            id: self.shared.next_trap.fetch_add(1, Ordering::Relaxed),
            vector: u16::from(vector),
            shared_by: if injected.is_some() { 1 } else { vectors.len() },
            class,
            code,
            rip: frame.rip,
            cs: frame.cs,
            cpl: frame.cpl(),
            rsp: frame.rsp,
            handler: site.instruction.ip(),
            cr2,
        };
        self.enter(&trap, frame.at, cx.time);
        self.record_registers(cx);
        cx.lane.record_at(cx.time, Payload::Trap(trap));
        if let (Some(gva), Some(code)) = (cr2, code) {
            let access = access_of_fault(code as u32, frame.cpl(), frame.rflags);
            let mut walk = paging.walk(cx.memory.map(), gva, access, WalkCause::PageFault);
            if let WalkOutcome::Mapped { gpa, host, .. } = &mut walk.outcome {
                // Another vCPU has mapped it meanwhile. Where it is on the host is known; more would be a system call.
                let hva = cx.memory.host_address(*gpa);
                *host = hva.map(|hva| HostMapping { hva, resident: None, frame: None });
            }
            cx.lane.record_at(cx.time, Payload::Walk(walk));
        }
    }

    fn record_return(&mut self, kind: Return, cx: &mut Context<'_>, paging: &Paging) {
        let regs = cx.vcpu.regs();
        let (key, rip) = match kind {
            Return::Sysret => (regs.rcx, regs.rcx),
            Return::Iret => {
                let Some(frame) = Frame::read(cx.memory, paging, regs.rsp) else { return };
                (frame.at, frame.rip)
            }
        };
        let is_syscall = kind == Return::Sysret;
        let matches = |open: &OpenTrap| open.key == key && (open.vector == VECTOR_SYSCALL) == is_syscall;
        let Some(at) = self.open.iter().rposition(matches) else { return };
        let open = self.open[at];
        // What was entered after it will not return any more: a handler that left by another way.
        self.open.truncate(at);
        cx.lane.record_at(
            cx.time,
            Payload::TrapReturn(TrapReturn {
                id: open.id,
                vector: open.vector,
                duration_ns: cx.time.saturating_sub(open.entered_ns),
                rip,
            }),
        );
    }

    fn enter(&mut self, trap: &Trap, key: u64, entered_ns: u64) {
        if self.open.len() == OPEN_TRAPS {
            self.open.remove(0);
        }
        self.open.push(OpenTrap { id: trap.id, vector: trap.vector, key, entered_ns });
    }

    /// On a host where `SYSCALL` keeps user privilege the fetch of the entry faults. Whether this page fault is one of
    /// those, which it has then been turned into a system call.
    pub(super) fn repair_syscall(&mut self, cx: &mut Context<'_>, paging: &Paging) -> Result<bool> {
        let regs = cx.vcpu.regs();
        let Some(frame) = Frame::read(cx.memory, paging, regs.rsp.wrapping_add(8)) else { return Ok(false) };
        let is_entry = frame.rip == self.lstar && cx.vcpu.sregs().cr2 == self.lstar && frame.cpl() == 3;
        if !is_entry {
            return Ok(false);
        }
        let mut executor = Executor { vcpu: &mut *cx.vcpu, memory: cx.memory, paging: *paging };
        if !executor.finish_syscall(&frame, self.lstar)? {
            return Ok(false);
        }
        // RCX holds the address behind the SYSCALL, which is two bytes long.
        let rip = cx.vcpu.regs().rcx.wrapping_sub(2);
        let fixup = Fixup { kind: FixupKind::Syscall, rip, mnemonic: Mnemonic::default() };
        cx.lane.record_at(cx.time, Payload::Fixup(fixup));
        Ok(true)
    }
}

fn read_word(cx: &Context<'_>, paging: &Paging, gva: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    (paging.read(cx.memory.map(), gva, &mut bytes) == bytes.len()).then(|| u64::from_le_bytes(bytes))
}
