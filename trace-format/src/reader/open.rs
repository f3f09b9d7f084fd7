//! Opening a trace and following it.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::load::Loader;
use super::scan::{self, Found, Frame};
use super::source::Source;
use super::{Block, Cache, Damage, DamageKind, Reader, State};
use crate::Error;
use crate::format::frame::{self, HEAD};
use crate::format::index::{self, Entry, Finish};
use crate::format::section::Unpacker;
use crate::format::summary::Summary;
use crate::format::{self, MAGIC, PROLOGUE, VERSION, head};

impl Reader {
    /// Opens the trace at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::NotATrace`] and [`Error::Version`] if the file cannot be understood at all, [`Error::Open`] and
    /// [`Error::Read`] if it cannot be read. Damage is not an error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Self::new(file.into())
    }

    /// Opens the trace in `file`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_file(file: File) -> Result<Self, Error> {
        Self::new(file.into())
    }

    /// Opens the trace in `bytes`: a `Vec`, or a `&'static [u8]` of one that is compiled in.
    ///
    /// # Errors
    ///
    /// [`Error::NotATrace`] and [`Error::Version`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, Error> {
        Self::new(bytes.into().into())
    }

    /// Another reader of the same trace, for another thread. What was found in one, damage in blocks say, the other does
    /// not know.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn again(&self) -> Result<Self, Error> {
        Self::new(self.source.again()?)
    }

    /// While `flag` is set, reading fails with [`Error::Interrupted`], so that what reads much can be broken off by
    /// another thread. It takes effect at the next block.
    pub fn interrupt_by(&mut self, flag: Arc<AtomicBool>) {
        self.source.interrupt_by(flag);
    }

    /// What reads many blocks stores in `reached` the number of the event up to which it has come, each time it goes
    /// through the trace anew.
    pub fn tell_in(&mut self, reached: Arc<AtomicU64>) {
        self.reached = Some(reached);
    }

    fn new(source: Source) -> Result<Self, Error> {
        let mut reader = Self {
            length: source.len()?,
            source,
            header: None,
            blocks: Vec::new(),
            at: PROLOGUE as u64,
            astray: None,
            finished: false,
            indexed: false,
            promised: None,
            damage: Vec::new(),
            unknown_frames: 0,
            reached: None,
            unknown_events: 0,
            unpacker: Unpacker::new().map_err(Error::Compress)?,
            loader: Loader::new().map_err(Error::Compress)?,
            cache: Cache::default(),
            buffer: Vec::new(),
        };
        reader.read_prologue()?;
        if let Found::Frame(frame) = scan::frame_at(&reader.source, reader.at, reader.length)?
            && frame.head.kind == frame::kind::HEADER
        {
            reader.read_header(reader.at, &frame)?;
        }
        if !reader.read_index()? {
            reader.scan()?;
        }
        reader.follow_slide(0)?;
        Ok(reader)
    }

    /// Looks for what was written since the last time and returns how many event numbers were added. It costs one
    /// system call if the file has not grown, and reads the heads of new frames otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the file cannot be read, [`Error::Shrank`] if it became shorter.
    pub fn poll(&mut self) -> Result<u64, Error> {
        let length = self.source.len()?;
        if length < self.length {
            return Err(Error::Shrank { from: self.length, to: length });
        }
        let before = self.len();
        if length > self.length {
            self.length = length;
            let blocks = self.blocks.len();
            self.scan()?;
            self.follow_slide(blocks)?;
        }
        Ok(self.len() - before)
    }

    fn read_prologue(&mut self) -> Result<(), Error> {
        let mut bytes = [0; PROLOGUE];
        let there = self.source.read(0, &mut bytes)?;
        if there == PROLOGUE && bytes == format::prologue() {
            return Ok(());
        }
        let [.., v0, v1, _, _, c0, c1, c2, c3] = bytes;
        let found = u16::from_le_bytes([v0, v1]);
        let intact = crc32fast::hash(&bytes[..PROLOGUE - 4]) == u32::from_le_bytes([c0, c1, c2, c3]);
        if bytes.starts_with(&MAGIC) && intact && found != VERSION {
            return Err(Error::Version { found, known: VERSION });
        }
        // Damaged, if a frame follows nevertheless.
        match scan::frame_at(&self.source, PROLOGUE as u64, self.length)? {
            Found::Frame(_) => {
                self.report(0, PROLOGUE as u64, DamageKind::Prologue);
                Ok(())
            }
            Found::Torn(_) | Found::Nothing => Err(Error::NotATrace),
        }
    }

    /// Takes in the header frame at `offset`, unless it is damaged or there was one before.
    fn read_header(&mut self, offset: u64, frame: &Frame) -> Result<(), Error> {
        if self.header.is_none() && self.read_body(offset, frame)?.is_some() {
            self.header = head::decode(&self.buffer, &mut self.unpacker).ok();
        }
        Ok(())
    }

    /// Puts the body of `frame` at `offset` into the buffer; `None` if it is damaged.
    fn read_body(&mut self, offset: u64, frame: &Frame) -> Result<Option<()>, Error> {
        let from = offset + HEAD as u64 + frame.summary.len() as u64;
        self.source.read_vec(from, frame.head.body as usize, &mut self.buffer)?;
        let intact = self.buffer.len() == frame.head.body as usize
            && crc32fast::hash(&self.buffer) == frame.head.body_crc;
        Ok(intact.then_some(()))
    }

    /// Reads the footer and tells whether that was possible.
    fn read_index(&mut self) -> Result<bool, Error> {
        let Some(end) = self.length.checked_sub(Finish::FRAME as u64) else { return Ok(false) };
        let finish = match scan::frame_at(&self.source, end, self.length)? {
            Found::Frame(frame) if frame.head.kind == frame::kind::FINISH => Finish::parse(&frame.summary),
            _ => None,
        };
        let Some(finish) = finish else { return Ok(false) };
        let mut entries = Vec::new();
        if self.read_entries(&finish, end, &mut entries)?.is_none() {
            self.report(finish.index.min(end), 0, DamageKind::Index);
            return Ok(false);
        }
        self.blocks = entries.into_iter().map(|entry| Block { entry, state: State::Unread }).collect();
        self.at = self.length;
        self.finished = true;
        self.indexed = true;
        self.promised = Some(finish.events);
        Ok(true)
    }

    /// Reads the index frames up to `end`; `None` if they do not hold what `finish` says.
    fn read_entries(
        &mut self,
        finish: &Finish,
        end: u64,
        entries: &mut Vec<Entry>,
    ) -> Result<Option<()>, Error> {
        // No more blocks than there is room for, whatever the index unpacks to.
        let most = finish.blocks.min(self.length / HEAD as u64);
        let mut at = finish.index;
        while at < end {
            let Found::Frame(frame) = scan::frame_at(&self.source, at, end)? else { return Ok(None) };
            if frame.head.kind == frame::kind::BLOCK {
                return Ok(None);
            }
            if frame.head.kind == frame::kind::INDEX
                && (self.read_body(at, &frame)?.is_none()
                    || index::decode(&self.buffer, &mut self.unpacker, entries, most).is_err())
            {
                return Ok(None);
            }
            at += frame.head.length();
        }
        let (mut offset, mut number) = (self.at, 0);
        for entry in &*entries {
            let follows = entry.offset >= offset && entry.summary.first_event == number;
            if !follows || self.has_block(offset, entry.offset)? {
                return Ok(None);
            }
            offset = entry.offset.saturating_add(entry.length.into());
            number = entry.summary.end();
        }
        let agrees = at == end
            && offset <= finish.index
            && entries.len() as u64 == finish.blocks
            && number == finish.events
            && !self.has_block(offset, finish.index)?;
        Ok(agrees.then_some(()))
    }

    /// Whether there is a block from `from` to `to`, where an index says that there is none. Usually nothing is there, and
    /// before the first block the header.
    pub(super) fn has_block(&self, from: u64, to: u64) -> Result<bool, Error> {
        let mut at = from;
        while at < to {
            match scan::frame_at(&self.source, at, to)? {
                Found::Frame(frame) if frame.head.kind == frame::kind::BLOCK => return Ok(true),
                Found::Frame(frame) => at += frame.head.length(),
                Found::Torn(_) | Found::Nothing => match scan::next_frame(&self.source, at + 1, to)? {
                    Ok(next) => at = next,
                    Err(_) => return Ok(false),
                },
            }
        }
        Ok(false)
    }

    /// Goes through all frames in place of the index if that hides blocks: in what it says is one block and cannot be read
    /// as one, there is another. Whether that was so; numbers of events may then have changed.
    pub(crate) fn distrust_index(&mut self) -> Result<bool, Error> {
        if !self.indexed {
            return Ok(false);
        }
        let damaged: Vec<Entry> = self
            .blocks
            .iter()
            .filter(|block| block.state == State::Damaged)
            .map(|block| block.entry)
            .collect();
        let mut hidden = None;
        for Entry { offset, length, .. } in damaged {
            let end = offset.saturating_add(length.into());
            let first = match scan::frame_at(&self.source, offset, end)? {
                Found::Frame(frame) => frame.head.length(),
                Found::Torn(_) | Found::Nothing => 1,
            };
            if self.has_block(offset + first, end)? {
                hidden = Some(offset);
                break;
            }
        }
        let Some(offset) = hidden else { return Ok(false) };
        self.indexed = false;
        self.blocks.clear();
        self.cache = Cache::default();
        self.damage.retain(|damage| damage.kind == DamageKind::Prologue);
        (self.at, self.finished, self.promised) = (PROLOGUE as u64, false, None);
        (self.unknown_frames, self.unknown_events) = (0, 0);
        self.report(offset, 0, DamageKind::Index);
        self.scan()?;
        self.follow_slide(0)?;
        Ok(true)
    }

    /// Goes through the frames from where the last scan ended.
    fn scan(&mut self) -> Result<(), Error> {
        while !self.finished && self.at < self.length {
            let found = match self.astray {
                Some(_) => Found::Nothing,
                None => scan::frame_at(&self.source, self.at, self.length)?,
            };
            if let Found::Frame(frame) = found {
                let offset = self.at;
                self.at += frame.head.length();
                self.take(offset, &frame)?;
                continue;
            }
            // Something is wrong, unless this is merely the end of a file that is being written. A frame further on
            // tells; without one the next poll looks again.
            let torn = matches!(found, Found::Torn(_));
            let from = if self.astray.is_some() { self.at } else { self.at + 1 };
            match scan::next_frame(&self.source, from, self.length)? {
                Ok(next) => {
                    let start = self.astray.take().unwrap_or(self.at);
                    self.at = next;
                    self.report(start, next - start, DamageKind::Unreadable);
                }
                Err(_) if torn => return Ok(()),
                Err(resume) => {
                    self.astray.get_or_insert(self.at);
                    self.at = resume;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes in the frame at `offset`.
    fn take(&mut self, offset: u64, frame: &Frame) -> Result<(), Error> {
        match frame.head.kind {
            frame::kind::BLOCK => match Summary::parse(&frame.summary) {
                Some(summary) if summary.first_event >= self.len() => {
                    self.expect(offset, summary.first_event);
                    // Frames are shorter than 4 GiB.
                    let entry = Entry { offset, length: frame.head.length() as u32, summary };
                    self.blocks.push(Block { entry, state: State::Unread });
                }
                Some(_) => {
                    self.report(offset, frame.head.length(), DamageKind::Malformed("event numbers go back"));
                }
                None => self.report(offset, frame.head.length(), DamageKind::Malformed("summary of a block")),
            },
            frame::kind::FINISH => {
                if let Some(finish) = Finish::parse(&frame.summary) {
                    self.expect(offset, finish.events);
                    self.promised = Some(finish.events);
                }
                self.finished = true;
            }
            frame::kind::HEADER => self.read_header(offset, frame)?,
            frame::kind::INDEX => {}
            _ => self.unknown_frames += 1,
        }
        Ok(())
    }

    /// Notes that the event numbers at `offset` go on with `number`.
    fn expect(&mut self, offset: u64, number: u64) {
        let missing = number.saturating_sub(self.len());
        if missing == 0 {
            return;
        }
        let start = self.blocks.last().map_or(0, |block| block.entry.offset);
        match self.damage.iter_mut().rev().find(|damage| {
            damage.kind == DamageKind::Unreadable && damage.offset > start && damage.events_lost.is_none()
        }) {
            Some(damage) => damage.events_lost = Some(missing),
            None => self.damage.push(Damage {
                offset,
                length: 0,
                kind: DamageKind::Missing,
                events_lost: Some(missing),
            }),
        }
    }

    fn report(&mut self, offset: u64, length: u64, kind: DamageKind) {
        self.damage.push(Damage { offset, length, kind, events_lost: None });
    }
}
