//! What a block's head tells without decoding it.

use super::block::Decoded;
use crate::event::{Event, Kind, MACHINE, Payload};

/// Length of an encoded summary.
pub(crate) const LENGTH: usize = 56;

/// What a block of a trace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of its first event. Events are numbered from 0 in the order they were written.
    pub first_event: u64,
    /// Time of its first event, ns.
    pub first_time: u64,
    /// Time of its last event, ns.
    pub last_time: u64,
    /// Events that it says were lost, in all its [`crate::event::Lost`].
    pub lost: u64,
    /// Kinds present, a bit each: [`Summary::has_kind`].
    pub kinds: u64,
    /// vCPUs present, a bit each, and the machine: [`Summary::has_vcpu`].
    pub vcpus: u64,
    /// How many events.
    pub count: u32,
}

impl Summary {
    /// Whether an event of `kind` is in the block.
    #[must_use]
    pub const fn has_kind(&self, kind: Kind) -> bool {
        self.kinds & kind_bit(kind) != 0
    }

    /// Whether an event of `vcpu`, or of [`MACHINE`], is in the block.
    #[must_use]
    pub const fn has_vcpu(&self, vcpu: u8) -> bool {
        self.vcpus & vcpu_bit(vcpu) != 0
    }

    /// Number of the event after its last one.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first_event.saturating_add(self.count as u64)
    }

    /// Whether this is what a writer says of `block`. With events that this version does not know only the times can be
    /// compared.
    pub(crate) fn describes(&self, block: &Decoded) -> bool {
        let mut actual = Self { first_event: self.first_event, ..Self::default() };
        block.known().for_each(|(_, event)| actual.add(event));
        let times = (block.times().next(), block.times().last());
        times == (Some(self.first_time), Some(self.last_time)) && (block.unknown() != 0 || actual == *self)
    }

    /// The highest vCPU present; `None` if there is only the machine.
    pub(crate) fn highest_vcpu(&self) -> Option<u8> {
        (0..=super::MAX_VCPU).rev().find(|&vcpu| self.has_vcpu(vcpu))
    }

    /// Takes `event` in.
    pub(crate) fn add(&mut self, event: &Event) {
        if self.count == 0 {
            self.first_time = event.time;
        }
        self.last_time = event.time;
        self.count += 1;
        self.kinds |= kind_bit(event.payload.kind());
        self.vcpus |= vcpu_bit(event.vcpu);
        if let Payload::Lost(lost) = &event.payload {
            self.lost = self.lost.saturating_add(lost.count);
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let words = [
            self.first_event,
            self.first_time,
            self.last_time,
            self.lost,
            self.kinds,
            self.vcpus,
            self.count.into(),
        ];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`]; `None` for what no writer makes. A longer summary is one with fields that
    /// this version does not know.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.first_chunk()?;
        let mut words = [0; LENGTH / 8];
        for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(from.try_into().ok()?);
        }
        let [first_event, first_time, last_time, lost, kinds, vcpus, count] = words;
        let count = u32::try_from(count).ok().filter(|n| (1..=super::MAX_BLOCK_EVENTS).contains(n))?;
        first_event.checked_add(count.into())?;
        (first_time <= last_time).then_some(Self {
            first_event,
            first_time,
            last_time,
            lost,
            kinds,
            vcpus,
            count,
        })
    }
}

/// The bit of `vcpu` in [`Summary::vcpus`]; none for a number that no trace can hold.
pub(crate) const fn vcpu_bit(vcpu: u8) -> u64 {
    match vcpu {
        MACHINE => 1 << 63,
        0..=super::MAX_VCPU => 1 << vcpu,
        _ => 0,
    }
}

/// The bit of `kind` in [`Summary::kinds`]. The numbers are those of `FORMAT.md`, not of the enum.
pub(crate) const fn kind_bit(kind: Kind) -> u64 {
    1 << match kind {
        Kind::Exit => 0,
        Kind::Data => 1,
        Kind::Trap => 2,
        Kind::TrapReturn => 3,
        Kind::Walk => 4,
        Kind::PageTableWrite => 5,
        Kind::AddressSpace => 6,
        Kind::Ipi => 7,
        Kind::IpiAccepted => 8,
        Kind::IpiEoi => 9,
        Kind::Irq => 10,
        Kind::IrqEoi => 11,
        Kind::State => 12,
        Kind::Reclaim => 13,
        Kind::Refault => 14,
        Kind::Console => 15,
        Kind::Marker => 16,
        Kind::Counter => 17,
        Kind::Debugger => 18,
        Kind::Fixup => 19,
        Kind::Lost => 20,
        Kind::Screen => 21,
        Kind::Slide => 22,
        Kind::Registers => 23,
    }
}
