//! Interrupts from their raising over their injection to their EOI.

use std::collections::HashMap;

use super::event::Request;
use super::lanes::{Lane, Lanes};
use super::line::Thread;
use crate::event::{DeliveryMode, Ipi, IpiAccepted, IpiEoi, Irq, IrqEoi, IrqSource, Payload, Shorthand};

/// So many IPIs of one vector are told apart while they wait at one vCPU.
const MOST_PENDING: usize = 16;
/// So many threads that raise interrupts are told apart.
const MOST_THREADS: usize = 1 << 12;

/// The interrupts of all vCPUs that are on their way. Vectors and vCPUs being bounded, so is this.
#[derive(Debug, Default)]
pub(super) struct Interrupts {
    /// IPIs so far.
    ipis: u64,
    /// By vCPU and vector: what waits to be injected.
    waiting: HashMap<(u8, u8), Waiting>,
    /// What has been, and was not acknowledged.
    serving: HashMap<(u8, u8), Vec<Served>>,
    /// What a thread is about to raise.
    raising: HashMap<Thread, (IrqSource, u8)>,
}

#[derive(Debug, Default)]
struct Waiting {
    ipis: Vec<Sent>,
    /// A request that is no IPI, and when it came.
    device: Option<(IrqSource, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u64,
    sender: u8,
    time: u64,
}

#[derive(Clone, Copy, Debug)]
enum Served {
    Ipi(Sent),
    Device(IrqSource, u64),
}

impl Interrupts {
    /// `thread` raises an interrupt; local APICs will take it.
    pub(super) fn raise(&mut self, thread: Thread, source: IrqSource, vector: u8) {
        if self.raising.len() >= MOST_THREADS {
            self.raising.clear();
        }
        self.raising.insert(thread, (source, vector));
    }

    /// vCPU `sender` writes its ICR.
    pub(super) fn send(&mut self, time: u64, sender: u8, request: &Request, lanes: &Lanes) -> Payload {
        self.ipis += 1;
        let id = self.ipis;
        let Request { vector, mode, shorthand, .. } = *request;
        let mut targets = 0;
        for lane in lanes.iter().filter(|lane| is_target(lane, sender, request)) {
            let waiting = self.waiting.entry((lane.number, vector)).or_default();
            if waiting.ipis.len() < MOST_PENDING {
                waiting.ipis.push(Sent { id, sender, time });
            }
            // A trace has room for 16 targets.
            targets |= 1_u16.checked_shl(lane.number.into()).unwrap_or(0);
        }
        Payload::Ipi(Ipi { id, icr: icr(request), vector, mode, shorthand, targets })
    }

    /// The local APIC of vCPU `target` takes a request: NMI, INIT and start-up are acted on at once, others wait to be
    /// injected.
    pub(super) fn accept(
        &mut self,
        time: u64,
        thread: Thread,
        target: u8,
        vector: u8,
        mode: DeliveryMode,
    ) -> Vec<Payload> {
        let source = self.raising.remove(&thread).filter(|raised| raised.1 == vector).map(|raised| raised.0);
        let waiting = self.waiting.entry((target, vector)).or_default();
        if !matches!(mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority) {
            return accepted(time, vector, &std::mem::take(&mut waiting.ipis));
        }
        if waiting.ipis.is_empty() {
            waiting.device.get_or_insert((source.unwrap_or(IrqSource::Unknown), time));
        }
        Vec::new()
    }

    /// `vector` is injected into vCPU `target`.
    pub(super) fn inject(&mut self, time: u64, target: u8, vector: u8) -> Vec<Payload> {
        let Waiting { ipis, device } = self.waiting.remove(&(target, vector)).unwrap_or_default();
        let payloads;
        let served = if ipis.is_empty() {
            let (source, raised) = device.unwrap_or((IrqSource::Unknown, time));
            payloads = vec![Payload::Irq(Irq { source, vector, latency_ns: time.saturating_sub(raised) })];
            vec![Served::Device(source, time)]
        } else {
            payloads = accepted(time, vector, &ipis);
            ipis.into_iter().map(Served::Ipi).collect()
        };
        self.serving.insert((target, vector), served);
        payloads
    }

    /// vCPU `target` acknowledges `vector`; `None` if its injection is not known.
    pub(super) fn eoi(&mut self, time: u64, target: u8, vector: u8) -> Option<Vec<Payload>> {
        let served = self.serving.remove(&(target, vector))?;
        let payload = |served| match served {
            Served::Ipi(Sent { id, sender, time: sent }) => {
                Payload::IpiEoi(IpiEoi { id, sender, vector, latency_ns: time.saturating_sub(sent) })
            }
            Served::Device(source, injected) => {
                Payload::IrqEoi(IrqEoi { source, vector, latency_ns: time.saturating_sub(injected) })
            }
        };
        Some(served.into_iter().map(payload).collect())
    }
}

/// IPIs are taken, those behind the first as one with it.
fn accepted(time: u64, vector: u8, ipis: &[Sent]) -> Vec<Payload> {
    let accepted = |(n, ipi): (usize, &Sent)| {
        let latency_ns = time.saturating_sub(ipi.time);
        Payload::IpiAccepted(IpiAccepted {
            id: ipi.id,
            sender: ipi.sender,
            vector,
            latency_ns,
            merged: n > 0,
        })
    };
    ipis.iter().enumerate().map(accepted).collect()
}

/// Whether an IPI is for `lane`. Physical destinations are APIC numbers, which KVM makes those of the vCPUs; logical ones
/// are x2APIC's clusters of 16, whose first is xAPIC's flat mode.
fn is_target(lane: &Lane, sender: u8, request: &Request) -> bool {
    let Request { destination, logical, shorthand, .. } = *request;
    let Some(vcpu) = lane.vcpu else { return false };
    match shorthand {
        Shorthand::SelfOnly => lane.number == sender,
        Shorthand::AllIncludingSelf => true,
        Shorthand::AllExcludingSelf => lane.number != sender,
        Shorthand::None if matches!(destination, 0xff | u32::MAX) => true,
        Shorthand::None if logical => destination >> 16 == vcpu >> 4 && destination >> (vcpu & 15) & 1 != 0,
        Shorthand::None => destination == vcpu,
    }
}

/// The ICR that says so (SDM vol. 3, 12.12.9): its destination as x2APIC has it.
fn icr(request: &Request) -> u64 {
    let Request { destination, logical, vector, mode, shorthand, level } = *request;
    let (mode, assert) = match mode {
        DeliveryMode::Fixed => (0, true),
        DeliveryMode::LowestPriority => (1, true),
        DeliveryMode::Smi => (2, true),
        DeliveryMode::Reserved => (3, true),
        DeliveryMode::Nmi => (4, true),
        DeliveryMode::Init => (5, true),
        DeliveryMode::InitDeassert => (5, false),
        DeliveryMode::StartUp => (6, true),
    };
    let shorthand = match shorthand {
        Shorthand::None => 0,
        Shorthand::SelfOnly => 1,
        Shorthand::AllIncludingSelf => 2,
        Shorthand::AllExcludingSelf => 3,
    };
    u64::from(destination) << 32
        | shorthand << 18
        | u64::from(level) << 15
        | u64::from(assert) << 14
        | u64::from(logical) << 11
        | mode << 8
        | u64::from(vector)
}
