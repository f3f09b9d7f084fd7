//! The one breakpoint-and-step engine.
//!
//! Trap probes, breakpoints of users and debuggers, and single steps all need "stop when the guest gets here" and "do
//! one instruction". What KVM does with a breakpoint instruction or a step differs from host to host; calibration has
//! found out, and nothing outside this module knows.
//!
//! A breakpoint instruction stays where it is while the instruction under it is carried out ([`carry_out`]), so that
//! other vCPUs do not slip past. Only an instruction that is not known there is stepped, with the other vCPUs held.

mod arm;
mod bounce;
mod budget;
mod carry_out;
mod copies;
mod frame;
mod idt;
mod owner;
mod place;
mod returns;
mod selection;
mod site;
mod step;
mod stops;
mod table;
mod trap_flag;
mod traps;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use kvm_bindings::kvm_sregs;
use trace_format::event::{Actor, Payload};

pub(crate) use owner::Owner;
pub use selection::TrapSelection;
pub(crate) use site::Roles;
pub(crate) use step::Stepped;
pub(crate) use stops::{Scope, Stops};
pub(crate) use table::{Breakpoints, hide, read_code};
pub(crate) use watch::Watch;

use crate::calibration::{BreakpointStop, Calibration};
use crate::emulate;
use crate::error::Result;
use crate::kvm::{DebugControl, Event, Exit, HardwareBreakpoint, Vcpu};
use crate::memory::Memory;
use crate::recorder::{Lane, RecordRegisters};
use crate::walk::Paging;
use budget::Budget;
use carry_out::Executor;
use idt::{Idt, TABLE};
use place::Offer;
use site::{INT3, Site};
use step::OpenStep;
use table::Table;
use trap_flag::DR6_BS;
use traps::OpenTrap;

/// The vector of breakpoints.
const VECTOR_BP: u8 = 3;
/// Resume flag: set in what a fault pushes, without meaning for code that goes on.
const RFLAGS_RF: u64 = 1 << 16;
/// Trap flag.
const RFLAGS_TF: u64 = 1 << 8;
/// Interrupt flag.
const RFLAGS_IF: u64 = 1 << 9;
/// Which breakpoint register was met (SDM vol. 3, 18.2.3).
const DR6_REGISTERS: u64 = 0xf;
/// How many handlers may be entered and not yet returned from on one vCPU before the oldest is forgotten.
const OPEN_TRAPS: usize = 64;

/// What all vCPUs share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) breakpoints: Breakpoints,
    pub(crate) calibration: Calibration,
    pub(crate) selection: TrapSelection,
    pub(crate) registers: RecordRegisters,
    pub(crate) physical_bits: u8,
    pub(crate) one_gib_pages: bool,
    /// Whether KVM must hold back interrupts of its own while a vCPU is stepped.
    pub(crate) block_interrupts: bool,
    /// Whether vCPUs take interrupts that the monitor did not inject.
    pub(crate) unseen_interrupts: bool,
    next_trap: AtomicU64,
    /// How often breakpoints have been found overwritten, and when they were last looked at, ns.
    patches: AtomicU64,
    looked_ns: AtomicU64,
    /// The handler for breakpoints that a vCPU was last seen to have, gva; 0 before.
    bounce_handler: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        calibration: Calibration,
        selection: TrapSelection,
        registers: RecordRegisters,
        physical_bits: u8,
        one_gib_pages: bool,
        block_interrupts: bool,
        unseen_interrupts: bool,
    ) -> Self {
        Self {
            breakpoints: Breakpoints::new(Offer::of(&calibration)),
            calibration,
            selection,
            registers,
            physical_bits,
            one_gib_pages,
            block_interrupts,
            unseen_interrupts,
            next_trap: AtomicU64::new(1),
            patches: AtomicU64::new(0),
            looked_ns: AtomicU64::new(0),
            bounce_handler: AtomicU64::new(0),
        }
    }

    /// Forgets where the guest's handlers are, and every breakpoint that is in its memory. What users want stays wanted.
    pub(crate) fn begin_anew(&self) {
        self.breakpoints.begin_anew();
        self.bounce_handler.store(0, Ordering::Relaxed);
    }

    /// How a vCPU with these registers translates.
    pub(crate) fn paging(&self, sregs: &kvm_sregs) -> Paging {
        Paging {
            cr0: sregs.cr0,
            cr3: sregs.cr3,
            cr4: sregs.cr4,
            efer: sregs.efer,
            physical_bits: self.physical_bits,
            one_gib_pages: self.one_gib_pages,
        }
    }
}

