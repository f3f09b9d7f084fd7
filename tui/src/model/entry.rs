//! The bits of a page-table entry that every mode has (SDM vol. 3, 5.3 to 5.5), and [`EXECUTE_DISABLE`] where entries have
//! 64 bits.

/// It is present: the others mean something.
pub const PRESENT: u64 = 1 << 0;
/// What is behind it can be written.
pub const WRITE: u64 = 1 << 1;
/// And used by user code.
pub const USER: u64 = 1 << 2;
/// PWT.
pub const WRITE_THROUGH: u64 = 1 << 3;
/// PCD.
pub const CACHE_DISABLE: u64 = 1 << 4;
/// A translation has used it.
pub const ACCESSED: u64 = 1 << 5;
/// Its page was written.
pub const DIRTY: u64 = 1 << 6;
/// PS: it maps a page instead of referring to a table.
pub const PAGE_SIZE: u64 = 1 << 7;
/// Its translation outlives a change of CR3.
pub const GLOBAL: u64 = 1 << 8;
/// XD: what is behind it cannot be executed.
pub const EXECUTE_DISABLE: u64 = 1 << 63;
/// The physical address in a 64-bit entry, and in CR3.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
