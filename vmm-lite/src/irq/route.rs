//! Who an interrupt is for: a pure function of the message and of how the local APICs are addressed.

use super::icr::{DestinationMode, Icr};
use trace_format::event::{DeliveryMode, Shorthand};

/// How one local APIC is addressed, and what arbitration knows about it. Its place in the slice given to [`ipi`] and
/// [`message`] is its vCPU's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// APIC id.
    pub id: u32,
    /// Logical destination register: in xAPIC mode its bits 31:24 count.
    pub ldr: u32,
    /// Destination format register: flat if its bits 31:28 are ones, cluster otherwise. Not used in x2APIC mode.
    pub dfr: u32,
    /// Whether it is in x2APIC mode.
    pub x2apic: bool,
    /// Enabled in `IA32_APIC_BASE`: hears anything at all.
    pub present: bool,
    /// Enabled in the spurious-vector register: takes fixed interrupts, takes part in arbitration.
    pub enabled: bool,
    /// Processor priority.
    pub ppr: u8,
}

/// An interrupt message that is not an IPI: from the IOAPIC, or an MSI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Destination: an APIC id or a logical destination; 0xff is everybody.
    pub destination: u8,
    /// How to understand it.
    pub destination_mode: DestinationMode,
    /// Delivery mode.
    pub delivery: Delivery,
    /// Vector.
    pub vector: u8,
    /// Level-triggered: the EOI goes back to the IOAPIC.
    pub level: bool,
}

/// Delivery modes of messages that are not IPIs (SDM vol. 3, table 12-23; 82093AA, 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Delivery {
    Fixed,
    LowestPriority,
    Smi,
    Nmi,
    Init,
    /// The vector comes from the 8259s.
    ExtInt,
    Reserved,
}

impl Delivery {
    /// Decodes the three bits used in redirection entries, MSI data and LVT entries.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b111 {
            0b000 => Self::Fixed,
            0b001 => Self::LowestPriority,
            0b010 => Self::Smi,
            0b100 => Self::Nmi,
            0b101 => Self::Init,
            0b111 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }
}

/// The vCPUs that an IPI written by vCPU `sender` is for, bit n for vCPU n. Only the first 16 vCPUs are looked at,
/// which is as many as a machine can have.
///
/// Lowest priority picks one among those addressed: see [`message`].
#[must_use]
pub fn ipi(icr: &Icr, sender: u8, lapics: &[Address]) -> u16 {
    let own = 1u16.checked_shl(sender.into()).unwrap_or(0);
    let set = match icr.shorthand {
        Shorthand::SelfOnly => select(lapics, |_| true) & own,
        Shorthand::AllIncludingSelf => select(lapics, |_| true),
        Shorthand::AllExcludingSelf => select(lapics, |_| true) & !own,
        Shorthand::None => {
            let everybody = if icr.x2apic { u32::MAX } else { 0xff };
            addressed(lapics, icr.destination, everybody, icr.destination_mode)
        }
    };
    if icr.mode == DeliveryMode::LowestPriority { arbitrate(set, lapics) } else { set }
}

/// The vCPUs that a message is for, bit n for vCPU n.
///
/// Lowest priority picks, of the addressed APICs that are software-enabled, one of the lowest processor priority; of
/// equals the one of the lowest number. Real chips rotate among equals or hash the vector (SDM vol. 3, 12.6.2.4);
/// a fixed choice keeps runs comparable.
#[must_use]
pub fn message(message: &Message, lapics: &[Address]) -> u16 {
    let set = addressed(lapics, message.destination.into(), 0xff, message.destination_mode);
    if message.delivery == Delivery::LowestPriority { arbitrate(set, lapics) } else { set }
}

fn addressed(lapics: &[Address], destination: u32, everybody: u32, mode: DestinationMode) -> u16 {
    select(lapics, |lapic| {
        destination == everybody
            || match mode {
                DestinationMode::Physical => lapic.id == destination,
                DestinationMode::Logical => matches_logical(lapic, destination),
            }
    })
}

/// SDM vol. 3, 12.6.2.2 (xAPIC) and 12.12.10.2 (x2APIC).
fn matches_logical(lapic: &Address, destination: u32) -> bool {
    if lapic.x2apic {
        return lapic.ldr >> 16 == destination >> 16 && lapic.ldr & destination & 0xffff != 0;
    }
    let id = lapic.ldr >> 24;
    if lapic.dfr >> 28 == 0xf {
        return id & destination & 0xff != 0;
    }
    // Cluster model: four bits of cluster number (15: every cluster), four of members.
    let cluster = destination >> 4 & 0xf;
    (cluster == 0xf || cluster == id >> 4) && id & destination & 0xf != 0
}

