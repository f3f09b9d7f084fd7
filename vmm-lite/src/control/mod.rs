//! The one way to a running guest.
//!
//! The UI, GDB and the command line all go through [`Control`]; who stopped the guest and why is one state machine, so
//! several of them can be attached together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use trace_format::event::{
    Access, Actor, HostMapping, Marker, Payload, StopReason, Text, Walk, WalkCause, WalkOutcome,
};

use crate::devices::Key;
use crate::error::{Error, Result};
use crate::machine::{Machine, MachineState, lock};
use crate::probe::{Owner, Roles, hide};
use crate::vcpu::{Activity, VcpuThread};

pub use kvm_bindings::{kvm_regs as GeneralRegisters, kvm_sregs as SystemRegisters};

/// How long a vCPU may take to answer before it is reminded.
const PATIENCE: Duration = Duration::from_millis(100);

/// A handle to a running guest; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Control {
    machine: Arc<Machine>,
}

/// All registers of a vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// RAX to R15, RIP, RFLAGS.
    pub general: GeneralRegisters,
    /// Segments, control registers, EFER.
    pub system: SystemRegisters,
}

/// Where a step began and ended, gva.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// RIP before.
    pub from: u64,
    /// RIP after.
    pub to: u64,
}

impl Control {
    pub(crate) fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// What the guest does.
    #[must_use]
    pub fn state(&self) -> MachineState {
        self.machine.run.state()
    }

    /// What each vCPU does, or would do if the guest were not paused.
    #[must_use]
    pub fn activities(&self) -> Vec<Activity> {
        self.machine.vcpus.iter().map(|vcpu| *lock(&vcpu.activity)).collect()
    }

    /// Stops every vCPU for now; returns when all are out of the guest and everything recorded is in the trace. Does
    /// nothing if the guest is paused already.
    ///
    /// # Errors
    /// When the run has ended.
    pub fn pause(&self, by: Actor) -> Result<()> {
        self.machine.begin_pause(by);
        self.machine.run.wait_parked();
        self.machine.record_screen();
        self.flush();
        match self.state() {
            MachineState::Stopped { .. } => Err(ended("pause")),
            MachineState::Running | MachineState::Paused { .. } => Ok(()),
        }
    }

    /// Lets a paused guest run again. Does nothing if it runs.
    ///
    /// # Errors
    /// When the run has ended.
    pub fn resume(&self, _by: Actor) -> Result<()> {
        if !self.machine.resume() && matches!(self.state(), MachineState::Stopped { .. }) {
            return Err(ended("resume"));
        }
        Ok(())
    }

    /// Ends the run; [`crate::Vm::wait`] returns soon.
    pub fn stop(&self, by: Actor) {
        self.machine.stop(StopReason::Ended { by });
    }

    /// Ends the run because the time given to it is over.
    pub fn time_out(&self) {
        self.machine.stop(StopReason::Timeout);
    }

    /// Executes one instruction on `vcpu` while the guest is paused. An instruction that exits to the monitor is
    /// completed.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU, or this host cannot step there.
    pub fn step(&self, vcpu: u8, by: Actor) -> Result<StepOutcome> {
        let (from, to) = self.on_paused(vcpu, "step", move |thread| thread.step(by))?;
        self.machine.record_screen();
        self.flush();
        Ok(StepOutcome { from, to })
    }

