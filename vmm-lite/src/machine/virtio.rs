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
        // A disk that is at work keeps nobody from typing.
        self.mmio.devices().iter().filter(|device| device.is_console).find_map(|device| {
            self.with_virtio(device, &mut |_| {}, |transport, outside| transport.input(bytes, outside))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::devices::MmioBus;
    use crate::devices::virtio::{Block, Console, Device, Disk};
    use crate::machine::OwnApics;
    use crate::machine::bare::machine;

    #[test]
    fn a_disk_at_work_keeps_nobody_from_typing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1024).unwrap();
        let disk = Device::Block(Block::new(Disk::open(file.path()).unwrap()));
        let machine = machine(Box::new(OwnApics), MmioBus::new([Device::Console(Console::new()), disk]));
        let at_work = lock(&machine.mmio.devices()[1].transport);
        let (done, is_done) = crossbeam_channel::bounded(1);
        std::thread::scope(|scope| {
            scope.spawn(|| done.send(machine.virtio_console_input(b"x")));
            let typed = is_done.recv_timeout(Duration::from_secs(60));
            drop(at_work);
            assert_eq!(typed, Ok(None), "the console is not in use, so the serial port is next");
        });
    }
}
