//! Accesses to devices behind memory-mapped registers.

use std::sync::Arc;

use super::VcpuThread;

impl VcpuThread {
    /// Fills `data` from the device at `gpa`; if there is none it stays as it is.
    pub(super) fn read_device(&mut self, gpa: u64, data: &mut [u8]) {
        if let Some((device, offset)) = self.machine.mmio.find(gpa) {
            // What is read changes nothing.
            self.machine.with_virtio(device, &mut |_| {}, |transport, _| transport.read(offset, data));
        }
    }

    /// Writes `data` to the device at `gpa`, if there is one.
    pub(super) fn write_device(&mut self, gpa: u64, data: &[u8], now: u64) {
        // Storms of writes to nowhere need not count references.
        if self.machine.mmio.find(gpa).is_none() {
            return;
        }
        let machine = Arc::clone(&self.machine);
        let Some((device, offset)) = machine.mmio.find(gpa) else { return };
        self.flush_old_console(now);
        let mut print = |bytes: &[u8]| bytes.iter().for_each(|&byte| self.print(device.slot.gpa, byte, now));
        machine.with_virtio(device, &mut print, |transport, outside| transport.write(offset, data, outside));
        self.look = true;
    }
}
