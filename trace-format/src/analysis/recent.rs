//! What was seen lately, by its id.

use std::collections::HashMap;

/// Things that may be asked for again. Where more than this wait, those that have waited for longest are forgotten.
const MOST: usize = 4096;

/// Keeps the last [`MOST`] things that were not taken, and up to as many older ones.
#[derive(Clone, Debug)]
pub(super) struct Recent<V> {
    young: HashMap<u64, V>,
    old: HashMap<u64, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<V> Recent<V> {
    pub(super) fn put(&mut self, id: u64, value: V) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, value);
    }

    pub(super) fn take(&mut self, id: u64) -> Option<V> {
        self.young.remove(&id).or_else(|| self.old.remove(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut recent = Recent::default();
        let last = 10 * MOST as u64;
        (0..=last).for_each(|id| recent.put(id, id + 1));
        assert!(recent.young.len() + recent.old.len() <= 2 * MOST);
        assert_eq!(recent.take(0), None);
        let lately = last - MOST as u64 + 1;
        assert_eq!((recent.take(last), recent.take(lately)), (Some(last + 1), Some(lately + 1)));
        assert_eq!(recent.take(last), None, "it was taken");
    }
}
