//! The registers of a virtio device (virtio 1.2, section 4.2.2) and its life from reset to `DRIVER_OK` (section 3.1).

use arrayvec::ArrayVec;
use virtio_bindings::bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_MMIO_DEVICE_FEATURES_SEL, VIRTIO_MMIO_DEVICE_ID,
    VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_MMIO_DRIVER_FEATURES_SEL, VIRTIO_MMIO_INT_CONFIG,
    VIRTIO_MMIO_INT_VRING, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_MAGIC_VALUE,
    VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH,
    VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_NUM_MAX,
    VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_MMIO_QUEUE_USED_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
    VIRTIO_MMIO_SHM_BASE_HIGH, VIRTIO_MMIO_SHM_LEN_LOW, VIRTIO_MMIO_STATUS, VIRTIO_MMIO_VENDOR_ID,
    VIRTIO_MMIO_VERSION,
};

use super::queue::{Area, Broken, Virtqueue};
use super::{Device, Outside, console};

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
/// 1 is the legacy interface.
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"VMSC");
/// What a driver may set in the status.
const DRIVERS_BITS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_FAILED;

/// A device behind its registers.
///
/// After every call, [`Self::take_line`] tells whether its interrupt line has changed.
#[derive(Debug)]
pub struct Transport {
    device: Device,
    queues: ArrayVec<Virtqueue, 2>,
    status: u32,
    device_features_half: u32,
    driver_features_half: u32,
    driver_features: u64,
    selected: u32,
    interrupt: u32,
    /// The line as the owner knows it.
    line: bool,
    broken: Option<Broken>,
}

impl Transport {
    /// A device after reset.
    #[must_use]
    pub fn new(device: Device) -> Self {
        let queues = device.queues().iter().map(|&most| Virtqueue::new(most)).collect();
        Self {
            device,
            queues,
            status: 0,
            device_features_half: 0,
            driver_features_half: 0,
            driver_features: 0,
            selected: 0,
            interrupt: 0,
            line: false,
            broken: None,
        }
    }

    /// Why the device needs a reset, if it does.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// The interrupt line, if it has changed since the last call. It is up as long as the interrupt status is not 0.
    pub fn take_line(&mut self) -> Option<bool> {
        let line = self.interrupt != 0;
        (std::mem::replace(&mut self.line, line) != line).then_some(line)
    }

