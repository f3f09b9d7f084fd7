//! The trace that is compiled in, for hosts where no guest can run.

/// What `replays/record` recorded of the default guest.
pub(crate) const TRACE: &[u8] = include_bytes!("../../replays/tlb-shootdown-4.vmt");
