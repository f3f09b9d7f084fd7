//! What is drawn, as lines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::event::{
    Counter, Exit, ExitReason, IpiEoi, Irq, IrqEoi, IrqSource, Shorthand, Text, Trap, TrapClass, TrapReturn,
};
use crate::{Header, event};

/// Draws lines of text, and sees to it that slices nest.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    tracks: BTreeMap<Track, Drawn>,
}

#[derive(Default)]
struct Drawn {
    open: Vec<u64>,
    last: u64,
}

impl Lines {
    fn at(&mut self, track: Track, time: u64) -> &mut Drawn {
        let drawn = self.tracks.get_mut(&track).unwrap_or_else(|| panic!("{track:?} is not known"));
        assert!(
            drawn.last <= time || matches!(track, Track::Machine | Track::Vcpu(_)),
            "{track:?} at {time}"
        );
        drawn.last = drawn.last.max(time);
        drawn
    }

    fn mark(&mut self, what: &str, mark: &Mark<'_>) {
        let flows: Vec<String> = mark.flow.ids().map(|id| format!("{id:#x}")).collect();
        let arrow = match mark.flow {
            Flow::None => String::new(),
            Flow::From { .. } => format!(" -> {}", flows.join(" ")),
            Flow::To { .. } => format!(" <- {}", flows.join(" ")),
        };
        let time = mark.seen.subject.event.time;
        self.lines.push(format!("{time} {:?} {what}{}{arrow}", mark.track, mark.name));
    }
}

impl Canvas for Lines {
    fn track(&mut self, track: Track, _: &str) -> io::Result<()> {
        if let Some(vcpu) = track.vcpu().filter(|vcpu| track != Track::Vcpu(*vcpu)) {
            assert!(self.tracks.contains_key(&Track::Vcpu(vcpu)), "{track:?} is in one that is not known");
        }
        assert!(self.tracks.insert(track, Drawn::default()).is_none(), "{track:?} is there twice");
        Ok(())
    }

    fn begin(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        let time = mark.seen.subject.event.time;
        self.at(mark.track, time).open.push(time);
        self.mark("+", mark);
        Ok(())
    }

    fn end(&mut self, track: Track, time: u64, note: Option<&str>) -> io::Result<()> {
        let began = self.at(track, time).open.pop().unwrap_or_else(|| panic!("nothing ends on {track:?}"));
        assert!(began <= time, "{track:?}: {began} to {time}");
        self.lines.push(format!("{time} {track:?} -{}", if note.is_some() { " cut" } else { "" }));
        Ok(())
    }

    fn instant(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        self.at(mark.track, mark.seen.subject.event.time);
        self.mark("", mark);
        Ok(())
    }

    fn count(&mut self, track: Track, time: u64, value: u64) -> io::Result<()> {
        assert!(track.is_counter(), "{track:?}");
        self.at(track, time);
        self.lines.push(format!("{time} {track:?} = {value}"));
        Ok(())
    }
}

fn draw(events: &[Event], shown: impl Fn(&Event) -> bool) -> Lines {
    let header = Header::default();
    let mut picture = Picture::new(Lines::default(), 0);
    for (number, event) in (0..).zip(events) {
        let subject = Subject { number, event, header: &header };
        picture.add(Seen { subject, shown: shown(event), said: &[] }).unwrap();
        assert!(picture.counters.len() <= MAX_COUNTERS);
    }
    let lines = picture.finish().unwrap();
    for (track, drawn) in &lines.tracks {
        assert!(drawn.open.is_empty(), "{track:?}");
    }
    lines
}

/// What is drawn of everything but rates.
fn lines(events: &[Event]) -> Vec<String> {
    let mut lines = draw(events, |_| true).lines;
    lines.retain(|line| !line.contains("Rate"));
    lines
}

fn at(time: u64, vcpu: u8, payload: Payload) -> Event {
    Event { time, vcpu, payload }
}

fn exit(handling_ns: u64) -> Payload {
    Payload::Exit(Exit { reason: ExitReason::Halt, rip: 0, cpl: 0, guest_ns: 0, handling_ns })
}

fn trap(id: u64, cpl: u8, rsp: u64) -> Payload {
    Payload::Trap(Trap {
        id,
        vector: 14,
        shared_by: 1,
        class: TrapClass::Fault,
        code: None,
        rip: 0,
        cs: 0,
        cpl,
        rsp,
        handler: 0,
        cr2: None,
    })
}

fn back(id: u64) -> Payload {
    Payload::TrapReturn(TrapReturn { id, vector: 14, duration_ns: 0, rip: 0 })
}

fn ipi(id: u64, mode: DeliveryMode, targets: u16) -> Payload {
    Payload::Ipi(Ipi { id, icr: 0, vector: 0x40, mode, shorthand: Shorthand::None, targets })
}

