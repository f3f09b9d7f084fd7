//! What a host's events say of a machine: exits from pairs of them, interrupts from their raising to their end.

use super::event::{Event, Reason, Userspace};
use super::interrupts::Interrupts;
use super::lanes::{Lane, Lanes, Pending};
use super::line::{Name, Thread};
use super::order::Order;
use crate::event::{
    self, AddressSpace, Exit, ExitReason, Hardware, IrqSource, Isa, Lost, LostReason, MACHINE, MsrDirection,
    Payload, VcpuState,
};

/// So many events wait for the end of an exit that began before them; then the exit is taken to end.
const MOST_WAITING: usize = 1 << 17;

/// Instead of the index of an MSR that is not known.
const NO_MSR: u32 = u32::MAX;

/// Follows the vCPUs of a recording.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) lanes: Lanes,
    /// What was made of the events so far, until nothing earlier can come.
    order: Order<event::Event>,
    interrupts: Interrupts,
    pub(super) seen: Seen,
}

/// What there is in a recording; what there is not, the trace says in its header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) hardware_exits: bool,
    pub(super) user_exits: bool,
    pub(super) ipis: u64,
    pub(super) injections: bool,
    pub(super) eois: bool,
    pub(super) cr3: bool,
    /// Accesses of which the recording does not say what they were to.
    pub(super) unnamed: u64,
    /// Exits whose end is not in the recording.
    pub(super) cut: u64,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            lanes: Lanes::default(),
            order: Order::new(),
            interrupts: Interrupts::default(),
            seen: Seen::default(),
        }
    }

    /// Takes in what `thread` did at `time`, which is not before what was taken in last. False if that is nothing that a
    /// trace has a place for.
    pub(super) fn take(&mut self, time: u64, thread: Thread, name: &Name, event: &Event) -> bool {
        // The events that no vCPU does.
        match *event {
            Event::Lost { count } => {
                self.put(time, MACHINE, Payload::Lost(Lost { count, reason: LostReason::RingFull }));
                return true;
            }
            Event::IoApic { pin, vector } => {
                self.interrupts.raise(thread, IrqSource::IoApic { pin }, vector);
                return true;
            }
            Event::Msi { vector } => {
                self.interrupts.raise(thread, IrqSource::Msi, vector);
                return true;
            }
            Event::Accept { apic, vector, mode } => {
                let target = self.lanes.with_apic(apic);
                let taken = target.map(|target| self.interrupts.accept(time, thread, target, vector, mode));
                return self.put_all(time, target, taken);
            }
            Event::Eoi { apic, vector } => {
                self.seen.eois = true;
                let target = self.lanes.with_apic(apic);
                let ended = target.and_then(|target| self.interrupts.eoi(time, target, vector));
                return self.put_all(time, target, ended);
            }
            _ => {}
        }
        let vcpu = match *event {
            Event::Entry { vcpu } => Some(vcpu),
            Event::Exit { vcpu, .. } | Event::PageFault { vcpu, .. } => vcpu,
            _ => None,
        };
        if matches!(event, Event::Run) && !self.lanes.knows(thread) {
            // Other threads load that state, too.
            return false;
        }
        let Some(lane) = self.lanes.of(thread, name, vcpu) else { return false };
        let number = lane.number;
        if let Some(exit) = lane.exit.take_if(|exit| exit.end.is_some() && !is_answer(event, &exit.reason)) {
            let end = exit.end;
            self.settle(number, exit, end);
        }
        let Some(lane) = self.lanes.of(thread, name, None) else { return false };
        let ended = match *event {
            Event::Entry { .. } => {
                lane.hardware = true;
                lane.entered = Some(time);
                let Some(exit) = lane.exit.take() else { return true };
                (exit, Some(time))
            }
            Event::Run => {
                if lane.hardware {
                    return false;
                }
                lane.entered = Some(time);
                if let Some(exit) = &mut lane.exit {
                    exit.end = Some(time);
                }
                return true;
            }
            Event::Exit { reason, rip, info, interrupt, error_code, .. } => {
                self.seen.hardware_exits = true;
                let hardware = hardware(lane, reason, info, interrupt, error_code);
                lane.hardware = true;
                lane.rip = rip;
                let Some(before) = lane.leave(time, ExitReason::Hardware(hardware)) else { return true };
                (before, None)
            }
            Event::UserspaceExit { reason } => {
                self.seen.user_exits = true;
                if lane.hardware {
                    return false;
                }
                let Some(reason) = of_userspace(reason, lane.access.take()) else { return false };
                let Some(before) = lane.leave(time, reason) else { return true };
                (before, None)
            }
            Event::Cr3 { value } => {
                // Bit 63 says that the TLB is kept and is not in the register.
                let new = value & !(1 << 63);
                let before = lane.cr3.replace(new);
                if let Some(old) = before.filter(|old| *old != new) {
                    self.put(time, number, Payload::AddressSpace(AddressSpace { old, new }));
                }
                self.seen.cr3 = true;
                return true;
            }
            Event::Wakeup { ns } => {
                let Some(exit) = &mut lane.exit else { return false };
                exit.halted_ns = exit.halted_ns.saturating_add(ns);
                let from = time.saturating_sub(ns).max(exit.time);
                self.put(from, number, Payload::State(VcpuState::Halted));
                self.put(time, number, Payload::State(VcpuState::Running));
                return true;
            }
            Event::Ipi(request) => {
                self.seen.ipis += 1;
                let payload = self.interrupts.send(time, number, &request, &self.lanes);
                self.put(time, number, payload);
                return true;
            }
            Event::Inject { vector } => {
                self.seen.injections = true;
                let injected = self.interrupts.inject(time, number, vector);
                return self.put_all(time, Some(number), Some(injected));
            }
            ref event => return refine(lane, event),
        };
        let (exit, end) = ended;
        self.settle(number, exit, end);
        true
    }

    /// The next event of the trace, if it is certain; `now` is the time up to which everything was taken in.
    pub(super) fn next(&mut self, now: u64) -> Option<event::Event> {
        while self.order.len() > MOST_WAITING {
            // Everything waits for the exit that began first.
            let oldest = self.lanes.iter_mut().filter(|lane| lane.exit.is_some());
            let oldest = oldest.min_by_key(|lane| lane.exit.as_ref().map(|exit| exit.time));
            let Some((number, exit)) = oldest.and_then(|lane| Some((lane.number, lane.exit.take()?))) else {
                break;
            };
            let end = exit.end;
            self.settle(number, exit, end);
        }
        let pending = self.lanes.iter().filter_map(|lane| lane.exit.as_ref().map(|exit| exit.time)).min();
        let bound = pending.unwrap_or(now).min(now);
        self.order.take_before(bound).map(|(_, event)| event)
    }

    /// What is left at the end, one event after the other.
    pub(super) fn last(&mut self) -> Option<event::Event> {
        let exits: Vec<(u8, Pending)> =
            self.lanes.iter_mut().filter_map(|lane| Some((lane.number, lane.exit.take()?))).collect();
        for (number, exit) in exits {
            let end = exit.end;
            self.settle(number, exit, end);
        }
        self.order.take().map(|(_, event)| event)
    }

    /// An exit ended at `end`, or nobody knows when.
    fn settle(&mut self, number: u8, exit: Pending, end: Option<u64>) {
        let Pending { time, guest_ns, reason, rip, halted_ns, .. } = exit;
        self.seen.cut += u64::from(end.is_none());
        let handling_ns = end.map_or(0, |end| end.saturating_sub(time).saturating_sub(halted_ns));
        let reason = plain(reason);
        self.seen.unnamed += u64::from(is_unnamed(&reason));
        self.put(time, number, Payload::Exit(Exit { reason, rip, cpl: 0, guest_ns, handling_ns }));
    }

    /// Puts what an interrupt of vCPU `number` has led to; false if it is of no vCPU, or led to nothing that is known.
    fn put_all(&mut self, time: u64, number: Option<u8>, payloads: Option<Vec<Payload>>) -> bool {
        let (Some(number), Some(payloads)) = (number, payloads) else { return false };
        payloads.into_iter().for_each(|payload| self.put(time, number, payload));
        true
    }

    fn put(&mut self, time: u64, vcpu: u8, payload: Payload) {
        // What is pending holds back everything later, so that nothing is too late.
        let _ = self.order.put(time, event::Event { time, vcpu, payload });
    }
}

