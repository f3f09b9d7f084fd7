//! Where the guest's kernel really runs.

use serde::{Deserialize, Serialize};

/// The lowest link address that a [`Slide`] moves: `__START_KERNEL_map` of Linux.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// The kernel runs above the addresses it was linked for: address space layout randomization of a Linux kernel.
///
/// A reader applies the last one to the trace's symbols, see [`Symbols`](crate::header::Symbols).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slide {
    /// How far above, in bytes. It holds for link addresses from [`KERNEL_BASE`] on.
    pub slide: u64,
}
