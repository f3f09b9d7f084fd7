//! Made-up streams of events.

use std::collections::HashMap;
use std::hash::Hash;

use trace_format::event::{
    Access, DeliveryMode, Event, Exit, ExitReason, Ipi, IpiAccepted, IpiEoi, Level, PagingMode, Payload,
    Permissions, Shorthand, Trap, TrapClass, TrapReturn, Walk, WalkCause, WalkFault, WalkOutcome,
};

/// Events and how much of them is chance.
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) events: Vec<Event>,
    /// Bytes an event that the entropy of the drawn times takes.
    pub(crate) entropy: f64,
}

type Make = fn() -> Stream;

pub(crate) fn all() -> [(&'static str, Make); 4] {
    [
        ("exit-storm 3 %", || exit_storm("exit-storm 3 %", 1, 0.03)),
        ("exit-storm 10 %", || exit_storm("exit-storm 10 %", 1, 0.1)),
        ("exit-storm 4 vCPUs", || exit_storm("exit-storm 4 vCPUs", 4, 0.03)),
        ("mixed 4 vCPUs", || mixed("mixed 4 vCPUs", 4)),
    ]
}

/// Chance, the same in every run, and an account of how much of it was used.
struct Dice {
    state: u64,
    drawn: HashMap<&'static str, HashMap<u64, u64>>,
}

impl Dice {
    fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, drawn: HashMap::new() }
    }

    /// Evenly distributed from 0 to 1.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A time around `median` ns, log-normal with `sigma`; one in a thousand is several times as long.
    fn time(&mut self, what: &'static str, median: f64, sigma: f64) -> u64 {
        let (radius, angle) =
            ((-2.0 * (1.0 - self.uniform()).ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        let mut time = median * (sigma * radius * angle.cos()).exp();
        if self.uniform() < 0.001 {
            time *= 2.0 + 20.0 * self.uniform();
        }
        let time = time.round() as u64;
        *self.drawn.entry(what).or_default().entry(time).or_default() += 1;
        time
    }

    /// The entropy of everything drawn, in bytes.
    fn entropy(&self) -> f64 {
        self.drawn.values().map(entropy).sum::<f64>() / 8.0
    }
}

/// Bits that it takes to tell every one of the counted values.
fn entropy<T: Hash>(counts: &HashMap<T, u64>) -> f64 {
    let total: u64 = counts.values().sum();
    counts.values().map(|&n| n as f64 * (total as f64 / n as f64).log2()).sum()
}

/// Port writes, MMIO writes and MMIO reads in turns, whose data counts up.
fn exit_storm(name: &'static str, vcpus: u8, sigma: f64) -> Stream {
    const EVENTS: usize = 1_000_000;
    let mut dice = Dice::new();
    let mut events = Vec::with_capacity(EVENTS);
    for vcpu in 0..vcpus {
        let mut now = 100_000;
        for n in 0..(EVENTS / usize::from(vcpus)) as u64 {
            let data = n / 3;
            let rip = 0xffff_ffff_8010_0400 + 16 * (n % 3);
            let (reason, guest, handling) = match n % 3 {
                0 => (
                    ExitReason::IoOut { port: 0x80, size: 4, count: 1, data: data & 0xffff_ffff },
                    "g0",
                    "h0",
                ),
                1 => (ExitReason::MmioWrite { gpa: 0xd000_0000, size: 8, data }, "g1", "h1"),
                _ => (ExitReason::MmioRead { gpa: 0xd000_0008, size: 8, data }, "g2", "h2"),
            };
            let guest_ns = dice.time(guest, 5_000.0 + 800.0 * (n % 3) as f64, sigma);
            let handling_ns = dice.time(handling, 150.0 + 60.0 * (n % 3) as f64, sigma);
            now += guest_ns;
            let exit = Exit { reason, rip, cpl: 0, guest_ns, handling_ns };
            events.push(Event { time: now, vcpu, payload: Payload::Exit(exit) });
            now += handling_ns;
        }
    }
    events.sort_by_key(|event| event.time);
    let entropy = dice.entropy() / events.len() as f64;
    Stream { name, events, entropy }
}

/// Rounds of what `tlb-shootdown` and `demand-paging` do: a page fault with its probe exits, trap, walk and return,
/// then an IPI to all others with their acceptances and EOIs.
fn mixed(name: &'static str, vcpus: u8) -> Stream {
    const ROUNDS: u64 = 20_000;
    const ICR: u64 = 0xfee0_0300;
    const EOI: u64 = 0xfee0_00b0;
    let mut round = Round { dice: Dice::new(), events: Vec::new(), clocks: vec![1_000_000; vcpus.into()] };
    for n in 0..ROUNDS {
        let sender = (n % u64::from(vcpus)) as u8;
        round.page_fault(sender, n);

        let icr = 0xc_00fb;
        let (time, handled) =
            round.exit(sender, ExitReason::MmioWrite { gpa: ICR, size: 4, data: icr }, 0x8010_0900);
        let targets = ((1 << vcpus) - 1) & !(1 << sender);
        let ipi = Ipi {
            id: n + 1,
            icr,
            vector: 0xfb,
            mode: DeliveryMode::Fixed,
            shorthand: Shorthand::AllExcludingSelf,
            targets,
        };
        round.put(time + 40, sender, Payload::Ipi(ipi));
        for target in (0..vcpus).filter(|&vcpu| vcpu != sender) {
            let latency_ns = round.dice.time("accept", 3_000.0, 0.25);
            let accepted = round.clocks[usize::from(target)].max(time + latency_ns);
            let accepted_event =
                IpiAccepted { id: n + 1, sender, vector: 0xfb, latency_ns: accepted - time, merged: false };
            round.put(accepted, target, Payload::IpiAccepted(accepted_event));
            round.clocks[usize::from(target)] = accepted;
            let (time_of_eoi, _) =
                round.exit(target, ExitReason::MmioWrite { gpa: EOI, size: 4, data: 0 }, 0x8010_0a00);
            let eoi = IpiEoi { id: n + 1, sender, vector: 0xfb, latency_ns: time_of_eoi - time };
            round.put(time_of_eoi, target, Payload::IpiEoi(eoi));
        }
        round.clocks[usize::from(sender)] = handled + 20_000;
    }
    let Round { dice, mut events, .. } = round;
    events.sort_by_key(|event| event.time);
    let entropy = dice.entropy() / events.len() as f64;
    Stream { name, events, entropy }
}

struct Round {
    dice: Dice,
    events: Vec<Event>,
    /// When each vCPU goes on.
    clocks: Vec<u64>,
}

impl Round {
    fn put(&mut self, time: u64, vcpu: u8, payload: Payload) {
        self.events.push(Event { time, vcpu, payload });
    }

    /// Lets `vcpu` exit and returns when, and when it goes on.
    fn exit(&mut self, vcpu: u8, reason: ExitReason, rip: u64) -> (u64, u64) {
        let guest_ns = self.dice.time("guest", 6_000.0, 0.2);
        let handling_ns = self.dice.time("handling", 700.0, 0.2);
        let time = self.clocks[usize::from(vcpu)] + guest_ns;
        let rip = 0xffff_ffff_0000_0000 | rip;
        self.put(time, vcpu, Payload::Exit(Exit { reason, rip, cpl: 0, guest_ns, handling_ns }));
        self.clocks[usize::from(vcpu)] = time + handling_ns;
        (time, time + handling_ns)
    }

    fn page_fault(&mut self, vcpu: u8, n: u64) {
        let handler = 0xffff_ffff_8010_0200;
        let (time, _) = self.exit(vcpu, ExitReason::Probe { pc: handler }, 0x8010_0200);
        let page = n * 7 % 512;
        let gva = 0x40_0000 + 0x1000 * page + n * 24 % 4096;
        let trap = Trap {
            id: n + 1,
            vector: 14,
            shared_by: 1,
            class: TrapClass::Fault,
            code: Some(6),
            rip: 0x40_1000 + n % 4 * 12,
            cs: 0x33,
            cpl: 3,
            rsp: 0x7fff_f000 - n % 3 * 64,
            handler,
            cr2: Some(gva),
        };
        self.put(time, vcpu, Payload::Trap(trap));
        let levels =
            [(4, 0x1000, 0x2067), (3, 0x2000, 0x3067), (2, 0x3010, 0x4000 + 0x67), (1, 0x4000 + 8 * page, 0)];
        let walk = Walk {
            cause: WalkCause::PageFault,
            cr3: 0x1000,
            mode: PagingMode::FourLevel,
            gva,
            access: Access { write: true, user: true, ..Access::default() },
            levels: levels
                .map(|(level, entry_gpa, entry)| Level { level, entry_gpa, entry })
                .into_iter()
                .collect(),
            outcome: match n % 8 {
                0 => WalkOutcome::Mapped {
                    gpa: 0x10_0000 + 0x1000 * page + (gva & 0xfff),
                    page_size: 4096,
                    permissions: Permissions { user: true, ..Permissions::default() },
                    host: None,
                },
                _ => WalkOutcome::Fault { level: 1, reason: WalkFault::NotPresent, error_code: 6 },
            },
        };
        self.put(time, vcpu, Payload::Walk(walk));
        self.exit(vcpu, ExitReason::Probe { pc: handler + 1 }, 0x8010_0201);
        let (back, _) = self.exit(vcpu, ExitReason::Probe { pc: handler + 0x80 }, 0x8010_0280);
        let back_event =
            TrapReturn { id: n + 1, vector: 14, duration_ns: back - time, rip: 0x40_1000 + n % 4 * 12 };
        self.put(back, vcpu, Payload::TrapReturn(back_event));
    }
}
