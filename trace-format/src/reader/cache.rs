//! Decoded blocks, the most recently used ones.

use std::sync::Arc;

use crate::format::block::Decoded;

/// How many blocks are kept: what a screen shows and what is before and behind it. A full one takes 4 MiB.
const BLOCKS: usize = 6;

/// The decoded blocks, the last used one at the end; `None` for one that turned out to be damaged.
#[derive(Default)]
pub(super) struct Cache {
    blocks: Vec<(usize, Arc<Decoded>)>,
}

impl Cache {
    /// Block `index`, if it is there.
    pub(super) fn get(&mut self, index: usize) -> Option<Arc<Decoded>> {
        let at = self.blocks.iter().rposition(|(n, _)| *n == index)?;
        self.blocks[at..].rotate_left(1);
        self.blocks.last().map(|(_, block)| Arc::clone(block))
    }

    /// Adds block `index`, which is not there.
    pub(super) fn put(&mut self, index: usize, block: Arc<Decoded>) {
        self.blocks.push((index, block));
    }

    /// Makes room for another block, and gives the memory of the one not used for longest if nobody holds it.
    pub(super) fn make_room(&mut self) -> Decoded {
        if self.blocks.len() < BLOCKS {
            return Decoded::default();
        }
        let (_, oldest) = self.blocks.remove(0);
        Arc::try_unwrap(oldest).unwrap_or_default()
    }
}
