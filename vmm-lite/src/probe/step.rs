//! One instruction.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};
use trace_format::event::Actor;

use super::site::LONGEST;
use super::table::read_code;
use super::trap_flag::{self, Stack};
use super::{Context, Owner, Probes, RFLAGS_TF, VECTOR_BP, Verdict};
use crate::calibration::BreakpointStop;
use crate::emulate;
use crate::error::{Error, Result};
use crate::kvm::{DebugControl, Exit, HardwareBreakpoint, Shadow, Vcpu};
use crate::probe::carry_out::Executor;
use crate::probe::frame::Frame;
use crate::probe::watch::Watch;
use crate::vcpu::{Segment, load_segments};
use crate::walk::Paging;

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
    /// What TF was before it, and what the instruction does with it.
    trap_flag: trap_flag::Before,
    /// Where it goes if it enters the kernel, gva: KVM need not see the step through to there, as TF is off then.
    entry: Option<u64>,
}

impl Probes {
    /// Carries out the instruction at which the vCPU stands, whether there is a breakpoint or not. The other vCPUs
    /// must be out of the guest.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) -> Result<Stepped> {
        self.refresh();
        let pc = emulate::linear_rip(cx.vcpu.rip(), &cx.vcpu.sregs());
        let site = if self.is_at_bounce_handler(cx) { self.bounce_site(cx) } else { self.site_at(pc, cx) };
        // What waits to be delivered comes before the instruction.
        if let Some(site) = site
            && !cx.vcpu.has_event()
        {
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
        let paging = self.shared.paging(&sregs);
        let instruction = self.instruction_at(pc, &paging, cx);
        if !cx.vcpu.has_event() && (load_ss(&instruction, &paging, cx)? || iretq(&instruction, paging, cx)?) {
            return Ok(Stepped::Done);
        }
        let step = self.open_step(pc, &instruction, &paging, cx)?;
        step.at.into_iter().for_each(|gpa| self.shared.breakpoints.take_out(cx.memory, gpa));
        self.step = Some(step);
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
        let paging = self.shared.paging(&cx.vcpu.sregs());
        step.trap_flag.settle(&self.idt, cx, &paging)?;
        self.undo_bounce(cx)
    }

    fn instruction_at(&self, pc: u64, paging: &Paging, cx: &mut Context<'_>) -> Instruction {
        let mut code = [0; LONGEST];
        let length = read_code(cx.memory, paging, &self.table, pc, &mut code);
        emulate::decode(code.get(..length).unwrap_or_default(), cx.vcpu.rip(), &cx.vcpu.sregs())
    }

    /// What is to be known of `instruction`, at gva `pc`, before it is stepped.
    fn open_step(
        &self,
        pc: u64,
        instruction: &Instruction,
        paging: &Paging,
        cx: &mut Context<'_>,
    ) -> Result<OpenStep> {
        let entry = match cx.vcpu.queued_vector()? {
            // What waits to be delivered goes first.
            Some(vector) => self.idt.handler(vector),
            None => match instruction.code() {
                Code::Int1 => self.idt.handler(VECTOR_DB),
                Code::Int3 => self.idt.handler(VECTOR_BP),
                Code::Int_imm8 => self.idt.handler(instruction.immediate8()),
                Code::Syscall => Some(self.lstar).filter(|lstar| *lstar != 0),
                _ => None,
            },
        };
        let stack = Stack { memory: cx.memory, paging };
        Ok(OpenStep {
            at: paging.translate(cx.memory.map(), pc),
            trap_flag: trap_flag::Before::look(instruction, &cx.vcpu.regs(), &cx.vcpu.sregs(), &stack),
            entry,
        })
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
        let entry = self.step.as_ref().and_then(|step| step.entry);
        let entry =
            entry.filter(|entry| !(bounce.into_iter().chain(breakpoints)).any(|other| other == *entry));
        let execute = bounce.into_iter().chain(breakpoints).chain(entry).map(HardwareBreakpoint::Execute);
        for (register, wanted) in debug.hardware.iter_mut().zip(execute.chain(self.table.watch_registers())) {
            *register = Some(wanted);
        }
        cx.vcpu.set_debug(debug)?;
        // What is due waits for the step's end; KVM would tell of the window for it instead of stepping. Who injects asks
        // for it anew.
        cx.vcpu.request_interrupt_window(false);
        // The guest's own debug exception goes to the same handler.
        let entering = cx.vcpu.has_event();
        match cx.vcpu.run()? {
            // Not every host reports every step, over IRETQ say: then the guest runs on until it is interrupted.
            Exit::Interrupted if cx.vcpu.rip() != from => Ok(Stepped::Done),
            Exit::Debug { exception: 1, pc, .. } if Some(pc) == bounce && entering => Ok(Stepped::Done),
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

/// Carries out a load of SS from a register. The CPU traps only after the instruction behind it (SDM vol. 3, 7.8.3), so
/// that a step of KVM's would be two. False, and nothing changed, if it is another instruction, or would fault.
fn load_ss(instruction: &Instruction, paging: &Paging, cx: &mut Context<'_>) -> Result<bool> {
    let is_load = instruction.mnemonic() == Mnemonic::Mov
        && (instruction.op0_register(), instruction.op1_kind()) == (Register::SS, OpKind::Register);
    let (regs, mut sregs) = (cx.vcpu.regs(), cx.vcpu.sregs());
    let Some(selector) = emulate::general(&regs, instruction.op1_register()).filter(|_| is_load) else {
        return Ok(false);
    };
    let loads = [(Segment::Ss, selector as u16)];
    if load_segments(cx.memory.map(), paging, &mut sregs, regs.rflags, &loads).is_err() {
        return Ok(false);
    }
    cx.vcpu.set_sregs(&sregs);
    cx.vcpu.pass_instruction(instruction.len() as u64)?;
    cx.vcpu.begin_shadow(Shadow::MovSs)?;
    Ok(true)
}

/// Carries out an `IRETQ`: some KVMs do not see a step over it, and go on behind the instruction that it leads to. False,
/// and nothing changed, if it is another instruction, or none that can be done here.
fn iretq(instruction: &Instruction, paging: Paging, cx: &mut Context<'_>) -> Result<bool> {
    if instruction.code() != Code::Iretq {
        return Ok(false);
    }
    Executor { vcpu: &mut *cx.vcpu, memory: cx.memory, paging }.carry_out(instruction)
}
