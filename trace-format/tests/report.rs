//! The report of a small trace, written out.
#![allow(clippy::unwrap_used, reason = "tests")]

use trace_format::analysis::Tally;
use trace_format::describe::Line;
use trace_format::event::{
    Counter, DeliveryMode, Exit, ExitReason, Fixup, FixupKind, Ipi, IpiAccepted, IpiEoi, Irq, IrqSource,
    Lost, LostReason, MACHINE, Mnemonic, ResetBy, Screen, Shorthand, Slide, StopReason, Text, Trap,
    TrapClass, TrapReturn, VcpuState,
};
use trace_format::header::{Fact, Symbol};
use trace_format::{Event, Header, Payload, Reader, Report, Writer, verify};

fn header() -> Header {
    Header {
        guest: "tlb-shootdown".into(),
        command: vec!["vmscope".into(), "record".into(), "tlb-shootdown".into()],
        vcpus: 2,
        memory_bytes: 64 << 20,
        host: vec![Fact { name: "kernel".into(), value: "6.12".into() }],
        not_seen: vec!["IPIs: KVM plays\u{1b} the local APICs".into()],
        symbols: vec![Symbol { address: 0x1000, size: 0x100, name: "main".into() }].into(),
        ..Header::default()
    }
}

fn events() -> Vec<Event> {
    let icr = ExitReason::MmioWrite { gpa: 0xfee0_0300, size: 4, data: 0xc_0040 };
    let page_fault = Trap {
        id: 1,
        vector: 14,
        shared_by: 1,
        class: TrapClass::Fault,
        code: Some(6),
        rip: 0x1010,
        cs: 0x33,
        cpl: 3,
        rsp: 0x8000,
        handler: 0x2000,
        cr2: Some(0x40_0000),
    };
    let ipi = Ipi {
        id: 1,
        icr: 0xc_0040,
        vector: 0x40,
        mode: DeliveryMode::Fixed,
        shorthand: Shorthand::AllExcludingSelf,
        targets: 0b10,
    };
    let event = |time, vcpu, payload| Event { time, vcpu, payload };
    vec![
        event(0, 0, Payload::State(VcpuState::Created)),
        event(2_000, 0, Payload::Trap(page_fault)),
        event(
            5_000,
            0,
            Payload::TrapReturn(TrapReturn { id: 1, vector: 14, duration_ns: 3_000, rip: 0x1010 }),
        ),
        event(
            9_000,
            0,
            Payload::Exit(Exit { reason: icr, rip: 0x1020, cpl: 0, guest_ns: 4_000, handling_ns: 300 }),
        ),
        event(9_050, 0, Payload::Ipi(ipi)),
        event(
            9_800,
            1,
            Payload::IpiAccepted(IpiAccepted {
                id: 1,
                sender: 0,
                vector: 64,
                latency_ns: 750,
                merged: false,
            }),
        ),
        event(9_900, 1, Payload::IpiEoi(IpiEoi { id: 1, sender: 0, vector: 64, latency_ns: 850 })),
        event(9_950, 1, Payload::Irq(Irq { source: IrqSource::LapicTimer, vector: 32, latency_ns: 90 })),
        event(9_960, 0, Payload::Counter(Counter { name: Text::from("ipis").unwrap(), value: 1 })),
        event(9_970, 0, Payload::Lost(Lost { count: 3, reason: LostReason::RingFull })),
        event(
            9_980,
            MACHINE,
            Payload::State(VcpuState::Stopped { why: StopReason::GuestExit { status: 0 } }),
        ),
    ]
}

fn reader() -> Reader {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    events().iter().for_each(|event| writer.append(event).unwrap());
    Reader::from_bytes(writer.finish().unwrap()).unwrap()
}

