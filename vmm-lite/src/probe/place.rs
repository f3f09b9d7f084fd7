//! Where a breakpoint goes: into memory, into a breakpoint register, or nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::site::Roles;
use crate::calibration::{BreakpointStop, Calibration};
use crate::kvm::HARDWARE_BREAKPOINTS;

/// What this host offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// What becomes of a breakpoint instruction in kernel code.
    pub(super) stop: BreakpointStop,
    /// Whether breakpoint registers stop kernel code.
    pub(super) in_kernel: bool,
    /// Whether they stop user code.
    pub(super) in_user: bool,
    /// Whether they stop for accesses to data.
    pub(super) for_data: bool,
    /// How many there are. Where breakpoints bounce off the guest's handler one is on that.
    pub(super) registers: usize,
}

/// A site that needs a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeker {
    pub(super) roles: Roles,
    /// User code can come to it.
    pub(super) user: bool,
}

/// Where breakpoints go that cannot be in memory, gva.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) in_registers: BTreeSet<u64>,
    pub(super) nowhere: BTreeSet<u64>,
}

impl Offer {
    /// What a host offers where calibration found this.
    pub(super) fn of(found: &Calibration) -> Self {
        let bounces = [found.kernel_breakpoint, found.user_breakpoint].contains(&BreakpointStop::Bounce);
        Self {
            stop: found.kernel_breakpoint,
            in_kernel: found.kernel_hardware,
            in_user: found.user_hardware,
            for_data: found.watchpoint,
            registers: HARDWARE_BREAKPOINTS - usize::from(bounces),
        }
    }

    /// Whether breakpoint registers stop code of any privilege.
    const fn in_all(self) -> bool {
        self.in_kernel && self.in_user
    }

    /// Finds the places of `sites` in a guest whose vCPUs have `handlers` for breakpoints, by the number of the vCPU.
    /// Watchpoints have taken `taken` registers.
    pub(super) fn places(
        self,
        sites: &BTreeMap<u64, Seeker>,
        handlers: &BTreeMap<u8, u64>,
        taken: usize,
    ) -> Places {
        let mut places = Places::default();
        let memory_will_do = match self.stop {
            BreakpointStop::Direct | BreakpointStop::Error => true,
            // The guest would not survive one before it has a handler.
            BreakpointStop::Bounce => !handlers.is_empty(),
            BreakpointStop::Unseen => false,
        };
        let memory_is_best = matches!(self.stop, BreakpointStop::Direct | BreakpointStop::Error);
        let handlers: BTreeSet<u64> = handlers.values().copied().filter(|_| !memory_is_best).collect();
        let mut left = self.registers.saturating_sub(taken);
        // A vCPU that has not loaded its table yet has no handler, so a register is better for what users set. The entry
        // for system calls goes first, its returns last.
        let mut candidates: Vec<(u8, u64)> = Vec::new();
        for (gva, Seeker { roles, user }) in sites {
            if handlers.contains(gva) {
                // It would bounce off itself; the register for what bounces is on it, but on vCPUs with another handler.
                places.in_registers.insert(*gva);
                left = left.saturating_sub(usize::from(handlers.len() > 1));
            } else if roles.register {
                let stops = if *user { self.in_user } else { self.in_kernel };
                if stops {
                    candidates.push((0, *gva));
                } else {
                    places.nowhere.insert(*gva);
                }
            } else if memory_is_best {
                continue;
            } else if roles.syscall {
                candidates.push((1, *gva));
            } else if !roles.stops.is_none() {
                candidates.push((2, *gva));
            } else if roles.is_on_user_stack() {
                candidates.push((3, *gva));
            } else if !memory_will_do {
                places.nowhere.insert(*gva);
            }
        }
        candidates.sort_unstable();
        for (_, gva) in candidates {
            let Some(Seeker { roles, .. }) = sites.get(&gva) else { continue };
            if left > 0 && (self.in_all() || roles.register) {
                left -= 1;
                places.in_registers.insert(gva);
            } else if roles.register || roles.is_on_user_stack() || !memory_will_do {
                places.nowhere.insert(gva);
            }
        }
        places
    }
}
