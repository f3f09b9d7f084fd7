//! Where in guest memory an image and what it is given may be.

use super::ImageFile;
use crate::error::{Error, Result};
use crate::firmware::e820;
use crate::memory::{LOW_END, Memory};

/// Below it are boot tables and what is handed over (`boot/mod.rs`).
const LOWEST: u64 = crate::boot::AREA_END;
const PAGE: u64 = 0x1000;

/// Refuses a range that is not memory, or where the monitor has put something.
pub(super) fn check(image: ImageFile<'_>, gpa: u64, size: u64, memory: &Memory) -> Result<()> {
    let end = gpa.saturating_add(size);
    let conventional = gpa >= LOWEST && end <= e820::EBDA;
    if !conventional && gpa < e820::TABLES_END {
        return Err(Error::ImagePlace { name: image.name.to_owned(), gpa, end });
    }
    if end > low_end(memory) {
        return Err(Error::ImageTooLarge { name: image.name.to_owned(), end, memory: memory.len() });
    }
    Ok(())
}

/// A place for `size` bytes on whole pages, as high as possible below `top`, and not below `bottom`.
pub(super) fn below(image: ImageFile<'_>, top: u64, bottom: u64, size: u64, memory: &Memory) -> Result<u64> {
    let top = top.min(low_end(memory));
    let start = top.checked_sub(size).map(|start| start & !(PAGE - 1)).filter(|start| *start >= bottom);
    start.ok_or_else(|| Error::ImageTooLarge {
        name: image.name.to_owned(),
        end: bottom.saturating_add(size).next_multiple_of(PAGE),
        memory: memory.len(),
    })
}

/// The first page not below `after`, if `size` bytes fit there.
pub(super) fn above(image: ImageFile<'_>, after: u64, size: u64, memory: &Memory) -> Result<u64> {
    let start = after.max(e820::TABLES_END).next_multiple_of(PAGE);
    check(image, start, size, memory)?;
    Ok(start)
}

/// The end of the memory that begins at 0.
fn low_end(memory: &Memory) -> u64 {
    memory.len().min(LOW_END)
}
