//! What the host's kernel tells about the monitor's own pages (Documentation/admin-guide/mm/pagemap.rst).

use std::fs::File;
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4096;
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Whether the page at `hva` is in memory, and its frame number: the kernel shows that to privileged processes only.
pub(crate) fn look_up(hva: u64) -> Option<(bool, Option<u64>)> {
    let file = File::open("/proc/self/pagemap").ok()?;
    let mut entry = [0; 8];
    file.read_exact_at(&mut entry, hva / PAGE * 8).ok()?;
    let entry = u64::from_le_bytes(entry);
    let resident = entry & PRESENT != 0;
    let frame = (resident && entry & FRAME != 0).then_some(entry & FRAME);
    Some((resident, frame))
}
