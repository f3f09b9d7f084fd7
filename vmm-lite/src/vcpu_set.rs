//! Some of a machine's vCPUs.

/// A set of vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuSet(u32);

impl VcpuSet {
    /// None.
    pub const NONE: Self = Self(0);

    /// The first `count` vCPUs.
    #[must_use]
    pub const fn first(count: u8) -> Self {
        Self(if count >= 32 { u32::MAX } else { (1 << count) - 1 })
    }

    /// Only that one.
    #[must_use]
    pub const fn only(vcpu: u8) -> Self {
        Self::NONE.with(vcpu)
    }

    /// With `vcpu`, too. Of no effect for a number that no machine has.
    #[must_use]
    pub const fn with(self, vcpu: u8) -> Self {
        Self(self.0 | if vcpu < 32 { 1 << vcpu } else { 0 })
    }

    /// Without `vcpu`.
    #[must_use]
    pub const fn without(self, vcpu: u8) -> Self {
        Self(self.0 & !Self::only(vcpu).0)
    }

    /// Whether `vcpu` is in it.
    #[must_use]
    pub const fn contains(self, vcpu: u8) -> bool {
        self.0 & Self::only(vcpu).0 != 0
    }

    /// Whether nobody is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Their numbers, in order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..32).filter(move |vcpu| self.contains(*vcpu))
    }
}

impl FromIterator<u8> for VcpuSet {
    fn from_iter<I: IntoIterator<Item = u8>>(vcpus: I) -> Self {
        vcpus.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let set: VcpuSet = [0, 3, 15].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 15]);
        assert_eq!(set.without(3).iter().collect::<Vec<_>>(), [0, 15]);
        assert_eq!(VcpuSet::first(4).and(set), VcpuSet::only(0).with(3));
        assert!(!set.contains(200) && VcpuSet::only(200).is_empty());
        assert_eq!(VcpuSet::first(0), VcpuSet::NONE);
        assert_eq!(VcpuSet::first(16).iter().count(), 16);
    }
}
