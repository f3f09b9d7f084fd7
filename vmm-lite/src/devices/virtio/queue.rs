//! A virtqueue as its driver sets it up, and the descriptor chains in it (virtio 1.2, section 2.7).
//!
//! A driver is the guest's, so nothing about a chain is believed. The bound of everything is this: a driver has as many
//! descriptors as the queue has, and each is in one chain at a time. So all chains that are available at one moment
//! have no more descriptors together than that, or the driver is broken.

use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use virtio_bindings::bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use crate::memory::Memory;

/// The most descriptors of any device's queue.
pub const MOST_DESCRIPTORS: usize = 128;

/// A driver that does what the specification forbids, so that its device must be reset; and what that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// The three areas of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The descriptor table.
    Descriptors,
    /// What the driver makes available.
    Driver,
    /// What the device has used.
    Device,
}

/// A queue and what its driver says of it, which counts from the moment when it is made ready.
#[derive(Debug)]
pub struct Virtqueue {
    queue: Queue,
    size: u32,
    /// gpa of each area.
    areas: [u64; 3],
}

/// Chains that were available at one moment.
#[derive(Debug)]
pub struct Batch {
    chains: u16,
    /// What is left of the queue's descriptors.
    descriptors: u16,
}

/// A buffer that is a part of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// gpa; it need not be memory.
    pub gpa: u64,
    /// Bytes.
    pub len: u32,
}

/// A descriptor chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    head: u16,
    parts: ArrayVec<Part, MOST_DESCRIPTORS>,
    /// How many of the parts are for the device to read; the others are for it to write.
    readable: usize,
}

impl Virtqueue {
    /// A queue of at most `most` descriptors, a power of 2 up to [`MOST_DESCRIPTORS`]; otherwise none at all.
    #[must_use]
    pub fn new(most: u16) -> Self {
        let queue =
            Queue::new(most).ok().filter(|_| usize::from(most) <= MOST_DESCRIPTORS).unwrap_or_default();
        Self { size: queue.max_size().into(), queue, areas: [0; 3] }
    }

    /// The most descriptors that the driver may choose.
    #[must_use]
    pub fn most(&self) -> u16 {
        self.queue.max_size()
    }

    /// How many descriptors the driver wants.
    pub fn set_size(&mut self, size: u32) {
        self.size = size;
    }

    /// The low or high half of an area's gpa.
    pub fn set_half(&mut self, area: Area, high: bool, value: u32) {
        let gpa = match area {
            Area::Descriptors => &mut self.areas[0],
            Area::Driver => &mut self.areas[1],
            Area::Device => &mut self.areas[2],
        };
        let shift = if high { 32 } else { 0 };
        *gpa = *gpa & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    /// Whether the device may use it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.queue.ready()
    }

    /// Lets the device use it as it is set up now, or stops it; then it begins at index 0 next time.
    ///
    /// # Errors
    /// When size, alignment or addresses are not as section 2.7 demands, or what is there is not memory.
    pub fn set_ready(&mut self, ready: bool, memory: &Memory) -> Result<(), Broken> {
        if !ready {
            self.queue.reset();
        } else if !self.queue.ready() {
            let [descriptors, driver, device] = self.areas.map(GuestAddress);
            u16::try_from(self.size)
                .map_err(|_| virtio_queue::Error::InvalidSize)
                .and_then(|size| self.queue.try_set_size(size))
                .and_then(|()| self.queue.try_set_desc_table_address(descriptors))
                .and_then(|()| self.queue.try_set_avail_ring_address(driver))
                .and_then(|()| self.queue.try_set_used_ring_address(device))
                .map_err(|_| Broken("a queue's size or alignment"))?;
            self.queue.set_ready(true);
            if !self.queue.is_valid(memory.map()) {
                self.queue.reset();
                return Err(Broken("a queue outside memory"));
            }
        }
        Ok(())
    }

    /// The chains that are available now. The driver notifies anew of any that it adds.
    ///
    /// # Errors
    /// When there are more than the queue has room for.
    pub fn available(&self, memory: &Memory) -> Result<Batch, Broken> {
        if !self.queue.ready() {
            return Ok(Batch { chains: 0, descriptors: 0 });
        }
        let index = self
            .queue
            .avail_idx(memory.map(), Ordering::Acquire)
            .map_err(|_| Broken("an available ring outside memory"))?;
        let chains = index.0.wrapping_sub(self.queue.next_avail());
        if chains > self.queue.size() {
            return Err(Broken("more chains than descriptors"));
        }
        Ok(Batch { chains, descriptors: self.queue.size() })
    }

