//! Traces that somebody made to do harm: every checksum is right, and what is under it is not.
//!
//! Each frame's sections are unpacked, changed and put together again, so that changes reach the decoders behind the
//! checksums and zstd.
#![allow(clippy::unwrap_used, reason = "tests")]

use trace_format::describe::Line;
use trace_format::event::{AddressSpace, Counter, Exit, ExitReason, Marker, Output, Payload, Text};
use trace_format::header::Symbol;
use trace_format::{Event, Header, Reader, Report, Writer, verify};

const PROLOGUE: usize = 16;
const HEAD: usize = 20;

fn event(n: u64) -> Event {
    let text = Text::from("name").unwrap();
    let payload = match n % 5 {
        0 | 1 => Payload::Exit(Exit {
            reason: ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: n },
            rip: 0x10_0000 + n,
            cpl: 0,
            guest_ns: 5000,
            handling_ns: 200,
        }),
        2 => Payload::AddressSpace(AddressSpace { old: n, new: n + 1 }),
        3 => Payload::Console(Output { port: 0xe9, bytes: b"some words\n".iter().copied().collect() }),
        _ if n.is_multiple_of(2) => Payload::Counter(Counter { name: text, value: n }),
        _ => Payload::Marker(Marker { by_guest: true, text, value: n }),
    };
    Event { time: 1000 * n, vcpu: (n % 3) as u8, payload }
}

fn trace() -> Vec<u8> {
    let symbols: Vec<Symbol> = (0..20)
        .map(|n| Symbol { address: 0x10_0000 + 16 * n, size: 16, name: format!("symbol_{n}") })
        .collect();
    let header = Header { vcpus: 3, symbols: symbols.into(), ..Header::default() };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header).unwrap();
    for n in 0..300 {
        writer.append(&event(n)).unwrap();
        if n % 100 == 99 {
            writer.flush().unwrap();
        }
    }
    writer.finish().unwrap();
    bytes
}

/// A frame taken apart.
#[derive(Clone)]
struct Frame {
    kind: u16,
    summary: Vec<u8>,
    sections: Vec<Section>,
}