#[test]
fn a_report_has_the_documented_fields() {
    let mut reader = reader();
    let report = Report::of(&mut reader).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let span = |ns: u64| {
        serde_json::json!({
            "min": ns, "mean": ns as f64, "p50": ns, "p90": ns, "p99": ns, "p999": ns, "max": ns
        })
    };
    let expected = serde_json::json!({
        "schema": 1,
        "events": 11,
        "bytes": reader.bytes(),
        "lost": 3,
        "unknown": 0,
        "duration_ns": 9_980,
        "vcpus": 2,
        "by_kind": {
            "counter": 1, "exit": 1, "ipi": 1, "ipi-accepted": 1, "ipi-eoi": 1, "irq": 1, "lost": 1, "state": 2,
            "trap": 1, "trap-return": 1,
        },
        "exits": [{ "reason": "mmio-write", "count": 1, "guest_ns": span(4_000), "handling_ns": span(300) }],
        "traps": [{
            "vector": 14, "name": "page-fault", "class": "fault", "count": 1, "returned": 1,
            "duration_ns": span(3_000),
        }],
        "ipis": {
            "sent": 1, "accepted": 1, "merged": 0, "latency_ns": span(750), "eoi_latency_ns": span(850),
        },
        "irqs": [{ "source": "lapic-timer", "count": 1, "latency_ns": span(90), "eoi_latency_ns": null }],
        "guest": { "exit_status": 0, "stopped": "the guest exited with status 0", "counters": { "ipis": 1 } },
        "trace": {
            "guest": "tlb-shootdown",
            "command": ["vmscope", "record", "tlb-shootdown"],
            "guest_command_line": "",
            "memory_bytes": 64 << 20,
            "start_unix_ns": 0,
            "tsc_khz": 0,
            "recorder": "",
            "host": [{ "name": "kernel", "value": "6.12" }],
            "calibration": [],
            "not_seen": ["IPIs: KVM plays\u{1b} the local APICs"],
            "finished": true,
            "blocks": 1,
            "damage": [],
        },
    });
    assert_eq!(json, expected);
}

#[test]
fn a_report_is_readable() {
    let mut reader = reader();
    let bytes = reader.bytes();
    let text = Report::of(&mut reader).unwrap().text();
    let each = bytes as f64 / 11.0;
    let expected = format!(
        "\
guest     tlb-shootdown, 2 vCPUs, 64 MiB
recorded  vmscope record tlb-shootdown
end       the guest exited with status 0
not seen  IPIs: KVM plays\\u{{1b}} the local APICs
time      9.98 µs
events    11 in {bytes} bytes, {each:.2} bytes an event
lost      3 events

kind                    count
state                       2
counter                     1
exit                        1
ipi                         1
ipi-accepted                1
ipi-eoi                     1
irq                         1
lost                        1
trap                        1
trap-return                 1

exit                    count  time          min     mean      p50      p90      p99      max
mmio-write                  1  handling   300 ns   300 ns   300 ns   300 ns   300 ns   300 ns
                               guest     4.00 µs  4.00 µs  4.00 µs  4.00 µs  4.00 µs  4.00 µs

trap                    count  time          min     mean      p50      p90      p99      max
14 page-fault               1  handler   3.00 µs  3.00 µs  3.00 µs  3.00 µs  3.00 µs  3.00 µs

interrupt               count  time          min     mean      p50      p90      p99      max
ipi sent                    1
ipi accepted                1  accept     750 ns   750 ns   750 ns   750 ns   750 ns   750 ns
                               eoi        850 ns   850 ns   850 ns   850 ns   850 ns   850 ns
ipi merged                  0
lapic-timer                 1  accept      90 ns    90 ns    90 ns    90 ns    90 ns    90 ns

counted by guest        count
ipis                        1
"
    );
    assert_eq!(text, expected);
}

