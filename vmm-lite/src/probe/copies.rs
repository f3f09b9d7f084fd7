//! Breakpoints that the guest has copied: a program that moves itself, as memtest86+ does, takes them along, and what it
//! runs then has `INT3` where its handlers began. They are told from its own by the code behind them.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use super::site::INT3;

/// How many places are remembered. A machine has a handler or two a vector.
const PLACES: usize = 1024;
/// How many bytes of each.
const LENGTH: usize = 15;
/// How many behind the first must be the same. Behind those a program that moves may have changed addresses.
const ENOUGH: usize = 6;
const PAGE: u64 = 4096;

/// Code as it was before a probe replaced its first byte.
#[derive(Debug, Default)]
pub(super) struct Copies {
    places: VecDeque<Place>,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    gva: u64,
    code: ArrayVec<u8, LENGTH>,
}

impl Place {
    /// How much of what is behind the first byte is the same at `gva`, if a program that moves itself could have moved
    /// it there: it does so by whole pages. Most functions of a kernel begin alike, and a debugger in the guest may have
    /// an `INT3` of its own on any, even where there was a probe.
    fn likeness(&self, gva: u64, behind: &[u8]) -> usize {
        if self.gva == gva || self.gva % PAGE != gva % PAGE {
            return 0;
        }
        alike(behind, self.code.get(1..).unwrap_or_default())
    }
}

impl Copies {
    /// Remembers `code` at `gva`, whose first byte is about to be replaced.
    pub(super) fn remember(&mut self, gva: u64, code: &[u8]) {
        let place = Place { gva, code: code.iter().copied().take(LENGTH).collect() };
        if code.first() == Some(&INT3) || self.places.contains(&place) {
            return;
        }
        if self.places.len() == PLACES {
            self.places.pop_front();
        }
        self.places.push_back(place);
    }

    /// The byte that belongs at `gva` where `code` begins with an `INT3`, if that is a copy of a probe.
    pub(super) fn original(&self, gva: u64, code: &[u8]) -> Option<u8> {
        let (&INT3, behind) = code.split_first()? else { return None };
        // The latest of those that are alike the longest: that is where the guest ran last.
        let place = self.places.iter().max_by_key(|place| place.likeness(gva, behind))?;
        let enough = place.likeness(gva, behind) >= ENOUGH;
        place.code.first().copied().filter(|_| enough)
    }
}

/// How many bytes are the same until the first that is not. Those that have become breakpoints themselves do not count.
fn alike(now: &[u8], then: &[u8]) -> usize {
    let same = now.iter().zip(then).take_while(|(now, then)| now == then || **now == INT3);
    same.filter(|(now, _)| **now != INT3).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &[u8] = &[0x6a, 0, 0x6a, 2, 0xeb, 0x66, 0x6a, 0, 0x6a, 3, 0xeb, 0x60, 0x6a, 0, 0x6a];

    const HERE: u64 = 0x1_0040;
    const THERE: u64 = 0x7_0040;

    #[test]
    fn a_copy_is_known_by_what_follows() {
        let mut copies = Copies::default();
        copies.remember(HERE, HANDLER);
        let mut copy = HANDLER.to_vec();
        assert_eq!(copies.original(THERE, &copy), None, "no breakpoint");
        copy[0] = INT3;
        copy[6] = INT3;
        assert_eq!(copies.original(THERE, &copy), Some(0x6a));
        assert_eq!(copies.original(THERE + 0x10, &copy), None, "code that is alike");
        assert_eq!(copies.original(HERE, &copy), None, "the guest's own, where there was a probe");
        copy[12] = 0x90;
        assert_eq!(copies.original(THERE, &copy), Some(0x6a), "an address behind it may be another");
        copy[3] = 4;
        assert_eq!(copies.original(THERE, &copy), None, "other code");
        assert_eq!(copies.original(THERE, &[INT3; 15]), None, "padding");
        assert_eq!(copies.original(THERE, &[INT3, 0, 0x6a]), None, "too little to tell");
        assert_eq!(copies.original(THERE, &[]), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut copies = Copies::default();
        for n in 0..2 * PLACES {
            copies.remember(HERE, &[1, n as u8, (n >> 8) as u8, 3, 4, 5, 6, 7]);
        }
        assert_eq!(copies.places.len(), PLACES);
    }
}
