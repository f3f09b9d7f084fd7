use super::*;
use crate::event::{
    Exit, ExitReason, IpiAccepted, MACHINE, Marker, Payload, StopReason, Trap, TrapClass, TrapReturn,
    VcpuState,
};
use crate::filter::Filter;
use crate::{Event, Header, Writer};

fn trace(events: impl IntoIterator<Item = Event>) -> Reader {
    let header = Header { guest: "guest".into(), vcpus: 2, ..Header::default() };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let mut events: Vec<Event> = events.into_iter().collect();
    events.sort_by_key(|event| event.time);
    events.iter().for_each(|event| writer.append(event).unwrap());
    Reader::from_bytes(writer.finish().unwrap()).unwrap()
}

fn out(time: u64, vcpu: u8, port: u16, handling_ns: u64) -> Event {
    let reason = ExitReason::IoOut { port, size: 1, count: 1, data: time };
    let exit = Exit { reason, rip: 0x1000, cpl: 0, guest_ns: 100, handling_ns };
    Event { time, vcpu, payload: Payload::Exit(exit) }
}

fn trap(time: u64, id: u64, class: TrapClass) -> Event {
    let trap = Trap {
        id,
        vector: if class == TrapClass::Fault { 14 } else { 0x40 },
        shared_by: 1,
        class,
        code: None,
        rip: 0x2000,
        cs: 8,
        cpl: 0,
        rsp: 0,
        handler: 0,
        cr2: None,
    };
    Event { time, vcpu: 0, payload: Payload::Trap(trap) }
}

fn back(time: u64, id: u64) -> Event {
    let back = TrapReturn { id, vector: 0x40, duration_ns: 1, rip: 0x2000 };
    Event { time, vcpu: 0, payload: Payload::TrapReturn(back) }
}

fn compare(a: &mut Reader, b: &mut Reader) -> Diff {
    Diff::of(a, b, &Options::default()).unwrap()
}

fn count<'d>(diff: &'d Diff, what: &str, of: &str) -> &'d CountChange {
    diff.counts.iter().find(|count| count.subject.what == what && count.subject.of == of).unwrap()
}

fn time<'d>(diff: &'d Diff, what: &str, of: &str) -> &'d TimeChange {
    diff.times.iter().find(|time| time.subject.what == what && time.subject.of == of).unwrap()
}

#[test]
fn a_trace_is_like_itself() {
    let golden = || Reader::from_bytes(include_bytes!("../../tests/golden/1.vmt").as_slice()).unwrap();
    let diff = compare(&mut golden(), &mut golden());
    assert!(!diff.changed() && !diff.parted(), "{}", diff.text(false, 100));
    for count in &diff.counts {
        assert!(count.p == 1.0 && count.change == Some(0.0), "{count:?}");
    }
    assert!(diff.times.iter().all(|time| time.p_median.is_none_or(|p| p > 0.9)));
    assert!(diff.partings.iter().any(|parting| parting.steps > 0));
}

#[test]
fn counts_and_times_that_changed_are_found_and_others_not() {
    let mut a = trace((0..2000).map(|n| out(n * 1000, 0, 0x80, 1000 + n * 7 % 100)));
    // A tenth more, and one in twenty takes long.
    let b = (0..2200).map(|n| out(n * 1000, 0, 0x80, if n % 20 == 0 { 90_000 } else { 1000 + n * 7 % 100 }));
    let mut b = trace(b);
    let diff = compare(&mut a, &mut b);
    let exits = count(&diff, "exit", "io-out");
    assert_eq!(
        (exits.a, exits.b, exits.changed),
        (2000, 2200, false),
        "as likely as not to be noise: {}",
        exits.p
    );
    let handling = time(&diff, "handling", "io-out");
    assert!(
        handling.changed && handling.median.unwrap().abs() < 0.05 && handling.tail.unwrap() > 10.0,
        "{handling:?}"
    );
    let guest = time(&diff, "guest before", "io-out");
    assert!(!guest.changed && guest.p_median == Some(1.0) && guest.longer == Some(0.5));
    assert!(diff.changed() && diff.parted());

    let mut more = trace((0..3000).map(|n| out(n * 1000, 0, 0x80, 1100 + n * 7 % 100)));
    let diff = compare(&mut a, &mut more);
    let exits = count(&diff, "exit", "io-out");
    assert!(exits.changed && exits.change == Some(0.5));
    assert_eq!(count(&diff, "exits in", "(no symbol)").change, Some(0.5));
    assert!(time(&diff, "handling", "io-out").changed);
    // In a second it is as many.
    let rates = Options { rates: true, ..Options::default() };
    let diff = Diff::of(&mut a, &mut more, &rates).unwrap();
    let exits = count(&diff, "exit", "io-out");
    assert!(!exits.changed && exits.change.unwrap().abs() < 0.01, "{exits:?}");
    // A change below the threshold is none.
    let wide = Options { threshold: 0.6, ..Options::default() };
    assert!(!count(&Diff::of(&mut a, &mut more, &wide).unwrap(), "exit", "io-out").changed);
}

