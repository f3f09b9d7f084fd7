//! The interrupt command register, decoded.

use trace_format::event::{DeliveryMode, Shorthand};

/// How a destination is to be understood (SDM vol. 3, 12.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationMode {
    /// It is an APIC id.
    Physical,
    /// It is compared with the logical destination registers.
    Logical,
}

/// A write to the ICR, decoded (SDM vol. 3, 12.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icr {
    /// As written, destination in the high half as the APIC's mode has it.
    pub raw: u64,
    /// Vector; for a start-up IPI the page number of its entry.
    pub vector: u8,
    /// Delivery mode.
    pub mode: DeliveryMode,
    /// Destination shorthand: unless `None`, the destination is not looked at.
    pub shorthand: Shorthand,
    /// Destination, 8 bits in xAPIC mode, 32 in x2APIC mode.
    pub destination: u32,
    /// How to understand it.
    pub destination_mode: DestinationMode,
    /// Whether it was written in x2APIC mode, which decides what the broadcast destination is.
    pub x2apic: bool,
}

impl Icr {
    /// Decodes what an xAPIC's two registers hold: destination in bits 63:56.
    #[must_use]
    pub fn xapic(raw: u64) -> Self {
        Self::decode(raw, (raw >> 56) as u32, false)
    }

    /// Decodes what was written to the x2APIC's MSR 0x830: destination in bits 63:32.
    #[must_use]
    pub fn x2apic(raw: u64) -> Self {
        Self::decode(raw, (raw >> 32) as u32, true)
    }

    /// What a write of `vector` to the x2APIC's self-IPI MSR 0x83f stands for (SDM vol. 3, 12.12.11).
    #[must_use]
    pub fn self_ipi(vector: u8) -> Self {
        Self::x2apic(0b01 << 18 | 1 << 14 | u64::from(vector))
    }

    fn decode(raw: u64, destination: u32, x2apic: bool) -> Self {
        let asserted = raw & 1 << 14 != 0;
        let level = raw & 1 << 15 != 0;
        let mode = match raw >> 8 & 0b111 {
            0b000 => DeliveryMode::Fixed,
            0b001 => DeliveryMode::LowestPriority,
            0b010 => DeliveryMode::Smi,
            0b100 => DeliveryMode::Nmi,
            0b101 if level && !asserted => DeliveryMode::InitDeassert,
            0b101 => DeliveryMode::Init,
            0b110 => DeliveryMode::StartUp,
            _ => DeliveryMode::Reserved,
        };
        let shorthand = match raw >> 18 & 0b11 {
            0b00 => Shorthand::None,
            0b01 => Shorthand::SelfOnly,
            0b10 => Shorthand::AllIncludingSelf,
            _ => Shorthand::AllExcludingSelf,
        };
        let destination_mode =
            if raw & 1 << 11 == 0 { DestinationMode::Physical } else { DestinationMode::Logical };
        Self { raw, vector: raw as u8, mode, shorthand, destination, destination_mode, x2apic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_kernels_write() {
        // The start of an AP: INIT assert, INIT deassert, start-up at page 8, to APIC 2.
        assert_eq!(Icr::xapic(0x0200_0000_0000_c500).mode, DeliveryMode::Init);
        assert_eq!(Icr::xapic(0x0200_0000_0000_8500).mode, DeliveryMode::InitDeassert);
        // Edge-triggered INIT is an assertion whatever the level bit.
        assert_eq!(Icr::xapic(0x0200_0000_0000_0500).mode, DeliveryMode::Init);
        let sipi = Icr::xapic(0x0200_0000_0000_0608);
        assert_eq!((sipi.mode, sipi.vector, sipi.destination), (DeliveryMode::StartUp, 8, 2));

        let shootdown = Icr::xapic(0x000c_40fd);
        assert_eq!((shootdown.mode, shootdown.shorthand), (DeliveryMode::Fixed, Shorthand::AllExcludingSelf));

        let logical = Icr::x2apic(0x0001_0003_0000_08f0);
        assert_eq!((logical.destination, logical.destination_mode), (0x10003, DestinationMode::Logical));
        assert_eq!(Icr::self_ipi(0x40).shorthand, Shorthand::SelfOnly);
    }
}
