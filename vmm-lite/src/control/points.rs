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
    /// When there is no such vCPU, the run has ended, or this host has no means to stop there.
    pub fn insert(&self, by: Actor, vcpu: u8, point: &Point) -> Result<Placed> {
        let owner = Owner::of(by);
        let roles = match point.kind {
            PointKind::Breakpoint | PointKind::HardwareBreakpoint => Roles {
                stops: Stops::of(by, point.address_space.map_or(Scope::Everywhere, Scope::of)),
                register: point.kind == PointKind::HardwareBreakpoint,
                ..Roles::default()
            },
            PointKind::Watchpoint(access) => {
                let watch = Watch { address: point.address, len: point.len, access };
                return self.watch(owner, vcpu, watch);
            }
        };
        let possible = self.change_breakpoints(owner, vcpu, |wanted| {
            wanted.insert(point.address, roles);
        })?;
        if !possible {
            self.remove(by, vcpu, point)?;
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

    /// Takes a point away that `by` has set; there need not be one.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn remove(&self, by: Actor, vcpu: u8, point: &Point) -> Result<()> {
        let owner = Owner::of(by);
        match point.kind {
            PointKind::Breakpoint | PointKind::HardwareBreakpoint => {
                // What is left has not become impossible by this.
                let _possible = self.change_breakpoints(owner, vcpu, |wanted| {
                    wanted.remove(&point.address);
                })?;
            }
            PointKind::Watchpoint(access) => {
                let gone = Watch { address: point.address, len: point.len, access };
                let _possible = self.change_watches(owner, vcpu, |watches| {
                    if let Some(at) = watches.iter().position(|watch| *watch == gone) {
                        watches.remove(at);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Stops the guest from now on at every event that a vCPU makes and that matches `filter`, and at system calls and
    /// their returns; what is not given stops it no more. The vCPU stands behind what the event tells: an exit has been
    /// handled, and after the entry of a handler its first instruction is next. A filter sees an event as it is made: it
    /// has no number yet.
    ///
    /// # Errors
    /// When the run has ended, or nothing is recorded, so that there are no events.
    pub fn stop_at_events(&self, filter: Option<Filter>, syscalls: Option<Syscalls>) -> Result<()> {
        if self.machine.flusher.is_none() {
            return Err(Error::WrongState { operation: "wait for events", state: "is not recorded" });
        }
        let wanted = Wanted { filter, syscalls };
        (0..self.machine.vcpus.len() as u8).try_for_each(|number| {
            let tripwire = Tripwire::new(wanted.clone(), Arc::clone(&self.machine.names));
            self.on(number, move |thread| thread.set_tripwire(tripwire))
        })
    }

    /// Takes every point away that `by` has set.
    ///
    /// # Errors
    /// When the run has ended.
    pub fn remove_all(&self, by: Actor) -> Result<()> {
        let owner = Owner::of(by);
        let _possible = self.change_breakpoints(owner, 0, BTreeMap::clear)?;
        let _possible = self.change_watches(owner, 0, Vec::clear)?;
        if by == Actor::Gdb && self.machine.flusher.is_some() {
            self.stop_at_events(None, None)?;
        }
        Ok(())
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
        self.machine.probes.breakpoints.wanted_by(Owner::User).into_keys().collect()
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

    /// Changes what `owner` has set. False if this host has no means to stop at one of those.
    fn change_breakpoints(
        &self,
        owner: Owner,
        vcpu: u8,
        change: impl FnOnce(&mut BTreeMap<u64, Roles>),
    ) -> Result<bool> {
        let shared = &self.machine.probes;
        let paging = shared.paging(&self.registers(vcpu)?.system);
        let before = shared.breakpoints.wanted_by(owner);
        let mut wanted = before.clone();
        change(&mut wanted);
        if wanted == before {
            return Ok(true);
        }
        self.expect_breakpoints()?;
        let gvas: Vec<u64> = wanted.keys().copied().collect();
        let nowhere = shared.breakpoints.want(owner, wanted, &self.machine.memory, &paging);
        self.tell_of_breakpoints()?;
        Ok(gvas.iter().all(|gva| !nowhere.contains(gva)))
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
        (0..self.machine.vcpus.len() as u8)
            .try_for_each(|number| self.on(number, VcpuThread::update_debug)?)
    }
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
