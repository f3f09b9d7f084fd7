//! A small trace cut off at every byte, and with every byte changed: no panic, and every block that is intact is read.
#![allow(clippy::unwrap_used, reason = "tests")]

use trace_format::event::{AddressSpace, Exit, ExitReason};
use trace_format::{Event, Header, Payload, Reader, Writer, verify};

/// Events in a block of the small trace.
const IN_BLOCK: u64 = 5;
const BLOCKS: u64 = 4;

fn event(n: u64) -> Event {
    let payload = if n.is_multiple_of(2) {
        let reason = ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: n };
        Payload::Exit(Exit { reason, rip: 0x10_0000 + n, cpl: 0, guest_ns: 5000, handling_ns: 200 })
    } else {
        Payload::AddressSpace(AddressSpace { old: n, new: n + 1 })
    };
    Event { time: 1000 * n, vcpu: (n % 3) as u8, payload }
}

fn small(finish: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Header { vcpus: 3, ..Header::default() }).unwrap();
    for n in 0..IN_BLOCK * BLOCKS {
        writer.append(&event(n)).unwrap();
        if n % IN_BLOCK == IN_BLOCK - 1 {
            writer.flush().unwrap();
        }
    }
    if finish {
        writer.finish().unwrap();
    }
    bytes
}

/// What can be read of `bytes`, if it is a trace at all. Every event must be one that was written.
fn read(bytes: &[u8]) -> Option<Vec<Event>> {
    let mut reader = Reader::from_bytes(bytes.to_vec()).ok()?;
    let events: Vec<Event> = reader.forward(0).map(|e| e.unwrap().1).collect();
    for event_read in &events {
        assert_eq!(*event_read, event(event_read.time / 1000), "an event that nobody wrote");
    }
    drop(verify(&mut reader).unwrap());
    Some(events)
}

#[test]
fn a_trace_cut_off_anywhere_gives_every_whole_block() {
    let whole = small(true);
    let unfinished = small(false).len();
    let mut most = 0;
    for length in 0..=whole.len() {
        let Some(events) = read(&whole[..length]) else {
            assert_eq!(most, 0, "a longer piece of a trace is none");
            continue;
        };
        assert_eq!(events.len() as u64 % IN_BLOCK, 0, "{length} bytes: half a block");
        assert!(events.len() >= most, "{length} bytes give less than fewer did");
        most = events.len();
        if length >= unfinished {
            assert_eq!(events.len() as u64, IN_BLOCK * BLOCKS, "{length} bytes hold all blocks");
        }
        assert_eq!(
            Reader::from_bytes(whole[..length].to_vec()).unwrap().is_finished(),
            length == whole.len()
        );
    }
}

#[test]
fn a_changed_byte_costs_at_most_its_block() {
    let whole = small(true);
    let mut reported = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            // Without its first bytes or its header it is no trace; that is an error, not a panic.
            let Some(events) = read(&bytes) else { continue };
            let lost = IN_BLOCK * BLOCKS - events.len() as u64;
            assert!(lost <= IN_BLOCK, "byte {at}: {lost} events are gone");
            if lost > 0 {
                let reader = Reader::from_bytes(bytes).unwrap();
                let found = verify(&mut { reader }).unwrap();
                assert!(!found.damage.is_empty(), "byte {at}: {lost} events are gone and nothing is said");
                reported += 1;
            }
        }
    }
    assert!(reported > 100, "only {reported} changes hit a block");
}

#[test]
fn a_frame_of_an_unknown_kind_is_skipped() {
    // A frame of kind 0x7777 between two blocks: its head as FORMAT.md has it.
    let header_only = {
        let mut bytes = Vec::new();
        drop(Writer::new(&mut bytes, &Header { vcpus: 3, ..Header::default() }).unwrap());
        bytes.len()
    };
    let whole = small(false);
    let body = b"from the future";
    let mut head = Vec::new();
    head.extend(0x7777_u16.to_le_bytes());
    head.extend(0_u16.to_le_bytes());
    head.extend((body.len() as u32).to_le_bytes());
    head.extend(crc32fast::hash(body).to_le_bytes());
    let mut frame = b"\xf7VMF".to_vec();
    frame.extend(&head);
    frame.extend(crc32fast::hash(&head).to_le_bytes());
    frame.extend(body);
    let mut bytes = whole[..header_only].to_vec();
    bytes.extend(&frame);
    bytes.extend(&whole[header_only..]);
    let mut reader = Reader::from_bytes(bytes).unwrap();
    assert_eq!(reader.forward(0).count() as u64, IN_BLOCK * BLOCKS);
    assert_eq!(reader.unknown_frames(), 1);
    assert_eq!(reader.damage(), []);
}
