//! A set of interrupt vectors, laid out as the APIC's 256-bit registers are.

/// Vectors 0 to 255, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vectors([u64; 4]);

impl Vectors {
    /// Adds `vector`; true if it was not there.
    pub(super) fn insert(&mut self, vector: u8) -> bool {
        let (word, bit) = self.word(vector);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes `vector`.
    pub(super) fn remove(&mut self, vector: u8) {
        let (word, bit) = self.word(vector);
        *word &= !bit;
    }

    /// Adds or removes `vector`.
    pub(super) fn set(&mut self, vector: u8, present: bool) {
        let (word, bit) = self.word(vector);
        if present {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    /// Whether `vector` is in it.
    pub(super) fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 64)] & (1 << (vector % 64)) != 0
    }

    /// The highest vector, which is the one of highest priority.
    pub(super) fn highest(&self) -> Option<u8> {
        let (index, word) = (0u8..4).zip(self.0).rev().find(|&(_, word)| word != 0)?;
        u8::try_from(word.ilog2()).ok().map(|bit| index * 64 + bit)
    }

    /// The `index`th of the eight 32-bit registers (its low three bits count).
    pub(super) fn register(&self, index: u8) -> u32 {
        let word = self.0[usize::from(index / 2 % 4)];
        (word >> (u32::from(index % 2) * 32)) as u32
    }

    fn word(&mut self, vector: u8) -> (&mut u64, u64) {
        (&mut self.0[usize::from(vector / 64)], 1 << (vector % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_highest() {
        let mut set = Vectors::default();
        assert_eq!(set.highest(), None);
        for vector in [0x20, 0x31, 0x7f, 0xff] {
            assert!(set.insert(vector));
            assert!(!set.insert(vector));
            assert_eq!(set.highest(), Some(vector));
        }
        assert_eq!(set.register(1), 0x0002_0001);
        assert_eq!((set.register(3), set.register(7)), (1 << 31, 1 << 31));
        set.remove(0xff);
        assert_eq!(set.highest(), Some(0x7f));
        assert!(set.contains(0x31) && !set.contains(0xff));
    }
}
