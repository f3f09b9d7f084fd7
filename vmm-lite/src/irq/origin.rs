//! Where interrupts come from.

use arrayvec::ArrayVec;
use trace_format::event::IrqSource;

/// Who raised an interrupt, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who.
    pub source: Source,
    /// When, on the clock that the owner passes everywhere, ns.
    pub raised_ns: u64,
}

/// Who raised an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An ICR write.
    Ipi {
        /// Its number in the trace.
        id: u64,
        /// The vCPU that wrote it.
        sender: u8,
    },
    /// Anything else.
    Device(IrqSource),
}

impl Origin {
    /// An IPI sent at `raised_ns`.
    #[must_use]
    pub const fn ipi(id: u64, sender: u8, raised_ns: u64) -> Self {
        Self { source: Source::Ipi { id, sender }, raised_ns }
    }

    /// A device's interrupt raised at `raised_ns`.
    #[must_use]
    pub const fn device(source: IrqSource, raised_ns: u64) -> Self {
        Self { source: Source::Device(source), raised_ns }
    }
}

/// Everybody who raised one pending interrupt: the first, and those merged into it because an APIC keeps one bit for
/// a vector however often it is raised.
///
/// Bounded, because a guest can raise for ever what it never takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    known: ArrayVec<Origin, { Self::MAX }>,
    forgotten: u32,
}

impl Origins {
    /// How many are kept: one for each possible sender.
    pub const MAX: usize = 16;

    /// Adds one; beyond [`Self::MAX`] it is only counted.
    pub(super) fn add(&mut self, origin: Origin) {
        if self.known.try_push(origin).is_err() {
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }

    /// Empties it and returns what was in it.
    pub(super) fn take(&mut self) -> Self {
        let taken = Self { known: self.known.iter().copied().collect(), forgotten: self.forgotten };
        self.known.clear();
        self.forgotten = 0;
        taken
    }

    /// The one that made the interrupt pending.
    #[must_use]
    pub fn first(&self) -> Option<&Origin> {
        self.known.first()
    }

    /// All that are known, the first raiser first; those after it were merged.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Origin> {
        self.known.iter()
    }

    /// How many more were merged, but not kept.
    #[must_use]
    pub const fn forgotten(&self) -> u32 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_and_counts_the_rest() {
        let mut origins = Origins::default();
        for id in 0..20 {
            origins.add(Origin::ipi(id, 1, id));
        }
        assert_eq!(origins.first(), Some(&Origin::ipi(0, 1, 0)));
        let taken = origins.take();
        assert_eq!((taken.iter().len(), taken.forgotten()), (16, 4));
        assert_eq!((origins.iter().len(), origins.forgotten()), (0, 0));
    }
}