#[derive(Clone)]
struct Section {
    id: u8,
    method: u8,
    /// What is declared as the raw length, if not the content's.
    declared: Option<u64>,
    content: Vec<u8>,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a trace apart; sections are unpacked.
fn take_apart(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = &bytes[PROLOGUE..];
    while !rest.is_empty() {
        let number = |at: usize, length: usize| {
            rest[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
        };
        let (kind, summary, body) = (number(4, 2) as u16, number(6, 2), number(8, 4));
        let end = HEAD + summary + body;
        let mut content = &rest[HEAD + summary..end];
        let mut sections = Vec::new();
        while !content.is_empty() {
            let (id, method) = (content[0], content[1]);
            content = &content[2..];
            let raw = varint(&mut content) as usize;
            let length = varint(&mut content) as usize;
            let (stored, after) = content.split_at(length);
            content = after;
            let stored =
                if method == 1 { zstd::bulk::decompress(stored, raw).unwrap() } else { stored.to_vec() };
            sections.push(Section { id, method: 0, declared: None, content: stored });
        }
        frames.push(Frame { kind, summary: rest[HEAD..HEAD + summary].to_vec(), sections });
        rest = &rest[end..];
    }
    frames
}

/// Puts it together, with checksums that are right. Frames that point to others do so as before, mostly wrongly.
fn put_together(prologue: &[u8], frames: &[Frame]) -> Vec<u8> {
    let mut bytes = prologue.to_vec();
    for frame in frames {
        let mut body = Vec::new();
        for section in &frame.sections {
            body.extend([section.id, section.method]);
            put_varint(&mut body, section.declared.unwrap_or(section.content.len() as u64));
            put_varint(&mut body, section.content.len() as u64);
            body.extend(&section.content);
        }
        let mut head = frame.kind.to_le_bytes().to_vec();
        head.extend((frame.summary.len() as u16).to_le_bytes());
        head.extend((body.len() as u32).to_le_bytes());
        head.extend(crc32fast::hash(&body).to_le_bytes());
        let checked = [head.as_slice(), &frame.summary].concat();
        bytes.extend(b"\xf7VMF");
        bytes.extend(&head);
        bytes.extend(crc32fast::hash(&checked).to_le_bytes());
        bytes.extend(&frame.summary);
        bytes.extend(&body);
    }
    bytes
}

/// Everything that is done with a trace. Returns how many events it gave, if it is taken for one.
fn read_all(bytes: Vec<u8>) -> Option<usize> {
    let mut reader = Reader::from_bytes(bytes).ok()?;
    let events: Vec<Event> = reader.forward(0).filter_map(|event| Some(event.ok()?.1)).collect();
    let header = reader.header().clone();
    for event in &events {
        assert!(!Line { number: 0, event, header: &header }.to_string().is_empty());
        let _name = header.symbolize(event.time);
    }
    let end = reader.len();
    let _back = reader.backward(end).count();
    drop(verify(&mut reader));
    drop(Report::of(&mut reader));
    Some(events.len())
}

/// One change of a kind that a checksum would have shown.
fn forge(frames: &mut [Frame], random: &mut Random) {
    let frame = random.below(frames.len());
    let Frame { kind, summary, sections } = &mut frames[frame];
    match random.below(16) {
        0 => *kind = random.below(6) as u16,
        1 | 2 if !summary.is_empty() => {
            let at = random.below(summary.len());
            summary[at] ^= 1 << random.below(8);
        }
        3 => summary.truncate(random.below(60)),
        4 if !sections.is_empty() => {
            let copy = sections[random.below(sections.len())].clone();
            sections.push(copy);
        }
        _ if sections.is_empty() => {}
        choice => {
            let section = random.below(sections.len());
            let Section { id, method, declared, content } = &mut sections[section];
            match choice {
                4 | 5 => *id = random.below(12) as u8,
                6 => *method = random.below(3) as u8,
                7 => *declared = Some(1 << random.below(40)),
                8 => content.truncate(random.below(content.len() + 1)),
                9 => content.extend(vec![random.below(256) as u8; random.below(100)]),
                _ if content.is_empty() => {}
                _ => {
                    let at = random.below(content.len());
                    content[at] =
                        if random.below(2) == 0 { random.below(256) as u8 } else { content[at] ^ 0x80 };
                }
            }
        }
    }
}

#[test]
fn what_was_taken_apart_is_the_same_together() {
    let whole = trace();
    let frames = take_apart(&whole);
    // Header, three blocks, index, end.
    assert_eq!(frames.len(), 6);
    assert_eq!(read_all(put_together(&whole[..PROLOGUE], &frames)), Some(300));
}

#[test]
fn forged_content_is_damage_at_most() {
    let whole = trace();
    let frames = take_apart(&whole);
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut less = 0;
    for _ in 0..4000 {
        let mut forged = frames.clone();
        for _ in 0..1 + random.below(3) {
            forge(&mut forged, &mut random);
        }
        // Without a header, which may be what was forged, it is a trace still.
        let events = read_all(put_together(&whole[..PROLOGUE], &forged)).unwrap();
        less += u32::from(events < 300);
    }
    assert!(less > 1000, "{less} of 4000 changes reached a block");
}

/// 256 MiB of zeros in 24 KiB, declared as what they are or as what is allowed.
#[test]
fn a_section_that_unpacks_to_more_than_it_may_is_damage() {
    let whole = trace();
    let mut bomb = Vec::new();
    {
        let mut encoder = zstd::stream::write::Encoder::new(&mut bomb, 1).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..256 {
            std::io::Write::write_all(&mut encoder, &zeros).unwrap();
        }
        encoder.finish().unwrap();
    }
    for declared in [1 << 20, 256 << 20, u64::from(u32::MAX), u64::MAX] {
        for frame in [0, 1] {
            let mut frames = take_apart(&whole);
            frames[frame].sections[0] = Section {
                method: 1,
                declared: Some(declared),
                content: bomb.clone(),
                ..frames[frame].sections[0].clone()
            };
            let events = read_all(put_together(&whole[..PROLOGUE], &frames));
            // The header is not needed to read events.
            let expected = if frame == 0 { 300 } else { 200 };
            assert_eq!(events, Some(expected), "frame {frame} declares {declared} bytes");
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}
