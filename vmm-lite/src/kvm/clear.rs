//! Guest memory as it was before anything was written to it.

use crate::error::{Error, Result};
use crate::memory::Memory;

/// Makes all of `memory` zero, and gives what it took back to the host. No vCPU may run.
///
/// # Errors
/// When the host refuses, as it does for memory that is locked.
pub(crate) fn clear(memory: &Memory) -> Result<()> {
    for region in memory.regions() {
        let Ok(len) = usize::try_from(region.len) else { continue };
        // SAFETY: the range is a private mapping of `memory`, without a file behind it, and it stays mapped: its pages
        // are zero when they are touched next. Guest memory is only ever accessed through volatile accessors, so nobody
        // relies on what was there.
        let code = unsafe { libc::madvise(region.hva as *mut libc::c_void, len, libc::MADV_DONTNEED) };
        if code != 0 {
            return Err(Error::Os {
                operation: "clear guest memory",
                source: std::io::Error::last_os_error(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleared_memory_is_zero_and_can_be_written() {
        let memory = Memory::new(1 << 20).unwrap();
        for gpa in [0, 0x1234, 0xf_fff8] {
            memory.write_value(gpa, u64::MAX).unwrap();
        }
        clear(&memory).unwrap();
        for gpa in [0, 0x1234, 0xf_fff8] {
            assert_eq!(memory.read_value::<u64>(gpa).unwrap(), 0);
        }
        memory.write_value(0x1234, 5_u64).unwrap();
        assert_eq!(memory.read_value::<u64>(0x1234).unwrap(), 5);
    }
}
