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
    let report = Report::of(&mut reader()).unwrap();
    insta::assert_snapshot!("report-json", serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn a_report_is_readable() {
    let report = Report::of(&mut reader()).unwrap();
    insta::assert_snapshot!("report-text", report.text());
    // For terminals the headings are bold, and nothing else is different.
    let bold = format!("{report:#}");
    assert_eq!(bold.replace("\x1b[1m", "").replace("\x1b[0m", ""), report.text());
    assert!(bold.contains("\n\x1b[1mtrap  "));
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
    let live = tally.report(&reader);
    let whole = Report::of(&mut reader).unwrap();
    assert_eq!(live, Report { details: live.details.clone(), ..whole });
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

/// Every number of the details is what a count by hand gives, over every kind of event.
#[test]
fn details_agree_with_a_count_by_hand() {
    use trace_format::analysis::{Groups, Plan, grouped};
    use trace_format::filter::{Selection, field};
    let golden = || Reader::from_bytes(include_bytes!("golden/1.vmt").as_slice()).unwrap();
    let events: Vec<Event> = golden().forward(0).map(|event| event.unwrap().1).collect();
    let plan = Plan { top: usize::MAX, window_ns: Some(100_000), ..Plan::default() };
    let report = Report::of_plan(&mut golden(), &plan).unwrap();
    let of_vcpu = |vcpu: u8| events.iter().filter(move |event| event.vcpu == vcpu);
    for vcpu in &report.details.by_vcpu {
        assert_eq!(vcpu.events, of_vcpu(vcpu.vcpu).count() as u64);
        let exits = of_vcpu(vcpu.vcpu).filter_map(|event| match &event.payload {
            Payload::Exit(exit) => Some(exit.guest_ns),
            _ => None,
        });
        assert_eq!(vcpu.exits, exits.clone().count() as u64);
        assert_eq!(vcpu.guest_ns, exits.fold(0, u64::saturating_add));
    }
    assert_eq!(report.details.by_vcpu.iter().map(|vcpu| vcpu.events).sum::<u64>(), events.len() as u64);
    let accepted = report.by_kind["ipi-accepted"];
    let targets = report.details.shootdowns.iter().filter_map(|vector| vector.accept_ns.as_ref()).count();
    assert!(targets > 0 && report.details.ipi_matrix.iter().flatten().sum::<u64>() <= accepted);
    let windows = report.details.windows.unwrap();
    for (kind, count) in &report.by_kind {
        assert_eq!(windows.counts[kind].iter().sum::<u64>(), *count, "{kind}");
    }
    let faults = events.iter().filter(|event| matches!(&event.payload, Payload::Trap(t) if t.cr2.is_some()));
    assert_eq!(report.details.pages.iter().map(|page| page.count).sum::<u64>(), faults.count() as u64);
    let walks: u64 = report.details.walks.iter().map(|walk| walk.count).sum();
    assert_eq!(walks, report.by_kind["walk"]);
    // Groups by any field: each event that has it, once.
    let groups = grouped(&mut golden(), &Selection::default(), Groups::new(field("kind").unwrap())).unwrap();
    assert_eq!(groups.largest(usize::MAX).iter().map(|group| group.count).sum::<u64>(), events.len() as u64);
    // Under a filter, as if nothing else had happened.
    let filter = "vcpu == 1 and kind == exit".parse().unwrap();
    let plan = Plan { selection: Selection { filter, ..Selection::default() }, ..Plan::default() };
    let filtered = Report::of_plan(&mut golden(), &plan).unwrap();
    let exits = of_vcpu(1).filter(|event| matches!(event.payload, Payload::Exit(_))).count() as u64;
    assert_eq!((filtered.events, filtered.by_kind.len()), (exits, 1));
}
