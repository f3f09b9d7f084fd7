//! Devices behind memory-mapped registers: which of them an address belongs to.
//!
//! Every device has a lock of its own, so that a vCPU whose disk is slow keeps no other from the port bus. It is taken
//! before the port bus' lock: a device's interrupt line must not be told to the interrupt controllers after a newer
//! state of it.

use std::sync::Mutex;

use super::virtio::{Device, Transport};
use crate::firmware::VirtioSlot;

/// Where the first device is, gpa: above the largest low memory ([`crate::memory::LOW_END`]).
const FIRST: u32 = 0xd000_0000;
/// Bytes of a device's registers.
const WINDOW: u32 = 0x1000;
/// The interrupt lines of the devices, in order. Nothing on a PC's ISA bus has these, and the 8259s can take them as
/// levels.
const LINES: [u8; 3] = [10, 11, 5];

/// All devices that are not reached by ports.
#[derive(Debug)]
pub struct MmioBus {
    devices: Vec<MmioDevice>,
}

/// A device and where it is.
#[derive(Debug)]
pub struct MmioDevice {
    /// Registers and interrupt line.
    pub slot: VirtioSlot,
    /// Whether it is a console: one need not lock it to know.
    pub is_console: bool,
    /// The device; its lock comes before the port bus'.
    pub transport: Mutex<Transport>,
}

impl MmioBus {
    /// A bus with these devices in the first slots; for more than three there are no interrupt lines.
    #[must_use]
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        let slots = (0..).zip(LINES).map(|(n, irq)| VirtioSlot { gpa: FIRST + n * WINDOW, irq });
        let devices = slots.zip(devices).map(|(slot, device)| MmioDevice {
            slot,
            is_console: matches!(device, Device::Console(_)),
            transport: Mutex::new(Transport::new(device)),
        });
        Self { devices: devices.collect() }
    }

    /// Every device.
    #[must_use]
    pub fn devices(&self) -> &[MmioDevice] {
        &self.devices
    }

    /// Where they all are.
    #[must_use]
    pub fn slots(&self) -> Vec<VirtioSlot> {
        self.devices.iter().map(|device| device.slot).collect()
    }

    /// The device at `gpa` and the offset within its registers.
    #[must_use]
    pub fn find(&self, gpa: u64) -> Option<(&MmioDevice, u16)> {
        let offset = u32::try_from(gpa).ok()?.checked_sub(FIRST)?;
        let device = self.devices.get((offset / WINDOW) as usize)?;
        Some((device, (offset % WINDOW) as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::virtio::Console;
    use crate::irq::isa_line_to_pin;
    use crate::memory::LOW_END;

    #[test]
    fn devices_are_found_by_their_addresses() {
        let bus = MmioBus::new([(); 2].map(|()| Device::Console(Console::new())));
        let at = |gpa| bus.find(gpa).map(|(device, offset)| (device.slot.irq, offset));
        assert_eq!(at(0xd000_0000), Some((10, 0)));
        assert_eq!(at(0xd000_0fff), Some((10, 0xfff)));
        assert_eq!(at(0xd000_1070), Some((11, 0x70)));
        for nobody in [0, 0xcfff_ffff, 0xd000_2000, 0x1_d000_0000, u64::MAX] {
            assert_eq!(at(nobody), None);
        }
    }

    #[test]
    fn no_memory_is_hidden_and_every_line_has_a_pin() {
        assert!(u64::from(FIRST) >= LOW_END);
        assert!(LINES.iter().all(|&line| isa_line_to_pin(line) == Some(line)));
    }
}
