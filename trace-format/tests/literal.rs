//! The bytes of FORMAT.md, written out: a change here is a change of the format.
#![allow(clippy::unwrap_used, reason = "tests")]

use trace_format::event::{
    Exit, ExitReason, Fixup, FixupKind, MACHINE, Mnemonic, Output, Registers, ResetBy, Screen, Slide,
    StopReason, VcpuState,
};
use trace_format::{Event, Header, Payload, Reader, Writer};

const HEAD: usize = 20;
const PROLOGUE: [u8; 16] = [
    0x8b, b'V', b'M', b'T', b'\r', b'\n', 0x1a, b'\n', // magic
    1, 0, // version
    0, 0, // flags
    0x2a, 0x92, 0x45, 0xd1, // CRC-32 of what is before
];

fn written(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Header::default()).unwrap();
    for event in events {
        writer.append(event).unwrap();
    }
    writer.flush().unwrap();
    bytes
}

/// The bytes up to the first block.
fn beginning() -> Vec<u8> {
    written(&[])
}

fn frame(kind: u16, summary: &[u8], body: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend(kind.to_le_bytes());
    head.extend((summary.len() as u16).to_le_bytes());
    head.extend((body.len() as u32).to_le_bytes());
    head.extend(crc32fast::hash(body).to_le_bytes());
    let mut checked = head.clone();
    checked.extend(summary);
    let mut frame = b"\xf7VMF".to_vec();
    frame.extend(head);
    frame.extend(crc32fast::hash(&checked).to_le_bytes());
    frame.extend(summary);
    frame.extend(body);
    frame
}

fn summary(words: [u64; 7]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn the_prologue() {
    assert_eq!(beginning()[..16], PROLOGUE);
    assert_eq!(beginning()[16..22], [0xf7, b'V', b'M', b'F', 1, 0], "the header frame");
}

/// The example of FORMAT.md.
#[test]
fn one_event() {
    let event = Event { time: 1000, vcpu: 0, payload: Payload::State(VcpuState::Created) };
    let bytes = written(&[event]);
    let block = &bytes[beginning().len()..];
    #[rustfmt::skip]
    let body = [
        0x01, 0x00, 0x06, 0x06,              // section 1, lanes: stored, 6 bytes
        0x00, 0x01, 0x00, 0x00, 0x05, 0x00,  // vCPU 0: 1 event, no exit, none timed, 5 bytes of events, no bits
        0x03, 0x00, 0x05, 0x05,              // section 3, events: stored, 5 bytes
        0x0c, 0x03, 0x00, 0x00, 0x00,        // state, 3 bytes: created, why 0, detail 0
        0x05, 0x00, 0x01, 0x01,              // section 5, steps: stored, 1 byte
        0x00,                                // at the block's first time
    ];
    let facts = summary([0, 1000, 1000, 0, 1 << 12, 1, 1]);
    assert_eq!(block, frame(2, &facts, &body));
    assert_eq!(block.len(), HEAD + 56 + body.len());
}

#[test]
fn an_exit_and_its_times() {
    let reason = ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: 0x2a };
    let exit = Exit { reason, rip: 0x10_0000, cpl: 0, guest_ns: 5000, handling_ns: 200 };
    let bytes = written(&[Event { time: 6000, vcpu: 1, payload: Payload::Exit(exit) }]);
    #[rustfmt::skip]
    let body = [
        0x01, 0x00, 0x06, 0x06,
        0x01, 0x01, 0x01, 0x00, 0x0c, 0x04,  // vCPU 1: 1 event, 1 exit, none timed, 12 bytes of events, 4 of bits
        0x03, 0x00, 0x0c, 0x0c,
        0x81, 0x0a,                          // io-out, 10 bytes
        0x80, 0x80, 0x80, 0x01, 0x00,        // rip +0x100000, cpl 0
        0x80, 0x02, 0x01, 0x01, 0x54,        // port +0x80, size 1, count 1, data +0x2a
        0x04, 0x00, 0x01, 0x01, 0x30,        // wait: -5000, zigzag 9999: octave 13, quarter 0
        0x06, 0x00, 0x01, 0x01, 0x30,        // guest: 5000 from a mean of 0, zigzag 10000
        0x07, 0x00, 0x01, 0x01, 0x1e,        // handling: 200, zigzag 400: octave 8, quarter 2
        0x09, 0x00, 0x04, 0x04,              // section 9, bits: 11 of 10000, 6 of 400, 11 of 9999
        0x10, 0x87, 0x1e, 0x0e,
    ];
    let block = &bytes[beginning().len()..];
    assert_eq!(block[HEAD + 56..], body, "{:02x?}", &block[HEAD + 56..]);
}

