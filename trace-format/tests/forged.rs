//! Traces that somebody made to do harm: every checksum is right, and what is under it is not.
//!
//! Each frame's sections are unpacked, changed and put together again, so that changes reach the decoders behind the
//! checksums and zstd.
#![allow(clippy::unwrap_used, reason = "tests")]

use peak_alloc::PeakAlloc;
use trace_format::describe::Line;
use trace_format::event::{AddressSpace, Counter, Exit, ExitReason, Marker, Output, Payload, Text};
use trace_format::header::Symbol;
use trace_format::{DamageKind, Event, Header, Reader, Report, Writer, repair, verify};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What all tests of this program together may take, bytes. The most that a trace may ask for is a symbol table of
/// 32 MiB, its names, and an entry for each; the bombs below are of 256 MiB.
const MEMORY: usize = 160 << 20;

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
    drop(Report::of(&mut reader));
    let (repaired, done) = repair(&mut reader, Vec::new()).unwrap();
    let mut reader = Reader::from_bytes(repaired).unwrap();
    let found = verify(&mut reader).unwrap();
    assert!(found.is_sound() && found.finished, "repaired, but {found:?}");
    assert_eq!(found.events + found.unknown_events, done.events + done.gaps);
    if done.disordered_blocks == 0 {
        assert_eq!(found.events, events.len() as u64 + done.gaps);
    }
    assert!(HEAP.peak_usage() < MEMORY, "{} bytes of memory", HEAP.peak_usage());
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

/// Every byte of every section and summary, one at a time.
#[test]
fn every_byte_behind_a_checksum_is_damage_at_most() {
    let whole = trace();
    let frames = take_apart(&whole);
    let mut less = 0;
    for frame in 0..frames.len() {
        // Three blocks are alike.
        if frame > 1 && frames[frame].kind == frames[1].kind {
            continue;
        }
        let sections = frames[frame].sections.iter().map(|section| section.content.len());
        let lengths: Vec<usize> = sections.chain([frames[frame].summary.len()]).collect();
        for (part, length) in lengths.into_iter().enumerate() {
            for at in 0..length {
                for flip in [0x01, 0x80, 0xff] {
                    let mut forged = frames.clone();
                    match forged[frame].sections.get_mut(part) {
                        Some(section) => section.content[at] ^= flip,
                        None => forged[frame].summary[at] ^= flip,
                    }
                    let events = read_all(put_together(&whole[..PROLOGUE], &forged)).unwrap();
                    // Its block may be gone, or an event in it be none that is known. One that claims the numbers of the
                    // blocks behind it takes their place.
                    let least = if part < frames[frame].sections.len() { 200 } else { 0 };
                    assert!((least..=300).contains(&events), "frame {frame} part {part} byte {at}: {events}");
                    less += u32::from(events < 300);
                }
            }
        }
    }
    assert!(less > 100, "{less} changes were seen");
}

/// Every section there is: its frame, and its place in it.
fn places(frames: &[Frame]) -> Vec<(usize, usize)> {
    let sections = |frame: usize| (0..frames[frame].sections.len()).map(move |section| (frame, section));
    (0..frames.len()).flat_map(sections).collect()
}

/// A block whose head is wrong about it is written anew, one in which time goes back is left out.
#[test]
fn a_repair_believes_events_and_not_what_heads_say_of_them() {
    let whole = trace();
    let repaired = |summary_byte: usize| {
        let mut forged = take_apart(&whole);
        forged[2].summary[summary_byte] ^= 1;
        let mut reader = Reader::from_bytes(put_together(&whole[..PROLOGUE], &forged)).unwrap();
        assert!(!verify(&mut reader).unwrap().is_sound());
        let (bytes, done) = repair(&mut reader, Vec::new()).unwrap();
        let mut reader = Reader::from_bytes(bytes).unwrap();
        assert!(verify(&mut reader).unwrap().is_sound());
        let events: Vec<Event> = reader.forward(0).map(|event| event.unwrap().1).collect();
        (events, done)
    };
    // The kinds of events.
    let (events, done) = repaired(32);
    assert!(events.into_iter().eq((0..300).map(event)));
    assert_eq!((done.copied_blocks, done.rewritten_blocks, done.lost), (2, 1, 0));
    // The time of the first event, from which all others count: 65 us earlier, which is before the last block ends.
    let (events, done) = repaired(10);
    assert_eq!((done.disordered_blocks, done.lost), (1, 100));
    assert_eq!(events.len(), 201);
}

/// A section that unpacks to `length` bytes, all of them `byte`, and says that it unpacks to `declared`.
fn bomb(id: u8, byte: u8, length: usize, declared: u64) -> Section {
    let mut content = Vec::new();
    let mut encoder = zstd::stream::write::Encoder::new(&mut content, 1).unwrap();
    let piece = vec![byte; 1 << 16];
    for _ in 0..length / piece.len() {
        std::io::Write::write_all(&mut encoder, &piece).unwrap();
    }
    encoder.finish().unwrap();
    Section { id, method: 1, declared: Some(declared), content }
}