/// One vCPU's part of the engine.
#[derive(Debug)]
pub(crate) struct Probes {
    shared: Arc<Shared>,
    table: Arc<Table>,
    generation: u64,
    /// The generation whose breakpoints KVM was told of for this vCPU; at first none.
    told: Option<u64>,
    idt: Idt,
    idt_base: u64,
    idt_limit: u16,
    lstar: u64,
    /// Whether the vCPU was in long mode when the probes were armed.
    armed: bool,
    /// What looking for handlers may cost.
    budget: Budget,
    /// The probes wait for the budget.
    starved: bool,
    /// How often the guest had overwritten breakpoints when the probes were armed.
    patches: u64,
    /// When the table's contents were last compared, ns.
    compared_ns: u64,
    scratch: Box<[u8; TABLE]>,
    open: ArrayVec<OpenTrap, OPEN_TRAPS>,
    /// The users' breakpoint at which the vCPU stands and that it has reported.
    reported: Option<u64>,
    /// The probe at which the vCPU stands and which has been recorded: its instruction is still to be done.
    held: Option<u64>,
    /// A step whose instruction is not complete.
    step: Option<OpenStep>,
    /// The watchpoint that the last step has met.
    watched: Option<Watch>,
}

/// What the engine works with during one exit.
pub(crate) struct Context<'c> {
    pub(crate) vcpu: &'c mut Vcpu,
    pub(crate) memory: &'c Memory,
    pub(crate) lane: &'c mut Lane,
    /// The vector that was injected at the entry before this exit.
    pub(crate) injected: Option<u8>,
    /// When the exit happened, ns.
    pub(crate) time: u64,
}

/// What an exit was to the engine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing of the engine's.
    NotOurs,
    /// A probe at `pc`, done with: the guest goes on.
    Probe { pc: u64 },
    /// A probe at `pc` whose instruction must be stepped with the other vCPUs held.
    StepOver { pc: u64 },
    /// A breakpoint that somebody has set.
    Breakpoint { pc: u64, by: Actor },
    /// An access to what is watched.
    Watchpoint(Watch),
}

