//! Making a sound trace of what is intact in a damaged one.

use std::io::Write;

use serde::Serialize;

use crate::event::{Event, Lost, LostReason, MACHINE, Payload};
use crate::format::MAX_NOT_SEEN;
use crate::format::block::Decoded;
use crate::format::summary::Summary;
use crate::{Damage, DamageKind, Error, Header, Reader, Verification, Writer, verify};

/// What [`repair`] found and what it wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Repaired {
    /// What was wrong before.
    pub found: Verification,
    /// Whether the header was intact. If not, the new trace has one that says so and nothing else.
    pub header: bool,
    /// Blocks that are in the new trace byte by byte as they were.
    pub copied_blocks: u64,
    /// Blocks whose events were written anew, because their heads said something else than they hold.
    pub rewritten_blocks: u64,
    /// Blocks that could be decoded but are left out, because times in them go back.
    pub disordered_blocks: u64,
    /// Events in the new trace, without the `lost` events that were added.
    pub events: u64,
    /// Events that were lost, as far as is known how many; the added `lost` events say so.
    pub lost: u64,
    /// Stretches of lost events: so many `lost` events were added.
    pub gaps: u64,
    /// Whether there may have been more at the end, of which nothing is known.
    pub open_end: bool,
}

/// Writes to `out` what is intact of a trace, as a finished trace without damage, and returns `out` with what was done.
///
/// Every intact block is in it as it was, also with events of kinds that this version does not know. Where events
/// are missing and the numbers of those around tell how many, an event [`Payload::Lost`] of the machine with
/// [`LostReason::Damage`] takes their place, at the time of the last event before. So numbers of events differ from
/// those of the damaged trace behind a gap. A trace that is only unfinished becomes a finished one with the same events.
///
/// Frames of kinds that this version does not know are left out: what they refer to may have moved.
///
/// # Errors
///
/// If the damaged trace cannot be read, or `out` not be written; what is in `out` then is of no use.
pub fn repair<W: Write>(reader: &mut Reader, out: W) -> Result<(W, Repaired), Error> {
    let found = verify(reader)?;
    let header = header_of(reader, &found);
    let unknown = |damage: &Damage| {
        matches!(damage.kind, DamageKind::TornTail | DamageKind::Unreadable) && damage.events_lost.is_none()
    };
    let open_end = !found.finished && found.damage.last().is_some_and(unknown);
    let mut repair = Repair {
        writer: Writer::new(out, &header)?,
        repaired: Repaired { header: reader.has_header(), open_end, found, ..Repaired::default() },
        next: 0,
        time: 0,
    };
    let blocks: Vec<Summary> = reader.blocks().copied().collect();
    for (index, declared) in blocks.iter().enumerate() {
        repair.block(reader, index, declared)?;
    }
    let torn = reader.torn_block()?.map_or(0, |torn| torn.end());
    repair.gap(reader.len().max(reader.promised().unwrap_or(0)).max(torn), None)?;
    Ok((repair.writer.finish()?, repair.repaired))
}

struct Repair<W: Write> {
    writer: Writer<W>,
    repaired: Repaired,
    /// Number in the damaged trace of the event after the last one that was dealt with.
    next: u64,
    /// Time of the last event that was written.
    time: u64,
}

impl<W: Write> Repair<W> {
    /// Writes the block of `reader` if it is intact; if not, it becomes part of the gap before the next one.
    fn block(&mut self, reader: &mut Reader, index: usize, declared: &Summary) -> Result<(), Error> {
        let Some(block) = reader.block(index)? else { return Ok(()) };
        if !is_ordered(&block, self.time) {
            self.repaired.disordered_blocks += 1;
            return Ok(());
        }
        self.gap(declared.first_event, block.times().next())?;
        if declared.describes(&block) {
            let Some(body) = reader.block_body(index)? else { return Ok(()) };
            self.writer.append_block(declared, body)?;
            self.repaired.copied_blocks += 1;
            self.repaired.events += block.len() as u64;
            self.next = declared.end();
        } else {
            for (_, event) in block.known() {
                self.writer.append(event)?;
            }
            // Those that this version does not know cannot be written anew, so they are a gap.
            let written = (block.len() - block.unknown()) as u64;
            self.repaired.rewritten_blocks += 1;
            self.repaired.events += written;
            self.next = declared.first_event + written;
        }
        self.time = block.times().last().unwrap_or(self.time);
        Ok(())
    }

    /// Says that the events from where the last block ended up to number `to` are lost, if there are any. What follows is
    /// at the time `following`.
    fn gap(&mut self, to: u64, following: Option<u64>) -> Result<(), Error> {
        let count = to.saturating_sub(self.next);
        self.next = self.next.max(to);
        if count == 0 {
            return Ok(());
        }
        // Nothing came before a gap at the beginning, so that it should not make the trace begin at time 0.
        let time = if self.writer.events() == 0 { following.unwrap_or(0) } else { self.time };
        let payload = Payload::Lost(Lost { count, reason: LostReason::Damage });
        self.writer.append(&Event { time, vcpu: MACHINE, payload })?;
        self.repaired.lost = self.repaired.lost.saturating_add(count);
        self.repaired.gaps += 1;
        Ok(())
    }
}

/// Whether the times in `block` never go back, nor before `time`.
fn is_ordered(block: &Decoded, time: u64) -> bool {
    let mut last = time;
    block.times().all(|time| std::mem::replace(&mut last, time) <= time)
}

/// The header of the repaired trace: the damaged one's, with a sentence about the damage.
fn header_of(reader: &Reader, found: &Verification) -> Header {
    let mut header = reader.header().clone();
    if !reader.has_header() {
        // What the events themselves show.
        let highest = reader.blocks().filter_map(Summary::highest_vcpu).max();
        header.vcpus = highest.map_or(0, |vcpu| vcpu + 1);
        header.not_seen.push("Which guest this was and on which host: the header was damaged.".to_owned());
    }
    if !found.damage.is_empty() {
        let sentence = "What was damaged in the file that this trace was repaired from.".to_owned();
        if !header.not_seen.contains(&sentence) {
            header.not_seen.push(sentence);
        }
    }
    // A header may already say as much as one can.
    const ROOM: usize = MAX_NOT_SEEN as usize - 16;
    while header.not_seen.iter().map(|sentence| sentence.len() + 8).sum::<usize>() > ROOM {
        header.not_seen.remove(0);
    }
    header
}
