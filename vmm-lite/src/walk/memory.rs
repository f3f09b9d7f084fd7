//! Where page tables are read from.

use std::sync::atomic::Ordering;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Guest physical memory, as far as a walk needs it. Every read is checked: `None` where there is no memory.
pub trait PhysicalMemory {
    /// The naturally aligned little-endian 32-bit value at `gpa`, read in one access.
    fn read_u32(&self, gpa: u64) -> Option<u32>;

    /// The naturally aligned little-endian 64-bit value at `gpa`, read in one access.
    fn read_u64(&self, gpa: u64) -> Option<u64>;

    /// Fills `buffer` from `gpa`; if that fails, its content is undefined.
    fn read_bytes(&self, gpa: u64, buffer: &mut [u8]) -> Option<()>;
}

/// The guest's vCPUs may write its tables meanwhile: one atomic load an entry never sees half of such a write.
impl PhysicalMemory for GuestMemoryMmap {
    fn read_u32(&self, gpa: u64) -> Option<u32> {
        self.load(GuestAddress(gpa), Ordering::Relaxed).ok()
    }

    fn read_u64(&self, gpa: u64) -> Option<u64> {
        self.load(GuestAddress(gpa), Ordering::Relaxed).ok()
    }

    fn read_bytes(&self, gpa: u64, buffer: &mut [u8]) -> Option<()> {
        self.read_slice(buffer, GuestAddress(gpa)).ok()
    }
}
