//! Symbols follow the kernel to where it runs.

use super::Reader;
use crate::Error;
use crate::event::{Kind, Payload};

impl Reader {
    /// Moves the header's symbols by the last slide in the blocks from number `from` on, if there is one. At most one
    /// intact block is decoded for it: summaries tell which has one.
    pub(super) fn follow_slide(&mut self, from: usize) -> Result<(), Error> {
        for index in (from..self.blocks.len()).rev() {
            if !self.blocks[index].entry.summary.has_kind(Kind::Slide) {
                continue;
            }
            let Some(block) = self.block(index)? else { continue };
            let slides = block.known().filter_map(|(_, event)| match &event.payload {
                Payload::Slide(slide) => Some(slide.slide),
                _ => None,
            });
            let slide = slides.last();
            if let (Some(slide), Some(header)) = (slide, &mut self.header) {
                header.symbols.set_slide(slide);
            }
            break;
        }
        Ok(())
    }
}