fn accepted(id: u64, sender: u8) -> Payload {
    Payload::IpiAccepted(IpiAccepted { id, sender, vector: 0x40, latency_ns: 0, merged: false })
}

fn eoi(id: u64, sender: u8) -> Payload {
    Payload::IpiEoi(IpiEoi { id, sender, vector: 0x40, latency_ns: 0 })
}

#[test]
fn exits_are_in_the_handlers_that_caused_them() {
    let events = [
        at(10, 0, trap(1, 3, 0)),
        at(10, 0, exit(5)),
        at(20, 0, trap(2, 0, 0x10_0000)),
        at(30, 0, back(2)),
        at(30, 0, exit(5)),
        at(40, 0, back(1)),
    ];
    let expected = [
        "10 Vcpu(0) +page-fault",
        "10 Vcpu(0) +hlt",
        "15 Vcpu(0) -",
        "20 Vcpu(0) +page-fault",
        "30 Vcpu(0) -",
        "30 Vcpu(0) +hlt",
        "35 Vcpu(0) -",
        "40 Vcpu(0) -",
    ];
    assert_eq!(lines(&events), expected);
}

#[test]
fn an_exit_ends_when_something_else_begins() {
    let events = [at(10, 0, exit(100)), at(20, 0, exit(5)), at(22, 0, trap(1, 0, 0)), at(30, 0, exit(100))];
    let expected = [
        "10 Vcpu(0) +hlt",
        "20 Vcpu(0) -",
        "20 Vcpu(0) +hlt",
        "22 Vcpu(0) -",
        "22 Vcpu(0) +page-fault",
        "30 Vcpu(0) +hlt",
        "130 Vcpu(0) -",
        "130 Vcpu(0) - cut",
    ];
    assert_eq!(lines(&events), expected);
}

#[test]
fn a_handler_is_left_when_the_vcpu_is_seen_elsewhere() {
    let stack = 0x10_0000;
    let outer_returns =
        [at(1, 0, trap(1, 3, 0)), at(2, 0, trap(2, 0, stack)), at(3, 0, back(1)), at(4, 0, back(2))];
    let begin = ["1 Vcpu(0) +page-fault", "2 Vcpu(0) +page-fault"];
    let expected = ["3 Vcpu(0) - cut", "3 Vcpu(0) -", "4 Vcpu(0) trap-return"];
    assert_eq!(lines(&outer_returns), [&begin[..], &expected].concat());

    let out_of_user_mode =
        [at(1, 0, trap(1, 0, stack)), at(2, 0, trap(2, 0, stack - 8)), at(3, 0, trap(3, 3, 0))];
    let expected = ["3 Vcpu(0) - cut", "3 Vcpu(0) - cut", "3 Vcpu(0) +page-fault", "3 Vcpu(0) - cut"];
    assert_eq!(lines(&out_of_user_mode), [&begin[..], &expected].concat());

    let further_up = [at(1, 0, trap(1, 0, stack)), at(2, 0, trap(2, 0, stack))];
    let expected = ["1 Vcpu(0) +page-fault", "2 Vcpu(0) - cut", "2 Vcpu(0) +page-fault", "2 Vcpu(0) - cut"];
    assert_eq!(lines(&further_up), expected);
}

#[test]
fn an_ipi_lasts_until_its_last_target_has_acknowledged() {
    let events = [
        at(10, 0, ipi(7, DeliveryMode::Fixed, 0b110)),
        at(11, 0, ipi(8, DeliveryMode::Init, 0b10)),
        at(20, 1, accepted(7, 0)),
        at(21, 2, accepted(7, 0)),
        at(22, 1, accepted(8, 0)),
        at(30, 1, eoi(7, 0)),
        at(40, 2, eoi(7, 0)),
        at(50, 2, eoi(7, 0)),
    ];
    let expected = [
        "10 Sent(0, 0) +ipi 0x40 -> 0x71 0x72",
        "11 Sent(0, 1) +ipi init -> 0x81",
        "20 Taken(1, 0) +ipi 0x40 from cpu0 <- 0x71",
        "21 Taken(2, 0) +ipi 0x40 from cpu0 <- 0x72",
        "22 Sent(0, 1) -",
        "22 Vcpu(1) ipi init <- 0x81",
        "30 Taken(1, 0) -",
        "40 Taken(2, 0) -",
        "40 Sent(0, 0) -",
        "50 Vcpu(2) ipi-eoi",
    ];
    assert_eq!(lines(&events), expected);
}

