//! What a review of the report found wrong once.
#![allow(clippy::unwrap_used, reason = "tests")]

use trace_format::analysis::{Plan, Shootdowns, Windows};
use trace_format::event::{
    DeliveryMode, Exit, ExitReason, Ipi, IpiAccepted, IpiEoi, Shorthand, Trap, TrapClass, VcpuState,
};
use trace_format::filter::{Filter, Selection};
use trace_format::{Event, Header, Payload, Reader, Report, Writer};

fn event(time: u64, vcpu: u8, payload: Payload) -> Event {
    Event { time, vcpu, payload }
}
fn ipi(time: u64, vcpu: u8, id: u64, mode: DeliveryMode, vector: u8, targets: u16) -> Event {
    event(time, vcpu, Payload::Ipi(Ipi { id, icr: 0, vector, mode, shorthand: Shorthand::None, targets }))
}
fn accepted(time: u64, vcpu: u8, id: u64, vector: u8, latency_ns: u64) -> Event {
    event(time, vcpu, Payload::IpiAccepted(IpiAccepted { id, sender: 0, vector, latency_ns, merged: false }))
}
fn eoi(time: u64, vcpu: u8, id: u64, vector: u8, latency_ns: u64) -> Event {
    event(time, vcpu, Payload::IpiEoi(IpiEoi { id, sender: 0, vector, latency_ns }))
}
fn exit(time: u64) -> Event {
    let reason = ExitReason::Halt;
    event(time, 0, Payload::Exit(Exit { reason, rip: 0x10, cpl: 0, guest_ns: 10, handling_ns: 10 }))
}
fn reader(events: &[Event]) -> Reader {
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 2, ..Header::default() }).unwrap();
    events.iter().for_each(|event| writer.append(event).unwrap());
    Reader::from_bytes(writer.finish().unwrap()).unwrap()
}
fn selected(filter: &str, from: u64, to: u64) -> Plan {
    Plan { selection: Selection { filter: Filter::parse(filter).unwrap(), from, to }, ..Plan::default() }
}
const FIXED: DeliveryMode = DeliveryMode::Fixed;

#[test]
fn absurd_latency_of_the_second_ipi_of_a_round() {
    let mut shootdowns = Shootdowns::new(3);
    for (n, e) in [
        ipi(1000, 0, 1, FIXED, 0xfd, 0b10),
        ipi(1200, 0, 2, FIXED, 0xfd, 0b100),
        eoi(1300, 2, 2, 0xfd, u64::MAX),
    ]
    .iter()
    .enumerate()
    {
        shootdowns.add(n as u64, e, true);
    }
}

#[test]
fn windows_of_a_trace_with_absurd_times() {
    assert_eq!(Windows::new(1, 0, u64::MAX), None);
}

#[test]
fn init_and_start_up_are_no_rounds() {
    let divide_error = Trap {
        id: 1,
        vector: 0,
        shared_by: 1,
        class: TrapClass::Fault,
        code: None,
        rip: 0,
        cs: 8,
        cpl: 0,
        rsp: 0,
        handler: 0x2000,
        cr2: None,
    };
    let mut reader = reader(&[
        ipi(10, 0, 1, DeliveryMode::Init, 0, 0b10),
        accepted(20, 1, 1, 0, 10),
        ipi(30, 0, 2, DeliveryMode::StartUp, 8, 0b10),
        accepted(40, 1, 2, 8, 10),
        event(50, 1, Payload::Trap(divide_error)),
    ]);
    let report = Report::of(&mut reader).unwrap();
    assert_eq!(report.details.shootdowns, [], "INIT and start-up IPIs are never acknowledged");
}

fn round() -> Vec<Event> {
    let handler = Trap {
        id: 1,
        vector: 0xfd,
        shared_by: 1,
        class: TrapClass::ExternalInterrupt,
        code: None,
        rip: 0,
        cs: 8,
        cpl: 0,
        rsp: 0,
        handler: 0x2000,
        cr2: None,
    };
    vec![
        exit(5),
        ipi(10, 0, 1, FIXED, 0xfd, 0b10),
        accepted(20, 1, 1, 0xfd, 10),
        event(25, 1, Payload::Trap(handler)),
        eoi(30, 1, 1, 0xfd, 20),
        exit(1000),
    ]
}

#[test]
fn a_filter_on_the_initiator_leaves_its_rounds_whole() {
    let report = Report::of_plan(&mut reader(&round()), &selected("vcpu == 0", 0, u64::MAX)).unwrap();
    let found = &report.details.shootdowns[0];
    assert_eq!((found.count, found.incomplete), (1, 0));
}

#[test]
fn a_filter_on_ipis_leaves_the_handlers_names() {
    let report = Report::of_plan(&mut reader(&round()), &selected("kind == ipi", 0, u64::MAX)).unwrap();
    assert_eq!(report.details.shootdowns[0].handler.as_deref(), Some("0x2000"));
}

#[test]
fn rates_and_shares_are_of_the_selected_time() {
    let events: Vec<Event> = (0..=100).map(|n| exit(n * 1_000_000)).collect();
    let all = Report::of(&mut reader(&events)).unwrap();
    let part = Report::of_plan(&mut reader(&events), &selected("", 0, 10_000_000)).unwrap();
    let (all, part) = (all.exits[0].per_second, part.exits[0].per_second);
    assert!((part / all - 1.0).abs() < 0.2, "an even rate: {all} of all, {part} of a tenth");
}

#[test]
fn a_vcpu_that_stays_halted_was_halted() {
    let mut reader = reader(&[
        event(0, 0, Payload::State(VcpuState::Halted)),
        event(1000, 1, Payload::State(VcpuState::Running)),
    ]);
    let report = Report::of(&mut reader).unwrap();
    assert_eq!(report.details.by_vcpu[0].halted_ns, 1000);
}

#[test]
fn code_without_a_symbol_is_counted() {
    let report = Report::of(&mut reader(&round())).unwrap();
    assert_eq!(report.details.symbols.iter().map(|row| row.count).sum::<u64>(), 2);
    assert_eq!(report.details.handlers.iter().map(|row| row.count).sum::<u64>(), 1);
}
