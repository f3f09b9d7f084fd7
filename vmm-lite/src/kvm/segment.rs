//! Segment descriptors as KVM wants them (SDM vol. 3, 3.4.5).

use kvm_bindings::kvm_segment;

/// A flat 64-bit code segment.
#[must_use]
pub(crate) fn code_segment(selector: u16, dpl: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_: 11,
        present: 1,
        dpl,
        db: 0,
        s: 1,
        l: 1,
        g: 1,
        avl: 0,
        unusable: 0,
        padding: 0,
    }
}

/// A flat data segment.
#[must_use]
pub(crate) fn data_segment(selector: u16, dpl: u8) -> kvm_segment {
    kvm_segment { type_: 3, db: 1, l: 0, ..code_segment(selector, dpl) }
}

/// The segment that loading `selector` gives when its descriptor is `descriptor`.
#[must_use]
pub(crate) fn segment_from_descriptor(selector: u16, descriptor: u64) -> kvm_segment {
    let bit = |n: u32| (descriptor >> n & 1) as u8;
    let limit = (descriptor & 0xffff | descriptor >> 32 & 0xf_0000) as u32;
    let g = bit(55);
    kvm_segment {
        base: descriptor >> 16 & 0xff_ffff | descriptor >> 32 & 0xff00_0000,
        limit: if g == 1 { limit << 12 | 0xfff } else { limit },
        selector,
        type_: (descriptor >> 40 & 0xf) as u8,
        present: bit(47),
        dpl: (descriptor >> 45 & 3) as u8,
        db: bit(54),
        s: bit(44),
        l: bit(53),
        g,
        avl: bit(52),
        unusable: 1 - bit(47),
        padding: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_code_descriptor_is_a_flat_code_segment() {
        assert_eq!(segment_from_descriptor(8, 0x00af_9b00_0000_ffff), code_segment(8, 0));
        assert_eq!(segment_from_descriptor(0x1b, 0x00cf_f300_0000_ffff), data_segment(0x1b, 3));
    }

    #[test]
    fn base_and_limit_are_gathered_from_their_parts() {
        let segment = segment_from_descriptor(0x28, 0x1200_8934_5678_0067);
        assert_eq!((segment.base, segment.limit, segment.type_), (0x1234_5678, 0x67, 9));
    }
}
