//! The one way to a running guest.
//!
//! The UI, GDB and the command line all go through [`Control`]; who stopped the guest and why is one state machine, so
//! several of them can be attached together.

mod memory;
mod motion;
mod points;
mod reset;
mod state;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use trace_format::event::{Marker, Payload, Text};

use crate::devices::Key;
use crate::error::{Error, Result};
use crate::machine::{Machine, MachineState, lock};
use crate::recorder::recorded;
use crate::vcpu::{Activity, VcpuThread};

pub use motion::StepOutcome;
pub use points::{Placed, Point, PointKind};
pub use state::{DebugRegisters, Msr};

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

impl Registers {
    /// The same as a trace has them.
    #[must_use]
    pub fn as_recorded(&self) -> trace_format::event::Registers {
        recorded(&self.general, &self.system, self.system.cr8 as u8)
    }

    /// How wide the code is that the vCPU executes, in bits (SDM vol. 3, 3.4.5: CS.L counts in long mode, otherwise CS.D).
    #[must_use]
    pub const fn code_bits(&self) -> u32 {
        const EFER_LMA: u64 = 1 << 10;
        match (self.system.efer & EFER_LMA != 0 && self.system.cs.l != 0, self.system.cs.db != 0) {
            (true, _) => 64,
            (false, true) => 32,
            (false, false) => 16,
        }
    }

    /// The gva of the next instruction: 64-bit code ignores the base of CS.
    #[must_use]
    pub const fn next_instruction(&self) -> u64 {
        let base = if self.code_bits() == 64 { 0 } else { self.system.cs.base };
        base.wrapping_add(self.general.rip)
    }
}

impl Control {
    pub(crate) fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// How much memory the guest has, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.machine.memory.len()
    }

    /// The symbol at or before an address of the guest, with the distance to it, as the kernel runs now.
    #[must_use]
    pub fn symbolize(&self, address: u64) -> Option<String> {
        self.machine.name_of(address)
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

    /// A vCPU's registers. A running vCPU is interrupted for a moment.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn registers(&self, vcpu: u8) -> Result<Registers> {
        self.on(vcpu, VcpuThread::registers)
    }

    /// Sets a vCPU's registers while the guest is paused, segments as they are given ([`Self::load_segments`] goes by
    /// selectors). `IA32_APIC_BASE` stays; see [`Self::set_msr`]. A halted vCPU that is put elsewhere runs from there.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU, or KVM refuses a value: nothing has changed then.
    pub fn set_registers(&self, vcpu: u8, registers: &Registers) -> Result<()> {
        let registers = *registers;
        self.on_paused(vcpu, "set registers", move |thread| thread.set_registers(&registers))
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
}

fn ended(operation: &'static str) -> Error {
    Error::WrongState { operation, state: "has ended" }
}

fn unmapped(vcpu: u8, gva: u64) -> Error {
    Error::NotMapped { gva, vcpu, why: "its page tables do not map it" }
}
