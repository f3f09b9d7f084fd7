//! Writing, reading and following whole traces.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::ops::ControlFlow;

use trace_format::event::{
    Exit, ExitReason, Lost, LostReason, MACHINE, Output, Slide, StopReason, VcpuState,
};
use trace_format::header::Symbol;
use trace_format::{Error, Event, Header, Kind, Payload, Reader, Writer};

fn header() -> Header {
    Header { guest: "exit-storm".into(), command: vec!["vmscope".into()], vcpus: 2, ..Header::default() }
}

/// `n` exits on two vCPUs, some output, and the end.
fn events(n: u64) -> Vec<Event> {
    let mut events: Vec<Event> = (0..n)
        .map(|i| Event {
            time: 1000 + i * 6000,
            vcpu: (i % 2) as u8,
            payload: Payload::Exit(Exit {
                reason: ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: i & 0xff },
                rip: 0xffff_ffff_8100_0000 + i % 3,
                cpl: 0,
                guest_ns: 5500 + i % 100,
                handling_ns: 200 + i % 7,
            }),
        })
        .collect();
    let time = events.last().map_or(0, |event| event.time);
    let payload =
        Payload::Console(Output { port: 0xe9, bytes: b"bye\x1b[2J".as_slice().try_into().unwrap() });
    events.push(Event { time, vcpu: 1, payload });
    let payload = Payload::Lost(Lost { count: 7, reason: LostReason::RingFull });
    events.push(Event { time, vcpu: 0, payload });
    let why = StopReason::GuestExit { status: 3 };
    let payload = Payload::State(VcpuState::Stopped { why });
    events.push(Event { time: time + 1, vcpu: MACHINE, payload });
    events
}

fn write(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for event in events {
        writer.append(event).unwrap();
    }
    writer.finish().unwrap()
}

fn read(reader: &mut Reader) -> Vec<Event> {
    reader.forward(0).map(|event| event.unwrap().1).collect()
}

#[test]
fn what_was_written_is_read() {
    let events = events(100_000);
    let mut reader = Reader::from_bytes(write(&events)).unwrap();
    assert_eq!(reader.header(), &header());
    assert!(reader.is_finished());
    assert_eq!(reader.len(), events.len() as u64);
    assert!(reader.blocks().len() > 3);
    assert_eq!(reader.damage(), []);
    assert!(read(&mut reader) == events);

    let mut backward: Vec<Event> = reader.backward(reader.len()).map(|event| event.unwrap().1).collect();
    backward.reverse();
    assert!(backward == events);

    for number in [0, 1, 65_535, 100_002] {
        assert_eq!(reader.event(number).unwrap().as_ref(), events.get(number as usize));
    }
    assert_eq!(reader.event(100_003).unwrap(), None);

    let last = reader.blocks().last().unwrap();
    assert!(last.has_kind(Kind::Console) && last.has_kind(Kind::State) && !last.has_kind(Kind::Walk));
    assert!(last.has_vcpu(0) && last.has_vcpu(MACHINE) && !last.has_vcpu(2));
    assert_eq!(last.lost, 7);
}

/// vCPU 1 has events near both ends alone, so that most blocks can be left out.
#[test]
fn blocks_that_are_not_wanted_are_left_out_both_ways() {
    let mut all = events(300_000);
    for event in &mut all[1000..299_000] {
        event.vcpu = 0;
    }
    let mut reader = Reader::from_bytes(write(&all)).unwrap();
    let of =
        |vcpu| (0_u64..).zip(&all).filter(move |(_, event)| event.vcpu == vcpu).map(|(number, _)| number);
    for from in [0, 1, 999, 150_000, 299_999, 400_000] {
        let (mut seen, mut shown) = (Vec::new(), 0);
        let flow = reader.go_through(
            from,
            |block| block.has_vcpu(1),
            |number, event| {
                shown += 1;
                if event.vcpu == 1 {
                    seen.push(number);
                }
                ControlFlow::<()>::Continue(())
            },
        );
        assert!(flow.unwrap().is_continue());
        assert_eq!(seen, of(1).filter(|number| *number >= from).collect::<Vec<_>>());
        assert!(shown < 200_000, "{shown} of {}", all.len());
        seen.clear();
        let flow = reader.back_through(
            from,
            |block| block.has_vcpu(1),
            |number, event| {
                if event.vcpu == 1 {
                    seen.push(number);
                }
                ControlFlow::<()>::Continue(())
            },
        );
        assert!(flow.unwrap().is_continue());
        assert_eq!(
            seen,
            of(1).filter(|number| *number < from).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>()
        );
    }
    let first = reader.back_through(
        250_000,
        |block| block.has_vcpu(1),
        |number, event| match event.vcpu {
            1 => ControlFlow::Break(number),
            _ => ControlFlow::Continue(()),
        },
    );
    assert_eq!(first.unwrap(), ControlFlow::Break(999));
}

#[test]
fn times_lead_to_events() {
    let events = events(50_000);
    let mut reader = Reader::from_bytes(write(&events)).unwrap();
    for time in [0, 1000, 1001, 7000, 6000 * 20_000, 6000 * 20_000 + 1000, 6000 * 49_999 + 1001, u64::MAX] {
        let number = events.partition_point(|event| event.time < time) as u64;
        assert_eq!(reader.seek_time(time).unwrap(), number, "{time}");
        let next = reader.forward(number).next().map(|event| event.unwrap().1);
        assert_eq!(next.as_ref(), events.get(number as usize));
        let before = reader.backward(number).next().map(|event| event.unwrap().1);
        assert_eq!(before.as_ref(), number.checked_sub(1).map(|n| &events[n as usize]));
    }
}

