//! A small trace cut off at every byte, and with every byte changed: no panic, bounded memory, every intact block is read,
//! what is lost is named, and a repair gives a sound trace with exactly the rest.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::Range;

use peak_alloc::PeakAlloc;
use trace_format::event::{AddressSpace, Exit, ExitReason, LostReason, MACHINE};
use trace_format::header::{Fact, Symbol};
use trace_format::{Damage, DamageKind, Event, Header, Payload, Reader, Repaired, Writer, repair, verify};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What all tests of this program together may take, bytes; they take 140 KB. zstd's own memory is not in it, which is the
/// same for any input.
const MEMORY: usize = 1 << 20;

/// Events in a block of the small trace.
const IN_BLOCK: u64 = 5;
const BLOCKS: u64 = 4;
const EVENTS: u64 = IN_BLOCK * BLOCKS;
const PROLOGUE: usize = 16;

/// What a byte is changed by: each bit, and several at once.
const FLIPS: [u8; 10] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x5a];

fn event(n: u64) -> Event {
    let payload = if n.is_multiple_of(2) {
        let reason = ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: n };
        Payload::Exit(Exit { reason, rip: 0x10_0000 + n, cpl: 0, guest_ns: 5000, handling_ns: 200 })
    } else {
        Payload::AddressSpace(AddressSpace { old: n, new: n + 1 })
    };
    Event { time: 1000 * n, vcpu: (n % 3) as u8, payload }
}

fn header() -> Header {
    let symbol = Symbol { address: 0x10_0000, size: 64, name: "main".into() };
    Header {
        guest: "small".into(),
        vcpus: 3,
        host: vec![Fact { name: "kernel".into(), value: "6.1".into() }],
        symbols: vec![symbol].into(),
        ..Header::default()
    }
}

