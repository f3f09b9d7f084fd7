//! Writing traces.

use std::io::Write;

use crate::event::{Event, MACHINE};
use crate::format::block::BlockWriter;
use crate::format::index::{self, Entry};
use crate::format::section::Packer;
use crate::format::summary::Summary;
use crate::format::{self, MAX_VCPU, frame, head};
use crate::{Error, Header};

/// Writes a trace.
///
/// Events are collected into blocks of about 64 KiB before compression. What is in closed blocks can be read at once,
/// also by another process, and survives whatever happens to this one; [`flush`](Self::flush) closes the current
/// block. [`finish`](Self::finish) adds the index with which a reader opens a long trace instantly.
///
/// Every write is one whole frame, so `inner` needs no buffer of its own.
pub struct Writer<W: Write> {
    inner: W,
    packer: Packer,
    block: BlockWriter,
    entries: Vec<Entry>,
    /// Bytes written so far.
    bytes: u64,
    last_time: u64,
    broken: bool,
    body: Vec<u8>,
    frame: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a trace: writes everything that a reader needs before the first event.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the header exceeds the format's limits, [`Error::Write`] if `inner` fails.
    pub fn new(inner: W, header: &Header) -> Result<Self, Error> {
        let mut writer = Self {
            inner,
            packer: Packer::new().map_err(Error::Compress)?,
            block: BlockWriter::new(0),
            entries: Vec::new(),
            bytes: 0,
            last_time: 0,
            broken: false,
            body: Vec::new(),
            frame: Vec::new(),
        };
        let body = head::encode(header, &mut writer.packer)?;
        writer.frame.extend_from_slice(&format::prologue());
        frame::put(&mut writer.frame, frame::kind::HEADER, &[], &body);
        writer.write_frame()?;
        writer.flush_inner()?;
        Ok(writer)
    }

    /// Appends `event`. Events come in the order of their times; equal times are fine.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfOrder`] and [`Error::Vcpu`] leave the trace as it was: the event is not in it, others can follow.
    /// After any other error the trace cannot be continued.
    pub fn append(&mut self, event: &Event) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        if event.time < self.last_time {
            return Err(Error::OutOfOrder { time: event.time, last: self.last_time });
        }
        if event.vcpu > MAX_VCPU && event.vcpu != MACHINE {
            return Err(Error::Vcpu { vcpu: event.vcpu });
        }
        self.block.push(event).inspect_err(|_| self.broken = true)?;
        self.last_time = event.time;
        if self.block.is_full() {
            self.close_block()?;
        }
        Ok(())
    }

    /// Appends a block as it is in another trace, under the numbers that come next here. The body is one that this
    /// version can decode with the summary.
    pub(crate) fn append_block(&mut self, summary: &Summary, body: &[u8]) -> Result<(), Error> {
        self.flush()?;
        if summary.first_time < self.last_time {
            return Err(Error::OutOfOrder { time: summary.first_time, last: self.last_time });
        }
        let summary = Summary { first_event: self.events(), ..*summary };
        self.block = BlockWriter::new(summary.end());
        self.last_time = summary.last_time;
        self.write_block(summary, body)
    }

    /// Closes the current block, so that a reader sees every event appended so far. Costs next to nothing if there
    /// are none since the last time.
    ///
    /// # Errors
    ///
    /// If `inner` fails; the trace cannot be continued then.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        if self.block.summary().count != 0 {
            self.close_block()?;
            self.flush_inner()?;
        }
        Ok(())
    }

    /// Writes what is left and the index, and returns what was written to.
    ///
    /// # Errors
    ///
    /// If `inner` fails, now or earlier.
    pub fn finish(mut self) -> Result<W, Error> {
        self.flush()?;
        self.frame.clear();
        let events = self.events();
        index::put(&mut self.frame, &mut self.packer, &self.entries, self.bytes, events)?;
        self.write_frame()?;
        self.flush_inner()?;
        Ok(self.inner)
    }

    /// Events appended so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.block.summary().end()
    }

    /// Bytes written so far; the current block is not among them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn close_block(&mut self) -> Result<(), Error> {
        let mut body = std::mem::take(&mut self.body);
        let written = match self.block.close(&mut self.packer, &mut body) {
            Ok(summary) => self.write_block(summary, &body),
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        };
        self.body = body;
        written
    }

    fn write_block(&mut self, summary: Summary, body: &[u8]) -> Result<(), Error> {
        self.frame.clear();
        frame::put(&mut self.frame, frame::kind::BLOCK, &summary.to_bytes(), body);
        let entry = Entry { offset: self.bytes, length: self.frame.len() as u32, summary };
        self.write_frame()?;
        self.entries.push(entry);
        Ok(())
    }

    fn write_frame(&mut self) -> Result<(), Error> {
        self.inner.write_all(&self.frame).map_err(Error::Write).inspect_err(|_| self.broken = true)?;
        self.bytes += self.frame.len() as u64;
        Ok(())
    }

    fn flush_inner(&mut self) -> Result<(), Error> {
        self.inner.flush().map_err(Error::Write).inspect_err(|_| self.broken = true)
    }
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("events", &self.events())
            .field("bytes", &self.bytes)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
