//! Virtio devices behind memory-mapped registers, version 2 (virtio 1.2): a console, and a block device over a file.
//!
//! Like all devices they know neither KVM, trace nor threads; guest memory and where output goes are parameters. What
//! a driver does wrong never harms the monitor: a block request that cannot be done is answered with `S_IOERR`, and
//! whatever the specification forbids to drivers sets `DEVICE_NEEDS_RESET`. One notification does bounded work, see
//! [`queue`].
//!
//! Not offered: indirect descriptors and event indices. A notification is carried out before it returns, so there is
//! nothing to batch.

mod block;
mod console;
mod disk;
mod mmio;
pub mod queue;

pub use block::Block;
pub use console::Console;
pub use disk::{Disk, SECTOR};
pub use mmio::Transport;

use virtio_bindings::virtio_ids::{VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE};

use crate::error::Result;
use crate::memory::Memory;
use queue::{Broken, Virtqueue};

/// What a device works on besides itself.
pub struct Outside<'a> {
    /// The guest's memory.
    pub memory: &'a Memory,
    /// Puts what the guest wrote over bytes that were read from a gpa on, where there is a breakpoint of the monitor's:
    /// it must not get into a file.
    pub original: &'a dyn Fn(u64, &mut [u8]),
    /// Takes what a console prints.
    pub output: &'a mut dyn FnMut(&[u8]),
}

impl Outside<'_> {
    /// Reads what the guest wrote at `gpa`.
    fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<()> {
        self.memory.read(gpa, bytes)?;
        (self.original)(gpa, bytes);
        Ok(())
    }
}

/// A device of any kind.
#[derive(Debug)]
pub enum Device {
    /// A console.
    Console(Console),
    /// A block device.
    Block(Block),
}

impl Device {
    fn id(&self) -> u32 {
        match self {
            Self::Console(_) => VIRTIO_ID_CONSOLE,
            Self::Block(_) => VIRTIO_ID_BLOCK,
        }
    }

    /// The features of this kind of device that it offers.
    fn features(&self) -> u64 {
        match self {
            Self::Console(_) => 0,
            Self::Block(block) => block.features(),
        }
    }

    /// The largest size of each queue.
    fn queues(&self) -> &'static [u16] {
        match self {
            Self::Console(_) => &console::QUEUES,
            Self::Block(_) => &block::QUEUES,
        }
    }

    /// The device's own registers. A console without features has none that mean anything.
    fn configuration(&self) -> [u8; 24] {
        match self {
            Self::Console(_) => [0; 24],
            Self::Block(block) => block.configuration(),
        }
    }

    fn negotiated(&mut self, features: u64) {
        match self {
            Self::Console(_) => {}
            Self::Block(block) => block.negotiated(features),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Console(console) => console.reset(),
            Self::Block(block) => block.negotiated(0),
        }
    }

    /// Works on a queue; whether a chain was given back.
    fn work(
        &mut self,
        index: usize,
        queue: &mut Virtqueue,
        outside: &mut Outside<'_>,
    ) -> Result<bool, Broken> {
        match self {
            Self::Console(console) => console.work(index, queue, outside),
            Self::Block(block) => block.work(queue, outside),
        }
    }
}

#[cfg(test)]
mod tests;
