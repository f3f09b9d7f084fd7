//! Sections: the parts of a frame's body, each stored as it is or compressed on its own.
//!
//! Sections of different nature are compressed apart because zstd builds one table of literals for all it is given.

use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::{Malformed, varint};
use crate::Error;

/// How a section is stored.
mod method {
    pub(super) const STORED: u8 = 0;
    pub(super) const ZSTD: u8 = 1;
}

/// What is in a section, for the choice of how to compress it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes that repeat in stretches.
    Records,
    /// A value a byte, each drawn by itself: only their frequencies are worth coding. Searching them for short
    /// repetitions finds accidents, which cost more than they save.
    Symbols,
    /// Random bits.
    Noise,
}

/// Compresses sections into a body.
pub(crate) struct Packer {
    records: Compressor<'static>,
    symbols: Compressor<'static>,
    packed: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> io::Result<Self> {
        let mut records = Compressor::new(3)?;
        let mut symbols = Compressor::new(1)?;
        symbols.set_parameter(CParameter::MinMatch(7))?;
        for compressor in [&mut records, &mut symbols] {
            compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
            compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        }
        Ok(Self { records, symbols, packed: Vec::new() })
    }

    /// Appends section `id` to `body`; an empty section is left out.
    pub(crate) fn put(
        &mut self,
        body: &mut Vec<u8>,
        id: u8,
        content: Content,
        raw: &[u8],
    ) -> Result<(), Error> {
        if raw.is_empty() {
            return Ok(());
        }
        let compressor = match content {
            Content::Records => Some(&mut self.records),
            Content::Symbols => Some(&mut self.symbols),
            Content::Noise => None,
        };
        if let Some(compressor) = compressor {
            self.packed.clear();
            self.packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            compressor.compress_to_buffer(raw, &mut self.packed).map_err(Error::Compress)?;
            if self.packed.len() < raw.len() {
                put_head(body, id, method::ZSTD, raw.len(), self.packed.len());
                body.extend_from_slice(&self.packed);
                return Ok(());
            }
        }
        put_head(body, id, method::STORED, raw.len(), raw.len());
        body.extend_from_slice(raw);
        Ok(())
    }
}

fn put_head(body: &mut Vec<u8>, id: u8, method: u8, raw: usize, stored: usize) {
    body.extend_from_slice(&[id, method]);
    varint::put(body, raw as u64);
    varint::put(body, stored as u64);
}

/// A section as it lies in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) id: u8,
    method: u8,
    raw: u32,
    stored: &'a [u8],
}

impl<'a> Section<'a> {
    /// Takes a section from the front of `body`.
    pub(crate) fn take(body: &mut &'a [u8]) -> Result<Self, Malformed> {
        let (&[id, method], rest) = body.split_first_chunk().ok_or(Malformed("section head is cut off"))?;
        *body = rest;
        let raw = varint::take_u32(body).ok_or(Malformed("section length"))?;
        let stored = varint::take_u32(body).ok_or(Malformed("section length"))?;
        let (stored, rest) =
            body.split_at_checked(stored as usize).ok_or(Malformed("section is longer than its body"))?;
        *body = rest;
        Ok(Self { id, method, raw, stored })
    }
}

/// The sections of a body so far. Each may be there once: unpacking one over and over would be work without end.
#[derive(Default)]
pub(crate) struct Seen([u64; 4]);

impl Seen {
    /// Takes note of `section`.
    pub(crate) fn once(&mut self, section: &Section<'_>) -> Result<(), Malformed> {
        let (word, bit) = (&mut self.0[usize::from(section.id / 64)], 1 << (section.id % 64));
        if *word & bit != 0 {
            return Err(Malformed("section is there twice"));
        }
        *word |= bit;
        Ok(())
    }
}

/// Decompresses sections.
pub(crate) struct Unpacker {
    zstd: Decompressor<'static>,
}

impl Unpacker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()? })
    }

    /// Puts the content of `section` into `out`, at most `cap` bytes.
    pub(crate) fn unpack(
        &mut self,
        section: &Section<'_>,
        cap: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        out.clear();
        if section.raw > cap {
            return Err(Malformed("section is larger than the format allows"));
        }
        match section.method {
            method::STORED if section.stored.len() == section.raw as usize => {
                out.extend_from_slice(section.stored);
            }
            method::ZSTD => {
                // The buffer's capacity bounds what comes out, whatever the compressed data says about itself.
                out.reserve_exact(section.raw as usize);
                self.zstd
                    .decompress_to_buffer(section.stored, out)
                    .map_err(|_| Malformed("section does not decompress"))?;
                if out.len() != section.raw as usize {
                    return Err(Malformed("section decompresses to another length than declared"));
                }
            }
            _ => return Err(Malformed("section method")),
        }
        Ok(())
    }
}