/// Whether a recording leaves out what an access was to.
const fn is_unnamed(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Msr { index: NO_MSR, .. } | ExitReason::Unlisted { number: 2 | 6 })
}

/// Whether `event` has what an exit for `reason` was waiting for: what user space answered comes when the guest goes on, and
/// the value of a read behind the request for it.
fn is_answer(event: &Event, reason: &ExitReason) -> bool {
    match (event, reason) {
        (Event::Pio { write: false, .. }, ExitReason::Unlisted { number: 2 })
        | (Event::Mmio { write: false, .. }, ExitReason::Unlisted { number: 6 }) => true,
        (Event::Msr { write, .. }, ExitReason::Msr { direction, index: NO_MSR, .. }) => {
            *write == (*direction == MsrDirection::Write)
        }
        (Event::Mmio { write: false, gpa: got, .. }, ExitReason::MmioRead { gpa: asked, .. }) => got == asked,
        _ => false,
    }
}

/// What an exit of `lane` is, before anything tells more of it.
fn hardware(lane: &mut Lane, reason: Reason, info: [u64; 2], interrupt: u32, error_code: u32) -> Hardware {
    let code = match reason {
        Reason::Known { isa, code } => {
            lane.isa = isa;
            code
        }
        Reason::Number(code) => code,
    };
    let [info1, info2] = info;
    let mut exit = Hardware { isa: lane.isa, code, info1, info2, interrupt, error_code, gpa: None };
    // The address of a nested page fault is the second information (APM vol. 2, 15.25.6).
    exit.gpa = (exit.name() == "npf").then_some(info2);
    exit
}

