//! What the tracepoint says of an IPI.

use trace_format::event::{DeliveryMode, Ipi, Shorthand};

use crate::irq::{DestinationMode, Icr};

/// The fields of `kvm_apic_ipi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) icr_low: u32,
    /// 8 bits from an xAPIC, 32 from an x2APIC; the tracepoint does not say which.
    pub(super) destination: u32,
}

impl Message {
    /// The event of an IPI that vCPU `sender` of `vcpus` sent. The ICR is in the x2APIC's layout.
    pub(super) fn to_event(self, id: u64, sender: u8, vcpus: u8) -> Ipi {
        let icr = Icr::x2apic(u64::from(self.destination) << 32 | u64::from(self.icr_low));
        let targets = self.targets(&icr, sender, vcpus);
        Ipi { id, icr: icr.raw, vector: icr.vector, mode: icr.mode, shorthand: icr.shorthand, targets }
    }

    /// Exact for shorthands, APIC ids (which are the vCPUs' numbers) and x2APIC logical destinations. A logical
    /// destination of an xAPIC is taken to be in the flat model with bit n for vCPU n, as kernels set it up. Of a
    /// lowest-priority IPI these are the candidates.
    fn targets(self, icr: &Icr, sender: u8, vcpus: u8) -> u16 {
        let everybody = 1_u32.checked_shl(vcpus.into()).map_or(u16::MAX, |bit| (bit - 1) as u16);
        let bit = |number: u32| 1_u16.checked_shl(number).unwrap_or(0);
        if matches!(icr.mode, DeliveryMode::InitDeassert | DeliveryMode::Reserved) {
            return 0;
        }
        let set = match (icr.shorthand, icr.destination_mode) {
            (Shorthand::SelfOnly, _) => bit(sender.into()),
            (Shorthand::AllIncludingSelf, _) => everybody,
            (Shorthand::AllExcludingSelf, _) => everybody & !bit(sender.into()),
            // No APIC has id 255.
            (Shorthand::None, DestinationMode::Physical) if matches!(self.destination, 0xff | u32::MAX) => {
                everybody
            }
            (Shorthand::None, DestinationMode::Physical) => bit(self.destination),
            (Shorthand::None, DestinationMode::Logical) if self.destination == u32::MAX => everybody,
            // The cluster, of which there is only the first, and 16 members.
            (Shorthand::None, DestinationMode::Logical) if self.destination >> 16 != 0 => 0,
            (Shorthand::None, DestinationMode::Logical) => self.destination as u16,
        };
        set & everybody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(icr_low: u32, destination: u32) -> u16 {
        Message { icr_low, destination }.to_event(1, 2, 4).targets
    }

    #[test]
    fn who_an_ipi_is_for() {
        assert_eq!(targets(0x40fd, 3), 0b1000);
        assert_eq!(targets(0x40fd, 9), 0, "no such APIC");
        assert_eq!(targets(0x40fd, 0xff), 0b1111);
        assert_eq!(targets(0x48fd, 0b0101), 0b0101);
        assert_eq!(targets(0x48fd, 0x0001_0001), 0, "another cluster");
        assert_eq!(targets(0x48fd, u32::MAX), 0b1111);
        assert_eq!(targets(0x0004_40fd, 0), 0b0100);
        assert_eq!(targets(0x0008_40fd, 0), 0b1111);
        assert_eq!(targets(0x000c_40fd, 0), 0b1011);
        assert_eq!(targets(0x8500, 1), 0, "INIT de-assert does nothing");
        assert_eq!(Message { icr_low: 0x0008_40fd, destination: 0 }.to_event(1, 0, 16).targets, u16::MAX);
    }

    #[test]
    fn an_event_has_the_icr_as_an_x2apic_would() {
        let ipi = Message { icr_low: 0x4608, destination: 3 }.to_event(7, 0, 4);
        assert_eq!((ipi.id, ipi.icr, ipi.vector), (7, 0x3_0000_4608, 8));
        assert_eq!((ipi.mode, ipi.shorthand), (DeliveryMode::StartUp, Shorthand::None));
    }
}