    /// A vCPU's registers. A running vCPU is interrupted for a moment.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn registers(&self, vcpu: u8) -> Result<Registers> {
        self.on(vcpu, |thread| Registers { general: thread.vcpu().regs(), system: thread.vcpu().sregs() })
    }

    /// Sets a vCPU's registers while the guest is paused.
    ///
    /// # Errors
    /// When the guest is not paused or there is no such vCPU.
    pub fn set_registers(&self, vcpu: u8, registers: &Registers) -> Result<()> {
        let registers = *registers;
        self.on_paused(vcpu, "set registers", move |thread| {
            thread.vcpu().set_sregs(&registers.system);
            thread.vcpu().set_regs(&registers.general);
            Ok(())
        })
    }

    /// Reads guest physical memory as the guest wrote it: breakpoints do not show.
    ///
    /// # Errors
    /// When not all of it is memory.
    pub fn read_memory(&self, gpa: u64, buffer: &mut [u8]) -> Result<()> {
        self.machine.memory.read(gpa, buffer)?;
        hide(&self.machine.probes.breakpoints.table(), gpa, buffer);
        Ok(())
    }

    /// Writes guest physical memory; breakpoints stay.
    ///
    /// # Errors
    /// When not all of it is memory; what is has been written.
    pub fn write_memory(&self, gpa: u64, data: &[u8]) -> Result<()> {
        self.machine.probes.breakpoints.write(&self.machine.memory, gpa, data)
    }

    /// Reads guest virtual memory through a vCPU's page tables, whatever their permissions.
    ///
    /// # Errors
    /// When a page on the way is not mapped: the error names the first address.
    pub fn read_virtual(&self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> Result<()> {
        for (at, gpa, range) in self.ranges(vcpu, gva, buffer.len())? {
            match buffer.get_mut(range) {
                Some(part) => self.read_memory(gpa, part)?,
                None => return Err(unmapped(vcpu, at)),
            }
        }
        Ok(())
    }

    /// Writes guest virtual memory through a vCPU's page tables, whatever their permissions.
    ///
    /// # Errors
    /// When a page on the way is not mapped; nothing has been written then.
    pub fn write_virtual(&self, vcpu: u8, gva: u64, data: &[u8]) -> Result<()> {
        for (at, gpa, range) in self.ranges(vcpu, gva, data.len())? {
            match data.get(range) {
                Some(part) => self.write_memory(gpa, part)?,
                None => return Err(unmapped(vcpu, at)),
            }
        }
        Ok(())
    }

    /// Walks a vCPU's page tables for an access to `gva`, with the host's mapping of the result.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn walk(&self, vcpu: u8, gva: u64, access: Access) -> Result<Walk> {
        let paging = self.machine.probes.paging(&self.registers(vcpu)?.system);
        let mut walk = paging.walk(self.machine.memory.map(), gva, access, WalkCause::User);
        if let WalkOutcome::Mapped { gpa, host, .. } = &mut walk.outcome {
            *host = self.host_mapping(*gpa);
        }
        Ok(walk)
    }

    /// Where guest physical memory is on the host.
    #[must_use]
    pub fn host_mapping(&self, gpa: u64) -> Option<HostMapping> {
        let hva = self.machine.memory.host_address(gpa)?;
        let (resident, frame) = crate::pagemap::look_up(hva).unzip();
        Some(HostMapping { hva, resident, frame: frame.flatten() })
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
        // The new one may also have taken the place of an older.
        if self.change_breakpoints(vcpu, |wanted| {
            wanted.insert(gva, Roles { stop: true, ..Roles::default() });
        })? {
            return Ok(());
        }
        self.remove_breakpoint(vcpu, gva)?;
        Err(Error::HostCannot {
            operation: "set one more breakpoint",
            why: "KVM shows breakpoint instructions only by the guest's handler for them, which it has not set up or \
                  cannot enter there, and no breakpoint register is free",
        })
    }

    /// Takes a breakpoint away; there need not be one.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn remove_breakpoint(&self, vcpu: u8, gva: u64) -> Result<()> {
        // What is left has not become impossible by this.
        let _possible = self.change_breakpoints(vcpu, |wanted| {
            wanted.remove(&gva);
        })?;
        Ok(())
    }

    /// Every breakpoint that has been added, gva.
    #[must_use]
    pub fn breakpoints(&self) -> Vec<u64> {
        self.machine.probes.breakpoints.wanted_by(Owner::Control).into_keys().collect()
    }

    /// Makes a mark in the trace.
    pub fn mark(&self, text: &str) {
        let mut short = Text::new();
        for character in text.chars() {
            if short.try_push(character).is_err() {
                break;
            }
        }
        self.machine.record(Payload::Marker(Marker { by_guest: false, text: short, value: 0 }));
    }

    /// Types into the guest's console: the virtio console once the guest has printed on it, the serial port otherwise.
    /// Returns how many bytes it had room for.
    #[must_use]
    pub fn console_input(&self, bytes: &[u8]) -> usize {
        if let Some(accepted) = self.machine.virtio_console_input(bytes) {
            return accepted;
        }
        let mut bus = lock(&self.machine.bus);
        let accepted = bus.input(bytes, self.machine.clock.now());
        self.machine.deliver_from(&mut bus);
        accepted
    }

    /// Types a key on the guest's keyboard. False if there is no such key on it, the guest has switched it off, or has
    /// not read what was typed before.
    #[must_use]
    pub fn type_key(&self, key: Key) -> bool {
        let mut bus = lock(&self.machine.bus);
        let typed = bus.type_key(key, self.machine.clock.now());
        self.machine.deliver_from(&mut bus);
        drop(bus);
        // It comes up again at a time of its own.
        self.machine.timekeeper.poke();
        typed
    }

    /// Returns when everything that was recorded until now can be read from the trace.
    pub fn flush(&self) {
        if let Some(flusher) = &self.machine.flusher {
            flusher.flush();
        }
    }

    /// Changes what users have set. False if this host has no means to stop at one of those.
    fn change_breakpoints(&self, vcpu: u8, change: impl FnOnce(&mut BTreeMap<u64, Roles>)) -> Result<bool> {
        let shared = &self.machine.probes;
        let paging = shared.paging(&self.registers(vcpu)?.system);
        let mut wanted = shared.breakpoints.wanted_by(Owner::Control);
        change(&mut wanted);
        // A vCPU that met the first breakpoint before KVM knows of any would take it for the guest's.
        if shared.breakpoints.expect() {
            self.tell_of_breakpoints()?;
        }
        let gvas: Vec<u64> = wanted.keys().copied().collect();
        let nowhere = shared.breakpoints.want(Owner::Control, wanted, &self.machine.memory, &paging);
        self.tell_of_breakpoints()?;
        Ok(gvas.iter().all(|gva| !nowhere.contains(gva)))
    }

    /// Has every vCPU tell KVM of the breakpoints that there are now, or that there are none any more.
    fn tell_of_breakpoints(&self) -> Result<()> {
        (0..self.machine.vcpus.len() as u8)
            .try_for_each(|number| self.on(number, VcpuThread::update_debug)?)
    }

    /// Runs `work` on a vCPU's own thread while the guest is paused.
    fn on_paused<T: Send + 'static>(
        &self,
        vcpu: u8,
        operation: &'static str,
        work: impl FnOnce(&mut VcpuThread) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // A running vCPU is not to be interrupted for nothing. That it is paused says nothing of other vCPUs yet: the
        // one that came to a breakpoint has not waited for them.
        if !matches!(self.state(), MachineState::Paused { .. }) {
            return Err(Error::WrongState { operation, state: "is not paused" });
        }
        self.on(vcpu, move |thread| thread.while_paused(operation, work))?
    }

    /// Runs `work` on a vCPU's own thread, out of the guest.
    fn on<T: Send + 'static>(
        &self,
        vcpu: u8,
        work: impl FnOnce(&mut VcpuThread) -> T + Send + 'static,
    ) -> Result<T> {
        let count = self.machine.vcpus.len() as u8;
        let shared = self.machine.vcpus.get(usize::from(vcpu)).ok_or(Error::NoSuchVcpu { vcpu, count })?;
        let (answer, answered) = crossbeam_channel::bounded(1);
        let request = Box::new(move |thread: &mut VcpuThread| {
            // Nobody waits any more if the receiver is gone.
            drop(answer.send(work(thread)));
        });
        shared.requests.send(request).map_err(|_| ended("reach the vCPU"))?;
        shared.notify();
        loop {
            match answered.recv_timeout(PATIENCE) {
                Ok(result) => return Ok(result),
                // It may be in a step that runs on for ever; see `VcpuThread::interruptibly`.
                Err(RecvTimeoutError::Timeout) => shared.insist(),
                Err(RecvTimeoutError::Disconnected) => return Err(ended("reach the vCPU")),
            }
        }
    }

    /// The stretches of guest physical memory behind a stretch of guest virtual memory: gva, gpa, and which part of
    /// the whole it is.
    fn ranges(&self, vcpu: u8, gva: u64, len: usize) -> Result<Vec<(u64, u64, std::ops::Range<usize>)>> {
        let paging = self.machine.probes.paging(&self.registers(vcpu)?.system);
        let mut ranges = Vec::new();
        let mut done = 0;
        for (gpa, length) in paging.runs(self.machine.memory.map(), gva, len) {
            ranges.push((gva + done as u64, gpa, done..done + length));
            done += length;
        }
        if done < len {
            return Err(unmapped(vcpu, gva.wrapping_add(done as u64)));
        }
        Ok(ranges)
    }
}

fn ended(operation: &'static str) -> Error {
    Error::WrongState { operation, state: "has ended" }
}

fn unmapped(vcpu: u8, gva: u64) -> Error {
    Error::NotMapped { gva, vcpu, why: "its page tables do not map it" }
}