#[test]
fn events_are_lines() {
    let header = header();
    let lines: Vec<String> = events()
        .iter()
        .enumerate()
        .map(|(number, event)| Line { number: number as u64, event, header: &header }.to_string())
        .collect();
    let expected = [
        "       0    0.000000000 cpu0 state    created",
        "       1    0.000002000 cpu0 trap     page-fault #1 error code 0x6 cr2 0x400000 at main+0x10 cpl 3, handler 0x2000",
        "       2    0.000005000 cpu0 return   page-fault #1 to main+0x10 after 3.00 µs",
        "       3    0.000009000 cpu0 exit     mmio-write 0xfee00300 <- 0x000c0040 at main+0x20, 4.00 µs in the guest, \
         handled in 300 ns",
        "       4    0.000009050 cpu0 ipi      #1 fixed vector 0x40 to cpu1 (others)",
        "       5    0.000009800 cpu1 ipi-acc  #1 vector 0x40 from cpu0 after 750 ns",
        "       6    0.000009900 cpu1 ipi-eoi  #1 vector 0x40 from cpu0 after 850 ns",
        "       7    0.000009950 cpu1 irq      lapic-timer vector 0x20 after 90 ns",
        "       8    0.000009960 cpu0 counter  ipis = 1",
        "       9    0.000009970 cpu0 lost     3 events, ring-full",
        "      10    0.000009980 vm   state    stopped: the guest exited with status 0",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn events_are_json_objects() {
    let header = header();
    let events = events();
    let json = |n: usize| serde_json::to_string(&events[n].json(n as u64, &header)).unwrap();
    assert_eq!(
        json(3),
        r#"{"number":3,"time":9000,"vcpu":0,"kind":"exit","reason":"mmio-write","gpa":"0xfee00300","size":4,"#
            .to_owned()
            + r#""data":"0xc0040","rip":"0x1020","symbol":"main+0x20","cpl":0,"guest_ns":4000,"handling_ns":300}"#
    );
    assert_eq!(
        json(10),
        r#"{"number":10,"time":9980,"vcpu":null,"kind":"state","state":"stopped","#.to_owned()
            + r#""why":"the guest exited with status 0","status":0}"#
    );
}

#[test]
fn a_sound_trace_is_called_sound() {
    let mut reader = reader();
    let found = verify(&mut reader).unwrap();
    assert!(found.is_sound());
    assert_eq!((found.events, found.lost, found.blocks, found.finished), (11, 3, 1, true));
}

#[test]
fn a_live_tally_is_the_report_s() {
    let mut reader = reader();
    let mut tally = Tally::default();
    events().iter().for_each(|event| tally.add(event));
    assert_eq!(tally.report(&reader), Report::of(&mut reader).unwrap());
}

#[test]
fn screens_slides_fixups_and_ends_are_lines() {
    let cells: arrayvec::ArrayVec<u16, 80> = [0x0741, 0x071b, 0x0707, 0x0720].into_iter().collect();
    let payloads = [
        Payload::Screen(Screen { columns: 80, row: 24, first: 3, cursor: Some((24, 6)), cells }),
        Payload::Screen(Screen { columns: 80, row: 0, first: 0, cursor: None, cells: Default::default() }),
        Payload::Slide(Slide { slide: 0x1e00_0000 }),
        Payload::Fixup(Fixup {
            kind: FixupKind::Instruction,
            rip: 0x1010,
            mnemonic: Mnemonic::from("cmpxchg16b").unwrap(),
        }),
        Payload::State(VcpuState::Stopped { why: StopReason::Reset { by: ResetBy::ResetControl } }),
        Payload::State(VcpuState::Stopped { why: StopReason::PowerOff }),
    ];
    let events = payloads.map(|payload| Event { time: 0, vcpu: MACHINE, payload });
    let header = header();
    let lines: Vec<String> = events.iter().map(|event| event.describe(&header).to_string()).collect();
    let expected = [
        "row 24 from column 3 \"A←•\", cursor at row 24 column 6",
        "no cursor",
        "the kernel runs 0x1e000000 above its link address",
        "KVM cannot run cmpxchg16b here: the monitor did, at main+0x10",
        "stopped: the guest asked for a reset through port 0xcf9",
        "stopped: the guest switched itself off",
    ];
    assert_eq!(lines, expected);

    let json = |n: usize| serde_json::to_value(events[n].json(n as u64, &header)).unwrap();
    let screen = serde_json::json!({
        "number": 0, "time": 0, "vcpu": null, "kind": "screen", "columns": 80, "row": 24, "first": 3,
        "cursor": [24, 6], "text": "A←• ", "attributes": "07070707",
    });
    assert_eq!(json(0), screen);
    assert_eq!(json(2)["slide"], "0x1e000000");
    assert_eq!(json(3)["mnemonic"], "cmpxchg16b");
    assert_eq!(json(4)["by"], "reset-control");
}