impl Probes {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            table: shared.breakpoints.table(),
            generation: shared.breakpoints.generation(),
            told: None,
            shared,
            idt: Idt::default(),
            idt_base: 0,
            idt_limit: 0,
            lstar: 0,
            armed: false,
            budget: Budget::default(),
            starved: false,
            patches: 0,
            compared_ns: 0,
            scratch: Box::new([0; TABLE]),
            open: ArrayVec::new(),
            reported: None,
            held: None,
            step: None,
            watched: None,
        }
    }

    /// Looks at an exit that may be the engine's doing, and deals with it if it is.
    pub(crate) fn examine(&mut self, exit: &Exit, cx: &mut Context<'_>) -> Result<Verdict> {
        let Some(hit) = self.classify(exit, cx) else { return Ok(Verdict::NotOurs) };
        // A register may have stopped where a breakpoint waits for its page.
        self.place_pending(cx);
        self.refresh();
        match hit {
            Hit::Breakpoint { pc } => match self.find(pc, cx) {
                Found::Ours(site) => self.at_site(pc, &site, cx),
                Found::Guests => self.guests_own(pc, cx),
                // It was ours until a moment ago, or a copy of ours; the guest tries again. What a register still holds
                // is ours in another address space.
                Found::Nothing => {
                    self.update(cx)?;
                    let held = holds(&cx.vcpu.debug(), pc);
                    Ok(if held { Verdict::StepOver { pc } } else { Verdict::Probe { pc } })
                }
            },
            Hit::Watched(watch) => Ok(Verdict::Watchpoint(watch)),
            Hit::Bounced => self.bounced(cx),
            Hit::GuestsTrap { dr6 } => {
                inject_debug(cx, dr6)?;
                Ok(Verdict::NotOurs)
            }
        }
    }

    /// Takes over a table that another thread has changed.
    pub(crate) fn refresh(&mut self) {
        let generation = self.shared.breakpoints.generation();
        if generation != self.generation {
            self.generation = generation;
            self.table = self.shared.breakpoints.table();
        }
    }

    /// The breakpoint of ours at `pc`, as the guest has left it. None where its address space has other memory at `pc`.
    fn site_at(&mut self, pc: u64, cx: &mut Context<'_>) -> Option<Site> {
        if self.table.is_empty() {
            return None;
        }
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let gpa = paging.translate(cx.memory.map(), pc)?;
        let Some(site) = self.table.get(pc).filter(|site| site.gpa == gpa) else {
            return self.table.alias(pc, gpa, cx.memory, &paging);
        };
        if !site.is_intact(cx.memory, &self.table) {
            self.shared.breakpoints.follow_patches(cx.memory, &paging);
            self.refresh();
        }
        self.table.get(pc).cloned()
    }

    /// Whose the `INT3` at `pc` is that the guest has met. Another vCPU may be putting breakpoints into memory or taking
    /// them out: the guest's are those that are there before and after a look at a table that nobody changes.
    fn find(&mut self, pc: u64, cx: &mut Context<'_>) -> Found {
        if let Some(site) = self.site_at(pc, cx) {
            return Found::Ours(site);
        }
        let before = self.is_int3(pc, cx);
        self.table = self.shared.breakpoints.table();
        match self.site_at(pc, cx) {
            Some(site) => Found::Ours(site),
            None if before && self.is_int3(pc, cx) && !self.take_out_copy(pc, cx) => Found::Guests,
            None => Found::Nothing,
        }
    }

    fn classify(&self, exit: &Exit, cx: &mut Context<'_>) -> Option<Hit> {
        if let Exit::Debug { exception: 1, dr6, .. } = exit
            && let Some(watch) = self.watch_of(*dr6, cx.vcpu)
        {
            return Some(Hit::Watched(watch));
        }
        match exit {
            Exit::Debug { exception: 3, pc, .. } => Some(Hit::Breakpoint { pc: *pc }),
            Exit::Debug { pc, .. } if Some(*pc) == self.bounce_handler() => Some(Hit::Bounced),
            // The guest steps itself, and has come to where a register of ours is. That one stops it when its handler has
            // returned (SDM vol. 3, "Priority Among Concurrent Events": traps of the instruction before come first).
            Exit::Debug { exception: 1, dr6, .. }
                if dr6 & DR6_BS != 0 && cx.vcpu.regs().rflags & RFLAGS_TF != 0 =>
            {
                Some(Hit::GuestsTrap { dr6: dr6 & !DR6_REGISTERS })
            }
            // While registers of ours are set KVM leaves out the guest's. Perhaps this one has been taken away since.
            Exit::Debug { exception: 1, pc, dr6, .. }
                if holds(&cx.vcpu.debug(), *pc) || dr6 & DR6_REGISTERS != 0 =>
            {
                Some(Hit::Breakpoint { pc: *pc })
            }
            // The guest's own trap flag, which comes here only while the engine uses guest debugging.
            Exit::Debug { exception: 1, dr6, .. } => Some(Hit::GuestsTrap { dr6: *dr6 }),
            Exit::InternalError { suberror: 1, instruction }
                if self.shared.calibration.kernel_breakpoint == BreakpointStop::Error =>
            {
                let pc = emulate::linear_rip(cx.vcpu.rip(), &cx.vcpu.sregs());
                // What KVM saw counts: a breakpoint is back in memory after the instruction under it was tried.
                let is_int3 = match instruction.first() {
                    Some(byte) => *byte == INT3,
                    None => self.is_int3(pc, cx),
                };
                is_int3.then_some(Hit::Breakpoint { pc })
            }
            _ => None,
        }
    }

    /// The watchpoint that DR6 says has been met, if it is one of ours.
    fn watch_of(&self, dr6: u64, vcpu: &Vcpu) -> Option<Watch> {
        let registers = vcpu.debug().hardware;
        let met = registers.into_iter().enumerate().filter(|(n, _)| dr6 & 1 << n != 0);
        met.filter_map(|(_, register)| register).find_map(|register| self.table.watch_of(register))
    }

    /// Whether there is an `INT3` of one byte in guest memory.
    fn is_int3(&self, gva: u64, cx: &mut Context<'_>) -> bool {
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let mut byte = [0];
        paging.read(cx.memory.map(), gva, &mut byte) == 1 && byte == [INT3]
    }

    /// Takes out the `INT3` at `pc` if the guest has copied it from where a breakpoint was.
    fn take_out_copy(&self, pc: u64, cx: &mut Context<'_>) -> bool {
        let paging = self.shared.paging(&cx.vcpu.sregs());
        self.shared.breakpoints.take_out_copy(cx.memory, &paging, pc)
    }

    /// Whether the guest has an `INT vector` of two bytes there, with a breakpoint of ours on it or not.
    fn is_int(&self, vector: u8, gva: u64, cx: &mut Context<'_>) -> bool {
        const INT: u8 = 0xcd;
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let mut bytes = [0; 2];
        read_code(cx.memory, &paging, &self.table, gva, &mut bytes) == 2 && bytes == [INT, vector]
    }

    /// The guest is at a breakpoint of ours.
    fn at_site(&mut self, pc: u64, site: &Site, cx: &mut Context<'_>) -> Result<Verdict> {
        if self.reported != Some(pc)
            && let Some(by) = site.roles.stops.at(cx.vcpu.cr3())
        {
            self.reported = Some(pc);
            return Ok(Verdict::Breakpoint { pc, by });
        }
        self.reported = None;
        self.pass(pc, site, cx)
    }

    /// Does what the breakpoint is there for, and the instruction under it.
    fn pass(&mut self, pc: u64, site: &Site, cx: &mut Context<'_>) -> Result<Verdict> {
        let paging = self.shared.paging(&cx.vcpu.sregs());
        if site.roles.fixup && self.repair_syscall(cx, &paging)? {
            // The vCPU now is where SYSCALL should have put it, which may be a breakpoint too.
            let lstar = self.lstar;
            return match self.site_at(lstar, cx) {
                Some(entry) => {
                    self.pass(lstar, &entry, cx)?;
                    Ok(Verdict::Probe { pc })
                }
                None => Ok(Verdict::Probe { pc }),
            };
        }
        if self.held.take() != Some(pc) {
            self.record(site, cx, &paging);
            if cx.lane.has_met() {
                // The guest stops for that, here: the handler's first instruction is what comes next.
                self.held = Some(pc);
                return Ok(Verdict::Probe { pc });
            }
        }
        if site.original == INT3 {
            return self.guests_own(pc, cx);
        }
        let mut executor = Executor { vcpu: &mut *cx.vcpu, memory: cx.memory, paging };
        if executor.carry_out(&site.instruction)? {
            // Probes are where nobody comes by STI.
            if !site.roles.stops.is_none() {
                cx.vcpu.end_shadow()?;
            }
            return Ok(Verdict::Probe { pc });
        }
        Ok(Verdict::StepOver { pc })
    }

    /// An `INT3` of the guest's own that KVM gave to us: it gets its exception.
    fn guests_own(&mut self, pc: u64, cx: &mut Context<'_>) -> Result<Verdict> {
        use trace_format::event::{Fixup, FixupKind, Mnemonic};
        let mut regs = cx.vcpu.regs();
        regs.rflags &= !RFLAGS_RF;
        // Where KVM passes #BP on it knows the instruction's length, and goes behind it when #BP is injected.
        if self.shared.calibration.kernel_breakpoint == BreakpointStop::Error {
            regs.rip = regs.rip.wrapping_add(1);
            let fixup = Fixup { kind: FixupKind::Breakpoint, rip: pc, mnemonic: Mnemonic::default() };
            cx.lane.record_at(cx.time, Payload::Fixup(fixup));
        }
        cx.vcpu.set_regs(&regs);
        cx.vcpu.deliver(Event::BREAKPOINT)?;
        Ok(Verdict::Probe { pc })
    }
}

/// Whether a breakpoint register that is set stops at `pc`.
fn holds(debug: &DebugControl, pc: u64) -> bool {
    debug.hardware.contains(&Some(HardwareBreakpoint::Execute(pc)))
}

/// Whose a breakpoint is.
enum Found {
    Ours(Site),
    Guests,
    Nothing,
}

/// How the engine was reached.
enum Hit {
    Breakpoint { pc: u64 },
    Watched(Watch),
    Bounced,
    GuestsTrap { dr6: u64 },
}

/// Gives the guest the debug exception that KVM gave to the monitor.
fn inject_debug(cx: &mut Context<'_>, dr6: u64) -> Result<()> {
    cx.vcpu.set_dr6(dr6)?;
    cx.vcpu.deliver(Event::DEBUG)
}
