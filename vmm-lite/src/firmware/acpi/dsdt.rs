//! The devices that a kernel cannot find by itself, and how to turn the machine off.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::sdt::Sdt;

use super::{Description, table};
use crate::devices::power::SLEEP_TYPE_S5;
use crate::firmware::VirtioSlot;

/// From revision 2 on integers have 64 bits.
const REVISION: u8 = 2;
/// Bytes of a virtio-mmio device's registers.
const VIRTIO_BYTES: u32 = 0x1000;

pub(super) fn dsdt(machine: &Description<'_>) -> Sdt {
    let serial = [port(0x3f8, 8), line(4)];
    let keyboard = [port(0x60, 1), port(0x64, 1), line(1)];
    let clock = [port(0x70, 2)];
    let mut bytes = Vec::new();
    // SLP_TYP for PM1a and PM1b, and two reserved elements.
    let sleep_type = SLEEP_TYPE_S5;
    Name::new("\\_S5_".into(), &Package::new(vec![&sleep_type, &sleep_type, &ZERO, &ZERO]))
        .to_aml_bytes(&mut bytes);
    let mut devices: Vec<Vec<u8>> = vec![
        device("COM1", &EISAName::new("PNP0501"), 1, &serial),
        device("KBD_", &EISAName::new("PNP0303"), 0, &keyboard),
        device("RTC_", &EISAName::new("PNP0B00"), 0, &clock),
    ];
    devices.extend((0..).zip(machine.virtio).map(|(number, slot)| virtio(number, slot)));
    let devices: Vec<Raw> = devices.into_iter().map(Raw).collect();
    let children = devices.iter().map(|device| device as &dyn Aml).collect();
    Scope::new("\\_SB_".into(), children).to_aml_bytes(&mut bytes);

    let mut dsdt = table(*b"DSDT", REVISION);
    dsdt.append_slice(&bytes);
    dsdt
}

/// AML that has been made already.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(&self.0);
    }
}

fn device(name: &str, hid: &dyn Aml, uid: u8, resources: &[Box<dyn Aml>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let resources = ResourceTemplate::new(resources.iter().map(AsRef::as_ref).collect());
    Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), hid),
            &Name::new("_UID".into(), &uid),
            &Name::new("_CRS".into(), &resources),
        ],
    )
    .to_aml_bytes(&mut bytes);
    bytes
}

/// `number` is a hexadecimal digit of its name.
fn virtio(number: u8, slot: &VirtioSlot) -> Vec<u8> {
    let interrupt = Interrupt::new(true, false, false, false, slot.irq.into());
    device(
        &format!("VIO{:X}", number & 0xf),
        &"LNRO0005",
        number,
        &[Box::new(Memory32Fixed::new(true, slot.gpa, VIRTIO_BYTES)), Box::new(interrupt)],
    )
}

fn port(first: u16, count: u8) -> Box<dyn Aml> {
    Box::new(IO::new(first, first, 1, count))
}

/// Edge-triggered, active high, not shared.
fn line(line: u32) -> Box<dyn Aml> {
    Box::new(Interrupt::new(true, true, false, false, line))
}
