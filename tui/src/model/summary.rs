//! Everything the UI keeps about all events read so far.

use std::collections::BTreeMap;

use trace_format::event::{Debugger, Event, MACHINE, Payload, StopReason, VcpuState};
use trace_format::header::Header;

use super::activity::Activity;
use super::console::Console;
use super::output::Used;
use super::screen::Screens;
use super::statistics::Statistics;

/// The most counters that are kept; a guest that makes up more names than this does not count.
const MAX_COUNTERS: usize = 64;

/// Where a debugger has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The event's number.
    pub number: u64,
    /// The vCPU.
    pub vcpu: u8,
    /// Its next instruction, gva.
    pub rip: u64,
}

/// Totals of a trace, of bounded size.
pub struct Summary {
    /// Number of events.
    pub events: u64,
    /// Time of the last one, ns.
    pub last_time: u64,
    /// Events that the trace says are missing.
    pub lost: u64,
    /// How the run ended.
    pub ended: Option<StopReason>,
    /// A debugger's last stop, if the guest has not run since.
    pub stop: Option<Stop>,
    /// Exits, traps, IPIs.
    pub statistics: Statistics,
    /// When which vCPU was busy.
    pub activity: Activity,
    /// The guest's output.
    pub console: Console,
    /// Its text screen.
    pub screens: Screens,
    /// Which of the two it uses.
    pub used: Used,
    /// What the guest counted itself, by name.
    pub counters: BTreeMap<String, u64>,
    /// There are events that tell a vCPU's registers.
    pub has_registers: bool,
}

impl Summary {
    /// Of no events yet.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            events: 0,
            last_time: 0,
            lost: 0,
            ended: None,
            stop: None,
            statistics: Statistics::default(),
            activity: Activity::new(header.vcpus),
            console: Console::new(),
            screens: Screens::new(),
            used: Used::default(),
            counters: BTreeMap::new(),
            has_registers: false,
        }
    }

    /// Takes the next event, which is number `number`.
    pub fn add(&mut self, number: u64, event: &Event) {
        self.events += 1;
        self.last_time = self.last_time.max(event.time);
        self.statistics.add(event);
        self.activity.add(event);
        self.screens.add(number, event);
        self.used.add(event);
        match &event.payload {
            Payload::Console(output) => self.console.write(&output.bytes),
            Payload::Registers(_) => self.has_registers = true,
            Payload::Lost(lost) => self.lost = self.lost.saturating_add(lost.count),
            Payload::Counter(counter) => {
                if let Some(value) = self.counters.get_mut(counter.name.as_str()) {
                    *value = counter.value;
                } else if self.counters.len() < MAX_COUNTERS {
                    self.counters.insert(counter.name.to_string(), counter.value);
                }
            }
            Payload::State(VcpuState::Stopped { why }) if event.vcpu == MACHINE => {
                self.ended = Some(why.clone());
            }
            Payload::State(VcpuState::Running) if event.vcpu == MACHINE => self.stop = None,
            Payload::Debugger(
                Debugger::BreakpointHit { address: rip, .. }
                | Debugger::WatchpointHit { rip, .. }
                | Debugger::Stepped { to: rip, .. },
            ) => self.stop = Some(Stop { number, vcpu: event.vcpu, rip: *rip }),
            _ => {}
        }
    }
}