fn small(finish: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header()).unwrap();
    for n in 0..EVENTS {
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

/// Where the frames are; the body of each begins at the second number. First the header, then the blocks.
fn frames(bytes: &[u8]) -> Vec<(Range<usize>, usize)> {
    let mut frames = Vec::new();
    let mut at = PROLOGUE;
    while at < bytes.len() {
        let summary = usize::from(u16::from_le_bytes(bytes[at + 6..at + 8].try_into().unwrap()));
        let body = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let content = at + 20 + summary;
        frames.push((at..content + body, content));
        at = content + body;
    }
    frames
}

/// Numbers of the events of these blocks.
fn numbers(blocks: impl Iterator<Item = u64>) -> Vec<u64> {
    blocks.flat_map(|block| block * IN_BLOCK..(block + 1) * IN_BLOCK).collect()
}

/// What is wrong with a trace that must give exactly the events with the numbers `expected`. It is repaired, too, and
/// must then have these events, and in the place of those up to number `known` that are missing how many they were.
fn examine(what: &str, bytes: Vec<u8>, expected: &[u64], known: u64) -> Repaired {
    let mut reader = Reader::from_bytes(bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
    let events: Vec<(u64, Event)> = reader.forward(0).map(Result::unwrap).collect();
    let wanted: Vec<(u64, Event)> = expected.iter().map(|&n| (n, event(n))).collect();
    assert_eq!(events, wanted, "{what}");

    let (repaired, done) = repair(&mut reader, Vec::new()).unwrap();
    let mut reader = Reader::from_bytes(repaired).unwrap();
    let found = verify(&mut reader).unwrap();
    assert!(found.is_sound() && found.finished, "{what}: repaired, but {found:?}");
    let mut next = 0;
    let mut gaps = Vec::new();
    let mut lose = |to: u64, next: u64| {
        if to > next {
            gaps.push(to - next);
        }
    };
    for &n in expected {
        lose(n, next);
        next = n + 1;
    }
    lose(known, next);
    let (mut kept, mut said) = (Vec::new(), Vec::new());
    for (_, event) in reader.forward(0).map(Result::unwrap) {
        match event.payload {
            Payload::Lost(lost) => {
                assert_eq!((event.vcpu, lost.reason), (MACHINE, LostReason::Damage), "{what}");
                // It is where the events were: behind all those before.
                let before: u64 = said.iter().sum::<u64>() + kept.len() as u64;
                assert!(!expected.contains(&before), "{what}: a gap before event {before}, which is there");
                said.push(lost.count);
            }
            _ => kept.push(event),
        }
    }
    assert!(kept.iter().eq(wanted.iter().map(|(_, event)| event)), "{what}: {kept:?}");
    assert_eq!(said, gaps, "{what}");
    assert_eq!((done.lost, done.gaps), (gaps.iter().sum(), gaps.len() as u64), "{what}");
    assert_eq!((found.lost, done.events), (done.lost, expected.len() as u64), "{what}");
    // What is wrong says the same.
    let named: u64 = done.found.damage.iter().filter_map(|damage| damage.events_lost).sum();
    assert_eq!(named, done.lost, "{what}: {:?}", done.found.damage);
    let kept_header = Header { not_seen: Vec::new(), ..reader.header().clone() };
    let expected_header =
        if done.header { header() } else { Header { vcpus: kept_header.vcpus, ..Header::default() } };
    assert_eq!(kept_header, expected_header, "{what}");
    assert_eq!(reader.header().not_seen.is_empty(), done.found.damage.is_empty(), "{what}");

    assert!(HEAP.peak_usage() < MEMORY, "{what}: {} bytes of memory", HEAP.peak_usage());
    done
}

#[test]
fn a_trace_cut_off_anywhere_gives_every_whole_block() {
    let whole = small(true);
    let frames = frames(&whole);
    assert_eq!(frames.len() as u64, 1 + BLOCKS + 2);
    for length in 0..=whole.len() {
        let bytes = whole[..length].to_vec();
        if length < PROLOGUE {
            assert!(Reader::from_bytes(bytes).is_err(), "{length} bytes are no trace");
            continue;
        }
        let blocks =
            frames[1..=BLOCKS as usize].iter().filter(|(frame, _)| frame.end <= length).count() as u64;
        // The head of a frame that is cut off tells how many events were in it.
        let torn = frames
            .get(1 + blocks as usize)
            .filter(|_| blocks < BLOCKS)
            .is_some_and(|(_, body)| *body <= length);
        let known = (blocks + u64::from(torn)) * IN_BLOCK;
        let expected = numbers(0..blocks);
        let done = examine(&format!("{length} bytes"), bytes, &expected, known);
        assert_eq!(done.header, length >= frames[0].0.end, "{length} bytes");
        let found = done.found;
        assert_eq!(found.finished, length == whole.len(), "{length} bytes");
        let between = length == PROLOGUE || frames.iter().any(|(frame, _)| frame.end == length);
        let tail: Vec<&Damage> = found.damage.iter().filter(|d| d.kind != DamageKind::Header).collect();
        match tail.as_slice() {
            [] => assert!(between, "{length} bytes: {:?}", found.damage),
            [damage] => {
                assert_eq!(damage.kind, DamageKind::TornTail, "{length} bytes");
                let start = frames.iter().find(|(frame, _)| frame.contains(&length)).unwrap().0.start;
                assert_eq!((damage.offset, damage.length), (start as u64, (length - start) as u64));
            }
            _ => panic!("{length} bytes: {:?}", found.damage),
        }
    }
}

/// Changes every byte of the small trace, one at a time.
fn change_every_byte(finished: bool) {
    let whole = small(finished);
    let frames = frames(&whole);
    for at in 0..whole.len() {
        let frame = frames.iter().position(|(frame, _)| frame.contains(&at));
        let hit = frame.and_then(|frame| (frame as u64).checked_sub(1)).filter(|&block| block < BLOCKS);
        let expected = numbers((0..BLOCKS).filter(|block| Some(*block) != hit));
        // Without an index, nothing tells how many there were in a last block without a head.
        let last = !finished && hit == Some(BLOCKS - 1) && at < frames[BLOCKS as usize].1;
        let known = if last { EVENTS - IN_BLOCK } else { EVENTS };
        for flip in FLIPS {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let what = format!("byte {at} of {} changed by {flip:#x}", whole.len());
            let done = examine(&what, bytes, &expected, known);
            let damage = &done.found.damage;
            assert_eq!(done.header, frame != Some(0), "{what}");
            assert!(!damage.is_empty(), "{what}: nothing is said");
            let Some(frame) = frame else {
                assert_eq!(damage[0].kind, DamageKind::Prologue, "{what}");
                continue;
            };
            // It is where the frame is.
            let place = &frames[frame].0;
            let covers = |d: &Damage| {
                d.offset == place.start as u64 && (d.length == 0 || d.length == place.len() as u64)
            };
            assert!(damage.iter().any(covers), "{what}: {damage:?}");
        }
    }
}

#[test]
fn a_changed_byte_costs_at_most_its_block() {
    change_every_byte(true);
}

#[test]
fn a_changed_byte_of_a_trace_that_was_not_finished_costs_at_most_its_block() {
    change_every_byte(false);
}

#[test]
fn a_sound_trace_is_its_own_repair() {
    let whole = small(true);
    let mut reader = Reader::from_bytes(whole.clone()).unwrap();
    let (bytes, done) = repair(&mut reader, Vec::new()).unwrap();
    assert_eq!(bytes, whole);
    assert_eq!((done.copied_blocks, done.rewritten_blocks, done.lost), (BLOCKS, 0, 0));
    // One that is not finished is finished.
    let mut reader = Reader::from_bytes(small(false)).unwrap();
    assert_eq!(repair(&mut reader, Vec::new()).unwrap().0, whole);
}

#[test]
fn a_frame_of_an_unknown_kind_is_skipped() {
    // A frame of kind 0x7777 between two blocks: its head as FORMAT.md has it.
    let header_only = {
        let mut bytes = Vec::new();
        drop(Writer::new(&mut bytes, &header()).unwrap());
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
    // What it refers to may have moved in a repaired trace.
    let (repaired, done) = repair(&mut reader, Vec::new()).unwrap();
    assert_eq!((repaired, done.found.unknown_frames), (small(true), 1));
}