fn select(lapics: &[Address], wanted: impl Fn(&Address) -> bool) -> u16 {
    (0..16)
        .zip(lapics)
        .filter(|(_, lapic)| lapic.present && wanted(lapic))
        .fold(0, |set, (number, _)| set | 1 << number)
}

fn arbitrate(set: u16, lapics: &[Address]) -> u16 {
    (0..16)
        .zip(lapics)
        .filter(|(number, lapic)| set & 1 << number != 0 && lapic.enabled)
        .min_by_key(|(_, lapic)| lapic.ppr)
        .map_or(0, |(number, _)| 1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(id: u32) -> Address {
        Address {
            id,
            ldr: 1 << (24 + id),
            dfr: u32::MAX,
            x2apic: false,
            present: true,
            enabled: true,
            ppr: 0,
        }
    }

    fn cluster(id: u32) -> Address {
        Address { ldr: (id / 4) << 28 | 1 << (24 + id % 4), dfr: 0x0fff_ffff, ..flat(0) }
    }

    fn x2apic(id: u32) -> Address {
        Address { id, ldr: id >> 4 << 16 | 1 << (id & 15), x2apic: true, ..flat(0) }
    }

    fn xapic_icr(low: u64, destination: u64) -> Icr {
        Icr::xapic(destination << 56 | low)
    }

    #[test]
    fn shorthands() {
        let lapics: Vec<_> = (0..4).map(flat).collect();
        for (shorthand, want) in [(1u64, 0b0100), (2, 0b1111), (3, 0b1011)] {
            assert_eq!(ipi(&xapic_icr(shorthand << 18 | 0x40, 0), 2, &lapics), want);
        }
        // A sender that does not exist takes part in nothing and panics in nothing.
        assert_eq!(ipi(&xapic_icr(1 << 18, 0), 200, &lapics), 0);
    }

    #[test]
    fn physical_and_broadcast() {
        let mut lapics: Vec<_> = (0..4).map(flat).collect();
        assert_eq!(ipi(&xapic_icr(0x40, 3), 0, &lapics), 0b1000);
        assert_eq!(ipi(&xapic_icr(0x40, 9), 0, &lapics), 0);
        assert_eq!(ipi(&xapic_icr(0x40, 0xff), 0, &lapics), 0b1111);
        lapics[1].present = false;
        assert_eq!(ipi(&xapic_icr(0x40, 0xff), 0, &lapics), 0b1101);

        let lapics: Vec<_> = (0..16).map(x2apic).collect();
        assert_eq!(ipi(&Icr::x2apic(0xffff_ffff_0000_0040), 0, &lapics), 0xffff);
        assert_eq!(ipi(&Icr::x2apic(0x0000_00ff_0000_0040), 0, &lapics), 0);
        assert_eq!(ipi(&Icr::x2apic(0x0000_000f_0000_0040), 0, &lapics), 1 << 15);
    }

    #[test]
    fn logical() {
        let lapics: Vec<_> = (0..8).map(flat).collect();
        assert_eq!(ipi(&xapic_icr(0x840, 0b1010_0001), 0, &lapics), 0b1010_0001);
        let lapics: Vec<_> = (0..8).map(cluster).collect();
        assert_eq!(ipi(&xapic_icr(0x840, 0x16), 0, &lapics), 0b0110_0000);
        assert_eq!(ipi(&xapic_icr(0x840, 0xf1), 0, &lapics), 0b0001_0001);
        let lapics: Vec<_> = (0..16).map(x2apic).collect();
        assert_eq!(ipi(&Icr::x2apic(0x0000_8005_0000_0840), 0, &lapics), 0x8005);
        assert_eq!(ipi(&Icr::x2apic(0x0001_8005_0000_0840), 0, &lapics), 0);
    }

    #[test]
    fn lowest_priority_picks_one() {
        let mut lapics: Vec<_> = (0..4).map(flat).collect();
        let msi = Message {
            destination: 0b1110,
            destination_mode: DestinationMode::Logical,
            delivery: Delivery::LowestPriority,
            vector: 0x40,
            level: false,
        };
        assert_eq!(message(&msi, &lapics), 0b0010);
        lapics[1].ppr = 0x20;
        assert_eq!(message(&msi, &lapics), 0b0100);
        lapics[2].enabled = false;
        assert_eq!(message(&msi, &lapics), 0b1000);
        assert_eq!(message(&Message { destination: 0b1_0000, ..msi }, &lapics), 0);
    }
}
