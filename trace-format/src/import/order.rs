//! Bringing things into the order of their times, as far as a bounded number of them reaches.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Gives things in the order of their times; those of one time in the order in which they came.
#[derive(Debug)]
pub(super) struct Order<T> {
    waiting: BinaryHeap<Reverse<Timed<T>>>,
    came: u64,
    /// Time of the last one that was given.
    last: u64,
}

#[derive(Debug)]
struct Timed<T> {
    time: u64,
    number: u64,
    what: T,
}

impl<T> Order<T> {
    pub(super) fn new() -> Self {
        Self { waiting: BinaryHeap::new(), came: 0, last: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes something in; gives it back if what is later than it was given already.
    pub(super) fn put(&mut self, time: u64, what: T) -> Result<(), T> {
        if time < self.last {
            return Err(what);
        }
        self.waiting.push(Reverse(Timed { time, number: self.came, what }));
        self.came += 1;
        Ok(())
    }

    /// The earliest that waits.
    pub(super) fn take(&mut self) -> Option<(u64, T)> {
        let Reverse(Timed { time, what, .. }) = self.waiting.pop()?;
        self.last = time;
        Some((time, what))
    }

    /// The earliest that waits, if nothing earlier than `bound` comes any more and it is earlier.
    pub(super) fn take_before(&mut self, bound: u64) -> Option<(u64, T)> {
        (self.waiting.peek()?.0.time < bound).then(|| self.take()).flatten()
    }
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Timed<T> {}

impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Timed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_as_they_came() {
        let mut order = Order::new();
        for (time, what) in [(5, 'a'), (3, 'b'), (5, 'c'), (4, 'd')] {
            order.put(time, what).unwrap();
        }
        assert_eq!(order.take_before(4), Some((3, 'b')));
        assert_eq!(order.take_before(4), None);
        assert_eq!(order.put(2, 'e'), Err('e'), "what is later was given");
        order.put(3, 'f').unwrap();
        let rest: Vec<char> = std::iter::from_fn(|| order.take()).map(|(_, what)| what).collect();
        assert_eq!(rest, ['f', 'd', 'a', 'c']);
    }
}