#[test]
fn what_is_not_chosen_ends_what_is() {
    let events = [
        at(10, 0, trap(1, 3, 0)),
        at(10, 0, exit(5)),
        at(20, 0, back(1)),
        at(30, 0, Payload::State(VcpuState::Halted)),
        at(40, 0, Payload::State(VcpuState::Running)),
    ];
    let only = |wanted: &[u64], kind: event::Kind| {
        draw(&events, |event| wanted.contains(&event.time) && event.payload.kind() == kind).lines
    };
    assert_eq!(only(&[10], event::Kind::Trap), ["10 Vcpu(0) +page-fault", "20 Vcpu(0) -"]);
    assert_eq!(only(&[30], event::Kind::State), ["30 State(0) +halted", "40 State(0) -"]);
    let exits = ["10 Vcpu(0) +hlt", "15 Vcpu(0) -", "0 Rate(0) = 10000", "100000 Rate(0) = 0"];
    assert_eq!(only(&[10], event::Kind::Exit), exits);
}

#[test]
fn a_counter_is_a_track_until_there_are_too_many() {
    let counter = |name: &str, value| Payload::Counter(Counter { name: Text::from(name).unwrap(), value });
    let mut events: Vec<Event> = (0..300).map(|n| at(n, 0, counter(&format!("c{n}"), n))).collect();
    events.push(at(300, 1, counter("c0", 7)));
    let lines = lines(&events);
    assert_eq!(lines[1], "1 Counter(1) = 1");
    assert_eq!(lines[256], "256 Vcpu(0) counter");
    assert_eq!(lines[300], "300 Counter(0) = 7", "the count is the guest's, whichever vCPU tells it");
}

/// Payloads that have to do with each other, and times that overlap.
fn payload() -> impl Strategy<Value = Payload> {
    let id = 0_u64..6;
    let mode = prop::sample::select(vec![DeliveryMode::Fixed, DeliveryMode::Nmi, DeliveryMode::StartUp]);
    let irq = IrqSource::LapicTimer;
    prop_oneof![
        prop_oneof![0_u64..40, Just(u64::MAX)].prop_map(exit),
        (id.clone(), prop::sample::select(vec![0, 3]), 0_u64..0x8000)
            .prop_map(|(id, cpl, rsp)| trap(id, cpl, rsp)),
        id.clone().prop_map(back),
        (id.clone(), mode, any::<u16>()).prop_map(|(id, mode, targets)| ipi(id, mode, targets)),
        (id.clone(), 0_u8..4).prop_map(|(id, sender)| accepted(id, sender)),
        (id.clone(), 0_u8..4).prop_map(|(id, sender)| eoi(id, sender)),
        (0_u8..3).prop_map(move |vector| Payload::Irq(Irq { source: irq, vector, latency_ns: 0 })),
        (0_u8..3).prop_map(move |vector| Payload::IrqEoi(IrqEoi { source: irq, vector, latency_ns: 0 })),
        prop::sample::select(vec![VcpuState::Halted, VcpuState::Running]).prop_map(Payload::State),
        id.prop_map(|slide| Payload::Slide(event::Slide { slide })),
    ]
}

proptest! {
    /// [`Lines`] checks each line.
    #[test]
    fn slices_nest_whatever_a_trace_says(
        events in prop::collection::vec((0_u64..20, 0_u8..4, payload(), any::<bool>()), 0..200)
    ) {
        let mut time = 0;
        let (events, shown): (Vec<Event>, Vec<bool>) = events.into_iter().map(|(step, vcpu, payload, shown)| {
            time += step;
            (at(time, if vcpu == 3 { MACHINE } else { vcpu }, payload), shown)
        }).unzip();
        let all = draw(&events, |_| true);
        let exits = events.iter().filter(|e| e.vcpu != MACHINE && e.payload.kind() == event::Kind::Exit).count();
        prop_assert_eq!(all.lines.iter().filter(|line| line.contains("+hlt")).count(), exits);
        let number = |event: &Event| events.iter().position(|e| std::ptr::eq(e, event)).unwrap();
        draw(&events, |event| shown[number(event)]);
    }

    #[test]
    fn once_all_that_was_shown_has_ended_nothing_more_is_drawn(
        events in prop::collection::vec((0_u64..20, 0_u8..4, payload()), 0..200), to in 0_u64..500
    ) {
        let mut time = 0;
        let events: Vec<Event> = events.into_iter().map(|(step, vcpu, payload)| {
            time += step;
            at(time, vcpu, payload)
        }).collect();
        let header = Header::default();
        let mut picture = Picture::new(Lines::default(), 0);
        for (number, event) in (0..).zip(&events) {
            if event.time > to && picture.is_complete() {
                break;
            }
            let subject = Subject { number, event, header: &header };
            picture.add(Seen { subject, shown: event.time <= to, said: &[] }).unwrap();
        }
        let all = draw(&events, |event| event.time <= to);
        prop_assert_eq!(picture.finish().unwrap().lines, all.lines);
    }
}
