//! A driver of the devices, and files for them to be disks over.

use std::fs;
use std::path::PathBuf;

use super::super::*;

pub(super) const MAGIC: u16 = 0x00;
pub(super) const VERSION: u16 = 0x04;
pub(super) const DEVICE_ID: u16 = 0x08;
pub(super) const DEVICE_FEATURES: u16 = 0x10;
pub(super) const DEVICE_FEATURES_SEL: u16 = 0x14;
pub(super) const DRIVER_FEATURES: u16 = 0x20;
pub(super) const DRIVER_FEATURES_SEL: u16 = 0x24;
pub(super) const QUEUE_SEL: u16 = 0x30;
pub(super) const QUEUE_NUM_MAX: u16 = 0x34;
pub(super) const QUEUE_NUM: u16 = 0x38;
pub(super) const QUEUE_READY: u16 = 0x44;
pub(super) const QUEUE_NOTIFY: u16 = 0x50;
pub(super) const INTERRUPT_STATUS: u16 = 0x60;
pub(super) const INTERRUPT_ACK: u16 = 0x64;
pub(super) const STATUS: u16 = 0x70;
pub(super) const CONFIG: u16 = 0x100;

pub(super) const ACKNOWLEDGE: u32 = 1;
pub(super) const DRIVER: u32 = 2;
pub(super) const DRIVER_OK: u32 = 4;
pub(super) const FEATURES_OK: u32 = 8;
pub(super) const NEEDS_RESET: u32 = 64;
pub(super) const RUNNING: u32 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK;

/// Flags of a descriptor.
pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;

pub(super) const MEMORY: u64 = 1 << 20;
/// Where each queue's areas are: descriptors, available ring, used ring, a page each.
pub(super) const QUEUES: u64 = 0x1_0000;
pub(super) const QUEUE_BYTES: u64 = 0x3000;
/// Where buffers are.
pub(super) const BUFFERS: u64 = 0x8_0000;

pub(super) const READ: u32 = 0;
pub(super) const WRITE_OUT: u32 = 1;
pub(super) const FLUSH: u32 = 4;
pub(super) const GET_ID: u32 = 8;

/// Where the monitor has a breakpoint, gpa, and what the guest wrote there.
pub(super) const BREAKPOINT: u64 = BUFFERS + 0x1123;
pub(super) const UNDER_IT: u8 = 0x55;

pub(super) fn original(gpa: u64, bytes: &mut [u8]) {
    let at = BREAKPOINT.checked_sub(gpa).and_then(|at| bytes.get_mut(at as usize));
    if let Some(byte) = at
        && *byte == 0xcc
    {
        *byte = UNDER_IT;
    }
}

pub(super) struct Driver {
    pub(super) memory: Memory,
    pub(super) transport: Transport,
    pub(super) printed: Vec<u8>,
    pub(super) size: u16,
}

/// A part of a chain: gpa, bytes, whether the device may write it.
pub(super) type Buffer = (u64, u32, bool);

impl Driver {
    pub(super) fn new(device: Device) -> Self {
        let memory = Memory::new(MEMORY).unwrap();
        Self { memory, transport: Transport::new(device), printed: Vec::new(), size: 8 }
    }

    pub(super) fn console() -> Self {
        Self::new(Device::Console(Console::new()))
    }

    pub(super) fn block(disk: &TestDisk) -> Self {
        Self::new(Device::Block(Block::new(Disk::open(&disk.path).unwrap())))
    }

    /// With these features of the device and two queues.
    pub(super) fn running(mut self, features: u32) -> Self {
        self.start(features);
        assert_eq!(self.get(STATUS), RUNNING);
        self
    }