/// 256 MiB in 24 KiB instead of any section of any frame, declared as what they are or as what is allowed.
#[test]
fn a_section_that_unpacks_to_more_than_it_may_is_damage() {
    let whole = trace();
    let frames = take_apart(&whole);
    let bombs = [1 << 20, 32 << 20, 256 << 20, u64::from(u32::MAX), u64::MAX]
        .map(|declared| bomb(0, 0, 256 << 20, declared));
    for (frame, section) in places(&frames) {
        for bomb in &bombs {
            let mut forged = frames.clone();
            let id = forged[frame].sections[section].id;
            forged[frame].sections[section] = Section { id, ..bomb.clone() };
            let events = read_all(put_together(&whole[..PROLOGUE], &forged));
            // Header and index are not needed to read events.
            let expected = if (1..=3).contains(&frame) { 200 } else { 300 };
            assert_eq!(events, Some(expected), "frame {frame} section {id} declares {:?}", bomb.declared);
        }
    }
}

/// Sections that unpack to no more than they may, of what takes most memory for its bytes: empty strings.
#[test]
fn a_section_of_empty_things_takes_little_memory() {
    let whole = trace();
    let frames = take_apart(&whole);
    for length in [64 << 10, 1 << 20, 32 << 20] {
        for (frame, section) in places(&frames) {
            for byte in [0, 1, 0x7f] {
                let mut forged = frames.clone();
                let id = forged[frame].sections[section].id;
                // Enough of them that the length of a list does not end it.
                let mut content = vec![0xff, 0xff, 0xff, 0x0f];
                content.resize(length, byte);
                forged[frame].sections[section] = Section {
                    id,
                    method: 1,
                    declared: Some(length as u64),
                    content: zstd::bulk::compress(&content, 1).unwrap(),
                };
                assert!(read_all(put_together(&whole[..PROLOGUE], &forged)).is_some());
            }
        }
    }
}

/// An index of ever the same block is longer than any trace.
#[test]
fn an_index_without_an_end_is_none() {
    let whole = trace();
    let frames = take_apart(&whole);
    let index = frames.len() - 2;
    let Section { id, content, .. } = &frames[index].sections[0];
    let (length, entries) = content.split_first().unwrap();
    let mut many = vec![*length];
    for _ in 0..20_000 {
        many.extend(&entries[..usize::from(*length)]);
    }
    let content = zstd::bulk::compress(&many, 1).unwrap();
    let section = Section { id: *id, method: 1, declared: Some(many.len() as u64), content };
    let mut forged = frames.clone();
    forged[index].sections = vec![section; 1000];
    assert_eq!(read_all(put_together(&whole[..PROLOGUE], &forged)), Some(300));
}

/// A whole trace of three blocks with a footer that somebody made: `change` gets the entries, of which each is bytes, and
/// `blocks` and `events` are what the end of the file says.
fn with_index(change: impl Fn(&mut Vec<Vec<u8>>), blocks: u64, events: u64) -> Vec<u8> {
    let whole = trace();
    let mut footer = take_apart(&whole).split_off(4);
    let [index, finish] = footer.as_mut_slice() else { panic!("an index and an end") };
    let at = u64::from_le_bytes(finish.summary[..8].try_into().unwrap());
    let content = &mut index.sections[0].content;
    let length = usize::from(content[0]);
    let mut entries: Vec<Vec<u8>> = content[1..].chunks(length).map(<[u8]>::to_vec).collect();
    change(&mut entries);
    *content = [&[length as u8], entries.concat().as_slice()].concat();
    finish.summary[8..16].copy_from_slice(&blocks.to_le_bytes());
    finish.summary[16..].copy_from_slice(&events.to_le_bytes());
    put_together(&whole[..at as usize], &footer)
}

#[test]
fn an_index_that_hides_blocks_is_not_believed() {
    let index = |bytes: &[u8]| {
        let found = verify(&mut Reader::from_bytes(bytes.to_vec()).unwrap()).unwrap();
        assert_eq!((found.events, found.blocks), (300, 3));
        found.damage.iter().filter(|damage| damage.kind == DamageKind::Index).count()
    };
    let honest = with_index(|_| {}, 3, 300);
    assert_eq!((index(&honest), read_all(honest)), (0, Some(300)));
    // The last block, or all of them, are in the file and not in the index.
    for blocks in 0..3 {
        let forged = with_index(|entries| entries.truncate(blocks), blocks as u64, 100 * blocks as u64);
        assert_eq!((index(&forged), read_all(forged)), (1, Some(300)), "{blocks}");
    }
    // The second entry is of two blocks: as long as both, with the events of both. What an entry says of a block is
    // compared with that when it is read, so this is damage, and whoever checks the trace finds what is in it.
    let forged = with_index(
        |entries| {
            let length = |entry: &[u8]| u32::from_le_bytes(entry[8..12].try_into().unwrap());
            let both = length(&entries[1]) + length(&entries[2]);
            entries.truncate(2);
            entries[1][8..12].copy_from_slice(&both.to_le_bytes());
            entries[1][12 + 48..12 + 52].copy_from_slice(&200_u32.to_le_bytes());
        },
        2,
        300,
    );
    assert_eq!(index(&forged), 1);
    let mut reader = Reader::from_bytes(forged).unwrap();
    assert_eq!(reader.forward(0).count(), 100);
    assert_eq!(reader.damage()[0].events_lost, Some(200), "not silently");
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
