//! Keeping the probes where the guest's handlers are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::idt::{Idt, VectorSet};
use super::owner::Owner;
use super::returns::Search;
use super::site::{Means, Roles, Site};
use super::table::read_code;
use super::{Context, Probes, VECTOR_BP};
use crate::calibration::{BreakpointStop, SyscallEntry};
use crate::emulate;
use crate::error::Result;
use crate::kvm::{HARDWARE_BREAKPOINTS, HardwareBreakpoint};
use crate::memory::Memory;
use crate::walk::Paging;

const VECTOR_PF: u8 = 14;
const EFER_LMA: u64 = 1 << 10;
/// How often the contents of the guest's table are compared. Moving the table or LSTAR is seen at once.
const COMPARE_EVERY_NS: u64 = 1_000_000;
/// How often breakpoints are looked for that the guest has overwritten.
const LOOK_EVERY_NS: u64 = 10_000_000;

impl Probes {
    /// Notices, at an exit, that handlers have moved, and arms the probes anew.
    pub(crate) fn notice(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.place_pending(cx);
        self.keep_up(cx)?;
        let (base, limit) = cx.vcpu.idt();
        let long_mode = cx.vcpu.efer() & EFER_LMA != 0;
        let moved = base != self.idt_base || limit != self.idt_limit || long_mode != self.armed;
        if !moved {
            if !self.armed || cx.time.saturating_sub(self.compared_ns) < COMPARE_EVERY_NS {
                return Ok(());
            }
            self.compared_ns = cx.time;
            self.look_for_patches(cx);
            let patched = self.patches != self.shared.patches.load(Ordering::Relaxed);
            let paging = self.shared.paging(&cx.vcpu.sregs());
            let unchanged = self.idt.is_unchanged(cx.memory.map(), &paging, base, limit, &mut self.scratch);
            if unchanged && !patched && !self.starved {
                return Ok(());
            }
        }
        self.idt_base = base;
        self.idt_limit = limit;
        self.arm(cx)
    }

    /// Sets breakpoints whose page has been mapped meanwhile.
    pub(super) fn place_pending(&self, cx: &mut Context<'_>) {
        if self.shared.breakpoints.has_pending() {
            let paging = self.shared.paging(&cx.vcpu.sregs());
            self.shared.breakpoints.place_pending(cx.memory, &paging);
        }
    }

