//! Virtio devices and their interrupt lines.

use super::{Machine, lock};
use crate::devices::MmioDevice;
use crate::devices::virtio::{Outside, Transport};
use crate::probe::hide;

impl Machine {
    /// Lets `access` work with a device, with `output` for what a console prints, and passes its interrupt on.
    ///
    /// The device stays locked meanwhile, the port bus does not.
    pub(crate) fn with_virtio<T>(
        &self,
        device: &MmioDevice,
        output: &mut dyn FnMut(&[u8]),
        access: impl FnOnce(&mut Transport, &mut Outside<'_>) -> T,
    ) -> T {
        let original = |gpa, bytes: &mut [u8]| hide(&self.probes.breakpoints.table(), gpa, bytes);
        let mut transport = lock(&device.transport);
        let result =
            access(&mut transport, &mut Outside { memory: &self.memory, original: &original, output });
        if let Some(asserted) = transport.take_line() {
            let mut bus = lock(&self.bus);
            // Now, because the access may have taken as long as a disk takes.
            bus.chips.set_line(device.slot.irq, asserted, self.clock.now());
            self.deliver_from(&mut bus);
        }
        result
    }

    /// Input for the virtio console that the guest prints on, if there is one. Returns how many bytes it took.
    pub(crate) fn virtio_console_input(&self, bytes: &[u8]) -> Option<usize> {
        self.mmio.devices().iter().find_map(|device| {
            self.with_virtio(device, &mut |_| {}, |transport, outside| transport.input(bytes, outside))
        })
    }
}
