//! Where a breakpoint goes: into memory, into a breakpoint register, or nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::site::Roles;
use crate::calibration::BreakpointStop;
use crate::kvm::HARDWARE_BREAKPOINTS;

/// How many sites breakpoint registers can hold: the first register is for the handler that others bounce off.
pub(super) const REGISTERS: usize = HARDWARE_BREAKPOINTS - 1;

/// What this host offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// What becomes of a breakpoint instruction in kernel code.
    pub(super) stop: BreakpointStop,
    /// Whether breakpoint registers stop code of any privilege.
    pub(super) has_registers: bool,
}

/// Where breakpoints go that cannot be in memory, gva.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) in_registers: BTreeSet<u64>,
    pub(super) nowhere: BTreeSet<u64>,
}

impl Offer {
    /// Finds the places of `sites` in a guest whose vCPUs have `handlers` for breakpoints, by the number of the vCPU.
    pub(super) fn places(self, sites: &BTreeMap<u64, Roles>, handlers: &BTreeMap<u8, u64>) -> Places {
        let mut places = Places::default();
        let memory_will_do = match self.stop {
            BreakpointStop::Direct | BreakpointStop::Error => return places,
            // The guest would not survive one before it has a handler.
            BreakpointStop::Bounce => !handlers.is_empty(),
            BreakpointStop::Unseen => false,
        };
        let handlers: BTreeSet<u64> = handlers.values().copied().collect();
        let mut left = if self.has_registers { REGISTERS } else { 0 };
        // A vCPU that has not loaded its table yet has no handler, so a register is better for what users set. The entry
        // for system calls goes first, its returns last.
        let mut candidates: Vec<(u8, u64)> = Vec::new();
        for (gva, roles) in sites {
            if handlers.contains(gva) {
                // It would bounce off itself; the register for what bounces is on it, but on vCPUs with another handler.
                places.in_registers.insert(*gva);
                left = left.saturating_sub(usize::from(handlers.len() > 1));
            } else if roles.syscall {
                candidates.push((0, *gva));
            } else if roles.stop {
                candidates.push((1, *gva));
            } else if roles.is_on_user_stack() {
                candidates.push((2, *gva));
            } else if !memory_will_do {
                places.nowhere.insert(*gva);
            }
        }
        candidates.sort_unstable();
        for (_, gva) in candidates {
            let on_user_stack = sites.get(&gva).is_some_and(Roles::is_on_user_stack);
            if left > 0 {
                left -= 1;
                places.in_registers.insert(gva);
            } else if on_user_stack || !memory_will_do {
                places.nowhere.insert(gva);
            }
        }
        places
    }
}
