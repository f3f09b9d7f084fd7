//! Reading and decoding one block.

use super::DamageKind;
use super::source::Source;
use crate::Error;
use crate::format::block::{BlockReader, Decoded};
use crate::format::frame::{self, Head};
use crate::format::index::Entry;
use crate::format::summary::Summary;

/// What it takes to read blocks, one after the other.
pub(super) struct Loader {
    decoder: BlockReader,
    buffer: Vec<u8>,
}

impl Loader {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { decoder: BlockReader::new()?, buffer: Vec::new() })
    }

    /// Decodes the block at `entry` into `out`. The outer error is one of the file, the inner one says what is wrong with
    /// the block; `out` holds nothing of use then.
    pub(super) fn load(
        &mut self,
        source: &Source,
        entry: &Entry,
        out: &mut Decoded,
    ) -> Result<Result<(), DamageKind>, Error> {
        source.read_vec(entry.offset, entry.length as usize, &mut self.buffer)?;
        let Some(body) = body_of(&self.buffer, frame::kind::BLOCK, entry) else {
            return Ok(Err(DamageKind::Checksum));
        };
        let decoded = self.decoder.decode(&entry.summary, body, out);
        Ok(decoded.map_err(|malformed| DamageKind::Malformed(malformed.0)))
    }

    /// The body of the block at `entry`; `None` if its checksum is wrong.
    pub(super) fn body(&mut self, source: &Source, entry: &Entry) -> Result<Option<&[u8]>, Error> {
        source.read_vec(entry.offset, entry.length as usize, &mut self.buffer)?;
        Ok(body_of(&self.buffer, frame::kind::BLOCK, entry))
    }
}

/// The body of the frame of `kind` in `bytes`, if it is the intact one that `entry` means.
fn body_of<'a>(bytes: &'a [u8], kind: u16, entry: &Entry) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_first_chunk()?;
    let head = Head::parse(head)?;
    let (summary, body) = rest.split_at_checked(head.summary.into())?;
    (head.kind == kind
        && head.is_intact(summary)
        && Summary::parse(summary) == Some(entry.summary)
        && body.len() == head.body as usize
        && crc32fast::hash(body) == head.body_crc)
        .then_some(body)
}
