//! Reading traces, finished ones and such that are being written.

mod cache;
mod damage;
mod iter;
mod load;
mod open;
mod parallel;
mod salvage;
mod scan;
mod slide;
mod source;
mod through;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};

pub use damage::{Damage, DamageKind};
pub use iter::{Backward, Forward};
pub use parallel::BlockEvents;

use self::cache::Cache;
use self::load::Loader;
use self::source::Source;
use crate::event::Event;
use crate::format::PROLOGUE;
use crate::format::block::Decoded;
use crate::format::index::Entry;
use crate::format::section::Unpacker;
use crate::format::summary::Summary;
use crate::{Error, Header};

/// Reads a trace.
///
/// Events are numbered from 0 in the order they were recorded, which is that of their times. A number whose event
/// cannot be told, because its block is damaged or its kind is of a later version, stays: [`event`](Self::event) is
/// `None` there and iterators step over it. So a number means the same event whatever else is wrong with the file.
///
/// Opening looks at the index, or at the heads of frames if there is none. The rest is read when it is needed, and
/// damage inside a block is found only then; [`crate::verify`] reads everything. Memory is bounded: a few decoded
/// blocks, and about 100 bytes for each block of the file.
pub struct Reader {
    source: Source,
    /// `None` until it was found, for ever if it is damaged.
    header: Option<Header>,
    blocks: Vec<Block>,
    /// The next frame is here.
    at: u64,
    /// Since here no frame was found, if that is so; `at` is then where to look next.
    astray: Option<u64>,
    /// Length of the file when it was last looked at.
    length: u64,
    finished: bool,
    /// The blocks are those of the index.
    indexed: bool,
    /// How many event numbers there are by the end of the trace.
    promised: Option<u64>,
    damage: Vec<Damage>,
    unknown_frames: u64,
    unknown_events: u64,
    unpacker: Unpacker,
    loader: Loader,
    cache: Cache,
    /// For the parts of the file that are no blocks.
    buffer: Vec<u8>,
    /// Where it is told how far reading has come.
    reached: Option<Arc<AtomicU64>>,
}

/// A block and what became of it.
struct Block {
    entry: Entry,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not read yet.
    Unread,
    /// Decoded at least once.
    Intact,
    /// Cannot be decoded; reported.
    Damaged,
}

impl Reader {
    /// What the trace says about itself; empty if that part is damaged. Its symbols are where the kernel runs, as far
    /// as the trace has told when it was last looked at.
    #[must_use]
    pub fn header(&self) -> &Header {
        static UNKNOWN: LazyLock<Header> = LazyLock::new(Header::default);
        self.header.as_ref().unwrap_or(&UNKNOWN)
    }