/// Adds to the exit of `lane` that is being handled what `event` tells of it.
fn refine(lane: &mut Lane, event: &Event) -> bool {
    let access = match *event {
        Event::Pio { write: false, port, size, count, value } => {
            ExitReason::IoIn { port, size, count, data: value }
        }
        Event::Pio { write: true, port, size, count, value } => {
            ExitReason::IoOut { port, size, count, data: value }
        }
        Event::Mmio { write: false, gpa, size, value } => ExitReason::MmioRead { gpa, size, data: value },
        Event::Mmio { write: true, gpa, size, value } => ExitReason::MmioWrite { gpa, size, data: value },
        Event::Msr { write, index, value, failed } => {
            let direction = if write { MsrDirection::Write } else { MsrDirection::Read };
            ExitReason::Msr { direction, index, data: value, reason: 0, failed }
        }
        Event::Hypercall { number, arguments: [a, b, c, d] } => {
            ExitReason::Hypercall { number, arguments: [a, b, c, d, 0, 0], result: 0 }
        }
        Event::PageFault { address, .. } | Event::FastMmio { gpa: address } => {
            let Some(Pending { reason: ExitReason::Hardware(exit), .. }) = &mut lane.exit else {
                return false;
            };
            // With shadow paging a fault is one of the guest's own addresses, and an exception.
            let nested = matches!(exit.name(), "npf" | "ept-violation" | "ept-misconfig");
            if nested {
                exit.gpa = Some(address);
            }
            return nested;
        }
        Event::Instruction { rip } => {
            lane.rip = rip;
            // What came before was not an exit to user space.
            lane.access = None;
            return !lane.hardware;
        }
        _ => return false,
    };
    let Some(exit) = &mut lane.exit else {
        lane.access = Some(access);
        return !lane.hardware;
    };
    match (&exit.reason, &access) {
        (ExitReason::Hardware(_), _) => exit.reason = access,
        (reason, _) if is_answer(event, reason) => exit.reason = access,
        // An instruction may have several accesses; the exit is the first.
        _ => return false,
    }
    true
}

/// Exits of the hardware that mean the same as one of a monitor's.
fn plain(reason: ExitReason) -> ExitReason {
    let ExitReason::Hardware(exit) = &reason else { return reason };
    match (exit.isa, exit.code) {
        (Isa::Vmx, 2) | (Isa::Svm, 0x7f) => ExitReason::Shutdown,
        (Isa::Vmx, 7) | (Isa::Svm, 0x64) => ExitReason::InterruptWindow,
        (Isa::Vmx, 12) | (Isa::Svm, 0x78 | 0xa6) => ExitReason::Halt,
        _ => reason,
    }
}

/// An access to an MSR of which nothing else is known: its index is none that there is.
const fn unknown_msr(direction: MsrDirection) -> ExitReason {
    ExitReason::Msr { direction, index: NO_MSR, data: 0, reason: 0, failed: false }
}

/// The exit to user space with the number of `linux/kvm.h`, `access` being what the vCPU did before. `None` for an error:
/// the guest was not left.
fn of_userspace(reason: Userspace, access: Option<ExitReason>) -> Option<ExitReason> {
    let number = match reason {
        Userspace::Error { interrupted } => return interrupted.then_some(ExitReason::Interrupted),
        Userspace::Exit(number) => number,
    };
    Some(match (number, access) {
        (0, _) => ExitReason::Unknown { hardware_reason: 0 },
        (1, _) => ExitReason::Exception { vector: 0, error_code: 0 },
        (2, Some(access @ (ExitReason::IoIn { .. } | ExitReason::IoOut { .. }))) => access,
        (3, Some(access @ ExitReason::Hypercall { .. })) => access,
        (4, _) => ExitReason::Debug { exception: 0, pc: 0, dr6: 0, dr7: 0 },
        (5, _) => ExitReason::Halt,
        (6, Some(access @ (ExitReason::MmioRead { .. } | ExitReason::MmioWrite { .. }))) => access,
        (7, _) => ExitReason::InterruptWindow,
        (8, _) => ExitReason::Shutdown,
        (9, _) => ExitReason::FailEntry { hardware_reason: 0, cpu: 0 },
        (10, _) => ExitReason::Interrupted,
        (11, _) => ExitReason::SetTpr,
        (16, _) => ExitReason::Nmi,
        (17, _) => ExitReason::InternalError { suberror: 0, instruction: Default::default() },
        (21, _) => ExitReason::Watchdog,
        (24, _) => ExitReason::SystemEvent { kind: 0, data: [0; 2] },
        (26, _) => ExitReason::IoapicEoi { vector: 0 },
        (27, _) => ExitReason::HyperV { kind: 0 },
        // KVM does not say which MSR; a `kvm_msr` before is of one that it has dealt with itself.
        (29, _) => unknown_msr(MsrDirection::Read),
        (30, _) => unknown_msr(MsrDirection::Write),
        (31, _) => ExitReason::DirtyRingFull,
        (33, _) => ExitReason::BusLock,
        (34, _) => ExitReason::Xen { kind: 0 },
        (37, _) => ExitReason::Notify { flags: 0 },
        (number, _) => ExitReason::Unlisted { number },
    })
}