#[test]
fn a_growing_file_is_followed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let events = events(1000);
    let mut writer = Writer::new(File::create(file.path()).unwrap(), &header()).unwrap();
    let mut reader = Reader::open(file.path()).unwrap();
    assert_eq!(reader.header(), &header());
    assert!(reader.is_empty() && !reader.is_finished());

    let mut seen = Vec::new();
    for part in events.chunks(100) {
        for event in part {
            writer.append(event).unwrap();
        }
        writer.flush().unwrap();
        writer.flush().unwrap();
        assert_eq!(reader.poll().unwrap(), part.len() as u64);
        assert_eq!(reader.poll().unwrap(), 0);
        let from = seen.len() as u64;
        seen.extend(reader.forward(from).map(|event| event.unwrap().1));
    }
    assert!(seen == events);
    assert!(!reader.is_finished());
    writer.finish().unwrap();
    assert_eq!(reader.poll().unwrap(), 0);
    assert!(reader.is_finished());
    assert_eq!(reader.damage(), []);
}

#[test]
fn a_killed_recording_is_read_up_to_its_last_flush() {
    let events = events(1000);
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header()).unwrap();
    events[..900].iter().for_each(|event| writer.append(event).unwrap());
    writer.flush().unwrap();
    events[900..].iter().for_each(|event| writer.append(event).unwrap());
    drop(writer);
    let mut reader = Reader::from_bytes(bytes).unwrap();
    assert!(!reader.is_finished());
    assert_eq!(reader.damage(), []);
    assert!(read(&mut reader) == events[..900]);
}

#[test]
fn events_out_of_order_are_refused_and_change_nothing() {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    let event = |time, vcpu| Event { time, vcpu, payload: Payload::State(VcpuState::Running) };
    writer.append(&event(5, 0)).unwrap();
    assert!(matches!(writer.append(&event(4, 1)), Err(Error::OutOfOrder { time: 4, last: 5 })));
    assert!(matches!(writer.append(&event(6, 63)), Err(Error::Vcpu { vcpu: 63 })));
    writer.append(&event(5, 1)).unwrap();
    let mut reader = Reader::from_bytes(writer.finish().unwrap()).unwrap();
    assert_eq!(read(&mut reader), [event(5, 0), event(5, 1)]);
}

#[test]
fn an_empty_trace_is_a_trace() {
    let mut reader = Reader::from_bytes(write(&[])).unwrap();
    assert!(reader.is_finished() && reader.is_empty());
    assert_eq!(reader.time_range(), None);
    assert_eq!(reader.seek_time(5).unwrap(), 0);
    assert!(reader.forward(0).next().is_none() && reader.backward(9).next().is_none());
}

#[test]
fn other_files_and_versions_are_told_apart() {
    assert!(matches!(Reader::from_bytes(b"".as_slice()), Err(Error::NotATrace)));
    assert!(matches!(
        Reader::from_bytes(b"#!/bin/sh\necho this is no trace".as_slice()),
        Err(Error::NotATrace)
    ));
    assert!(matches!(Reader::open("/nonexistent/trace.vmt"), Err(Error::Open { .. })));
    let is_send = |_: &dyn Send| ();
    is_send(&Reader::from_bytes(write(&[])).unwrap());
}

#[test]
fn the_header_tells_what_is_not_seen() {
    let not_seen = vec!["IPIs: KVM plays the local APICs".to_owned(), "EOIs".to_owned()];
    let header = Header { not_seen, ..header() };
    let file = Writer::new(Vec::new(), &header).unwrap().finish().unwrap();
    assert_eq!(Reader::from_bytes(file).unwrap().header(), &header);

    let endless = Header { not_seen: vec![String::new(); 1 << 20], ..header };
    assert!(matches!(Writer::new(Vec::new(), &endless), Err(Error::TooLarge { .. })));
}

#[test]
fn symbols_follow_the_last_slide() {
    const LINKED: u64 = 0xffff_ffff_8100_0000;
    let symbol = Symbol { address: LINKED, size: 0x100, name: "start".into() };
    let header = Header { symbols: vec![symbol].into(), ..header() };
    let slide = |time, slide| Event { time, vcpu: 0, payload: Payload::Slide(Slide { slide }) };
    let named = |reader: &Reader, address| reader.header().symbolize(address).is_some();

    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(File::create(file.path()).unwrap(), &header).unwrap();
    let mut following = Reader::open(file.path()).unwrap();
    assert!(named(&following, LINKED));
    writer.append(&slide(1, 0x100_0000)).unwrap();
    writer.append(&slide(2, 0x200_0000)).unwrap();
    writer.flush().unwrap();
    following.poll().unwrap();
    assert!(named(&following, LINKED + 0x200_0000) && !named(&following, LINKED));
    writer.append(&slide(3, 0x300_0000)).unwrap();
    writer.flush().unwrap();
    for event in &events(100) {
        writer.append(event).unwrap();
    }
    writer.finish().unwrap();
    following.poll().unwrap();
    assert!(named(&following, LINKED + 0x300_0000), "what followed in the file");
    let opened = Reader::open(file.path()).unwrap();
    assert!(named(&opened, LINKED + 0x300_0000), "what was opened afterwards");
    let linked = opened.header().symbols.iter().next().unwrap();
    assert_eq!(linked, (LINKED, 0x100, "start"), "the header keeps addresses as linked");
}