    /// How many event numbers there are: those of lost events count.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.entry.summary.end())
    }

    /// Whether there are no events (yet).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes of the file when it was last looked at.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Times of the first and the last event, ns; `None` if there is none.
    #[must_use]
    pub fn time_range(&self) -> Option<(u64, u64)> {
        let first = self.blocks.first()?.entry.summary.first_time;
        let last = self.blocks.last()?.entry.summary.last_time;
        Some((first, last))
    }

    /// From the first event to the last, ns.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.time_range().map_or(0, |(first, last)| last.saturating_sub(first))
    }

    /// What the blocks hold, in their order. It tells where a kind or a vCPU does not occur without reading events.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &Summary> + ExactSizeIterator {
        self.blocks.iter().map(|block| &block.entry.summary)
    }

    /// Whether the recording ended properly. If not, it is still running or was killed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What was found to be wrong so far, in the order of the file.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let mut damage = self.damage.clone();
        if self.header.is_none() {
            let offset = PROLOGUE as u64;
            damage.push(Damage { offset, length: 0, kind: DamageKind::Header, events_lost: None });
        }
        let tail = self.astray.unwrap_or(self.at);
        if tail < self.length {
            let kind = match (self.finished, self.astray) {
                (true, _) => DamageKind::Trailing,
                (false, Some(_)) => DamageKind::Unreadable,
                (false, None) => DamageKind::TornTail,
            };
            damage.push(Damage { offset: tail, length: self.length - tail, kind, events_lost: None });
        }
        damage.sort_by_key(|damage| damage.offset);
        damage
    }

    /// Frames of kinds that this version does not know.
    #[must_use]
    pub fn unknown_frames(&self) -> u64 {
        self.unknown_frames
    }

    /// Events of kinds that this version does not know, in the blocks read so far.
    #[must_use]
    pub fn unknown_events(&self) -> u64 {
        self.unknown_events
    }

    /// Number of the first event at time `time` or later; [`len`](Self::len) if there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn seek_time(&mut self, time: u64) -> Result<u64, Error> {
        let index = self.blocks.partition_point(|block| block.entry.summary.last_time < time);
        let Some(block) = self.blocks.get(index) else { return Ok(self.len()) };
        let summary = block.entry.summary;
        if time <= summary.first_time {
            return Ok(summary.first_event);
        }
        let within = match self.block(index)? {
            Some(block) => block.at_time(time) as u64,
            None => 0,
        };
        Ok(summary.first_event + within)
    }

    /// Event `number`; `None` if there is none or it is lost.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn event(&mut self, number: u64) -> Result<Option<Event>, Error> {
        let Some((index, within)) = self.locate(number) else { return Ok(None) };
        Ok(self.block(index)?.and_then(|block| block.get(within).cloned()))
    }

    /// Shows every event to `f`, with its number and in order. For a whole trace this is faster than
    /// [`forward`](Self::forward), which has to clone each. What need not see all events one after the other is faster
    /// still with [`read_blocks`](Self::read_blocks), where there are more than two cores.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn for_each(&mut self, mut f: impl FnMut(u64, &Event)) -> Result<(), Error> {
        self.for_each_of(|_| true, |_, number, event| f(number, event))
    }

    /// The events from `number` on, with their numbers. Damaged parts are stepped over; an error of the file ends it.
    pub fn forward(&mut self, number: u64) -> Forward<'_> {
        Forward::new(self, number)
    }

    /// The events before `number`, the nearest one first, with their numbers.
    pub fn backward(&mut self, number: u64) -> Backward<'_> {
        Backward::new(self, number)
    }

    /// The block with event `number`, and the event's place in it.
    fn locate(&self, number: u64) -> Option<(usize, usize)> {
        let index =
            self.blocks.partition_point(|block| block.entry.summary.first_event <= number).checked_sub(1)?;
        let summary = &self.blocks[index].entry.summary;
        (number < summary.end()).then_some((index, (number - summary.first_event) as usize))
    }

    /// Block `index`, decoded; `None` if there is none or it is damaged, which is then reported.
    pub(crate) fn block(&mut self, index: usize) -> Result<Option<Arc<Decoded>>, Error> {
        let Some(Block { entry, state }) = self.blocks.get(index) else { return Ok(None) };
        if *state == State::Damaged {
            return Ok(None);
        }
        if let Some(block) = self.cache.get(index) {
            return Ok(Some(block));
        }
        let entry = *entry;
        let mut decoded = self.cache.make_room();
        let outcome = self.loader.load(&self.source, &entry, &mut decoded)?;
        let outcome = outcome.map(|()| decoded.unknown());
        let intact = outcome.is_ok();
        self.note(index, outcome);
        if !intact {
            return Ok(None);
        }
        let decoded = Arc::new(decoded);
        self.cache.put(index, Arc::clone(&decoded));
        Ok(Some(decoded))
    }

    /// Takes note of what block `index` turned out to be: how many events in it this version does not know, or that it is
    /// damaged. It is counted once.
    fn note(&mut self, index: usize, outcome: Result<usize, DamageKind>) {
        let Some(block) = self.blocks.get_mut(index) else { return };
        if block.state != State::Unread {
            return;
        }
        match outcome {
            Ok(unknown) => {
                self.unknown_events += unknown as u64;
                block.state = State::Intact;
            }
            Err(kind) => {
                block.state = State::Damaged;
                self.damage.push(Damage {
                    offset: block.entry.offset,
                    length: block.entry.length.into(),
                    kind,
                    events_lost: Some(block.entry.summary.count.into()),
                });
            }
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("events", &self.len())
            .field("blocks", &self.blocks.len())
            .field("finished", &self.finished)
            .field("damage", &self.damage.len())
            .finish_non_exhaustive()
    }
}
