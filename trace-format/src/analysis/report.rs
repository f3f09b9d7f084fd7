//! The report.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Details, Plan, Quantiles};
use crate::header::Fact;
use crate::{Damage, Error, Reader};

/// What a trace amounts to. `REPORT.md` documents the fields as JSON has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of this structure: 1.
    pub schema: u32,
    /// Events that could be read.
    pub events: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Events lost: while recording, and by damage as far as that tells how many.
    pub lost: u64,
    /// Events of kinds that this version does not know.
    pub unknown: u64,
    /// From the first event to the last, ns.
    pub duration_ns: u64,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// Kind to number of events; kinds that do not occur are left out.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// Exits by reason, the most frequent first.
    pub exits: Vec<ExitReport>,
    /// Traps by vector, the most frequent first.
    pub traps: Vec<TrapReport>,
    /// Interprocessor interrupts.
    pub ipis: IpiReport,
    /// Other interrupts by source, the most frequent first.
    pub irqs: Vec<IrqReport>,
    /// What the guest said about itself, and its end.
    pub guest: GuestReport,
    /// More than totals; its fields are the report's own.
    #[serde(flatten)]
    pub details: Details,
    /// The trace itself.
    pub trace: TraceReport,
}

/// The exits for one reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExitReport {
    /// [`crate::event::ExitReason::name`].
    pub reason: &'static str,
    /// How many.
    pub count: u64,
    /// Time in the guest before each.
    pub guest_ns: Quantiles,
    /// Time that the monitor took for each.
    pub handling_ns: Quantiles,
    /// How many a second of the trace.
    pub per_second: f64,
    /// The part of all vCPUs' time that the guest ran before them, 0 to 1.
    pub guest_share: f64,
    /// The part of all vCPUs' time that the monitor took for them, 0 to 1.
    pub handling_share: f64,
}

/// The traps of one vector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrapReport {
    /// Vector, 256 for `SYSCALL`.
    pub vector: u16,
    /// Its name, or that of its class if it has none.
    pub name: &'static str,
    /// Class of the first of them.
    pub class: &'static str,
    /// How many.
    pub count: u64,
    /// How many returns were seen.
    pub returned: u64,
    /// From entry to return.
    pub duration_ns: Option<Quantiles>,
}

/// Interprocessor interrupts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IpiReport {
    /// ICR writes.
    pub sent: u64,
    /// Deliveries: an IPI to three vCPUs has three.
    pub accepted: u64,
    /// Those of them whose vector was pending already.
    pub merged: u64,
    /// ICR writes a second of the trace.
    pub sent_per_second: f64,
    /// Deliveries a second.
    pub accepted_per_second: f64,
    /// From the ICR write to the delivery.
    pub latency_ns: Option<Quantiles>,
    /// From the ICR write to the target's EOI.
    pub eoi_latency_ns: Option<Quantiles>,
}

/// Interrupts from one source that are not IPIs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IrqReport {
    /// `lapic-timer`, `ioapic-4`, ...
    pub source: String,
    /// How many were injected.
    pub count: u64,
    /// How many a second of the trace.
    pub per_second: f64,
    /// From their cause to their injection.
    pub latency_ns: Option<Quantiles>,
    /// From their injection to the EOI.
    pub eoi_latency_ns: Option<Quantiles>,
}

/// What the guest said about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GuestReport {
    /// What it wrote to the debug-exit port.
    pub exit_status: Option<u32>,
    /// How the run ended, for people.
    pub stopped: Option<String>,
    /// Its last report of each of its counters.
    pub counters: BTreeMap<String, u64>,
}

/// Where a trace comes from and how it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceReport {
    /// The guest's name or image.
    pub guest: String,
    /// The command that recorded it.
    pub command: Vec<String>,
    /// The guest's own command line.
    pub guest_command_line: String,
    /// Guest memory, bytes.
    pub memory_bytes: u64,
    /// Wall-clock time of event time 0, ns since the Unix epoch.
    pub start_unix_ns: u64,
    /// Frequency of the guest's time stamp counter in kHz, 0 if unknown.
    pub tsc_khz: u64,
    /// Version of the recorder.
    pub recorder: String,
    /// Facts about the host.
    pub host: Vec<NamedFact>,
    /// What calibration found about the host's KVM.
    pub calibration: Vec<NamedFact>,
    /// What this recording cannot see, a sentence each.
    pub not_seen: Vec<String>,
    /// Whether the recording ended properly.
    pub finished: bool,
    /// Event blocks.
    pub blocks: u64,
    /// What is wrong with the file.
    pub damage: Vec<Damage>,
}

/// A [`Fact`] of the header.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct NamedFact {
    pub name: String,
    pub value: String,
}

impl From<&Fact> for NamedFact {
    fn from(fact: &Fact) -> Self {
        Self { name: fact.name.clone(), value: fact.value.clone() }
    }
}

impl Report {
    /// Reads all of a trace.
    ///
    /// # Errors
    ///
    /// If the file cannot be read. Damage is no error: it is in the report.
    pub fn of(reader: &mut Reader) -> Result<Self, Error> {
        Self::of_plan(reader, &Plan::default())
    }
}
