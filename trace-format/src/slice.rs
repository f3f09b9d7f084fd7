//! A part of a trace as a trace of its own.

use std::io::Write;
use std::ops::ControlFlow;

use crate::event::{Event, Kind};
use crate::filter::{Selection, Subject};
use crate::reader::BlockEvents;
use crate::{Error, Header, Reader, Summary, Writer};

/// What [`slice()`] has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliced {
    /// Events of the new trace.
    pub kept: u64,
    /// Events of the old one that could be read, in the blocks that had to be.
    pub seen: u64,
}

/// Writes the part of a trace that `selection` means as a trace of its own, with the same header and times. `source` is
/// what the old one is called: the new one says under "not seen" that it is a part of that.
///
/// What the rest could not be understood without stays: where the kernel runs ([`crate::event::Slide`]), from the whole
/// trace, and what was lost ([`crate::event::Lost`]), from the selected time.
///
/// # Errors
/// If the old trace cannot be read or the new one not be written.
pub fn slice<W: Write>(
    reader: &mut Reader,
    selection: &Selection,
    source: &str,
    out: W,
) -> Result<(Sliced, W), Error> {
    let mut header = reader.header().clone();
    header.not_seen.push(note(selection, source));
    let mut writer = Writer::new(out, &header)?;
    let mut sliced = Sliced { kept: 0, seen: 0 };
    let needed = |block: &Summary| {
        selection.may_have(block) || block.has_kind(Kind::Slide) || block.has_kind(Kind::Lost)
    };
    let part = |block: BlockEvents<'_>| {
        let kept = block.iter().filter(|(number, event)| is_kept(selection, *number, event, block.header));
        (kept.map(|(_, event)| event.clone()).collect::<Vec<_>>(), block.iter().count() as u64)
    };
    let ended = reader.read_blocks(needed, part, |(events, seen)| {
        sliced.kept += events.len() as u64;
        sliced.seen += seen;
        match events.iter().try_for_each(|event| writer.append(event)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    })?;
    match ended {
        ControlFlow::Continue(()) => Ok((sliced, writer.finish()?)),
        ControlFlow::Break(error) => Err(error),
    }
}

fn is_kept(selection: &Selection, number: u64, event: &Event, header: &Header) -> bool {
    match event.payload.kind() {
        Kind::Slide => true,
        Kind::Lost => (selection.from..=selection.to).contains(&event.time),
        _ => selection.has(&Subject { number, event, header }),
    }
}

fn note(selection: &Selection, source: &str) -> String {
    let mut note = format!("what was left out of {source}");
    if !selection.filter.is_everything() {
        note += &format!(": all but {}", selection.filter);
    }
    if selection.from > 0 {
        note += &format!(", before {} ns", selection.from);
    }
    if selection.to < u64::MAX {
        note += &format!(", after {} ns", selection.to);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    fn golden() -> Reader {
        Reader::from_bytes(include_bytes!("../tests/golden/1.vmt").as_slice()).unwrap()
    }

    #[test]
    fn a_slice_is_a_trace_with_just_what_was_selected() {
        let all: Vec<Event> = golden().forward(0).map(|event| event.unwrap().1).collect();
        let filter = Filter::parse("kind == exit and vcpu != 2").unwrap();
        let selection = Selection { filter, from: all[200].time, to: all[800].time };
        let (sliced, bytes) = slice(&mut golden(), &selection, "golden", Vec::new()).unwrap();
        let mut reader = Reader::from_bytes(bytes).unwrap();
        let kept: Vec<Event> = reader.forward(0).map(|event| event.unwrap().1).collect();
        let header = golden().header().clone();
        let wanted = |(n, event): (usize, &Event)| {
            let subject = Subject { number: n as u64, event, header: &header };
            let within = (200..=800).contains(&n);
            within && selection.filter.matches(&subject)
                || event.payload.kind() == Kind::Slide
                || within && event.payload.kind() == Kind::Lost
        };
        let expected: Vec<Event> =
            all.iter().enumerate().filter(|event| wanted(*event)).map(|(_, event)| event.clone()).collect();
        assert_eq!(kept, expected);
        assert_eq!(sliced.kept, kept.len() as u64);
        assert!(crate::verify(&mut reader).unwrap().is_sound());
        let note = reader.header().not_seen.last().unwrap().clone();
        assert!(
            note.starts_with("what was left out of golden: all but kind == exit and vcpu != 2, before"),
            "{note}"
        );
    }

    #[test]
    fn everything_stays_everything() {
        let (sliced, bytes) = slice(&mut golden(), &Selection::default(), "golden", Vec::new()).unwrap();
        let events = |mut reader: Reader| reader.forward(0).map(|event| event.unwrap().1).collect::<Vec<_>>();
        assert_eq!(events(Reader::from_bytes(bytes).unwrap()), events(golden()));
        assert_eq!(sliced.kept, sliced.seen);
    }
}