#[test]
fn what_is_new_or_gone_is_a_change() {
    let events = |port: u16| (0..50).map(move |n| out(n, 0, port, 1));
    let mark = |n| Marker { by_guest: true, text: "now".try_into().unwrap(), value: n };
    let marks = (0..50).map(|n| Event { time: n, vcpu: 1, payload: Payload::Marker(mark(n)) });
    let diff = compare(&mut trace(events(0x80)), &mut trace(events(0x80).chain(marks)));
    let marks = count(&diff, "kind", "marker");
    assert!(marks.changed && marks.change.is_none());
    let gone = compare(&mut trace(events(0x80)), &mut trace([]));
    assert_eq!(count(&gone, "exit", "io-out").change, Some(-1.0));
    assert!(gone.changed());
}

/// Long after the first checkpoint, and on one vCPU only.
#[test]
fn runs_part_where_a_vcpu_does_something_else() {
    let run = |odd: u64, shift: u64| {
        let first = (0..5000).map(move |n| out(n * 10 + n % 7 * shift, 0, 0x80 + (n % 3) as u16, shift));
        let second = (0..5000).map(move |n| {
            out(n * 10 + 5 + n % 5 * shift, 1, if n == odd { 0x99 } else { 0x80 + (n % 4) as u16 }, 1)
        });
        first.chain(second)
    };
    let stop = |status| Event {
        time: 1 << 20,
        vcpu: MACHINE,
        payload: Payload::State(VcpuState::Stopped { why: StopReason::GuestExit { status } }),
    };
    let mut a = trace(run(u64::MAX, 0).chain([stop(0)]));
    let mut b = trace(run(3333, 1).chain([stop(1)]));
    let diff = compare(&mut a, &mut b);
    let [first, second, machine] = diff.partings.as_slice() else { panic!("{:?}", diff.partings) };
    assert_eq!((first.vcpu, first.steps, first.same), (0, 5000, true));
    assert_eq!((second.vcpu, second.steps, second.same), (1, 3333, false));
    let (at_a, at_b) = (second.a.as_ref().unwrap(), second.b.as_ref().unwrap());
    assert!(at_a.line.contains("io-out 0x81") && at_b.line.contains("io-out 0x99"), "{at_a:?} {at_b:?}");
    assert_eq!(b.event(at_b.number).unwrap().unwrap().time, at_b.time);
    assert_eq!((machine.vcpu, machine.steps, machine.same), (MACHINE, 0, false));

    // One that ends early.
    let mut short = trace(run(u64::MAX, 0).filter(|event| event.vcpu == 0 || event.time < 20_000));
    let diff = compare(&mut a, &mut short);
    let second = &diff.partings[1];
    assert_eq!((second.steps, second.a.is_some(), second.b.is_none()), (2000, true, true), "{second:?}");
}

/// An interrupt comes when it likes, and what its handler does is not the vCPU's own.
#[test]
fn interrupts_are_no_steps() {
    let plain = [out(1, 0, 0x80, 1), trap(2, 1, TrapClass::Fault), out(5, 0, 0x81, 1), out(6, 0, 0x82, 1)];
    let mut interrupted = plain.to_vec();
    interrupted.extend([trap(3, 2, TrapClass::ExternalInterrupt), out(3, 0, 0x99, 1), back(4, 2)]);
    let diff = compare(&mut trace(plain.clone()), &mut trace(interrupted));
    assert!(!diff.parted(), "{:?}", diff.partings);
    assert_eq!(diff.partings[0].steps, 4);
    let mut another = plain.to_vec();
    another[1] = trap(2, 1, TrapClass::ExternalInterrupt);
    assert!(compare(&mut trace(plain), &mut trace(another)).parted());
}

