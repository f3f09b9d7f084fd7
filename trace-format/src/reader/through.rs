//! Going through events where they are, past blocks in which nothing can matter.

use std::ops::ControlFlow;

use super::Reader;
use crate::Error;
use crate::event::Event;
use crate::format::summary::Summary;

impl Reader {
    /// Shows the events from `number` on to `f`, with their numbers and in order, of those blocks for which `wanted` is
    /// true, until it breaks off; returns what with. Nothing is decoded ahead: for going on a little at a time, and far
    /// where blocks can be told apart by their heads.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn go_through<B>(
        &mut self,
        number: u64,
        wanted: impl Fn(&Summary) -> bool,
        mut f: impl FnMut(u64, &Event) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let start = self.blocks.partition_point(|block| block.entry.summary.end() <= number);
        for index in start..self.blocks.len() {
            let summary = self.blocks[index].entry.summary;
            if !wanted(&summary) {
                continue;
            }
            let Some(block) = self.block(index)? else { continue };
            let from = usize::try_from(number.saturating_sub(summary.first_event)).unwrap_or(usize::MAX);
            for place in from..block.len() {
                if let Some(event) = block.get(place)
                    && let flow @ ControlFlow::Break(_) = f(summary.first_event + place as u64, event)
                {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The same for the events before `number`, the nearest one first.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn back_through<B>(
        &mut self,
        number: u64,
        wanted: impl Fn(&Summary) -> bool,
        mut f: impl FnMut(u64, &Event) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let end = self.blocks.partition_point(|block| block.entry.summary.first_event < number);
        for index in (0..end).rev() {
            let summary = self.blocks[index].entry.summary;
            if !wanted(&summary) {
                continue;
            }
            let Some(block) = self.block(index)? else { continue };
            let before = usize::try_from(number - summary.first_event).unwrap_or(usize::MAX);
            for place in (0..block.len().min(before)).rev() {
                if let Some(event) = block.get(place)
                    && let flow @ ControlFlow::Break(_) = f(summary.first_event + place as u64, event)
                {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