    /// A read from `offset` on. Registers are read by aligned words only (section 4.2.2.2); whatever else is read, and
    /// what lies behind the device's configuration, is 0.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        data.fill(0);
        let offset = u32::from(offset);
        if let Some(at) = offset.checked_sub(VIRTIO_MMIO_CONFIG) {
            let configuration = self.device.configuration();
            for (byte, value) in data.iter_mut().zip(configuration.iter().skip(at as usize)) {
                *byte = *value;
            }
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.register(offset).to_le_bytes());
        }
    }

    /// A write from `offset` on. Nothing in any device's configuration can be written.
    pub fn write(&mut self, offset: u16, data: &[u8], outside: &mut Outside<'_>) {
        if let Ok(word) = data.try_into()
            && offset.is_multiple_of(4)
            && let Err(broken) = self.set_register(offset.into(), u32::from_le_bytes(word), outside)
        {
            self.break_down(broken);
        }
    }

    /// Input for a console that is in use. Returns how many bytes there was room for; `None` if it is no such console.
    pub fn input(&mut self, bytes: &[u8], outside: &mut Outside<'_>) -> Option<usize> {
        let works = self.works();
        let Device::Console(console) = &mut self.device else { return None };
        if !works || !console.has_spoken() {
            return None;
        }
        let accepted = console.input(bytes);
        if let Err(broken) = self.work(console::RECEIVE, outside) {
            self.break_down(broken);
        }
        Some(accepted)
    }

    fn register(&self, offset: u32) -> u32 {
        let queue = self.queues.get(self.selected as usize);
        match offset {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.device.id(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => half(self.features(), self.device_features_half),
            VIRTIO_MMIO_QUEUE_NUM_MAX => queue.map_or(0, |queue| queue.most().into()),
            VIRTIO_MMIO_QUEUE_READY => queue.is_some_and(Virtqueue::is_ready).into(),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt,
            VIRTIO_MMIO_STATUS => self.status,
            // There are no shared memory regions: a length and a base of -1.
            VIRTIO_MMIO_SHM_LEN_LOW..=VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            // The rest is for writing, or always 0 like the configuration's generation: it never changes.
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u32, value: u32, outside: &mut Outside<'_>) -> Result<(), Broken> {
        let queue = self.queues.get_mut(self.selected as usize);
        match offset {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.device_features_half = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_features_half = value,
            VIRTIO_MMIO_DRIVER_FEATURES => self.set_driver_features(value),
            VIRTIO_MMIO_QUEUE_SEL => self.selected = value,
            VIRTIO_MMIO_QUEUE_NUM => {
                if let Some(queue) = queue {
                    queue.set_size(value);
                }
            }
            VIRTIO_MMIO_QUEUE_READY => {
                if let Some(queue) = queue {
                    queue.set_ready(value & 1 != 0, outside.memory)?;
                }
            }
            VIRTIO_MMIO_QUEUE_NOTIFY => self.work(value as usize, outside)?,
            VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt &= !value,
            VIRTIO_MMIO_STATUS => self.set_status(value),
            _ => {
                if let (Some(queue), Some((area, high))) = (queue, area_half(offset)) {
                    queue.set_half(area, high, value);
                }
            }
        }
        Ok(())
    }

    fn features(&self) -> u64 {
        self.device.features() | 1 << VIRTIO_F_VERSION_1
    }

    fn set_driver_features(&mut self, value: u32) {
        let shift = match self.driver_features_half {
            0 => 0,
            1 => 32,
            _ => return,
        };
        // They are settled with FEATURES_OK.
        if self.status & VIRTIO_CONFIG_S_FEATURES_OK == 0 {
            self.driver_features = self.driver_features & !(0xffff_ffff << shift) | u64::from(value) << shift;
        }
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            self.reset();
            return;
        }
        // A driver sets bits one after the other and clears none but by a reset (section 2.1.1).
        let mut status = self.status | value & DRIVERS_BITS;
        let fresh = status & !self.status;
        if fresh & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            let modern = self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0;
            if modern && self.driver_features & !self.features() == 0 {
                self.device.negotiated(self.driver_features);
            } else {
                status &= !VIRTIO_CONFIG_S_FEATURES_OK;
            }
        }
        if status & VIRTIO_CONFIG_S_FEATURES_OK == 0 {
            status &= !VIRTIO_CONFIG_S_DRIVER_OK;
        }
        self.status = status;
    }

    /// Back to where [`Self::new`] left it: by the driver's wish, or the machine's.
    pub fn reset(&mut self) {
        self.device.reset();
        for (queue, &most) in self.queues.iter_mut().zip(self.device.queues()) {
            *queue = Virtqueue::new(most);
        }
        self.status = 0;
        (self.device_features_half, self.driver_features_half, self.driver_features) = (0, 0, 0);
        (self.selected, self.interrupt, self.broken) = (0, 0, None);
    }

    /// Whether the driver is ready and nothing went wrong.
    fn works(&self) -> bool {
        let status = self.status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
        status == VIRTIO_CONFIG_S_DRIVER_OK
    }

    /// Looks at a queue.
    fn work(&mut self, index: usize, outside: &mut Outside<'_>) -> Result<(), Broken> {
        if !self.works() {
            return Ok(());
        }
        let Some(queue) = self.queues.get_mut(index).filter(|queue| queue.is_ready()) else { return Ok(()) };
        if self.device.work(index, queue, outside)? && queue.wants_interrupt(outside.memory)? {
            self.interrupt |= VIRTIO_MMIO_INT_VRING;
        }
        Ok(())
    }

    /// The driver must reset the device, and is told so if it is running (section 2.1.2).
    fn break_down(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
        if self.works() {
            self.interrupt |= VIRTIO_MMIO_INT_CONFIG;
        }
        self.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    }
}

/// Which half of which area's address a register holds.
const fn area_half(offset: u32) -> Option<(Area, bool)> {
    Some(match offset {
        VIRTIO_MMIO_QUEUE_DESC_LOW => (Area::Descriptors, false),
        VIRTIO_MMIO_QUEUE_DESC_HIGH => (Area::Descriptors, true),
        VIRTIO_MMIO_QUEUE_AVAIL_LOW => (Area::Driver, false),
        VIRTIO_MMIO_QUEUE_AVAIL_HIGH => (Area::Driver, true),
        VIRTIO_MMIO_QUEUE_USED_LOW => (Area::Device, false),
        VIRTIO_MMIO_QUEUE_USED_HIGH => (Area::Device, true),
        _ => return None,
    })
}

/// Bits 0 to 31 or 32 to 63 of features; there are no others.
fn half(features: u64, number: u32) -> u32 {
    match number {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}
