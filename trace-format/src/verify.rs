//! Reading all of a trace to see whether it holds what it promises.

use serde::Serialize;

use crate::event::Payload;
use crate::format::summary::Summary;
use crate::{Damage, DamageKind, Error, Reader};

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Bytes of the file.
    pub bytes: u64,
    /// Event blocks.
    pub blocks: u64,
    /// Events that could be read.
    pub events: u64,
    /// Events that the recorder says it dropped.
    pub lost: u64,
    /// Events of kinds that this version does not know.
    pub unknown_events: u64,
    /// Frames of kinds that this version does not know.
    pub unknown_frames: u64,
    /// Events older than the one before them. There are none in what [`crate::Writer`] wrote.
    pub out_of_order: u64,
    /// Blocks whose summary says something else than their events.
    pub wrong_summaries: u64,
    /// Whether the recording ended properly.
    pub finished: bool,
    /// What is wrong with the file.
    pub damage: Vec<Damage>,
}

impl Verification {
    /// Whether nothing is wrong with the trace. One that is not finished can be all right; so can one of a later
    /// version with events that this one does not know.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.out_of_order == 0 && self.wrong_summaries == 0
    }
}

/// Reads all of a trace, block by block. An index that hides some of them is damage, and they are read nevertheless.
///
/// # Errors
///
/// If the file cannot be read. What is wrong with its content is in the result.
pub fn verify(reader: &mut Reader) -> Result<Verification, Error> {
    let mut found = blocks(reader)?;
    if reader.distrust_index()? {
        found = blocks(reader)?;
    }
    found.unknown_events = reader.unknown_events();
    found.unknown_frames = reader.unknown_frames();
    found.finished = reader.is_finished();
    found.damage = reader.damage();
    if let Some(torn) = reader.torn_block()? {
        let tail = found.damage.iter_mut().rev().find(|damage| damage.kind == DamageKind::TornTail);
        if let Some(damage) = tail {
            damage.events_lost = Some(torn.end() - reader.len());
        }
    }
    Ok(found)
}

/// What the blocks hold.
fn blocks(reader: &mut Reader) -> Result<Verification, Error> {
    let mut found = Verification { bytes: reader.bytes(), ..Verification::default() };
    let mut last = 0;
    let summaries: Vec<Summary> = reader.blocks().copied().collect();
    for (index, declared) in summaries.iter().enumerate() {
        found.blocks += 1;
        let Some(block) = reader.block(index)? else { continue };
        for time in block.times() {
            found.out_of_order += u64::from(time < last);
            last = time;
        }
        found.events += (block.len() - block.unknown()) as u64;
        for (_, event) in block.known() {
            if let Payload::Lost(lost) = &event.payload {
                found.lost = found.lost.saturating_add(lost.count);
            }
        }
        found.wrong_summaries += u64::from(!declared.describes(&block));
    }
    Ok(found)
}