#[test]
fn an_event_with_an_unknown_tag_is_stepped_over() {
    // Three events of vCPU 0: known, from the future (tag 0x3e, 2 bytes, step 500), known (step 7).
    #[rustfmt::skip]
    let body = [
        0x01, 0x00, 0x06, 0x06, 0x00, 0x03, 0x00, 0x00, 0x0e, 0x01,
        0x03, 0x00, 0x0e, 0x0e,
        0x0c, 0x03, 0x00, 0x00, 0x00,
        0x3e, 0x02, 0xff, 0xff,
        0x0c, 0x03, 0x02, 0x00, 0x00,
        0x05, 0x00, 0x03, 0x03, 0x00, 0x1f, 0x07,  // 500 = 1.1111 0100 b, octave 8, quarter 3
        0x09, 0x00, 0x01, 0x01, 0x34,              // its low 6 bits
    ];
    let mut bytes = beginning();
    bytes.extend(frame(2, &summary([0, 1000, 1507, 0, 1 << 12 | 1 << 40, 1, 3]), &body));
    let mut reader = Reader::from_bytes(bytes).unwrap();
    let events: Vec<(u64, Event)> = reader.forward(0).map(Result::unwrap).collect();
    let seen: Vec<(u64, u64)> = events.iter().map(|(number, event)| (*number, event.time)).collect();
    assert_eq!(seen, [(0, 1000), (2, 1507)]);
    assert_eq!(events[1].1.payload, Payload::State(VcpuState::Running));
    assert_eq!(reader.unknown_events(), 1);
    assert_eq!(reader.damage(), []);
}

/// The section of a block that holds the events, of one whose events are all of one lane.
fn records(events: &[Event]) -> Vec<u8> {
    let bytes = written(events);
    let body = &bytes[beginning().len() + HEAD + 56..];
    let lanes = usize::from(body[3]);
    let section = &body[4 + lanes..];
    assert_eq!(section[..2], [3, 0], "events, stored");
    section[4..][..usize::from(section[2])].to_vec()
}

fn at_once(vcpu: u8, payload: Payload) -> Event {
    Event { time: 0, vcpu, payload }
}

#[test]
fn how_a_run_ended() {
    let stopped = |why| [at_once(MACHINE, Payload::State(VcpuState::Stopped { why }))];
    let reset = |by| records(&stopped(StopReason::Reset { by }));
    assert_eq!(reset(ResetBy::Unknown), [12, 3, 5, 1, 0], "as all resets were in the first traces");
    assert_eq!(reset(ResetBy::KeyboardController), [12, 3, 5, 1, 1]);
    assert_eq!(reset(ResetBy::FastReset), [12, 3, 5, 1, 2]);
    assert_eq!(reset(ResetBy::ResetControl), [12, 3, 5, 1, 3]);
    assert_eq!(reset(ResetBy::Acpi), [12, 3, 5, 1, 4]);
    assert_eq!(reset(ResetBy::Hypervisor), [12, 3, 5, 1, 5]);
    assert_eq!(records(&stopped(StopReason::PowerOff)), [12, 3, 5, 7, 0]);
}

#[test]
fn a_fixup_with_and_without_a_mnemonic() {
    let fixup = |mnemonic: &str| Fixup {
        kind: FixupKind::Instruction,
        rip: 0x40,
        mnemonic: Mnemonic::from(mnemonic).unwrap(),
    };
    assert_eq!(records(&[at_once(0, Payload::Fixup(fixup("")))]), [19, 3, 2, 0x80, 1]);
    let with = records(&[at_once(0, Payload::Fixup(fixup("stac")))]);
    assert_eq!(with, [19, 8, 2, 0x80, 1, 4, b's', b't', b'a', b'c']);
}

#[test]
fn a_part_of_the_screen() {
    let cells = [0x1f41, 0x0742].into_iter().collect();
    let screen = Screen { columns: 80, row: 24, first: 3, cursor: Some((24, 5)), cells };
    #[rustfmt::skip]
    let expected = [
        21, 12,
        80, 24, 3, 1, 24, 5,  // columns, row, first, the cursor
        2, 0x41, 0x42,        // characters
        2, 0x1f, 0x07,        // attributes
    ];
    assert_eq!(records(&[at_once(MACHINE, Payload::Screen(screen))]), expected);
}

#[test]
fn a_slide() {
    let slide = Slide { slide: 0x1e00_0000 };
    let expected = [22, 5, 0x80, 0x80, 0x80, 0xf0, 0x01];
    assert_eq!(records(&[at_once(MACHINE, Payload::Slide(slide))]), expected);
}

#[test]
fn registers_and_what_has_changed_of_them() {
    let mut registers = Registers { rip: 0x40, rflags: 2, cr8: 1, ..Registers::default() };
    registers.general[0] = 1;
    let first = at_once(0, Payload::Registers(registers.clone()));
    registers.rip = 0x42;
    let second = at_once(0, Payload::Registers(registers));
    #[rustfmt::skip]
    let expected = [
        23, 10,
        0x81, 0x80, 0x8c, 0x80, 0x40, // bits 0, 16, 17 and 34
        2, 0x80, 1, 4, 2,             // RAX, RIP, RFLAGS, CR8
        23, 4,
        0x80, 0x80, 0x04, 4,          // RIP alone
    ];
    assert_eq!(records(&[first, second]), expected);
}

#[test]
fn output_of_a_port_and_of_a_virtio_console() {
    let bytes = b"hi".iter().copied().collect::<arrayvec::ArrayVec<u8, 64>>();
    let output = |port| records(&[at_once(0, Payload::Console(Output { port, bytes: bytes.clone() }))]);
    assert_eq!(output(0x3f8), [15, 5, 0xf8, 0x07, 2, b'h', b'i']);
    assert_eq!(output(0xd000_0000), [15, 8, 0x80, 0x80, 0x80, 0x80, 0x0d, 2, b'h', b'i']);
}
