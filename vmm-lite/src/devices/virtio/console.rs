//! The console device (virtio 1.2, section 5.3): one port, no features.

use std::collections::VecDeque;

use super::Outside;
use super::queue::{Broken, Virtqueue, length, pieces};

/// Queues: to the guest, from the guest.
pub(super) const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
pub(super) const QUEUES: [u16; 2] = [64, 64];

/// Input that the guest has not taken yet, at most; more is refused.
const INPUT_LIMIT: usize = 4096;
/// The longest output in one chain. No driver comes near it: Linux sends 32 KiB at most, and 16 bytes as hvc0. So what
/// one notification can print is bounded by a queue's 64 descriptors.
const LONGEST_OUTPUT: u64 = 64 << 10;
const PIECE: usize = 1024;

/// A console.
#[derive(Debug)]
pub struct Console {
    input: VecDeque<u8>,
    spoken: bool,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// After reset.
    #[must_use]
    pub fn new() -> Self {
        Self { input: VecDeque::with_capacity(INPUT_LIMIT), spoken: false }
    }

    pub(super) fn reset(&mut self) {
        self.input.clear();
        self.spoken = false;
    }

    /// Whether the guest has printed something since the reset. Linux has a driver running when its console is
    /// elsewhere, too; then nobody would read what is typed here.
    #[must_use]
    pub fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// Takes what there is room for, and returns how much that is.
    pub(super) fn input(&mut self, bytes: &[u8]) -> usize {
        let room = INPUT_LIMIT.saturating_sub(self.input.len());
        let accepted = &bytes[..bytes.len().min(room)];
        self.input.extend(accepted);
        accepted.len()
    }

    /// Works on a queue; whether a chain was given back.
    pub(super) fn work(
        &mut self,
        index: usize,
        queue: &mut Virtqueue,
        outside: &mut Outside<'_>,
    ) -> Result<bool, Broken> {
        match index {
            RECEIVE => self.receive(queue, outside),
            TRANSMIT => self.transmit(queue, outside),
            _ => Ok(false),
        }
    }

    /// Puts input into the guest's buffers.
    fn receive(&mut self, queue: &mut Virtqueue, outside: &Outside<'_>) -> Result<bool, Broken> {
        let memory = outside.memory;
        let mut batch = queue.available(memory)?;
        let mut used = false;
        while !self.input.is_empty()
            && let Some(chain) = queue.take(&mut batch, memory)?
        {
            let len = length(chain.writable()).min(self.input.len() as u64);
            for (gpa, len) in pieces(chain.writable(), 0, len, PIECE) {
                let piece: Vec<u8> = self.input.drain(..len.min(self.input.len())).collect();
                memory.write(gpa, &piece).map_err(|_| Broken("a buffer for input outside memory"))?;
            }
            queue.give_back(&chain, len as u32, memory)?;
            used = true;
        }
        Ok(used)
    }

    fn transmit(&mut self, queue: &mut Virtqueue, outside: &mut Outside<'_>) -> Result<bool, Broken> {
        let memory = outside.memory;
        let mut batch = queue.available(memory)?;
        let mut used = false;
        let mut piece = [0; PIECE];
        while let Some(chain) = queue.take(&mut batch, memory)? {
            let len = length(chain.readable());
            if len > LONGEST_OUTPUT {
                return Err(Broken("output of more than 64 KiB in one chain"));
            }
            for (gpa, len) in pieces(chain.readable(), 0, len, PIECE) {
                let bytes = piece.get_mut(..len).unwrap_or_default();
                outside.read(gpa, bytes).map_err(|_| Broken("output outside memory"))?;
                (outside.output)(bytes);
                self.spoken = true;
            }
            queue.give_back(&chain, 0, memory)?;
            used = true;
        }
        Ok(used)
    }
}
