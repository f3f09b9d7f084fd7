//! The tables of Intel's MultiProcessor Specification 1.4, for kernels that do not read ACPI's.

use super::{Description, checksum};
use crate::irq::{IOAPIC_BASE, isa_line_to_pin};

/// Version 1.4 of the specification.
const SPECIFICATION: u8 = 4;
const LOCAL_APIC: u32 = 0xfee0_0000;
const LOCAL_APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
const ISA_BUS: u8 = 0;
const ALL_APICS: u8 = 0xff;
/// The structure in front, bytes.
const POINTER_BYTES: usize = 16;
const HEADER_BYTES: usize = 44;

/// Kinds of interrupt (section 4.3.4).
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;

/// Polarity and trigger: as the bus has it, which for ISA is edge-triggered and active high; or level-triggered and
/// active high.
const AS_BUS: u16 = 0;
const LEVEL_HIGH: u16 = 0b11_01;

/// Floating pointer structure and configuration table, for a machine that has them at `gpa`.
#[must_use]
pub fn table(gpa: u32, machine: &Description<'_>) -> Vec<u8> {
    let (count, entries) = entries(machine);
    let length = (HEADER_BYTES + entries.len()) as u16;
    let mut table = Vec::with_capacity(usize::from(length));
    table.extend(b"PCMP");
    table.extend(length.to_le_bytes());
    table.extend([SPECIFICATION, 0]);
    table.extend(b"VMSCOPE VMSCOPE     ");
    // No table of the maker's: its address and size.
    table.extend([0; 6]);
    table.extend(count.to_le_bytes());
    table.extend(LOCAL_APIC.to_le_bytes());
    // No extended entries: their length, checksum, and a reserved byte.
    table.extend([0; 4]);
    table.extend(entries);
    table[7] = checksum(&table);

    let mut bytes = Vec::with_capacity(POINTER_BYTES + table.len());
    bytes.extend(b"_MP_");
    bytes.extend((gpa + POINTER_BYTES as u32).to_le_bytes());
    // Length in 16 bytes. Then there is a table, not a default configuration; and no IMCR: virtual wire mode.
    bytes.extend([1, SPECIFICATION, 0, 0, 0, 0, 0, 0]);
    bytes[10] = checksum(&bytes);
    bytes.extend(table);
    bytes
}

/// The table's entries and how many there are, in the order that the specification demands.
fn entries(machine: &Description<'_>) -> (u16, Vec<u8>) {
    const ENABLED: u8 = 1;
    const BOOTSTRAP: u8 = 2;
    let mut bytes = Vec::new();
    let mut count = 0;
    let mut push = |entry: &[u8]| {
        bytes.extend(entry);
        count += 1;
    };
    for id in 0..machine.vcpus {
        let flags = ENABLED | if id == 0 { BOOTSTRAP } else { 0 };
        let mut entry = [0; 20];
        entry[..4].copy_from_slice(&[0, id, LOCAL_APIC_VERSION, flags]);
        entry[4..8].copy_from_slice(&machine.cpu_signature.to_le_bytes());
        entry[8..12].copy_from_slice(&machine.cpu_features.to_le_bytes());
        push(&entry);
    }
    push(&[1, ISA_BUS, b'I', b'S', b'A', b' ', b' ', b' ']);
    let [a0, a1, a2, a3] = (IOAPIC_BASE as u32).to_le_bytes();
    push(&[2, machine.ioapic_id(), IOAPIC_VERSION, ENABLED, a0, a1, a2, a3]);
    for line in 0..16 {
        let Some(pin) = isa_line_to_pin(line) else { continue };
        let level = machine.virtio.iter().any(|slot| slot.irq == line);
        let [low, high] = if level { LEVEL_HIGH } else { AS_BUS }.to_le_bytes();
        push(&[3, INT, low, high, ISA_BUS, line, machine.ioapic_id(), pin]);
    }
    // The 8259s are at the first processor's LINT0, NMI is at everybody's LINT1.
    push(&[4, EXT_INT, 0, 0, ISA_BUS, 0, 0, 0]);
    push(&[4, NMI, 0, 0, ISA_BUS, 0, ALL_APICS, 1]);
    (count, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::VirtioSlot;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
    }

    /// The entries, by their type's size.
    fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut entries = Vec::new();
        while let Some(&kind) = bytes.first() {
            let (entry, rest) = bytes.split_at(if kind == 0 { 20 } else { 8 });
            entries.push(entry);
            bytes = rest;
        }
        entries
    }

    #[test]
    fn is_a_table_of_the_specification() {
        let virtio = [VirtioSlot { gpa: 0xd000_0000, irq: 5 }];
        let machine =
            Description { vcpus: 3, cpu_signature: 0x50654, cpu_features: 0x1f8b_fbff, virtio: &virtio };
        let bytes = table(0xf_8000, &machine);
        let (pointer, table) = bytes.split_at(16);
        assert_eq!((&pointer[..4], sum(pointer), sum(table)), (&b"_MP_"[..], 0, 0));
        assert_eq!(u32::from_le_bytes(pointer[4..8].try_into().unwrap()), 0xf_8010);
        assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());

        let entries = split(&table[44..]);
        assert_eq!(usize::from(u16::from_le_bytes([table[34], table[35]])), entries.len());
        let of = |kind| entries.iter().filter(move |entry| entry[0] == kind).collect::<Vec<_>>();
        let processors: Vec<_> = of(0).iter().map(|entry| (entry[1], entry[3])).collect();
        assert_eq!(processors, [(0, 3), (1, 1), (2, 1)]);
        assert_eq!(of(0)[1][4..12], [0x54, 0x06, 0x05, 0, 0xff, 0xfb, 0x8b, 0x1f]);
        assert_eq!(of(2), [&[2, 3, 0x11, 1, 0, 0, 0xc0, 0xfe]]);
        let pins: Vec<_> = of(3).iter().map(|entry| (entry[5], entry[7], entry[2])).collect();
        assert_eq!(pins.len(), 15);
        assert_eq!(pins[..5], [(0, 2, 0), (1, 1, 0), (3, 3, 0), (4, 4, 0), (5, 5, 13)]);
        assert_eq!(of(4).len(), 2);
    }
}
