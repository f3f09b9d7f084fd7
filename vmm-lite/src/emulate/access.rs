//! Memory as an instruction reaches it: linear addresses through the guest's tables.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use trace_format::event::{Access, Level, PagingMode, Walk, WalkCause, WalkFault, WalkOutcome};
use vm_memory::{AtomicInteger, GuestAddress, GuestMemoryBackend, VolatileMemory};

use super::{Step, Stop};
use crate::kvm::Exception;
use crate::memory::Memory;
use crate::walk::{PAGE_SIZE, Paging, RFLAGS_AC};

const ENTRY_ACCESSED: u64 = 1 << 5;
const ENTRY_DIRTY: u64 = 1 << 6;
/// The level of PAE's four top entries, which have no accessed bit (SDM vol. 3, 5.4.1).
const PAE_TOP: u8 = 3;
/// How often a walk is repeated when another vCPU changes an entry under it.
const TRIES: usize = 8;

/// Linear addresses as the code that runs now may use them.
#[derive(Clone, Copy)]
pub(crate) struct Linear<'m> {
    pub(crate) memory: &'m Memory,
    pub(crate) paging: Paging,
    /// The privilege level of the access.
    pub(crate) cpl: u8,
    pub(crate) rflags: u64,
    /// Through the stack segment: an address that is none is #SS then.
    pub(crate) stack: bool,
}

/// Runs of (gpa, bytes), one a page. No operand here is larger than a page.
type Pieces = ArrayVec<(u64, usize), 2>;

impl Linear<'_> {
    /// Fills `buffer` from `gva` on.
    pub(super) fn read(&self, gva: u64, buffer: &mut [u8]) -> Step {
        let mut done = 0;
        for (gpa, length) in self.pieces(gva, buffer.len(), false)? {
            let part = buffer.get_mut(done..done + length).unwrap_or_default();
            self.memory.read(gpa, part).map_err(|_| NOT_MEMORY)?;
            done += length;
        }
        Ok(())
    }

    /// Writes `data` from `gva` on: all of it, or none.
    pub(super) fn write(&self, gva: u64, data: &[u8]) -> Step {
        let mut done = 0;
        for (gpa, length) in self.pieces(gva, data.len(), true)? {
            let part = data.get(done..done + length).unwrap_or_default();
            self.memory.write(gpa, part).map_err(|_| NOT_MEMORY)?;
            done += length;
        }
        Ok(())
    }

    /// Writes `data` from `gva` on; false, and nothing is written, where the guest would fault.
    pub(crate) fn try_write(&self, gva: u64, data: &[u8]) -> bool {
        self.write(gva, data).is_ok()
    }

    /// Checks that the `length` bytes from `gva` on may be accessed, and says where they are. Sets accessed and dirty
    /// bits as the access does.
    pub(super) fn pieces(&self, gva: u64, length: usize, write: bool) -> Step<Pieces> {
        let mut pieces = Pieces::new();
        let mut done = 0;
        while done < length && !pieces.is_full() {
            let at = gva.wrapping_add(done as u64);
            let here = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(length - done);
            let gpa = self.page(at, write)?;
            if self.memory.host_address(gpa).is_none() {
                return Err(NOT_MEMORY);
            }
            pieces.push((gpa, here));
            done += here;
        }
        Ok(pieces)
    }

    fn page(&self, gva: u64, write: bool) -> Step<u64> {
        let user = self.cpl == 3;
        let access =
            Access { write, execute: false, user, smap_exempt: !user && self.rflags & RFLAGS_AC != 0 };
        for _ in 0..TRIES {
            let walk = self.paging.walk(self.memory.map(), gva, access, WalkCause::Probe);
            match walk.outcome {
                WalkOutcome::Mapped { gpa, .. } => {
                    if self.mark(&walk, write) {
                        return Ok(gpa);
                    }
                }
                WalkOutcome::Fault { reason: WalkFault::NotCanonical, .. } if self.stack => {
                    return Err(Exception::stack_fault(0).into());
                }
                WalkOutcome::Fault { reason: WalkFault::NotCanonical, .. } => {
                    return Err(Exception::general_protection(0).into());
                }
                WalkOutcome::Fault { reason: WalkFault::NoMemory, .. } => {
                    return Err(Stop::Unknown("the guest's page tables are not in memory"));
                }
                WalkOutcome::Fault { error_code, .. } => {
                    return Err(Exception::page_fault(gva, error_code).into());
                }
            }
        }
        Err(Stop::Again)
    }

    /// Sets the bits that say that the page was used, as the processor does while it walks (SDM vol. 3, 5.8). False if
    /// an entry is no longer what the walk saw.
    fn mark(&self, walk: &Walk, write: bool) -> bool {
        let last = walk.levels.len().saturating_sub(1);
        walk.levels.iter().enumerate().all(|(n, level)| {
            let mut bits =
                if walk.mode == PagingMode::Pae && level.level == PAE_TOP { 0 } else { ENTRY_ACCESSED };
            if n == last && write {
                bits |= ENTRY_DIRTY;
            }
            level.entry & bits == bits || self.set_bits(walk.mode, level, bits)
        })
    }

    fn set_bits(&self, mode: PagingMode, level: &Level, bits: u64) -> bool {
        let (old, new) = (level.entry, level.entry | bits);
        if mode == PagingMode::Bits32 {
            self.exchange::<AtomicU32>(level.entry_gpa, old as u32, new as u32)
        } else {
            self.exchange::<AtomicU64>(level.entry_gpa, old, new)
        }
    }

    fn exchange<T: Exchange>(&self, gpa: u64, old: T::V, new: T::V) -> bool {
        let Ok(slice) = self.memory.map().get_slice(GuestAddress(gpa), size_of::<T>()) else { return false };
        slice.get_atomic_ref::<T>(0).is_ok_and(|entry| entry.exchange(old, new))
    }
}

const NOT_MEMORY: Stop = Stop::Unknown("its operand is not in memory");

trait Exchange: AtomicInteger {
    fn exchange(&self, old: Self::V, new: Self::V) -> bool;
}

impl Exchange for AtomicU32 {
    fn exchange(&self, old: u32, new: u32) -> bool {
        self.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Exchange for AtomicU64 {
    fn exchange(&self, old: u64, new: u64) -> bool {
        self.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
