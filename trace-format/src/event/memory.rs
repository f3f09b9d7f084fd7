//! Address spaces, page tables as data, and memory that the monitor takes back.

use serde::{Deserialize, Serialize};

/// A vCPU was seen with another CR3 than at its exit before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AddressSpace {
    pub old: u64,
    pub new: u64,
}

/// A page-table entry changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageTableWrite {
    /// gpa of the table.
    pub table: u64,
    /// Its level, 5 to 1.
    pub level: u8,
    /// gpa of the entry.
    pub entry_gpa: u64,
    /// Value before.
    pub old: u64,
    /// Value after.
    pub new: u64,
    /// The first gva that the entry governs.
    pub gva: u64,
}

/// The monitor took guest pages back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaim {
    /// First gpa.
    pub gpa: u64,
    /// Bytes.
    pub length: u64,
    /// Time it took, ns.
    pub cost_ns: u64,
}

/// The guest touched what had been taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refault {
    /// First gpa that was brought back.
    pub gpa: u64,
    /// Bytes.
    pub length: u64,
    /// Time it took, ns.
    pub cost_ns: u64,
}
