//! Everything that is done with a trace: opening, reading, verifying, repairing.

use trace_format::describe::Line;
use trace_format::{DamageKind, Event, Reader, Report, Writer, repair, verify};

/// Reads `bytes` as they are, and again with checksums made right, so that changes get past them.
///
/// # Panics
///
/// If a repair is not sound, or does not have the events that can be read.
pub fn run(bytes: &[u8]) {
    read(bytes.to_vec());
    read(with_checksums(bytes.to_vec()));
}

fn read(bytes: Vec<u8>) {
    let Ok(mut reader) = Reader::from_bytes(bytes) else { return };
    let header = reader.header().clone();
    let mut events: Vec<(u64, Event)> = Vec::new();
    let mut shown = 0;
    for each in reader.forward(0) {
        let (number, event) = each.expect("bytes in memory can be read");
        // Formatting is slow, and alike events are alike.
        if shown < 200 {
            shown += Line { number, event: &event, header: &header }.to_string().len() / 40;
        }
        events.push((number, event));
    }
    let end = reader.len();
    assert_eq!(reader.backward(end).count(), events.len());
    if let Some((number, event)) = events.get(events.len() / 2) {
        assert_eq!(reader.event(*number).expect("bytes in memory can be read").as_ref(), Some(event));
        let _ = reader.seek_time(event.time);
    }
    let _ = Report::of(&mut reader).expect("bytes in memory can be read").text();

    let (repaired, done) = repair(&mut reader, Vec::new()).expect("memory can be written to");
    // Blocks that an index had hidden are found only by who looks for damage, and are read from then on.
    if done.found.damage.iter().any(|damage| damage.kind == DamageKind::Index) {
        events = reader.forward(0).map(|each| each.expect("bytes in memory can be read")).collect();
    }
    let mut reader = Reader::from_bytes(repaired).expect("it is a trace");
    let found = verify(&mut reader).expect("bytes in memory can be read");
    assert!(found.is_sound() && found.finished, "repaired, but {found:?}");
    assert_eq!(found.events + found.unknown_events, done.events + done.gaps);
    if done.disordered_blocks != 0 {
        return;
    }
    assert_eq!(found.events, events.len() as u64 + done.gaps);
    // What was read can be written, and is the same then.
    if found.unknown_events == 0 && done.gaps == 0 {
        let mut writer = Writer::new(Vec::new(), &header).expect("a header that was read");
        events.iter().for_each(|(_, event)| writer.append(event).expect("an event that was read"));
        let mut reader =
            Reader::from_bytes(writer.finish().expect("memory can be written to")).expect("a trace");
        let again = reader.forward(0).map(|each| each.expect("bytes in memory can be read").1);
        assert!(again.eq(events.into_iter().map(|(_, event)| event)));
    }
}

/// `bytes` with the checksums that their frames should have.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(prologue) = bytes.get_mut(..16) {
        prologue[..12].copy_from_slice(b"\x8bVMT\r\n\x1a\n\x01\0\0\0");
        let crc = crc32fast::hash(&prologue[..12]);
        prologue[12..].copy_from_slice(&crc.to_le_bytes());
    }
    let mut rest = bytes.get_mut(16..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk_mut::<20>() {
        let summary = usize::from(u16::from_le_bytes([head[6], head[7]])) & 0x3ff;
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let summary = summary.min(after.len());
        let length = length.min(after.len() - summary);
        head[..4].copy_from_slice(b"\xf7VMF");
        head[6..8].copy_from_slice(&(summary as u16).to_le_bytes());
        head[8..12].copy_from_slice(&(length as u32).to_le_bytes());
        let (summary, after) = after.split_at_mut(summary);
        let (body, after) = after.split_at_mut(length);
        head[12..16].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[4..16]);
        crc.update(summary);
        head[16..].copy_from_slice(&crc.finalize().to_le_bytes());
        rest = after;
    }
    bytes
}
