//! What a vCPU did by itself, to be compared with another run.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::Header;
use crate::event::{Event, Exit, ExitReason, MsrDirection, Payload, TrapClass, VcpuState};

/// A checkpoint is made every so many steps.
const DISTANCE: u64 = 1024;

/// Something that a vCPU did and would do again: what it is, what it is about, and where. Times, data that devices gave and
/// what interrupts made it do are none of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    what: &'static str,
    about: [u64; 2],
    place: u64,
}

/// Finds the steps in a vCPU's events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walker {
    /// The interrupt that it is handling.
    interrupt: Option<u64>,
}

/// A vCPU's steps, in memory that grows by some bytes every thousand.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    walker: Walker,
    /// How many.
    pub(super) steps: u64,
    /// All of them in one number.
    pub(super) hash: u64,
    pub(super) checkpoints: Vec<Checkpoint>,
}

/// A place from where steps can be compared one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    /// Number of the event with the next step.
    pub(super) event: u64,
    /// How many steps were before it.
    pub(super) steps: u64,
    /// All of those in one number.
    pub(super) hash: u64,
}

/// The lanes of a trace by their vCPU's numbers.
pub(super) type Lanes = BTreeMap<u8, Lane>;

impl Lane {
    pub(super) fn add(&mut self, number: u64, event: &Event, header: &Header) {
        let Some(step) = self.walker.step(event, header) else { return };
        if self.steps.is_multiple_of(DISTANCE) {
            self.checkpoints.push(Checkpoint { event: number, steps: self.steps, hash: self.hash });
        }
        let mut hasher = DefaultHasher::new();
        (self.hash, step).hash(&mut hasher);
        self.hash = hasher.finish();
        self.steps += 1;
    }
}

impl Walker {
    /// The step in an event of the vCPU, if there is one.
    pub(super) fn step(&mut self, event: &Event, header: &Header) -> Option<Step> {
        match &event.payload {
            // Nothing that an interrupt's handler does is user code.
            Payload::Exit(Exit { cpl: 3, .. }) => self.interrupt = None,
            Payload::Trap(trap) if trap.cpl == 3 => self.interrupt = None,
            _ => {}
        }
        match &event.payload {
            Payload::Trap(trap) if matches!(trap.class, TrapClass::ExternalInterrupt | TrapClass::Nmi) => {
                self.interrupt.get_or_insert(trap.id);
                return None;
            }
            Payload::TrapReturn(back) if self.interrupt == Some(back.id) => {
                self.interrupt = None;
                return None;
            }
            _ if self.interrupt.is_some() => return None,
            _ => {}
        }
        let (what, about, rip) = match &event.payload {
            Payload::Exit(exit) => {
                let about = of_exit(&exit.reason)?;
                (exit.reason.name(), about, Some(exit.rip))
            }
            Payload::Trap(trap) => {
                // An error code, or a system call's number.
                ("trap", [trap.vector.into(), trap.code.unwrap_or(u64::MAX)], Some(trap.rip))
            }
            Payload::Ipi(ipi) => (ipi.mode.name(), [ipi.vector.into(), ipi.targets.into()], None),
            Payload::Marker(marker) if marker.by_guest => ("marker", [number(&marker.text), 0], None),
            Payload::Counter(counter) => ("counter", [number(&counter.name), 0], None),
            Payload::State(VcpuState::Stopped { why }) => ("stopped", [number(&why.to_string()), 0], None),
            _ => return None,
        };
        Some(Step { what, about, place: rip.map_or(0, |rip| place(rip, header)) })
    }
}

/// What an exit is about; `None` for those that come at any time.
fn of_exit(reason: &ExitReason) -> Option<[u64; 2]> {
    /// The x2APIC's end of interrupt, and the APIC's.
    const EOI: (u32, u64) = (0x80b, 0xfee0_00b0);
    Some(match *reason {
        ExitReason::IoIn { port, size, count, .. } | ExitReason::IoOut { port, size, count, .. } => {
            [port.into(), u64::from(size) << 32 | u64::from(count)]
        }
        ExitReason::MmioWrite { gpa, .. } if gpa == EOI.1 => return None,
        ExitReason::MmioRead { gpa, size, .. } | ExitReason::MmioWrite { gpa, size, .. } => {
            [gpa, size.into()]
        }
        ExitReason::Msr { index, direction: MsrDirection::Write, .. } if index == EOI.0 => return None,
        ExitReason::Msr { index, failed, .. } => [index.into(), failed.into()],
        ExitReason::Hypercall { number, .. } => [number, 0],
        ExitReason::SystemEvent { kind, .. } => [kind.into(), 0],
        ExitReason::Shutdown | ExitReason::InternalError { .. } | ExitReason::FailEntry { .. } => [0, 0],
        _ => return None,
    })
}

/// Where code is, so that it is the same in a run that put it elsewhere: by its symbol, or in its page.
fn place(rip: u64, header: &Header) -> u64 {
    match header.symbolize(rip) {
        Some(symbol) => number(&symbol),
        None => rip & 0xfff,
    }
}

fn number(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
