//! The footer: where every block is, and the mark that a trace is complete.

use super::section::{Content, Packer, Section, Seen, Unpacker};
use super::summary::{self, Summary};
use super::{Malformed, frame, varint};
use crate::Error;

/// Entries in an index frame; a long trace has several.
const ENTRIES: usize = 1 << 14;
/// Bytes of an entry: offset, length of the frame, summary.
const ENTRY: usize = 8 + 4 + summary::LENGTH;
/// The section of an index frame.
const ID: u8 = 1;

/// Where a block is and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Offset of its frame in the file.
    pub(crate) offset: u64,
    /// Bytes of its frame.
    pub(crate) length: u32,
    pub(crate) summary: Summary,
}

/// The summary of the finish frame, which has no body and is the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finish {
    /// Offset of the first index frame.
    pub(crate) index: u64,
    /// Blocks in the file.
    pub(crate) blocks: u64,
    /// Number of the event after the last.
    pub(crate) events: u64,
}

impl Finish {
    pub(crate) const LENGTH: usize = 24;

    /// Bytes of the finish frame.
    pub(crate) const FRAME: usize = frame::HEAD + Self::LENGTH;

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[16..].copy_from_slice(&self.events.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        Some(Self {
            index: take_u64(&mut bytes)?,
            blocks: take_u64(&mut bytes)?,
            events: take_u64(&mut bytes)?,
        })
    }
}

/// Appends the footer of a file whose first index frame will be at `offset`.
pub(crate) fn put(
    out: &mut Vec<u8>,
    packer: &mut Packer,
    entries: &[Entry],
    offset: u64,
    events: u64,
) -> Result<(), Error> {
    for entries in entries.chunks(ENTRIES) {
        let mut raw = Vec::with_capacity(4 + entries.len() * ENTRY);
        varint::put(&mut raw, ENTRY as u64);
        for entry in entries {
            raw.extend_from_slice(&entry.offset.to_le_bytes());
            raw.extend_from_slice(&entry.length.to_le_bytes());
            raw.extend_from_slice(&entry.summary.to_bytes());
        }
        let mut body = Vec::new();
        packer.put(&mut body, ID, Content::Records, &raw)?;
        frame::put(out, frame::kind::INDEX, &[], &body);
    }
    let finish = Finish { index: offset, blocks: entries.len() as u64, events };
    frame::put(out, frame::kind::FINISH, &finish.to_bytes(), &[]);
    Ok(())
}

/// Appends the entries in the body of an index frame to `entries`, which then has no more than `most`.
pub(crate) fn decode(
    mut body: &[u8],
    unpacker: &mut Unpacker,
    entries: &mut Vec<Entry>,
    most: u64,
) -> Result<(), Malformed> {
    const MALFORMED: Malformed = Malformed("index");
    let mut seen = Seen::default();
    while !body.is_empty() {
        let section = Section::take(&mut body)?;
        seen.once(&section)?;
        if section.id != ID {
            continue;
        }
        let mut raw = Vec::new();
        unpacker.unpack(&section, (2 * ENTRIES * ENTRY) as u32, &mut raw)?;
        let mut raw = raw.as_slice();
        // Entries say how long they are, so that a later version can append fields.
        let size = varint::take_u32(&mut raw).filter(|&n| n as usize >= ENTRY).ok_or(MALFORMED)?;
        for mut entry in raw.chunks(size as usize) {
            if entries.len() as u64 >= most {
                return Err(MALFORMED);
            }
            let offset = take_u64(&mut entry).ok_or(MALFORMED)?;
            let (&length, summary) = entry.split_first_chunk().ok_or(MALFORMED)?;
            let summary = Summary::parse(summary).ok_or(MALFORMED)?;
            entries.push(Entry { offset, length: u32::from_le_bytes(length), summary });
        }
    }
    Ok(())
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (&word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(word))
}