    /// One vCPU of all looks from time to time whether the guest has overwritten breakpoints.
    fn look_for_patches(&self, cx: &mut Context<'_>) {
        let last = self.shared.looked_ns.load(Ordering::Relaxed);
        let due = cx.time.saturating_sub(last) >= LOOK_EVERY_NS;
        let mine = due
            && self
                .shared
                .looked_ns
                .compare_exchange(last, cx.time, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            return;
        }
        let paging = self.shared.paging(&cx.vcpu.sregs());
        if self.shared.breakpoints.follow_patches(cx.memory, &paging) {
            self.shared.patches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The guest has written LSTAR.
    pub(crate) fn set_lstar(&mut self, lstar: u64, cx: &mut Context<'_>) -> Result<()> {
        if lstar == self.lstar {
            return Ok(());
        }
        self.lstar = lstar;
        self.arm(cx)
    }

    /// Tells KVM of breakpoints that another vCPU has changed, if there are any: before the guest is entered, too, as a
    /// vCPU may have slept since its last exit.
    #[inline]
    pub(crate) fn keep_up(&mut self, cx: &mut Context<'_>) -> Result<()> {
        // Where breakpoints bounce, it may have met that one again and be in the guest's handler for it.
        if self.reported.is_some() && !self.is_at_bounce_handler(cx) {
            self.is_at_reported(cx);
        }
        if self.told == Some(self.shared.breakpoints.generation()) { Ok(()) } else { self.update(cx) }
    }

    /// Whether the vCPU stands at a breakpoint that it has reported, and whose instruction comes next. One that it has
    /// left by whatever way, or that was taken away, counts again.
    pub(crate) fn is_at_reported(&mut self, cx: &mut Context<'_>) -> bool {
        if self.reported.is_none() && self.held.is_none() {
            return false;
        }
        self.refresh();
        let pc = emulate::linear_rip(cx.vcpu.rip(), &cx.vcpu.sregs());
        if self.held == Some(pc) {
            return true;
        }
        let Some(reported) = self.reported else { return false };
        let stands = reported == pc
            && self
                .table
                .get(pc)
                .is_some_and(|site| !site.roles.stops.is_none() && site.means != Means::Nothing);
        if !stands {
            self.reported = None;
        }
        stands
    }

    /// Takes over a table that another thread has changed, and tells KVM.
    pub(crate) fn update(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.refresh();
        self.set_debug(cx)
    }

    /// The instruction at which the vCPU stood has been carried out elsewhere.
    pub(crate) fn passed(&mut self) {
        self.reported = None;
    }

    /// The vCPU has been reset.
    pub(crate) fn reset(&mut self) {
        self.open.clear();
        self.reported = None;
        self.held = None;
    }

    /// The machine begins anew: nothing of the guest is where it was.
    pub(crate) fn begin_anew(&mut self, cx: &mut Context<'_>) -> Result<()> {
        *self = Self::new(Arc::clone(&self.shared));
        self.update(cx)
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let sregs = cx.vcpu.sregs();
        let paging = self.shared.paging(&sregs);
        // Handlers are found by the layout of long mode only.
        let long_mode = sregs.efer & EFER_LMA != 0;
        self.idt = if long_mode {
            Idt::read(cx.memory.map(), &paging, self.idt_base, self.idt_limit)
        } else {
            Idt::default()
        };
        self.armed = long_mode;
        self.compared_ns = cx.time;
        self.patches = self.shared.patches.load(Ordering::Relaxed);
        let start = cx.lane.now();
        // A guest that moves its handlers all the time keeps the probes that it had for most of it.
        self.starved = long_mode && !self.budget.allows(start);
        // Where breakpoints bounce, a guest without a handler to bounce off would not survive one.
        let handler = self.idt.handler(VECTOR_BP);
        if let Some(handler) = handler {
            self.shared.bounce_handler.store(handler, Ordering::Relaxed);
        }
        let survives = match self.shared.calibration.kernel_breakpoint {
            BreakpointStop::Direct | BreakpointStop::Error => true,
            BreakpointStop::Bounce => handler.is_some(),
            BreakpointStop::Unseen => false,
        };
        let number = cx.vcpu.number();
        let owner = Owner::Vcpu(number);
        let mut wanted = match (long_mode && survives, self.starved) {
            (false, _) => BTreeMap::new(),
            (true, false) => self.wanted(cx.memory, &paging),
            // What was found last is better than nothing: most often the guest has changed another gate.
            (true, true) => self.shared.breakpoints.wanted_by(owner),
        };
        // A breakpoint there would bounce off itself; the breakpoint register does its work.
        if let Some(handler) = self.bounce_handler() {
            wanted.remove(&handler);
        }
        let breakpoints = &self.shared.breakpoints;
        let moved = breakpoints.note_handler(number, handler);
        if moved || wanted != breakpoints.wanted_by(owner) {
            // Probes that this host has no means for are left out.
            drop(breakpoints.want(owner, wanted, cx.memory, &paging));
        }
        self.budget.spend(cx.lane.now().saturating_sub(start));
        self.refresh();
        self.set_debug(cx)
    }

    /// The guest debug state that the breakpoints need.
    ///
    /// KVM is to report breakpoints from the beginning if there may be probes, and for good once there has been one:
    /// another vCPU puts the next one into memory while this one is in the guest, which would take it for its own.
    pub(super) fn set_debug(&mut self, cx: &mut Context<'_>) -> Result<()> {
        // A step keeps its own until its instruction is complete.
        if self.step.is_some() {
            return Ok(());
        }
        self.told = Some(self.generation);
        let used = self.generation != 0 || self.shared.selection.is_any();
        let mut debug = cx.vcpu.debug();
        debug.single_step = false;
        debug.block_interrupts = false;
        debug.software_breakpoints = used;
        // A breakpoint register that is set costs at every entry, so it is only where something can bounce.
        let can_bounce = match self.shared.calibration.kernel_breakpoint {
            BreakpointStop::Bounce => used,
            _ => self.table.has_user_sites(),
        };
        let bounce = self.bounce_handler().filter(|_| can_bounce);
        debug.hardware = [None; HARDWARE_BREAKPOINTS];
        let held = self.table.registers(self.bounce_handler());
        let execute = bounce.into_iter().chain(held).map(HardwareBreakpoint::Execute);
        // Watchpoints go first: the places of breakpoints reckon with them.
        let watched = self.table.watch_registers();
        for (register, wanted) in debug.hardware.iter_mut().zip(watched.chain(execute)) {
            *register = Some(wanted);
        }
        cx.vcpu.set_debug(debug)
    }

    /// Where a breakpoint bounces to, on a host where it does.
    pub(super) fn bounce_handler(&self) -> Option<u64> {
        if !self.bounces() {
            return None;
        }
        // A vCPU that has loaded its table since its last exit most likely shares it with the others.
        let shared =
            || Some(self.shared.bounce_handler.load(Ordering::Relaxed)).filter(|handler| *handler != 0);
        self.idt.handler(VECTOR_BP).or_else(shared)
    }

    /// Whether breakpoints bounce off the guest's own handler.
    fn bounces(&self) -> bool {
        [self.shared.calibration.kernel_breakpoint, self.shared.calibration.user_breakpoint]
            .contains(&BreakpointStop::Bounce)
    }

    /// The handler for breakpoints as if there were a breakpoint.
    pub(super) fn bounce_site(&self, cx: &mut Context<'_>) -> Option<Site> {
        let handler = self.bounce_handler()?;
        let paging = self.shared.paging(&cx.vcpu.sregs());
        let gpa = paging.translate(cx.memory.map(), handler)?;
        let mut code = [0; 15];
        let length = read_code(cx.memory, &paging, &self.table, handler, &mut code);
        let vectors = self.idt.handlers().get(&handler).copied().unwrap_or_default();
        // What others want there is in the table.
        let others = self.table.get(handler).map(|site| site.roles).unwrap_or_default();
        let roles = Roles { vectors: self.selected(vectors), ..others };
        Some(Site::decode(handler, gpa, code.get(..length)?, roles, false))
    }

    fn selected(&self, vectors: VectorSet) -> VectorSet {
        let chosen = self.shared.selection.vectors();
        let mut selected = VectorSet::default();
        (0..=u8::MAX)
            .filter(|v| vectors.contains(*v) && chosen.contains(*v))
            .for_each(|v| selected.insert(v));
        selected
    }

    /// Every address that this vCPU's probes need, and why.
    fn wanted(&self, memory: &Memory, paging: &Paging) -> BTreeMap<u64, Roles> {
        let mut wanted: BTreeMap<u64, Roles> = BTreeMap::new();
        for (handler, vectors) in self.idt.handlers() {
            let vectors = self.selected(vectors);
            if !vectors.is_empty() {
                wanted.entry(handler).or_default().vectors = vectors;
            }
        }
        if self.lstar != 0 && self.shared.selection.syscall() {
            wanted.entry(self.lstar).or_default().syscall = true;
        }
        let mut search = Search::default();
        for start in wanted.keys() {
            search.follow(*start, |gva, code| read_code(memory, paging, &self.table, gva, code));
        }
        for (at, kind) in search.found {
            wanted.entry(at).or_default().returns = Some(kind);
        }
        // Needed whatever is selected, or system calls would not work on such a host.
        if self.lstar != 0
            && self.shared.calibration.syscall == SyscallEntry::UserPrivilege
            && let Some(handler) = self.idt.handler(VECTOR_PF)
        {
            wanted.entry(handler).or_default().fixup = true;
        }
        wanted
    }
}
