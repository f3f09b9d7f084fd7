//! Reading many blocks on all cores.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::load::Loader;
use super::{DamageKind, Reader, State};
use crate::event::Event;
use crate::format::block::Decoded;
use crate::format::index::Entry;
use crate::format::summary::Summary;
use crate::{Error, Header};

/// More threads than this wait for the one that takes the results.
const MOST_THREADS: usize = 16;
/// How many results of one thread may wait to be taken.
const WAITING: usize = 2;

/// The events of one block.
#[derive(Clone, Copy)]
pub struct BlockEvents<'a> {
    /// What the trace says about itself.
    pub header: &'a Header,
    /// What the block's head says.
    pub summary: &'a Summary,
    decoded: &'a Decoded,
}

impl<'a> BlockEvents<'a> {
    /// The events with their numbers, in order, without those that this version does not know.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'a Event)> + use<'a> {
        let first = self.summary.first_event;
        self.decoded.known().map(move |(place, event)| (first + place as u64, event))
    }
}

/// What a thread made of a block.
type Outcome<T> = Result<Result<(usize, T), DamageKind>, Error>;

/// How many threads decode for one that sees all events in order: more would only wait for it.
const AHEAD: usize = 2;

impl Reader {
    /// Reads the blocks for which `wanted` is true, on as many threads as there are cores: `read` makes something of each,
    /// and `take` gets that on the calling thread, in the order of the blocks. Nothing is made of a damaged block, whatever
    /// came before the damage. Memory is that of a few decoded blocks and results for each core.
    ///
    /// Returns what `take` broke off with.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or no thread be started.
    pub fn read_blocks<T: Send, B>(
        &mut self,
        wanted: impl Fn(&Summary) -> bool,
        read: impl Fn(BlockEvents<'_>) -> T + Sync,
        mut take: impl FnMut(T) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let read = |header: &Header, entry: &Entry, decoded: &mut Decoded| {
            read(BlockEvents { header, summary: &entry.summary, decoded })
        };
        self.in_order((MOST_THREADS, WAITING), wanted, read, |_, made| take(made))
    }

    /// Shows every event of the blocks for which `wanted` is true to `f`, with the header, its number, and in order.
    /// Other threads decode the blocks ahead of it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or no thread be started.
    pub fn for_each_of(
        &mut self,
        wanted: impl Fn(&Summary) -> bool,
        mut f: impl FnMut(&Header, u64, &Event),
    ) -> Result<(), Error> {
        let show = |block: BlockEvents<'_>, ()| {
            block.iter().for_each(|(number, event)| f(block.header, number, event));
            ControlFlow::<()>::Continue(())
        };
        self.read_in_order(wanted, |_| (), show).map(drop)
    }

