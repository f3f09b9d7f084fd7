//! The tables as a kernel reads them: from the RSDP on, by address.

use super::*;
use crate::firmware::VirtioSlot;

const GPA: u32 = 0xf_0000;
const VIRTIO: [VirtioSlot; 2] =
    [VirtioSlot { gpa: 0xd000_0000, irq: 5 }, VirtioSlot { gpa: 0xd000_1000, irq: 6 }];

fn area(vcpus: u8) -> Vec<u8> {
    tables(GPA, &Description { vcpus, cpu_signature: 0, cpu_features: 0, virtio: &VIRTIO })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The table at `gpa`, its length and checksum looked at.
fn table_at(area: &[u8], gpa: u32) -> &[u8] {
    let table = &area[(gpa - GPA) as usize..];
    let table = &table[..u32_at(table, 4) as usize];
    if !table.starts_with(b"FACS") {
        assert_eq!(sum(table), 0, "{:?}", String::from_utf8_lossy(&table[..4]));
    }
    table
}

/// The table that the XSDT lists under this signature.
fn find<'a>(area: &'a [u8], signature: &[u8]) -> &'a [u8] {
    let xsdt = table_at(area, u64_at(area, 24) as u32);
    let tables = xsdt[36..].chunks(8).map(|gpa| table_at(area, u64_at(gpa, 0) as u32));
    tables.into_iter().find(|table| table.starts_with(signature)).unwrap()
}

#[test]
fn the_root_leads_to_the_same_tables_both_ways() {
    let area = area(2);
    assert!(area.starts_with(b"RSD PTR "));
    assert_eq!((sum(&area[..20]), sum(&area[..36])), (0, 0));
    let rsdt = table_at(&area, u32_at(&area, 16));
    let xsdt = table_at(&area, u64_at(&area, 24) as u32);
    assert_eq!((&rsdt[..4], &xsdt[..4]), (&b"RSDT"[..], &b"XSDT"[..]));
    let short: Vec<_> = rsdt[36..].chunks(4).map(|gpa| u64::from(u32_at(gpa, 0))).collect();
    let long: Vec<_> = xsdt[36..].chunks(8).map(|gpa| u64_at(gpa, 0)).collect();
    assert_eq!(short, long);
}

#[test]
fn the_fixed_hardware_is_where_the_bus_has_it() {
    let area = area(1);
    let fadt = find(&area, b"FACP");
    assert_eq!(fadt.len(), 276);
    let facs = table_at(&area, u32_at(fadt, 36));
    assert_eq!((&facs[..4], facs.len(), u32_at(fadt, 36) % 64), (&b"FACS"[..], 64, 0));
    assert_eq!(&table_at(&area, u32_at(fadt, 40))[..4], b"DSDT");
    assert_eq!(u64::from(u32_at(fadt, 40)), u64_at(fadt, 140));
    assert_eq!((u16_at(fadt, 46), u32_at(fadt, 48)), (9, 0), "SCI, SMI command");
    assert_eq!([56, 64, 76].map(|at| u32_at(fadt, at)), [0x600, 0x604, 0x608]);
    assert_eq!([fadt[88], fadt[89], fadt[91]], [4, 2, 4]);
    assert_eq!((fadt[108], u16_at(fadt, 109)), (0x32, 0b1011));
    assert_eq!(u32_at(fadt, 112), 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10);
    assert_eq!(fadt[116..129], [1, 8, 0, 1, 0x0c, 0x06, 0, 0, 0, 0, 0, 0, 1]);
    // Space, bits, offset, access and port of the extended blocks.
    for (at, bits, access, port) in [(148, 32, 2, 0x600), (172, 16, 2, 0x604), (208, 32, 3, 0x608)] {
        assert_eq!((&fadt[at..at + 4], u64_at(fadt, at + 4)), (&[1, bits, 0, access][..], port));
    }
}

#[test]
fn every_vcpu_and_the_wiring_is_told() {
    let area = area(4);
    let madt = find(&area, b"APIC");
    assert_eq!((u32_at(madt, 36), u32_at(madt, 40)), (0xfee0_0000, 1));
    let mut entries = Vec::new();
    let mut rest = &madt[44..];
    while let Some(&len) = rest.get(1) {
        let (entry, next) = rest.split_at(len.into());
        entries.push(entry);
        rest = next;
    }
    let expected: [&[u8]; 10] = [
        &[0, 8, 0, 0, 1, 0, 0, 0],
        &[0, 8, 1, 1, 1, 0, 0, 0],
        &[0, 8, 2, 2, 1, 0, 0, 0],
        &[0, 8, 3, 3, 1, 0, 0, 0],
        &[1, 12, 4, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[2, 10, 0, 5, 5, 0, 0, 0, 13, 0],
        &[2, 10, 0, 6, 6, 0, 0, 0, 13, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 13, 0],
        &[4, 6, 0xff, 0, 0, 1],
    ];
    assert_eq!(entries, expected);
}

#[test]
fn the_devices_are_named() {
    let area = area(1);
    let dsdt = table_at(&area, u32_at(find(&area, b"FACP"), 40));
    let has = |what: &[u8]| dsdt.windows(what.len()).any(|window| window == what);
    // Name (\_S5, Package { 0, 0, 0, 0 }): zeros are one byte of AML each.
    assert!(has(b"\x08\\_S5_\x12\x06\x04\0\0\0\0"));
    // EISA ids PNP0501, PNP0303, PNP0B00 as _HID.
    for id in [[0x41, 0xd0, 0x05, 0x01], [0x41, 0xd0, 0x03, 0x03], [0x41, 0xd0, 0x0b, 0x00]] {
        assert!(has(&[b"\x08_HID\x0c", &id[..]].concat()), "{id:x?}");
    }
    assert!(has(b"VIO0\x08_HID\x0dLNRO0005\0") && has(b"VIO1"));
    // Memory32Fixed, then a level-triggered, active-high interrupt.
    assert!(has(b"\x86\x09\0\x01\0\x10\0\xd0\0\x10\0\0\x89\x06\0\x01\x01\x06\0\0\0"));
}
