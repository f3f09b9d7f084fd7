//! Where the guest is to stop: breakpoints and watchpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use trace_format::event::Actor;
use trace_format::filter::Filter;

use super::{Control, unmapped};
use crate::error::{Error, Result};
use crate::machine::WatchAccess;
use crate::probe::{Owner, Roles, Scope, Stops, Watch};
use crate::recorder::{Syscalls, Tripwire, Wanted};
use crate::vcpu::VcpuThread;

/// A place, or an access, that the guest is to stop for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What is waited for.
    pub kind: PointKind,
    /// Where, gva.
    pub address: u64,
    /// Of a watchpoint: how many bytes.
    pub len: u64,
    /// Of a breakpoint: the CR3 of the only address space in which it counts. Where page tables are isolated, user code
    /// and the kernel have different ones.
    pub address_space: Option<u64>,
}

/// What kind of point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// The instruction there is about to be executed; by whatever means this host has.
    Breakpoint,
    /// The same, by a breakpoint register: memory is left alone.
    HardwareBreakpoint,
    /// Data there is accessed.
    Watchpoint(WatchAccess),
}

/// When a point counts that has been set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// From now on.
    Now,
    /// Once its page is mapped, which is looked at at every exit of a vCPU.
    WhenMapped,
}

impl Control {
    /// Stops the guest at `point` from now on, for `by`. Where an address is not mapped by `vcpu`'s tables, a breakpoint
    /// waits until it is.
    ///
    /// # Errors
    /// When there is no such vCPU, the run has ended, or this host has no means to stop there and everywhere else where
    /// somebody waits; nothing has changed then.
    pub fn insert(&self, by: Actor, vcpu: u8, point: &Point) -> Result<Placed> {
        let roles = match point.kind {
            PointKind::Breakpoint | PointKind::HardwareBreakpoint => Roles {
                stops: Stops::of(by, point.address_space.map_or(Scope::Everywhere, Scope::of)),
                register: point.kind == PointKind::HardwareBreakpoint,
                ..Roles::default()
            },
            PointKind::Watchpoint(access) => {
                let watch = Watch { address: point.address, len: point.len, access };
                return self.watch(Owner::of(by), vcpu, watch);
            }
        };
        if !self.add(owner_of(by, point.kind), vcpu, point.address, roles)? {
            return Err(Error::HostCannot {
                operation: "set one more breakpoint",
                why: match point.kind {
                    PointKind::HardwareBreakpoint => {
                        "no breakpoint register is free, or they do not stop code of that privilege here"
                    }
                    _ => {
                        "KVM shows breakpoint instructions only by the guest's handler for them, which it has not set \
                         up or cannot enter there, and no breakpoint register is free"
                    }
                },
            });
        }
        let pending = self.machine.probes.breakpoints.is_pending(point.address);
        Ok(if pending { Placed::WhenMapped } else { Placed::Now })
    }