    pub(super) fn start(&mut self, features: u32) {
        self.set(STATUS, ACKNOWLEDGE | DRIVER);
        for (half, value) in [(0, features), (1, 1)] {
            self.set(DRIVER_FEATURES_SEL, half);
            self.set(DRIVER_FEATURES, value);
        }
        self.set(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        for queue in 0..2 {
            self.set(QUEUE_SEL, queue);
            let most = self.get(QUEUE_NUM_MAX);
            self.set(QUEUE_NUM, most.min(self.size.into()));
            let areas = QUEUES + u64::from(queue) * QUEUE_BYTES;
            for (register, gpa) in [(0x80, areas), (0x90, areas + 0x1000), (0xa0, areas + 0x2000)] {
                self.set(register, gpa as u32);
                self.set(register + 4, 0);
            }
            self.set(QUEUE_READY, 1);
        }
        self.set(STATUS, RUNNING);
    }

    pub(super) fn get(&self, register: u16) -> u32 {
        let mut data = [0xaa; 4];
        self.transport.read(register, &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn set(&mut self, register: u16, value: u32) {
        self.write(register, &value.to_le_bytes());
    }

    pub(super) fn write(&mut self, offset: u16, data: &[u8]) {
        let Self { memory, transport, printed, .. } = self;
        let mut output = |bytes: &[u8]| printed.extend(bytes);
        let outside = &mut Outside { memory, original: &original, output: &mut output };
        transport.write(offset, data, outside);
    }

    pub(super) fn input(&mut self, bytes: &[u8]) -> Option<usize> {
        let Self { memory, transport, .. } = self;
        transport.input(bytes, &mut Outside { memory, original: &original, output: &mut |_| {} })
    }

    pub(super) fn u16_at(&self, gpa: u64) -> u16 {
        self.memory.read_value(gpa).unwrap()
    }

    pub(super) fn bytes(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read(gpa, &mut bytes).unwrap();
        bytes
    }

    pub(super) fn descriptor(&self, queue: u64, index: u16, gpa: u64, len: u32, flags: u16, next: u16) {
        let at = QUEUES + queue * QUEUE_BYTES + u64::from(index) * 16;
        self.memory.write_value(at, gpa).unwrap();
        self.memory.write_value(at + 8, len).unwrap();
        self.memory.write_value(at + 12, flags).unwrap();
        self.memory.write_value(at + 14, next).unwrap();
    }

    /// Makes the chain at `head` available.
    pub(super) fn offer(&self, queue: u64, head: u16) {
        let ring = QUEUES + queue * QUEUE_BYTES + 0x1000;
        let index = self.u16_at(ring + 2);
        self.memory.write_value(ring + 4 + u64::from(index % self.size) * 2, head).unwrap();
        self.memory.write_value(ring + 2, index.wrapping_add(1)).unwrap();
    }

    /// Puts buffers into descriptors from 0 on.
    pub(super) fn chain(&self, queue: u64, buffers: &[Buffer]) {
        for (n, &(gpa, len, write)) in (0_u16..).zip(buffers) {
            let next = if usize::from(n) + 1 < buffers.len() { NEXT } else { 0 };
            self.descriptor(queue, n, gpa, len, next | if write { WRITE } else { 0 }, n + 1);
        }
        self.offer(queue, 0);
    }

    /// How many chains were given back, and the length of the last.
    pub(super) fn used(&self, queue: u64) -> (u16, u32) {
        let ring = QUEUES + queue * QUEUE_BYTES + 0x2000;
        let index = self.u16_at(ring + 2);
        let last = u64::from(index.wrapping_sub(1) % self.size);
        (index, self.memory.read_value(ring + 4 + last * 8 + 4).unwrap())
    }

    pub(super) fn transfer(&mut self, queue: u64, buffers: &[Buffer]) -> (u16, u32) {
        self.chain(queue, buffers);
        self.set(QUEUE_NOTIFY, queue as u32);
        self.used(queue)
    }

    /// A block request; its status and the length that the device says it wrote.
    pub(super) fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        self.memory.write_value(BUFFERS, kind).unwrap();
        self.memory.write_value(BUFFERS + 8, sector).unwrap();
        self.memory.write_value(BUFFERS + 16, 0xee_u8).unwrap();
        let buffers = [&[(BUFFERS, 16, false)], data, &[(BUFFERS + 16, 1, true)]].concat();
        let (before, _) = self.used(0);
        let (after, len) = self.transfer(0, &buffers);
        assert_eq!(after, before + 1, "{:?}", self.transport.broken());
        (self.bytes(BUFFERS + 16, 1)[0], len)
    }

    pub(super) fn assert_broken(&self, why: &str) {
        assert!(self.transport.broken().is_some(), "{why}");
        assert_eq!(self.get(STATUS) & NEEDS_RESET, NEEDS_RESET, "{why}");
        assert_eq!(self.get(INTERRUPT_STATUS) & 2, 2, "{why}: told by a configuration interrupt");
    }
}

/// A file that goes away with it.
pub(super) struct TestDisk {
    pub(super) path: PathBuf,
}

impl TestDisk {
    /// Of `bytes`, each the number of its sector.
    pub(super) fn new(name: &str, bytes: usize) -> Self {
        let path = std::env::temp_dir().join(format!("vmscope-{}-{name}", std::process::id()));
        let content: Vec<u8> = (0..bytes).map(|n| (n / 512) as u8).collect();
        fs::write(&path, content).unwrap();
        Self { path }
    }

    pub(super) fn sector(&self, sector: usize) -> Vec<u8> {
        fs::read(&self.path).unwrap()[sector * 512..][..512].to_vec()
    }

    pub(super) fn set_read_only(&self) {
        let mut permissions = fs::metadata(&self.path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&self.path, permissions).unwrap();
    }
}

impl Drop for TestDisk {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}
