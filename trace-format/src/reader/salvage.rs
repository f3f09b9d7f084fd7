//! What a repair needs of a trace beyond its events.

use std::io::Write;

use super::Reader;
use super::scan::{self, Found};
use crate::format::frame;
use crate::format::summary::Summary;
use crate::{Error, Writer};

impl Reader {
    /// Whether the trace has an intact header.
    pub(crate) const fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// How many event numbers the end of the trace says that there are; `None` without an end.
    pub(crate) const fn promised(&self) -> Option<u64> {
        self.promised
    }

    /// The body of block `index` as it is in the file; `None` if there is none or its checksum is wrong.
    pub(crate) fn block_body(&mut self, index: usize) -> Result<Option<&[u8]>, Error> {
        let Some(block) = self.blocks.get(index) else { return Ok(None) };
        let entry = block.entry;
        self.loader.body(&self.source, &entry)
    }

    /// Appends every intact block to `writer`, as it is.
    pub(crate) fn copy_to<W: Write>(&mut self, writer: &mut Writer<W>) -> Result<(), Error> {
        for index in 0..self.blocks.len() {
            let summary = self.blocks.get(index).map(|block| block.entry.summary);
            if let (Some(summary), Some(body)) = (summary, self.block_body(index)?) {
                writer.append_block(&summary, body)?;
            }
        }
        Ok(())
    }

    /// What the head of a block says whose body is cut off by the end of the file.
    pub(crate) fn torn_block(&self) -> Result<Option<Summary>, Error> {
        if self.finished || self.astray.is_some() || self.at >= self.length {
            return Ok(None);
        }
        Ok(match scan::frame_at(&self.source, self.at, self.length)? {
            Found::Torn(Some(frame)) if frame.head.kind == frame::kind::BLOCK => {
                Summary::parse(&frame.summary).filter(|summary| summary.first_event >= self.len())
            }
            _ => None,
        })
    }
}