    /// Takes a point away that `by` has set; there need not be one, and one of another kind at the same address stays.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn remove(&self, by: Actor, vcpu: u8, point: &Point) -> Result<()> {
        match point.kind {
            PointKind::Breakpoint | PointKind::HardwareBreakpoint => {
                self.take_away(owner_of(by, point.kind), vcpu, |wanted| {
                    wanted.remove(&point.address);
                })?;
            }
            PointKind::Watchpoint(access) => {
                let gone = Watch { address: point.address, len: point.len, access };
                // What is left has not become impossible by this.
                let _possible = self.change_watches(Owner::of(by), vcpu, |watches| {
                    if let Some(at) = watches.iter().position(|watch| *watch == gone) {
                        watches.remove(at);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Stops the guest from now on, for GDB, at every event that a vCPU makes and that matches `filter`, and at system
    /// calls and their returns; what is not given stops it no more. The vCPU stands behind what the event tells: an exit
    /// has been handled, and after the entry of a handler its first instruction is next. A filter sees an event as it is
    /// made: it has no number yet.
    ///
    /// # Errors
    /// When the run has ended, or nothing is recorded, so that there are no events.
    pub fn stop_at_events(&self, filter: Option<Filter>, syscalls: Option<Syscalls>) -> Result<()> {
        self.wait_for(Actor::Gdb, &Wanted { filter, syscalls, user: None })
    }

    /// The same for the user, whatever GDB waits for.
    ///
    /// # Errors
    /// As [`Self::stop_at_events`].
    pub fn stop_user_at_events(&self, filter: Option<Filter>) -> Result<()> {
        self.wait_for(Actor::User, &Wanted { user: filter, ..Wanted::default() })
    }

    fn wait_for(&self, by: Actor, wanted: &Wanted) -> Result<()> {
        if self.machine.flusher.is_none() {
            return Err(Error::WrongState { operation: "wait for events", state: "is not recorded" });
        }
        all((0..self.machine.vcpus.len() as u8).map(|number| {
            let tripwire = Tripwire::new(by, wanted.clone(), Arc::clone(&self.machine.names));
            self.on(number, move |thread| thread.set_tripwire(tripwire))
        }))
    }

    /// Takes every point away that `by` has set.
    ///
    /// # Errors
    /// When the run has ended, or KVM refuses to forget one; the others are gone then.
    pub fn remove_all(&self, by: Actor) -> Result<()> {
        let kinds = [PointKind::Breakpoint, PointKind::HardwareBreakpoint];
        let breakpoints = kinds.map(|kind| self.take_away(owner_of(by, kind), 0, BTreeMap::clear));
        let watchpoints = self.change_watches(Owner::of(by), 0, Vec::clear).map(drop);
        let waits = by == Actor::Gdb && self.machine.flusher.is_some();
        let events = if waits { self.stop_at_events(None, None) } else { Ok(()) };
        all(breakpoints.into_iter().chain([watchpoints, events]))
    }

    /// Stops the guest whenever a vCPU is about to execute the instruction at `gva`, translated by `vcpu`'s tables.
    ///
    /// # Errors
    /// When the address is not mapped, there is no such vCPU, or this host has no means to stop there.
    pub fn add_breakpoint(&self, vcpu: u8, gva: u64) -> Result<()> {
        let paging = self.machine.probes.paging(&self.registers(vcpu)?.system);
        if paging.translate(self.machine.memory.map(), gva).is_none() {
            return Err(unmapped(vcpu, gva));
        }
        self.insert(Actor::User, vcpu, &Point::breakpoint(gva)).map(drop)
    }

    /// Takes a breakpoint away; there need not be one.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn remove_breakpoint(&self, vcpu: u8, gva: u64) -> Result<()> {
        self.remove(Actor::User, vcpu, &Point::breakpoint(gva))
    }

    /// Every breakpoint that the user has added, gva.
    #[must_use]
    pub fn breakpoints(&self) -> Vec<u64> {
        let breakpoints = &self.machine.probes.breakpoints;
        let mut wanted = breakpoints.wanted_by(Owner::User);
        wanted.extend(breakpoints.wanted_by(Owner::UserInRegisters));
        wanted.into_keys().collect()
    }

    fn watch(&self, owner: Owner, vcpu: u8, watch: Watch) -> Result<Placed> {
        if self.change_watches(owner, vcpu, |watches| watches.push(watch))? {
            return Ok(Placed::Now);
        }
        Err(Error::HostCannot {
            operation: "set a watchpoint",
            why: if self.machine.probes.calibration.watchpoint {
                "a CPU has four breakpoint registers, each for 1, 2, 4 or 8 bytes at a multiple of that, and not enough \
                 of them are free"
            } else {
                "KVM does not report accesses to data here; GDB can single-step instead: 'set can-use-hw-watchpoints 0'"
            },
        })
    }

    /// Adds a breakpoint to what `owner` has set. False, and nothing changed, if this host has no means.
    fn add(&self, owner: Owner, vcpu: u8, gva: u64, roles: Roles) -> Result<bool> {
        let shared = &self.machine.probes;
        let paging = shared.paging(&self.registers(vcpu)?.system);
        let mut wanted = shared.breakpoints.wanted_by(owner);
        if wanted.insert(gva, roles) == Some(roles) {
            return Ok(true);
        }
        self.expect_breakpoints()?;
        let possible = shared.breakpoints.want_all(owner, wanted, &self.machine.memory, &paging);
        self.tell_of_breakpoints()?;
        Ok(possible)
    }

    /// Takes away some of what `owner` has set.
    fn take_away(
        &self,
        owner: Owner,
        vcpu: u8,
        change: impl FnOnce(&mut BTreeMap<u64, Roles>),
    ) -> Result<()> {
        let shared = &self.machine.probes;
        let paging = shared.paging(&self.registers(vcpu)?.system);
        let before = shared.breakpoints.wanted_by(owner);
        let mut wanted = before.clone();
        change(&mut wanted);
        if wanted == before {
            return Ok(());
        }
        // What is left has not become impossible by this.
        drop(shared.breakpoints.want(owner, wanted, &self.machine.memory, &paging));
        self.tell_of_breakpoints()
    }

    /// Changes what `owner` watches. False, and nothing changed, if this host cannot.
    fn change_watches(&self, owner: Owner, vcpu: u8, change: impl FnOnce(&mut Vec<Watch>)) -> Result<bool> {
        let shared = &self.machine.probes;
        let paging = shared.paging(&self.registers(vcpu)?.system);
        let before = shared.breakpoints.watched_by(owner);
        let mut wanted = before.clone();
        change(&mut wanted);
        if wanted == before {
            return Ok(true);
        }
        self.expect_breakpoints()?;
        let possible = shared.breakpoints.watch(owner, wanted, &self.machine.memory, &paging);
        self.tell_of_breakpoints()?;
        Ok(possible)
    }

    /// Has KVM report breakpoints from now on: a vCPU that met the first before KVM knows of any would take it for the
    /// guest's.
    fn expect_breakpoints(&self) -> Result<()> {
        if self.machine.probes.breakpoints.expect() { self.tell_of_breakpoints() } else { Ok(()) }
    }

    /// Has every vCPU tell KVM of the breakpoints that there are now, or that there are none any more.
    pub(super) fn tell_of_breakpoints(&self) -> Result<()> {
        let vcpus = 0..self.machine.vcpus.len() as u8;
        all(vcpus.map(|number| self.on(number, VcpuThread::update_debug).flatten()))
    }
}

/// Whose breakpoints of this kind are.
const fn owner_of(by: Actor, kind: PointKind) -> Owner {
    match kind {
        PointKind::HardwareBreakpoint => Owner::in_registers(by),
        PointKind::Breakpoint | PointKind::Watchpoint(_) => Owner::of(by),
    }
}

/// Does all of it, whatever fails; the first failure.
fn all(done: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    done.into_iter().fold(Ok(()), Result::and)
}

impl Point {
    /// A breakpoint at gva `address` that counts everywhere.
    #[must_use]
    pub const fn breakpoint(address: u64) -> Self {
        Self { kind: PointKind::Breakpoint, address, len: 1, address_space: None }
    }

    /// A watchpoint for `len` bytes at gva `address`.
    #[must_use]
    pub const fn watch(address: u64, len: u64, access: WatchAccess) -> Self {
        Self { kind: PointKind::Watchpoint(access), address, len, address_space: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn what_fails_keeps_nothing_else_from_being_done() {
        let mut tried = Vec::new();
        let outcome = all((0..4).map(|vcpu| {
            tried.push(vcpu);
            if vcpu % 2 == 1 { Err(Error::NoSuchVcpu { vcpu, count: 0 }) } else { Ok(()) }
        }));
        assert!(matches!(outcome, Err(Error::NoSuchVcpu { vcpu: 1, .. })), "the first is told");
        assert_eq!(tried, [0, 1, 2, 3]);
    }
}
