//! The table of interrupt controllers.
//!
//! By hand on top of a generic table: acpi_tables has neither overrides nor the flag that there are 8259s.

use acpi_tables::sdt::Sdt;

use super::{Description, SCI, table};
use crate::irq::{IOAPIC_BASE, isa_line_to_pin};

/// ACPI 6.3 and later.
const REVISION: u8 = 5;
const LOCAL_APIC: u32 = 0xfee0_0000;
/// Dual 8259s are there too.
const PCAT_COMPATIBLE: u32 = 1;
/// All processors.
const ALL: u8 = 0xff;

/// Polarity and trigger of an override: as the ISA bus has it (edge-triggered, active high), or level-triggered and
/// active high.
const AS_BUS: u16 = 0;
const LEVEL_HIGH: u16 = 0b11_01;

pub(super) fn madt(machine: &Description<'_>) -> Sdt {
    const ENABLED: u32 = 1;
    let mut madt = table(*b"APIC", REVISION);
    madt.append(LOCAL_APIC);
    madt.append(PCAT_COMPATIBLE);
    for id in 0..machine.vcpus {
        madt.append([0, 8, id, id]);
        madt.append(ENABLED);
    }
    madt.append([1, 12, machine.ioapic_id(), 0]);
    madt.append(IOAPIC_BASE as u32);
    madt.append(0_u32); // its first global system interrupt
    for line in 0..16 {
        let Some(pin) = isa_line_to_pin(line) else { continue };
        let level = line == SCI || machine.virtio.iter().any(|slot| slot.irq == line);
        if pin != line || level {
            madt.append([2, 10, 0, line]);
            madt.append(u32::from(pin));
            madt.append(if level { LEVEL_HIGH } else { AS_BUS });
        }
    }
    // NMI is at LINT1.
    madt.append([4, 6, ALL]);
    madt.append(AS_BUS);
    madt.append(1_u8);
    madt
}