#[test]
fn a_part_can_be_compared() {
    let mut a = trace((0..100).map(|n| out(n, 0, 0x80, 1)));
    let mut b = trace((0..100).map(|n| out(n, 0, if n < 50 { 0x80 } else { 0x81 }, 1)));
    let diff = |a: &mut Reader, b: &mut Reader, filter: &str, to| {
        let selection = Selection { filter: Filter::parse(filter).unwrap(), from: 0, to };
        Diff::of(a, b, &Options { selection, ..Options::default() }).unwrap()
    };
    assert!(diff(&mut a, &mut b, "", u64::MAX).parted());
    let part = diff(&mut a, &mut b, "", 49);
    assert!(!part.parted() && part.a.events == 50 && part.a.duration_ns == 49);
    let part = diff(&mut a, &mut b, "io.port == 0x80", u64::MAX);
    assert_eq!((part.partings[0].steps, part.b.events), (50, 50));
}

/// Memory is bounded, whatever vectors a trace names; of those that are none there is nothing.
#[test]
fn many_vectors_are_compared_together() {
    let events = |ns: u64| {
        (0..600_u16).map(move |n| {
            let back = TrapReturn { id: n.into(), vector: n, duration_ns: ns, rip: 0 };
            Event { time: n.into(), vcpu: 0, payload: Payload::TrapReturn(back) }
        })
    };
    let diff = compare(&mut trace(events(1)), &mut trace(events(u64::MAX)));
    assert_eq!(diff.times.len(), 65);
    assert_eq!(time(&diff, "handler", "others").count_a, 257 - 64);
    assert!(time(&diff, "handler", "others").changed);
}

fn accepted(time: u64, latency_ns: u64) -> Event {
    let ipi = IpiAccepted { id: time, sender: 1, vector: 0x40, latency_ns, merged: false };
    Event { time, vcpu: 0, payload: Payload::IpiAccepted(ipi) }
}

#[test]
fn conditions() {
    let mut a = trace((0..100).map(|n| accepted(n, 1000)).chain([out(1 << 20, 0, 0x80, 1)]));
    let mut b = trace((0..100).map(|n| accepted(n, 1200)).chain([out(1 << 20, 0, 0x80, 1)]));
    let diff = compare(&mut a, &mut b);
    let mut judge = |text: &str| {
        let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{error}"));
        condition.judge(&diff, &mut a, &mut b, &Selection::default()).unwrap()
    };
    for (text, is_true) in [
        ("changed", true),
        ("parted", false),
        ("not parted and changed", true),
        ("p99(latency where kind == ipi) > 110%", true),
        ("p99(latency where kind == ipi) > 120%", false),
        ("p99(latency where kind == ipi) >= 120% and mean(latency where kind == ipi) <= 120.0%", true),
        ("count(kind == ipi) != 100%", false),
        ("count(kind == marker) == 100%", true),
        ("max(latency where kind == irq) > 0%", false),
        ("not max(latency where kind == irq) > 0%", false),
        ("parted or count() == 100%", true),
    ] {
        assert_eq!(judge(text).is_true, is_true, "{text}");
    }
    insta::assert_snapshot!(judge(
        "sum(latency where kind == ipi) > 150% or max(latency where kind == irq) > 1%"
    ));
}

#[test]
fn errors_of_conditions_say_where_and_what() {
    let mut shown = String::new();
    for text in [
        "",
        "change",
        "changed and",
        "count(kind == exit)",
        "count(kind == exit) > 5",
        "count(kind == exit) > 5us",
        "count(kind == exits) > 5%",
        "p99(latency where kind == ipi-sent) > 5%",
        "max(ipi.target) > 5%",
        "count() > %",
        "changed parted",
    ] {
        match Condition::parse(text) {
            Ok(_) => shown += &format!("{text} is one\n\n"),
            Err(error) => shown += &format!("{error}\n\n"),
        }
    }
    insta::assert_snapshot!(shown);
    let examples = DOCUMENTATION.split("Examples:\n").nth(1).unwrap();
    let examples: Vec<Condition> =
        examples.lines().map(|line| Condition::parse(line.trim()).unwrap()).collect();
    assert_eq!(examples.len(), 3);
}
