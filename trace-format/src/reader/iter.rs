//! Iterating over events, either way.

use std::sync::Arc;

use super::Reader;
use crate::Error;
use crate::event::Event;
use crate::format::block::Decoded;

/// A place in the trace: a block, and an event in it.
struct Cursor<'a> {
    reader: &'a mut Reader,
    block: usize,
    /// Of the block, if it is decoded.
    decoded: Option<(u64, Arc<Decoded>)>,
    /// Nothing comes any more: an error, or the beginning of the trace.
    done: bool,
}

impl Cursor<'_> {
    /// Decodes block `self.block`; `None` at the end. A damaged block is an empty one.
    fn load(&mut self) -> Option<Result<(), Error>> {
        let first = self.reader.blocks.get(self.block)?.entry.summary.first_event;
        match self.reader.block(self.block) {
            Ok(block) => {
                self.decoded = Some((first, block.unwrap_or_default()));
                Some(Ok(()))
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

/// Events with their numbers, see [`Reader::forward`].
pub struct Forward<'a> {
    cursor: Cursor<'a>,
    /// The next event's place in the block.
    next: usize,
}

impl<'a> Forward<'a> {
    pub(super) fn new(reader: &'a mut Reader, number: u64) -> Self {
        let (block, next) = match reader.locate(number) {
            Some(place) => place,
            None => (reader.blocks.partition_point(|block| block.entry.summary.first_event < number), 0),
        };
        Self { cursor: Cursor { reader, block, decoded: None, done: false }, next }
    }
}

impl Iterator for Forward<'_> {
    type Item = Result<(u64, Event), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.cursor.done {
            let Some((first, block)) = &self.cursor.decoded else {
                if let Err(error) = self.cursor.load()? {
                    return Some(Err(error));
                }
                continue;
            };
            if self.next < block.len() {
                let number = first + self.next as u64;
                let event = block.get(self.next).cloned();
                self.next += 1;
                if let Some(event) = event {
                    return Some(Ok((number, event)));
                }
            } else {
                self.cursor.decoded = None;
                self.cursor.block += 1;
                self.next = 0;
            }
        }
        None
    }
}

/// Events with their numbers, see [`Reader::backward`].
pub struct Backward<'a> {
    cursor: Cursor<'a>,
    /// The place after the next event's in the block.
    end: usize,
}

impl<'a> Backward<'a> {
    pub(super) fn new(reader: &'a mut Reader, number: u64) -> Self {
        let blocks = reader.blocks.partition_point(|block| block.entry.summary.first_event < number);
        let block = blocks.checked_sub(1);
        let first = block.map_or(0, |block| reader.blocks[block].entry.summary.first_event);
        let cursor = Cursor { reader, block: block.unwrap_or(0), decoded: None, done: block.is_none() };
        Self { cursor, end: usize::try_from(number - first).unwrap_or(usize::MAX) }
    }
}

impl Iterator for Backward<'_> {
    type Item = Result<(u64, Event), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.cursor.done {
            let Some((first, block)) = &self.cursor.decoded else {
                if let Err(error) = self.cursor.load()? {
                    return Some(Err(error));
                }
                continue;
            };
            self.end = self.end.min(block.len());
            if let Some(place) = self.end.checked_sub(1) {
                self.end = place;
                if let Some(event) = block.get(place) {
                    return Some(Ok((first + place as u64, event.clone())));
                }
            } else {
                self.cursor.decoded = None;
                self.end = usize::MAX;
                match self.cursor.block.checked_sub(1) {
                    Some(block) => self.cursor.block = block,
                    None => self.cursor.done = true,
                }
            }
        }
        None
    }
}
