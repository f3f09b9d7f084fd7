//! Guest physical memory.
//!
//! vCPUs and the monitor touch it at the same time, so it is read and written only through `vm-memory`'s volatile
//! accessors, never through a slice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use vm_memory::{
    ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileMemory,
};

use crate::error::{Error, Result};

/// The end of memory below 4 GiB: above it are the local APICs, the IOAPIC and other devices.
pub const LOW_END: u64 = 3 << 30;
/// Where memory goes on that does not fit below.
pub const HIGH_START: u64 = 4 << 30;

/// A guest's memory; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Memory {
    map: Arc<GuestMemoryMmap>,
    bytes: u64,
}

/// A stretch of guest memory that is one stretch in the monitor too.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// First gpa.
    pub gpa: u64,
    /// Bytes.
    pub len: u64,
    /// Host virtual address of its first byte.
    pub hva: u64,
}

impl Memory {
    /// Reserves `bytes` of memory; pages come when they are touched.
    ///
    /// # Errors
    /// When the host has no such memory, or `bytes` is 0 or no multiple of 4 KiB.
    pub fn new(bytes: u64) -> Result<Self> {
        let refuse = |source| Error::Memory { bytes, source };
        if bytes == 0 || !bytes.is_multiple_of(4096) {
            return Err(Error::Setting {
                what: "guest memory",
                allowed: "a multiple of 4 KiB, and not 0",
                value: format!("{bytes} bytes"),
            });
        }
        let mut ranges = vec![(GuestAddress(0), bytes.min(LOW_END))];
        if let Some(rest) = bytes.checked_sub(LOW_END).filter(|rest| *rest > 0) {
            ranges.push((GuestAddress(HIGH_START), rest));
        }
        let mut sized = Vec::with_capacity(ranges.len());
        for (gpa, len) in ranges {
            sized.push((gpa, usize::try_from(len).map_err(|e| refuse(std::io::Error::other(e)))?));
        }
        let map =
            GuestMemoryMmap::from_ranges(&sized).map_err(|e| refuse(std::io::Error::other(e.to_string())))?;
        Ok(Self { map: Arc::new(map), bytes })
    }

    /// How much there is, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Never: a guest without memory is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The stretches it consists of.
    pub fn regions(&self) -> impl Iterator<Item = Region> + '_ {
        self.map.iter().filter_map(|region| {
            let gpa = region.start_addr();
            let hva = self.map.get_host_address(gpa).ok()?;
            Some(Region { gpa: gpa.0, len: region.len(), hva: hva as u64 })
        })
    }

    /// The host virtual address of `gpa`.
    #[must_use]
    pub fn host_address(&self, gpa: u64) -> Option<u64> {
        self.regions().find(|r| gpa >= r.gpa && gpa - r.gpa < r.len).map(|r| r.hva + (gpa - r.gpa))
    }

    /// The map, for walkers and loaders.
    #[must_use]
    pub fn map(&self) -> &GuestMemoryMmap {
        &self.map
    }

    /// Fills `buffer` from `gpa` on.
    ///
    /// # Errors
    /// When not all of it is memory.
    pub fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<()> {
        let len = buffer.len() as u64;
        self.map.read_slice(buffer, GuestAddress(gpa)).map_err(|_| Error::NotMemory { gpa, len })
    }

    /// Writes `data` from `gpa` on.
    ///
    /// # Errors
    /// When not all of it is memory; what is has been written.
    pub fn write(&self, gpa: u64, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        self.map.write_slice(data, GuestAddress(gpa)).map_err(|_| Error::NotMemory { gpa, len })
    }

    /// Reads one plain value.
    ///
    /// # Errors
    /// When it is not memory.
    pub fn read_value<T: ByteValued>(&self, gpa: u64) -> Result<T> {
        self.map.read_obj(GuestAddress(gpa)).map_err(|_| Error::NotMemory { gpa, len: size_of::<T>() as u64 })
    }

    /// Writes one plain value.
    ///
    /// # Errors
    /// When it is not memory.
    pub fn write_value<T: ByteValued>(&self, gpa: u64, value: T) -> Result<()> {
        self.map
            .write_obj(value, GuestAddress(gpa))
            .map_err(|_| Error::NotMemory { gpa, len: size_of::<T>() as u64 })
    }

    /// Makes the byte at `gpa` `to` if it is `from`, whatever others write there meanwhile. False if it is not.
    pub(crate) fn replace(&self, gpa: u64, from: u8, to: u8) -> bool {
        let Ok(slice) = self.map.get_slice(GuestAddress(gpa), 1) else { return false };
        let Ok(byte) = slice.get_atomic_ref::<AtomicU8>(0) else { return false };
        byte.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}
