//! Where things are drawn.

/// A row of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Track {
    /// What no vCPU did.
    Machine,
    /// A count of the guest's own; they are numbered as they come.
    Counter(u16),
    /// A vCPU: handlers of its guest and the exits in them, which nest.
    Vcpu(u8),
    /// Whether a vCPU runs, is halted, or paused.
    State(u8),
    /// Exits of a vCPU a second.
    Rate(u8),
    /// IPIs that a vCPU sent, until the last target acknowledged; in lanes, for they overlap.
    Sent(u8, u8),
    /// Interrupts that a vCPU took, until it acknowledged; likewise.
    Taken(u8, u8),
}

impl Track {
    /// A number for each track, in the order in which they are shown; not 0.
    pub(crate) fn number(self) -> u32 {
        let of_vcpu = |vcpu: u8, place: u32| 100 * (u32::from(vcpu) + 1) + place;
        match self {
            Self::Machine => 1,
            Self::Vcpu(vcpu) => of_vcpu(vcpu, 0),
            Self::State(vcpu) => of_vcpu(vcpu, 1),
            Self::Rate(vcpu) => of_vcpu(vcpu, 2),
            Self::Sent(vcpu, lane) => of_vcpu(vcpu, 10 + u32::from(lane)),
            Self::Taken(vcpu, lane) => of_vcpu(vcpu, 40 + u32::from(lane)),
            Self::Counter(n) => 100_000 + u32::from(n),
        }
    }

    /// The vCPU that it belongs to, if it is not of the whole machine.
    pub(crate) const fn vcpu(self) -> Option<u8> {
        match self {
            Self::Machine | Self::Counter(_) => None,
            Self::Vcpu(vcpu)
            | Self::State(vcpu)
            | Self::Rate(vcpu)
            | Self::Sent(vcpu, _)
            | Self::Taken(vcpu, _) => Some(vcpu),
        }
    }

    /// Its place among the tracks of the same vCPU, from 0 at the top; lanes of one kind share it.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Machine | Self::Vcpu(_) => 0,
            Self::Counter(_) | Self::State(_) => 1,
            Self::Sent(..) => 2,
            Self::Taken(..) => 3,
            Self::Rate(_) => 4,
        }
    }

    /// Whether it shows numbers, not slices.
    pub(crate) const fn is_counter(self) -> bool {
        matches!(self, Self::Counter(_) | Self::Rate(_))
    }
}
