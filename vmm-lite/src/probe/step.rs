//! One instruction.

use trace_format::event::{Actor, Trap};

use super::{Context, Owner, Probes, RFLAGS_TF, VECTOR_BP, Verdict};
use crate::calibration::BreakpointStop;
use crate::emulate;
use crate::error::{Error, Result};
use crate::kvm::{DebugControl, Exit, HardwareBreakpoint, Vcpu};
use crate::probe::carry_out::Executor;
use crate::probe::frame::Frame;
use crate::probe::watch::Watch;

const VECTOR_DB: u8 = 1;

/// How a step ended.
#[derive(Debug)]
pub(crate) enum Stepped {
    /// The instruction is done.
    Done,
    /// The guest left for another reason first, which is to be handled; the step is to be tried again unless that
    /// exit was the instruction's own. One that awaits completion was: then the step stays open until
    /// [`Probes::end_step`].
    Exit(Exit),
}

/// A step that has begun. KVM may have part of the instruction still to do after an exit for the monitor's part. Until
/// then the breakpoint stays out of memory, as KVM may decode the instruction once more to find its end, and KVM
/// single-steps, as it looks at that again when it goes on behind the instruction.
#[derive(Debug)]
pub(super) struct OpenStep {
    /// Where the instruction is, gpa; none if that is no memory.
    at: Option<u64>,
    /// The guest had TF set.
    own_trap_flag: bool,
}