    /// Takes the next chain.
    ///
    /// # Errors
    /// When it is not one.
    pub fn take(&mut self, batch: &mut Batch, memory: &Memory) -> Result<Option<Chain>, Broken> {
        let Some(rest) = batch.chains.checked_sub(1) else { return Ok(None) };
        batch.chains = rest;
        let descriptors =
            self.queue.pop_descriptor_chain(memory.map()).ok_or(Broken("an available ring that shrank"))?;
        let mut chain = Chain { head: descriptors.head_index(), parts: ArrayVec::new(), readable: 0 };
        let mut goes_on = true;
        for descriptor in descriptors {
            batch.descriptors =
                batch.descriptors.checked_sub(1).ok_or(Broken("a descriptor in several chains"))?;
            let part = Part { gpa: descriptor.addr().0, len: descriptor.len() };
            if !descriptor.is_write_only() {
                if chain.readable < chain.parts.len() {
                    return Err(Broken("a buffer to read behind one to write"));
                }
                chain.readable += 1;
            }
            chain.parts.try_push(part).map_err(|_| Broken("a chain longer than its queue"))?;
            goes_on = descriptor.has_next();
        }
        // The iterator stops where it finds no descriptor, too.
        if goes_on { Err(Broken("a chain without an end")) } else { Ok(Some(chain)) }
    }

    /// Gives a chain back, of which `written` bytes have been written from the first writable one on.
    ///
    /// # Errors
    /// When its head is no descriptor.
    pub fn give_back(&mut self, chain: &Chain, written: u32, memory: &Memory) -> Result<(), Broken> {
        self.queue
            .add_used(memory.map(), chain.head, written)
            .map_err(|_| Broken("a chain outside the queue"))
    }

    /// Whether the driver wants to be interrupted for what was given back.
    ///
    /// # Errors
    /// When the queue is not in memory.
    pub fn wants_interrupt(&mut self, memory: &Memory) -> Result<bool, Broken> {
        const OUTSIDE: Broken = Broken("an available ring outside memory");
        // For its fence: what was given back must be visible before the flag is read.
        let needed = self.queue.needs_notification(memory.map()).map_err(|_| OUTSIDE)?;
        let flags: u16 = memory.read_value(self.queue.avail_ring()).map_err(|_| OUTSIDE)?;
        Ok(needed && u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }
}

impl Chain {
    /// The buffers for the device to read.
    #[must_use]
    pub fn readable(&self) -> &[Part] {
        &self.parts[..self.readable]
    }

    /// The buffers for the device to write.
    #[must_use]
    pub fn writable(&self) -> &[Part] {
        &self.parts[self.readable..]
    }
}

/// Bytes in all.
#[must_use]
pub fn length(parts: &[Part]) -> u64 {
    parts.iter().map(|part| u64::from(part.len)).sum()
}

/// The stretches of guest physical memory behind bytes `from` to `to` of `parts` put together, none longer than
/// `longest`.
pub fn pieces(parts: &[Part], from: u64, to: u64, longest: usize) -> impl Iterator<Item = (u64, usize)> + '_ {
    let mut end = 0_u64;
    let within = parts.iter().filter_map(move |part| {
        let start = end;
        end += u64::from(part.len);
        let (first, last) = (from.max(start), to.min(end));
        (first < last).then(|| (part.gpa.wrapping_add(first - start), last - first))
    });
    within.flat_map(move |(gpa, len)| {
        let step = longest.max(1) as u64;
        (0..len.div_ceil(step))
            .map(move |n| (gpa.wrapping_add(n * step), (len - n * step).min(step) as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_parts() {
        let parts = [Part { gpa: 100, len: 10 }, Part { gpa: 0, len: 0 }, Part { gpa: u64::MAX - 1, len: 7 }];
        assert_eq!(length(&parts), 17);
        let all = |from, to, longest| pieces(&parts, from, to, longest).collect::<Vec<_>>();
        assert_eq!(all(0, 17, 64), [(100, 10), (u64::MAX - 1, 7)]);
        assert_eq!(all(8, 12, 64), [(108, 2), (u64::MAX - 1, 2)]);
        assert_eq!(all(0, 11, 4), [(100, 4), (104, 4), (108, 2), (u64::MAX - 1, 1)]);
        assert_eq!(all(13, 17, 3), [(1, 3), (4, 1)], "an address that wraps is somebody else's error");
        assert_eq!(all(17, 17, 3), []);
        assert_eq!(all(20, 30, 3), []);
    }

    #[test]
    fn an_impossible_size_is_no_queue() {
        for (most, is) in [(0, 0), (3, 0), (256, 0), (1, 1), (128, 128)] {
            assert_eq!(Virtqueue::new(most).most(), is);
        }
    }
}
