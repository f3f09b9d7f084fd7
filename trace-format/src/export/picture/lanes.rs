//! Slices that overlap as they like.

/// More slices than this at once are not shown: the oldest ends where it was last heard of.
const MOST: usize = 16;

/// Open slices, each in a lane of its own, so that the slices of a lane never overlap.
#[derive(Debug)]
pub(super) struct Lanes<K> {
    lanes: Vec<Option<Open<K>>>,
    begun: u64,
}

/// An open slice.
#[derive(Clone, Debug)]
pub(super) struct Open<K> {
    /// What it is the slice of.
    pub(super) key: K,
    /// When it was last heard of.
    pub(super) last: u64,
    /// What it waits for, a bit each.
    pub(super) waiting: u16,
    /// In which order it came.
    order: u64,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self { lanes: Vec::new(), begun: 0 }
    }
}

impl<K: PartialEq> Lanes<K> {
    /// The lane for a slice that begins, and the slice that has to end in that lane before.
    pub(super) fn begin(&mut self, key: K, time: u64, waiting: u16) -> (u8, Option<Open<K>>) {
        self.begun += 1;
        let open = Open { key, last: time, waiting, order: self.begun };
        let again = self.position(&open.key);
        let free = || self.lanes.iter().position(Option::is_none);
        let oldest = || {
            let orders = self.lanes.iter().enumerate();
            orders.min_by_key(|(_, lane)| lane.as_ref().map(|open| open.order)).map(|(lane, _)| lane)
        };
        let lane = match again.or_else(free) {
            Some(lane) => lane,
            None if self.lanes.len() < MOST => self.lanes.len(),
            None => oldest().unwrap_or_default(),
        };
        match self.lanes.get_mut(lane) {
            Some(place) => (lane as u8, place.replace(open)),
            None => {
                self.lanes.push(Some(open));
                (lane as u8, None)
            }
        }
    }

    /// The open slice of `key`.
    pub(super) fn find(&mut self, key: &K) -> Option<&mut Open<K>> {
        self.lanes.iter_mut().flatten().find(|open| open.key == *key)
    }

    /// The open slices.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Open<K>> {
        self.lanes.iter().flatten()
    }

    /// Ends the slice of `key`: its lane.
    pub(super) fn end(&mut self, key: &K) -> Option<u8> {
        let lane = self.position(key)?;
        *self.lanes.get_mut(lane)? = None;
        Some(lane as u8)
    }

    /// Ends all: lanes and slices.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u8, Open<K>)> {
        let lanes = self.lanes.drain(..).enumerate();
        lanes.filter_map(|(lane, open)| Some((lane as u8, open?)))
    }

    fn position(&self, key: &K) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.as_ref().is_some_and(|open| open.key == *key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_lane_is_taken() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.begin('a', 1, 0).0, 0);
        assert_eq!(lanes.begin('b', 2, 0).0, 1);
        assert_eq!(lanes.end(&'a'), Some(0));
        assert_eq!(lanes.end(&'a'), None);
        assert_eq!(lanes.begin('c', 3, 0).0, 0);
        assert_eq!(lanes.find(&'c').unwrap().last, 3);
        let left: Vec<_> = lanes.drain().map(|(lane, open)| (lane, open.key)).collect();
        assert_eq!(left, [(0, 'c'), (1, 'b')]);
    }

    #[test]
    fn what_begins_again_has_ended() {
        let mut lanes = Lanes::default();
        lanes.begin('a', 1, 0);
        let (lane, ended) = lanes.begin('a', 5, 0);
        assert_eq!((lane, ended.unwrap().last), (0, 1));
    }

    #[test]
    fn without_room_the_oldest_ends() {
        let mut lanes = Lanes::default();
        for n in 0..1000_u64 {
            let (lane, ended) = lanes.begin(n, n, 0);
            assert_eq!(usize::from(lane), n as usize % MOST);
            assert_eq!(ended.map(|open| open.key), n.checked_sub(MOST as u64));
        }
    }
}