impl Probes {
    /// Carries out the instruction at which the vCPU stands, whether there is a breakpoint or not. The other vCPUs
    /// must be out of the guest.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) -> Result<Stepped> {
        self.refresh();
        let pc = emulate::linear_rip(cx.vcpu.rip(), &cx.vcpu.sregs());
        let site = if self.is_at_bounce_handler(cx) { self.bounce_site(cx) } else { self.site_at(pc, cx) };
        if let Some(site) = site {
            self.reported = None;
            if let Verdict::Probe { .. } = self.pass(pc, &site, cx)? {
                return Ok(Stepped::Done);
            }
        }
        self.step_natively(cx)
    }

    /// Steps over the breakpoint at which the vCPU stands and whose work has been done. The other vCPUs must be out of
    /// the guest.
    pub(crate) fn step_natively(&mut self, cx: &mut Context<'_>) -> Result<Stepped> {
        let sregs = cx.vcpu.sregs();
        let pc = emulate::linear_rip(cx.vcpu.rip(), &sregs);
        let at = self.shared.paging(&sregs).translate(cx.memory.map(), pc);
        at.into_iter().for_each(|gpa| self.shared.breakpoints.take_out(cx.memory, gpa));
        self.step = Some(OpenStep { at, own_trap_flag: cx.vcpu.regs().rflags & RFLAGS_TF != 0 });
        let outcome = self.run_one(cx);
        if matches!(&outcome, Ok(Stepped::Exit(exit)) if exit.awaits_completion()) {
            return outcome;
        }
        let bounced = self.end_step(cx)?;
        Ok(if bounced { Stepped::Done } else { outcome? })
    }

    /// Whether `exit`, which came of the completion of an instruction, only says that an open step is done. What it
    /// says of watchpoints beside is kept.
    pub(crate) fn is_end_of_step(&mut self, exit: &Exit, vcpu: &Vcpu) -> bool {
        let Exit::Debug { exception: 1, dr6, .. } = exit else { return false };
        if self.step.is_some() {
            self.watched = self.watched.or(self.watch_of(*dr6, vcpu));
        }
        self.step.is_some()
    }

    /// Keeps a watchpoint that was met and that nobody could be told of yet.
    pub(crate) fn keep_watched(&mut self, watch: Watch) {
        self.watched = Some(watch);
    }

    /// Whose a watchpoint is.
    pub(crate) fn watcher(&self, watch: &Watch) -> Actor {
        let theirs = self.shared.breakpoints.watched_by(Owner::Gdb).contains(watch);
        if theirs { Actor::Gdb } else { Actor::User }
    }

    /// The watchpoint that the last step has met, once. None if it was kept for later and nobody watches any more.
    pub(crate) fn take_watched(&mut self) -> Option<Watch> {
        let watched = self.watched.take()?;
        self.shared.breakpoints.is_watched(&watched).then_some(watched)
    }

    /// Ends the step that is open, if one is. True if the instruction led to a breakpoint, and that to the guest's
    /// handler, from which the vCPU has been taken back: it is met when the guest goes on.
    pub(crate) fn end_step(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let Some(step) = self.step.take() else { return Ok(false) };
        step.at.into_iter().for_each(|gpa| self.shared.breakpoints.put_back(cx.memory, gpa));
        self.set_debug(cx)?;
        if !step.own_trap_flag {
            self.hide_trap_flag(cx);
        }
        self.undo_bounce(cx)
    }

    /// If the instruction faulted, or an interrupt came instead, the CPU has pushed RFLAGS with the step's TF, by which
    /// the guest would be trapped after its handler.
    fn hide_trap_flag(&self, cx: &mut Context<'_>) {
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let (mut rip, mut rsp) = (cx.vcpu.rip(), cx.vcpu.regs().rsp);
        // Where a handler begins with a breakpoint that has bounced, its own frame is the second.
        for _ in 0..2 {
            let Some(vector) = (0..=u8::MAX).find(|vector| self.idt.handler(*vector) == Some(rip)) else {
                return;
            };
            let code = if Trap::pushes_error_code(vector) { 8 } else { 0 };
            let Some(frame) = Frame::read(cx.memory, &paging, rsp.wrapping_add(code)) else { return };
            if frame.rflags & RFLAGS_TF != 0 {
                frame.clear_flags(cx.memory, &paging, RFLAGS_TF);
            }
            if vector != VECTOR_BP {
                return;
            }
            (rip, rsp) = (frame.rip.wrapping_sub(1), frame.rsp);
        }
    }

    fn run_one(&mut self, cx: &mut Context<'_>) -> Result<Stepped> {
        let user = cx.vcpu.sregs().ss.dpl == 3;
        let calibration = &self.shared.calibration;
        let native = if user { calibration.user_step } else { calibration.kernel_step };
        // Where KVM does not see the trap of a step in user code, it bounces off the guest's handler for vector 1.
        let bounce = if native { None } else { self.idt.handler(VECTOR_DB) };
        if !native && (!user || bounce.is_none() || !calibration.kernel_hardware) {
            return Err(Error::HostCannot {
                operation: "step the guest",
                why: "KVM does not report single steps here, and the guest has no handler for them",
            });
        }
        let mut debug = DebugControl {
            single_step: true,
            block_interrupts: self.shared.block_interrupts,
            ..DebugControl::default()
        };
        debug.software_breakpoints =
            calibration.kernel_breakpoint == BreakpointStop::Direct && !self.table.is_empty();
        let from = cx.vcpu.rip();
        // The instruction may fault into a handler that begins with a breakpoint of ours, which must not bounce unseen.
        let breakpoints = self.bounce_handler().filter(|handler| !self.table.is_empty() && *handler != from);
        let execute = bounce.into_iter().chain(breakpoints).map(HardwareBreakpoint::Execute);
        for (register, wanted) in debug.hardware.iter_mut().zip(execute.chain(self.table.watch_registers())) {
            *register = Some(wanted);
        }
        cx.vcpu.set_debug(debug)?;
        match cx.vcpu.run()? {
            // Not every host reports every step, over IRETQ say: then the guest runs on until it is interrupted.
            Exit::Interrupted if cx.vcpu.rip() != from => Ok(Stepped::Done),
            Exit::Debug { exception: 1, pc, .. } if Some(pc) == bounce => {
                self.undo_trap(cx)?;
                Ok(Stepped::Done)
            }
            Exit::Debug { exception: 1, pc, dr6, .. } if Some(pc) != breakpoints => {
                self.watched = self.watch_of(dr6, cx.vcpu);
                Ok(Stepped::Done)
            }
            exit => Ok(Stepped::Exit(exit)),
        }
    }

    /// Takes the vCPU back from the first instruction of the guest's handler for the step's trap.
    fn undo_trap(&self, cx: &mut Context<'_>) -> Result<()> {
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let rsp = cx.vcpu.regs().rsp;
        if let Some(frame) = Frame::read(cx.memory, &paging, rsp) {
            let mut executor = Executor { vcpu: &mut *cx.vcpu, memory: cx.memory, paging };
            executor.return_to(&Frame { rflags: frame.rflags & !RFLAGS_TF, ..frame })?;
        }
        Ok(())
    }
}