    /// As [`read_blocks`](Self::read_blocks), but `take` gets the events as well, for what has to see all of them one after
    /// the other and can have a part of the work done ahead.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or no thread be started.
    pub fn read_in_order<T: Send, B>(
        &mut self,
        wanted: impl Fn(&Summary) -> bool,
        read: impl Fn(BlockEvents<'_>) -> T + Sync,
        mut take: impl FnMut(BlockEvents<'_>, T) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        // Blocks go round: one that was taken is decoded into again.
        let spare: Mutex<Vec<Decoded>> = Mutex::default();
        let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |header: &Header, entry: &Entry, decoded: &mut Decoded| {
            let made = read(BlockEvents { header, summary: &entry.summary, decoded });
            let next = spare().pop().unwrap_or_default();
            (entry.summary, made, std::mem::replace(decoded, next))
        };
        let take = |header: &Header, (summary, made, decoded): (Summary, T, Decoded)| {
            let flow = take(BlockEvents { header, summary: &summary, decoded: &decoded }, made);
            spare().push(decoded);
            flow
        };
        self.in_order((AHEAD, 0), wanted, read, take)
    }

    /// Reads blocks on at most so many threads, with so many results of each waiting to be taken.
    fn in_order<T: Send, B>(
        &mut self,
        (most_threads, waiting): (usize, usize),
        wanted: impl Fn(&Summary) -> bool,
        read: impl Fn(&Header, &Entry, &mut Decoded) -> T + Sync,
        mut take: impl FnMut(&Header, T) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let blocks = self.blocks.iter().enumerate();
        let wanted: Vec<(usize, Entry)> = blocks
            .filter(|(_, block)| block.state != State::Damaged && wanted(&block.entry.summary))
            .map(|(index, block)| (index, block.entry))
            .collect();
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(most_threads).min(wanted.len());
        let header = self.header();
        let mut noted = Vec::new();
        let source = &self.source;
        let work = |entry: &Entry, loader: &mut Loader, decoded: &mut Decoded| -> Outcome<T> {
            Ok(loader
                .load(source, entry, decoded)?
                .map(|()| (decoded.unknown(), read(header, entry, decoded))))
        };
        let mut take = |index: usize, outcome: Outcome<T>| -> Result<ControlFlow<B>, Error> {
            let (note, made) = match outcome? {
                Ok((unknown, made)) => (Ok(unknown), Some(made)),
                Err(kind) => (Err(kind), None),
            };
            noted.push((index, note));
            if let (Some(reached), Some(block)) = (&self.reached, self.blocks.get(index)) {
                reached.store(block.entry.summary.end(), Ordering::Relaxed);
            }
            Ok(made.map_or(ControlFlow::Continue(()), |made| take(header, made)))
        };
        let ended = if threads < 2 {
            one_by_one(&wanted, work, &mut take)
        } else {
            in_turns(&wanted, (threads, waiting), work, &mut take)
        };
        noted.into_iter().for_each(|(index, note)| self.note(index, note));
        ended
    }
}

fn one_by_one<T, B>(
    wanted: &[(usize, Entry)],
    work: impl Fn(&Entry, &mut Loader, &mut Decoded) -> Outcome<T>,
    take: &mut impl FnMut(usize, Outcome<T>) -> Result<ControlFlow<B>, Error>,
) -> Result<ControlFlow<B>, Error> {
    let mut loader = Loader::new().map_err(Error::Compress)?;
    let mut decoded = Decoded::default();
    for (index, entry) in wanted {
        if let ControlFlow::Break(with) = take(*index, work(entry, &mut loader, &mut decoded))? {
            return Ok(ControlFlow::Break(with));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Thread `n` of `threads` reads the blocks `n`, `n + threads` and so on, and has a channel of its own. So results come in
/// order without being sorted, and no thread gets far ahead.
fn in_turns<T: Send, B>(
    wanted: &[(usize, Entry)],
    (threads, waiting): (usize, usize),
    work: impl Fn(&Entry, &mut Loader, &mut Decoded) -> Outcome<T> + Sync,
    take: &mut impl FnMut(usize, Outcome<T>) -> Result<ControlFlow<B>, Error>,
) -> Result<ControlFlow<B>, Error> {
    let work = &work;
    let worker = |first: usize, results: &SyncSender<Outcome<T>>| {
        let mut decoded = Decoded::default();
        let mut loader = match Loader::new() {
            Ok(loader) => loader,
            Err(error) => return drop(results.send(Err(Error::Compress(error)))),
        };
        for (_, entry) in wanted.iter().skip(first).step_by(threads) {
            // Nobody listens any more after an error or a break.
            if results.send(work(entry, &mut loader, &mut decoded)).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        let mut channels = Vec::new();
        for first in 0..threads {
            let (sender, receiver) = sync_channel(waiting);
            thread::Builder::new()
                .name("trace-reader".to_owned())
                .spawn_scoped(scope, move || worker(first, &sender))
                .map_err(Error::Thread)?;
            channels.push(receiver);
        }
        for ((index, _), channel) in wanted.iter().zip(channels.iter().cycle()) {
            // A thread that is gone has panicked, and the scope panics with it.
            let Ok(outcome) = channel.recv() else { break };
            if let ControlFlow::Break(with) = take(*index, outcome)? {
                return Ok(ControlFlow::Break(with));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::Writer;
    use crate::event::{Payload, VcpuState};

    const EVENTS: u64 = 100_000;

    fn trace() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        for time in 0..EVENTS {
            let vcpu = u8::from(time >= EVENTS / 2);
            writer.append(&Event { time, vcpu, payload: Payload::State(VcpuState::Running) }).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn results_come_in_order_and_only_from_wanted_blocks() {
        let mut reader = Reader::from_bytes(trace()).unwrap();
        let mut numbers = Vec::new();
        let read = |events: BlockEvents<'_>| {
            events.iter().inspect(|(n, e)| assert_eq!(*n, e.time)).map(|(n, _)| n).collect::<Vec<_>>()
        };
        let ended = reader.read_blocks(
            |_| true,
            read,
            |part| {
                numbers.extend(part);
                ControlFlow::<()>::Continue(())
            },
        );
        assert!(ended.unwrap().is_continue());
        assert!(numbers.into_iter().eq(0..EVENTS));
        let wanted = |summary: &Summary| summary.has_vcpu(1);
        let mut blocks = 0;
        let ended = reader.read_blocks(
            wanted,
            |events| events.summary.has_vcpu(1),
            |has| {
                blocks += 1;
                assert!(has);
                if blocks == 2 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(ended.unwrap(), ControlFlow::Break("enough"));
        assert_eq!(blocks, 2);
    }

    #[test]
    fn one_that_sees_all_events_sees_them_in_order() {
        let mut reader = Reader::from_bytes(trace()).unwrap();
        let mut seen = 0;
        reader
            .for_each_of(
                |_| true,
                |_, number, event| {
                    assert_eq!((number, event.time), (seen, seen));
                    seen += 1;
                },
            )
            .unwrap();
        assert_eq!(seen, EVENTS);
    }

    #[test]
    fn another_thread_breaks_it_off() {
        let mut reader = Reader::from_bytes(trace()).unwrap().again().unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        reader.interrupt_by(Arc::clone(&flag));
        let mut seen = 0;
        let ended = reader.for_each_of(
            |_| true,
            |_, _, _| {
                seen += 1;
                flag.store(true, Ordering::Relaxed);
            },
        );
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        assert!((1..EVENTS).contains(&seen), "{seen}");
        flag.store(false, Ordering::Relaxed);
        assert!(reader.for_each(|_, _| seen += 1).is_ok(), "and it can be read again");
        assert!(reader.damage().is_empty());
    }

    #[test]
    fn a_damaged_block_is_reported_and_nothing_made_of_it() {
        let mut bytes = trace();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut reader = Reader::from_bytes(bytes).unwrap();
        let mut events = 0;
        let count = |block: BlockEvents<'_>| block.iter().count() as u64;
        for _ in 0..2 {
            events = 0;
            let ended = reader.read_blocks(
                |_| true,
                count,
                |n| {
                    events += n;
                    ControlFlow::<()>::Continue(())
                },
            );
            assert!(ended.unwrap().is_continue());
        }
        let damage = reader.damage();
        assert_eq!(damage.len(), 1, "counted once: {damage:?}");
        assert_eq!(events + damage[0].events_lost.unwrap(), EVENTS);
    }
}
