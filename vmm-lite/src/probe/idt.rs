//! Where the guest's handlers are: gates of its interrupt descriptor table (SDM vol. 3, 7.14.1).

use std::collections::BTreeMap;

use crate::walk::{Paging, PhysicalMemory};

/// Bytes of a gate in long mode.
const GATE: usize = 16;
/// Bytes of a table with all its gates.
pub(super) const TABLE: usize = 256 * GATE;

/// A set of vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VectorSet([u64; 4]);

impl VectorSet {
    pub(crate) const EMPTY: Self = Self([0; 4]);
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    pub(crate) fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] |= 1 << (vector & 63);
    }

    pub(crate) fn contains(self, vector: u8) -> bool {
        self.0[usize::from(vector >> 6)] & 1 << (vector & 63) != 0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] | other.0[n]))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    pub(crate) fn len(self) -> u16 {
        self.0.iter().map(|word| word.count_ones() as u16).sum()
    }

    pub(crate) fn first(self) -> Option<u8> {
        (0..=u8::MAX).find(|vector| self.contains(*vector))
    }
}

/// A copy of a guest's table, as much of it as its limit covers and is mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Idt {
    bytes: Vec<u8>,
}

impl Idt {
    /// Reads the table at gva `base`.
    pub(super) fn read(memory: &impl PhysicalMemory, paging: &Paging, base: u64, limit: u16) -> Self {
        let mut bytes = vec![0; size(limit)];
        let read = paging.read(memory, base, &mut bytes);
        bytes.truncate(read);
        Self { bytes }
    }

    /// Whether guest memory still holds the same table; `scratch` avoids an allocation.
    pub(super) fn is_unchanged(
        &self,
        memory: &impl PhysicalMemory,
        paging: &Paging,
        base: u64,
        limit: u16,
        scratch: &mut [u8; TABLE],
    ) -> bool {
        // All of it: more may be mapped now than there was.
        let read = paging.read(memory, base, &mut scratch[..size(limit)]);
        scratch.get(..read) == Some(&self.bytes)
    }

    /// The handler of `vector`, gva.
    pub(super) fn handler(&self, vector: u8) -> Option<u64> {
        const PRESENT: u8 = 0x80;
        const INTERRUPT_GATE: u8 = 0xe;
        const TRAP_GATE: u8 = 0xf;
        let start = usize::from(vector) * GATE;
        let gate: &[u8; GATE] = self.bytes.get(start..start + GATE)?.try_into().ok()?;
        let kind = gate[5];
        if kind & PRESENT == 0 || !matches!(kind & 0x1f, INTERRUPT_GATE | TRAP_GATE) {
            return None;
        }
        let low = u64::from(u16::from_le_bytes([gate[0], gate[1]]));
        let middle = u64::from(u16::from_le_bytes([gate[6], gate[7]]));
        let high = u64::from(u32::from_le_bytes([gate[8], gate[9], gate[10], gate[11]]));
        Some(low | middle << 16 | high << 32)
    }

    /// Every handler with the vectors that use it.
    pub(super) fn handlers(&self) -> BTreeMap<u64, VectorSet> {
        let mut handlers: BTreeMap<u64, VectorSet> = BTreeMap::new();
        for vector in 0..=u8::MAX {
            if let Some(handler) = self.handler(vector) {
                handlers.entry(handler).or_default().insert(vector);
            }
        }
        handlers
    }
}

/// Bytes of a table with this limit that hold gates.
fn size(limit: u16) -> usize {
    (usize::from(limit) + 1).min(TABLE)
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    use super::*;
    use crate::walk::CR0_PG;

    #[test]
    fn a_gate_is_gathered_from_its_parts() {
        let mut idt = Idt { bytes: vec![0; 32] };
        idt.bytes[16..28].copy_from_slice(&[0x34, 0x12, 8, 0, 0, 0x8e, 0x78, 0x56, 0xbc, 0x9a, 0xff, 0xff]);
        assert_eq!(idt.handler(0), None);
        assert_eq!(idt.handler(1), Some(0xffff_9abc_5678_1234));
        assert_eq!(idt.handler(2), None);
    }

    #[test]
    fn a_table_at_the_end_of_memory_and_of_addresses_is_what_there_is_of_it() {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        let paging = Paging::default();
        assert_eq!(Idt::read(&memory, &paging, 0xff0, u16::MAX).bytes.len(), 16);
        assert_eq!(Idt::read(&memory, &paging, u64::MAX - 8, u16::MAX).bytes.len(), 0);
        assert_eq!(Idt::read(&memory, &paging, 0, u16::MAX).bytes.len(), TABLE);
    }

    #[test]
    fn a_table_that_is_mapped_only_later_has_changed() {
        // 32-bit paging without tables yet: nothing is mapped.
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        let paging = Paging { cr0: CR0_PG, cr3: 0x1000, ..Paging::default() };
        let idt = Idt::read(&memory, &paging, 0, 0xff);
        let mut scratch = [0; TABLE];
        assert!(idt.is_unchanged(&memory, &paging, 0, 0xff, &mut scratch));
        memory.write_obj(0x2003_u32, GuestAddress(0x1000)).unwrap();
        memory.write_obj(0x3003_u32, GuestAddress(0x2000)).unwrap();
        assert!(!idt.is_unchanged(&memory, &paging, 0, 0xff, &mut scratch));
    }

    #[test]
    fn vectors_that_share_a_handler_are_one_entry() {
        let gate = [0, 0x10, 8, 0, 0, 0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let idt = Idt { bytes: gate.repeat(3) };
        let handlers = idt.handlers();
        assert_eq!(handlers.len(), 1);
        let vectors = handlers[&0x1000];
        assert_eq!((vectors.len(), vectors.first(), vectors.contains(2)), (3, Some(0), true));
    }
}
