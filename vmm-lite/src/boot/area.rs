//! Low memory in which a boot protocol's structures are handed over.

use vm_memory::ByteValued;

use crate::error::{Error, Result};
use crate::memory::Memory;

/// gpa of its first byte: above it are no boot tables.
pub(super) const START: u64 = 0x1_0000;
/// The first gpa behind it.
pub(crate) const END: u64 = 0x3_0000;

/// Hands out the area from its start on.
#[derive(Debug)]
pub(crate) struct Area<'m> {
    memory: &'m Memory,
    next: u64,
}

impl<'m> Area<'m> {
    /// All of it is free.
    pub(crate) const fn new(memory: &'m Memory) -> Self {
        Self { memory, next: START }
    }

    /// Writes `bytes` at the next multiple of `align` and returns their gpa.
    ///
    /// # Errors
    /// When the area is full, or low memory is missing.
    pub(crate) fn bytes(&mut self, bytes: &[u8], align: u64) -> Result<u32> {
        let start = self.next.next_multiple_of(align);
        let end = start.saturating_add(bytes.len() as u64);
        if end > END {
            return Err(Error::Setting {
                what: "the guest's command line and those of its modules, together",
                allowed: "at most about 120 KiB",
                value: format!("{} bytes more than there is room for", end - END),
            });
        }
        self.memory.write(start, bytes)?;
        self.next = end;
        Ok(start as u32)
    }

    /// Writes a plain structure and returns its gpa.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(crate) fn value<T: ByteValued>(&mut self, value: &T) -> Result<u32> {
        self.bytes(value.as_slice(), 8)
    }

    /// Writes plain structures, one after the other, and returns the first one's gpa.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub(crate) fn values<T: ByteValued>(&mut self, values: &[T]) -> Result<u32> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.as_slice().iter().copied()).collect();
        self.bytes(&bytes, 8)
    }

    /// Writes `text` with a zero behind it and returns its gpa.
    ///
    /// # Errors
    /// As [`Self::bytes`]; `text` has a zero in it, or more than `most` bytes.
    pub(crate) fn text(&mut self, what: &'static str, text: &str, most: usize) -> Result<u32> {
        if text.len() > most || text.as_bytes().contains(&0) {
            return Err(Error::TextTooLong { what, most, length: text.len() });
        }
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(&bytes, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_aligned_and_apart() {
        let memory = Memory::new(1 << 20).unwrap();
        let mut area = Area::new(&memory);
        assert_eq!(area.text("a text", "abc", 3).unwrap(), 0x1_0000);
        assert_eq!(area.value(&7_u64).unwrap(), 0x1_0008);
        assert_eq!(area.bytes(&[1], 0x1000).unwrap(), 0x1_1000);
        assert_eq!(memory.read_value::<u32>(0x1_0000).unwrap(), u32::from_le_bytes(*b"abc\0"));
        assert_eq!(memory.read_value::<u64>(0x1_0008).unwrap(), 7);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let memory = Memory::new(1 << 20).unwrap();
        let mut area = Area::new(&memory);
        assert!(area.text("a text", "abcd", 3).is_err());
        assert!(area.text("a text", "a\0", 3).is_err());
        assert!(area.bytes(&vec![0; 0x2_0001], 1).is_err());
        assert_eq!(area.bytes(&vec![0; 0x2_0000], 1).unwrap(), 0x1_0000);
        assert!(area.bytes(&[0], 1).is_err());
    }
}
