//! What each vCPU did.

use serde::Serialize;

use super::spans::Spans;
use super::{Durations, Quantiles};
use crate::event::{Event, MACHINE, Payload, VcpuState};

/// What one vCPU did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VcpuReport {
    /// Its number.
    pub vcpu: u8,
    /// Events.
    pub events: u64,
    /// Exits.
    pub exits: u64,
    /// Time in the guest before them, ns.
    pub guest_ns: u64,
    /// Time that the monitor took for them, ns.
    pub handling_ns: u64,
    /// Time in the guest before each.
    pub exit_guest_ns: Option<Quantiles>,
    /// Time that the monitor took for each.
    pub exit_handling_ns: Option<Quantiles>,
    /// Time in which it was halted, ns.
    pub halted_ns: u64,
    /// Traps.
    pub traps: u64,
    /// IPIs sent: ICR writes.
    pub ipis_sent: u64,
    /// IPIs accepted.
    pub ipis_accepted: u64,
    /// Other interrupts.
    pub irqs: u64,
    #[serde(skip)]
    halted_since: Option<u64>,
}

/// Bytes that the distributions of all vCPUs may take.
const MEMORY: usize = 4 << 20;

/// Counts by vCPU.
#[derive(Clone, Debug)]
pub struct Vcpus {
    /// By number; those without events are not there.
    vcpus: Vec<VcpuReport>,
    /// Times in the guest, and of handling.
    exits: Spans<u8, 2>,
}

impl Default for Vcpus {
    fn default() -> Self {
        Self { vcpus: Vec::new(), exits: Spans::new(MEMORY) }
    }
}

impl Vcpus {
    /// Takes an event in.
    pub fn add(&mut self, event: &Event) {
        if event.vcpu == MACHINE {
            return;
        }
        let at = usize::from(event.vcpu);
        if self.vcpus.len() <= at {
            self.vcpus.resize_with(at + 1, VcpuReport::default);
        }
        let Some(vcpu) = self.vcpus.get_mut(at) else { return };
        vcpu.vcpu = event.vcpu;
        vcpu.events += 1;
        match &event.payload {
            Payload::Exit(exit) => {
                vcpu.exits += 1;
                vcpu.guest_ns = vcpu.guest_ns.saturating_add(exit.guest_ns);
                vcpu.handling_ns = vcpu.handling_ns.saturating_add(exit.handling_ns);
                self.exits.add(event.vcpu, [Some(exit.guest_ns), Some(exit.handling_ns)]);
            }
            Payload::Trap(_) => vcpu.traps += 1,
            Payload::Ipi(_) => vcpu.ipis_sent += 1,
            Payload::IpiAccepted(_) => vcpu.ipis_accepted += 1,
            Payload::Irq(_) => vcpu.irqs += 1,
            Payload::State(state) => {
                if let Some(since) = vcpu.halted_since.take() {
                    let halted = event.time.saturating_sub(since);
                    vcpu.halted_ns = vcpu.halted_ns.saturating_add(halted);
                }
                vcpu.halted_since = (*state == VcpuState::Halted).then_some(event.time);
            }
            _ => {}
        }
    }

    /// What they did until `end` (ns), in the order of their numbers.
    #[must_use]
    pub fn report(&self, end: u64) -> Vec<VcpuReport> {
        let mut vcpus = self.vcpus.clone();
        vcpus.retain(|vcpu| vcpu.events > 0);
        for vcpu in &mut vcpus {
            if let Some([guest, handling]) = self.exits.get(&vcpu.vcpu) {
                vcpu.exit_guest_ns = Durations::quantiles(guest);
                vcpu.exit_handling_ns = Durations::quantiles(handling);
            }
            if let Some(since) = vcpu.halted_since.take() {
                vcpu.halted_ns = vcpu.halted_ns.saturating_add(end.saturating_sub(since));
            }
        }
        vcpus
    }

    pub(super) fn error(&self) -> f64 {
        self.exits.error()
    }
}
