//! The devices as a driver sees them: through their registers and through memory.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use virtio_bindings::bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;

use super::*;
use crate::error::Error;

const MAGIC: u16 = 0x00;
const VERSION: u16 = 0x04;
const DEVICE_ID: u16 = 0x08;
const DEVICE_FEATURES: u16 = 0x10;
const DEVICE_FEATURES_SEL: u16 = 0x14;
const DRIVER_FEATURES: u16 = 0x20;
const DRIVER_FEATURES_SEL: u16 = 0x24;
const QUEUE_SEL: u16 = 0x30;
const QUEUE_NUM_MAX: u16 = 0x34;
const QUEUE_NUM: u16 = 0x38;
const QUEUE_READY: u16 = 0x44;
const QUEUE_NOTIFY: u16 = 0x50;
const INTERRUPT_STATUS: u16 = 0x60;
const INTERRUPT_ACK: u16 = 0x64;
const STATUS: u16 = 0x70;
const CONFIG: u16 = 0x100;

const ACKNOWLEDGE: u32 = 1;
const DRIVER: u32 = 2;
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
const NEEDS_RESET: u32 = 64;
const RUNNING: u32 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK;

/// Flags of a descriptor.
const NEXT: u16 = 1;
const WRITE: u16 = 2;

const MEMORY: u64 = 1 << 20;
/// Where each queue's areas are: descriptors, available ring, used ring, a page each.
const QUEUES: u64 = 0x1_0000;
const QUEUE_BYTES: u64 = 0x3000;
/// Where buffers are.
const BUFFERS: u64 = 0x8_0000;

const READ: u32 = 0;
const WRITE_OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;

/// Where the monitor has a breakpoint, gpa, and what the guest wrote there.
const BREAKPOINT: u64 = BUFFERS + 0x1123;
const UNDER_IT: u8 = 0x55;

fn original(gpa: u64, bytes: &mut [u8]) {
    let at = BREAKPOINT.checked_sub(gpa).and_then(|at| bytes.get_mut(at as usize));
    if let Some(byte) = at
        && *byte == 0xcc
    {
        *byte = UNDER_IT;
    }
}

struct Driver {
    memory: Memory,
    transport: Transport,
    printed: Vec<u8>,
    size: u16,
}

/// A part of a chain: gpa, bytes, whether the device may write it.
type Buffer = (u64, u32, bool);

impl Driver {
    fn new(device: Device) -> Self {
        let memory = Memory::new(MEMORY).unwrap();
        Self { memory, transport: Transport::new(device), printed: Vec::new(), size: 8 }
    }

    fn console() -> Self {
        Self::new(Device::Console(Console::new()))
    }

    fn block(disk: &TestDisk) -> Self {
        Self::new(Device::Block(Block::new(Disk::open(&disk.path).unwrap())))
    }

    /// With these features of the device and two queues.
    fn running(mut self, features: u32) -> Self {
        self.start(features);
        assert_eq!(self.get(STATUS), RUNNING);
        self
    }

    fn start(&mut self, features: u32) {
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

    fn get(&self, register: u16) -> u32 {
        let mut data = [0xaa; 4];
        self.transport.read(register, &mut data);
        u32::from_le_bytes(data)
    }

    fn set(&mut self, register: u16, value: u32) {
        self.write(register, &value.to_le_bytes());
    }

    fn write(&mut self, offset: u16, data: &[u8]) {
        let Self { memory, transport, printed, .. } = self;
        let mut output = |bytes: &[u8]| printed.extend(bytes);
        let outside = &mut Outside { memory, original: &original, output: &mut output };
        transport.write(offset, data, outside);
    }

    fn input(&mut self, bytes: &[u8]) -> Option<usize> {
        let Self { memory, transport, .. } = self;
        transport.input(bytes, &mut Outside { memory, original: &original, output: &mut |_| {} })
    }

    fn u16_at(&self, gpa: u64) -> u16 {
        self.memory.read_value(gpa).unwrap()
    }

    fn bytes(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read(gpa, &mut bytes).unwrap();
        bytes
    }

    fn descriptor(&self, queue: u64, index: u16, gpa: u64, len: u32, flags: u16, next: u16) {
        let at = QUEUES + queue * QUEUE_BYTES + u64::from(index) * 16;
        self.memory.write_value(at, gpa).unwrap();
        self.memory.write_value(at + 8, len).unwrap();
        self.memory.write_value(at + 12, flags).unwrap();
        self.memory.write_value(at + 14, next).unwrap();
    }

    /// Makes the chain at `head` available.
    fn offer(&self, queue: u64, head: u16) {
        let ring = QUEUES + queue * QUEUE_BYTES + 0x1000;
        let index = self.u16_at(ring + 2);
        self.memory.write_value(ring + 4 + u64::from(index % self.size) * 2, head).unwrap();
        self.memory.write_value(ring + 2, index.wrapping_add(1)).unwrap();
    }

    /// Puts buffers into descriptors from 0 on.
    fn chain(&self, queue: u64, buffers: &[Buffer]) {
        for (n, &(gpa, len, write)) in (0_u16..).zip(buffers) {
            let next = if usize::from(n) + 1 < buffers.len() { NEXT } else { 0 };
            self.descriptor(queue, n, gpa, len, next | if write { WRITE } else { 0 }, n + 1);
        }
        self.offer(queue, 0);
    }

    /// How many chains were given back, and the length of the last.
    fn used(&self, queue: u64) -> (u16, u32) {
        let ring = QUEUES + queue * QUEUE_BYTES + 0x2000;
        let index = self.u16_at(ring + 2);
        let last = u64::from(index.wrapping_sub(1) % self.size);
        (index, self.memory.read_value(ring + 4 + last * 8 + 4).unwrap())
    }

    fn transfer(&mut self, queue: u64, buffers: &[Buffer]) -> (u16, u32) {
        self.chain(queue, buffers);
        self.set(QUEUE_NOTIFY, queue as u32);
        self.used(queue)
    }

    /// A block request; its status and the length that the device says it wrote.
    fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        self.memory.write_value(BUFFERS, kind).unwrap();
        self.memory.write_value(BUFFERS + 8, sector).unwrap();
        self.memory.write_value(BUFFERS + 16, 0xee_u8).unwrap();
        let buffers = [&[(BUFFERS, 16, false)], data, &[(BUFFERS + 16, 1, true)]].concat();
        let (before, _) = self.used(0);
        let (after, len) = self.transfer(0, &buffers);
        assert_eq!(after, before + 1, "{:?}", self.transport.broken());
        (self.bytes(BUFFERS + 16, 1)[0], len)
    }

    fn assert_broken(&self, why: &str) {
        assert!(self.transport.broken().is_some(), "{why}");
        assert_eq!(self.get(STATUS) & NEEDS_RESET, NEEDS_RESET, "{why}");
        assert_eq!(self.get(INTERRUPT_STATUS) & 2, 2, "{why}: told by a configuration interrupt");
    }
}

/// A file that goes away with it.
struct TestDisk {
    path: PathBuf,
}

impl TestDisk {
    /// Of `bytes`, each the number of its sector.
    fn new(name: &str, bytes: usize) -> Self {
        let path = std::env::temp_dir().join(format!("vmscope-{}-{name}", std::process::id()));
        let content: Vec<u8> = (0..bytes).map(|n| (n / 512) as u8).collect();
        fs::write(&path, content).unwrap();
        Self { path }
    }

    fn sector(&self, sector: usize) -> Vec<u8> {
        fs::read(&self.path).unwrap()[sector * 512..][..512].to_vec()
    }

    fn set_read_only(&self) {
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

#[test]
fn says_what_it_is() {
    let disk = TestDisk::new("says", 1024);
    for (mut driver, id, features, sizes) in [
        (Driver::console(), 3, 0, [64, 64]),
        (Driver::block(&disk), 2, 1 << 1 | 1 << 2 | 1 << 6 | 1 << 9, [128, 0]),
    ] {
        assert_eq!((driver.get(MAGIC), driver.get(VERSION)), (0x7472_6976, 2));
        assert_eq!(driver.get(DEVICE_ID), id);
        let offered = [0, 1, 2].map(|half| {
            driver.set(DEVICE_FEATURES_SEL, half);
            driver.get(DEVICE_FEATURES)
        });
        assert_eq!(offered, [features, 1, 0], "VIRTIO_F_VERSION_1 is bit 32");
        for (queue, size) in (0..).zip(sizes) {
            driver.set(QUEUE_SEL, queue);
            assert_eq!((driver.get(QUEUE_NUM_MAX), driver.get(QUEUE_READY)), (size, 0));
        }
        driver.set(QUEUE_SEL, u32::MAX);
        assert_eq!(driver.get(QUEUE_NUM_MAX), 0);
        assert_eq!([0xb0, 0xb4, 0xb8, 0xbc].map(|at| driver.get(at)), [u32::MAX; 4], "no shared memory");
    }
}

#[test]
fn registers_are_words() {
    let mut driver = Driver::console();
    let mut byte = [0xaa];
    driver.transport.read(MAGIC, &mut byte);
    let mut double = [0xaa; 8];
    driver.transport.read(MAGIC, &mut double);
    assert_eq!((byte, double), ([0], [0; 8]));
    driver.write(STATUS, &[1]);
    driver.write(STATUS + 1, &[1, 0, 0, 0]);
    assert_eq!(driver.get(STATUS), 0);
}

#[test]
fn configuration_is_read_in_any_width() {
    let disk = TestDisk::new("configuration", 5 * 512);
    let driver = Driver::block(&disk);
    assert_eq!([0, 4, 8, 12, 16, 20, 24].map(|at| driver.get(CONFIG + at)), [5, 0, 65536, 126, 0, 512, 0]);
    let mut capacity = [0xaa; 8];
    driver.transport.read(CONFIG, &mut capacity);
    let mut end = [0xaa; 2];
    driver.transport.read(0xfff, &mut end);
    assert_eq!((u64::from_le_bytes(capacity), end), (5, [0, 0]));
}

#[test]
fn features_are_settled_once() {
    for (low, high, accepted) in [(0, 1, true), (0, 0, false), (1 << 5, 1, false), (0, 3, false)] {
        let mut driver = Driver::console();
        driver.set(STATUS, ACKNOWLEDGE | DRIVER);
        for (half, value) in [(0, low), (1, high), (2, 1)] {
            driver.set(DRIVER_FEATURES_SEL, half);
            driver.set(DRIVER_FEATURES, value);
        }
        driver.set(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_eq!(driver.get(STATUS) & FEATURES_OK != 0, accepted, "{low:#x} {high:#x}");
        driver.set(STATUS, RUNNING);
        assert_eq!(driver.get(STATUS) & DRIVER_OK != 0, accepted);
        driver.set(STATUS, 0);
        assert_eq!(driver.get(STATUS), 0);
    }
}

#[test]
fn prints_what_is_sent_and_interrupts() {
    let mut driver = Driver::console().running(0);
    driver.memory.write(BUFFERS, b"hello, world\n").unwrap();
    assert_eq!(driver.transport.take_line(), None);
    assert_eq!(driver.transfer(1, &[(BUFFERS, 7, false), (BUFFERS + 7, 6, false)]), (1, 0));
    assert_eq!(driver.printed, b"hello, world\n");
    assert_eq!((driver.get(INTERRUPT_STATUS), driver.transport.take_line()), (1, Some(true)));
    driver.set(INTERRUPT_ACK, 1);
    assert_eq!((driver.get(INTERRUPT_STATUS), driver.transport.take_line()), (0, Some(false)));
    // VIRTQ_AVAIL_F_NO_INTERRUPT.
    driver.memory.write_value(QUEUES + QUEUE_BYTES + 0x1000, 1_u16).unwrap();
    assert_eq!(driver.transfer(1, &[(BUFFERS, 1, false)]), (2, 0));
    assert_eq!(driver.transport.take_line(), None);
}

#[test]
fn input_waits_for_buffers_and_is_bounded() {
    let mut driver = Driver::console().running(0);
    assert_eq!(driver.input(b"x"), None, "nothing was printed there: the console is elsewhere");
    driver.transfer(1, &[(BUFFERS, 1, false)]);
    driver.set(INTERRUPT_ACK, 1);
    assert_eq!(driver.input(b"hello"), Some(5));
    assert_eq!(driver.get(INTERRUPT_STATUS), 0, "no buffer");
    assert_eq!(driver.transfer(0, &[(BUFFERS, 2, true), (BUFFERS + 8, 2, true)]), (1, 4));
    assert_eq!((driver.bytes(BUFFERS, 2), driver.bytes(BUFFERS + 8, 2)), (b"he".to_vec(), b"ll".to_vec()));
    driver.set(INTERRUPT_ACK, 1);
    // A buffer that waits gets the next input at once.
    assert_eq!(driver.transfer(0, &[(BUFFERS, 64, true)]), (2, 1));
    driver.chain(0, &[(BUFFERS, 64, true)]);
    driver.set(QUEUE_NOTIFY, 0);
    driver.set(INTERRUPT_ACK, 1);
    assert_eq!(driver.input(b"abc"), Some(3));
    assert_eq!((driver.used(0), driver.get(INTERRUPT_STATUS)), ((3, 3), 1));
    assert_eq!(driver.bytes(BUFFERS, 3), b"abc");
    assert_eq!(driver.input(&[0; 5000]), Some(4096));
    assert_eq!(driver.input(&[0; 10]), Some(0));
    driver.set(STATUS, 0);
    assert_eq!(driver.input(b"x"), None);
}

#[test]
fn reads_and_writes_sectors() {
    let disk = TestDisk::new("sectors", 8 * 512);
    let mut driver = Driver::block(&disk).running(1 << VIRTIO_BLK_F_FLUSH);
    let data = BUFFERS + 0x1000;
    assert_eq!(driver.request(READ, 3, &[(data, 512, true), (data + 512, 512, true)]), (0, 1025));
    assert_eq!(driver.bytes(data, 1024), [[3; 512], [4; 512]].concat());
    driver.memory.write(data, &[0x5a; 512]).unwrap();
    assert_eq!(driver.request(WRITE_OUT, 7, &[(data, 100, false), (data + 100, 412, false)]), (0, 1));
    assert_eq!(driver.request(FLUSH, 0, &[]), (0, 1));
    assert_eq!((disk.sector(6), disk.sector(7)), (vec![6; 512], vec![0x5a; 512]));
    assert_eq!(driver.request(GET_ID, 0, &[(data, 20, true)]), (0, 21));
    assert_eq!(driver.bytes(data, 13), b"vmscope-disk\0");
    assert_eq!(driver.request(11, 0, &[(data, 16, false)]), (2, 1), "discard is not offered");
    assert_eq!(driver.get(STATUS), RUNNING);
}

#[test]
fn breakpoints_of_the_monitor_do_not_get_out() {
    let disk = TestDisk::new("breakpoints", 2 * 512);
    let mut driver = Driver::block(&disk).running(0);
    let data = BUFFERS + 0x1000;
    driver.memory.write(data, &[0x90; 512]).unwrap();
    driver.memory.write(BREAKPOINT, &[0xcc]).unwrap();
    assert_eq!(driver.request(WRITE_OUT, 1, &[(data, 512, false)]), (0, 1));
    let mut expected = vec![0x90; 512];
    expected[(BREAKPOINT - data) as usize] = UNDER_IT;
    assert_eq!(disk.sector(1), expected);
    assert_eq!(driver.bytes(BREAKPOINT, 1), [0xcc], "it stays");
    let mut driver = Driver::console().running(0);
    driver.memory.write(BREAKPOINT, &[0xcc]).unwrap();
    assert_eq!(driver.transfer(1, &[(BREAKPOINT, 1, false)]), (1, 0));
    assert_eq!(driver.printed, [UNDER_IT]);
}

#[test]
fn header_data_and_status_may_share_buffers() {
    let disk = TestDisk::new("layout", 1024);
    let mut driver = Driver::block(&disk).running(0);
    driver.memory.write_value(BUFFERS, READ).unwrap();
    driver.memory.write_value(BUFFERS + 8, 1_u64).unwrap();
    driver.memory.write(BUFFERS + 0x100, &[0xee; 600]).unwrap();
    let parts = [(BUFFERS, 5, false), (BUFFERS + 5, 11, false), (BUFFERS + 0x100, 513, true)];
    assert_eq!(driver.transfer(0, &parts), (1, 513));
    assert_eq!(driver.bytes(BUFFERS + 0x100, 514), [&[1; 512][..], &[0, 0xee]].concat());
}

#[test]
fn what_cannot_be_done_is_an_io_error() {
    let disk = TestDisk::new("errors", 8 * 512);
    let mut driver = Driver::block(&disk).running(0);
    let data = BUFFERS + 0x1000;
    for (kind, sector, buffers) in [
        (READ, 8, vec![(data, 512, true)]),
        (READ, 7, vec![(data, 1024, true)]),
        (READ, u64::MAX, vec![(data, 512, true)]),
        (READ, 1 << 55, vec![(data, 512, true)]),
        (READ, 0, vec![(data, 511, true)]),
        (READ, 0, vec![(MEMORY, 512, true)]),
        (READ, 0, vec![(u64::MAX - 100, 512, true)]),
        (READ, 0, vec![(data, 65536 + 512, true)]),
        (WRITE_OUT, 8, vec![(data, 512, false)]),
        (WRITE_OUT, 0, vec![(data, 1, false)]),
        (WRITE_OUT, 0, vec![(MEMORY - 1, 512, false)]),
        (GET_ID, 0, vec![(MEMORY, 20, true)]),
    ] {
        assert_eq!(driver.request(kind, sector, &buffers).0, 1, "{kind} {sector} {buffers:x?}");
    }
    // The first segment was read, so that is what the length tells.
    let half = [(data, 512, true), (MEMORY, 512, true)];
    assert_eq!(driver.request(READ, 0, &half), (1, 512));
    // A header that is too short.
    driver.memory.write_value(BUFFERS + 16, 0xee_u8).unwrap();
    driver.transfer(0, &[(BUFFERS, 15, false), (BUFFERS + 16, 1, true)]);
    assert_eq!(driver.bytes(BUFFERS + 16, 1), [1]);
    assert_eq!(driver.get(STATUS), RUNNING, "none of it is the driver's fault");
    assert_eq!((0..8).map(|n| disk.sector(n)[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_file_that_may_not_be_written_is_a_disk_to_read() {
    let disk = TestDisk::new("read-only", 1024);
    disk.set_read_only();
    let mut driver = Driver::block(&disk).running(1 << 5);
    driver.set(DEVICE_FEATURES_SEL, 0);
    assert_eq!(driver.get(DEVICE_FEATURES) >> 5 & 1, 1, "VIRTIO_BLK_F_RO");
    let data = BUFFERS + 0x1000;
    assert_eq!(driver.request(WRITE_OUT, 0, &[(data, 512, false)]).0, 1);
    assert_eq!(driver.request(FLUSH, 0, &[]).0, 0);
    assert_eq!(driver.request(READ, 1, &[(data, 512, true)]).0, 0);
    assert_eq!((driver.bytes(data, 1), disk.sector(0)), (vec![1], vec![0; 512]));
    let second = Disk::open(&disk.path).unwrap();
    assert!(!second.is_writable(), "and several may read it");
}

#[test]
fn not_every_file_is_a_disk() {
    for bytes in [0, 511, 513] {
        let disk = TestDisk::new(&format!("size-{bytes}"), bytes);
        let error = Disk::open(&disk.path).unwrap_err().to_string();
        assert!(error.contains(&format!("{bytes} bytes are no sectors of 512")), "{error}");
    }
    assert!(matches!(Disk::open(&std::env::temp_dir()), Err(Error::NotADisk { .. })));
    assert!(matches!(Disk::open(std::path::Path::new("/nowhere/disk")), Err(Error::OpenDisk { .. })));
    let disk = TestDisk::new("twice", 512);
    let first = Disk::open(&disk.path).unwrap();
    assert!(matches!(Disk::open(&disk.path), Err(Error::DiskInUse { .. })));
    drop(first);
    assert!(Disk::open(&disk.path).is_ok());
}

#[test]
fn a_queue_must_be_as_the_specification_says() {
    for (register, value) in [
        (QUEUE_NUM, 0),
        (QUEUE_NUM, 3),
        (QUEUE_NUM, 128),
        (QUEUE_NUM, 0x1_0008),
        (0x80, 0x1_0008),
        (0x90, 0x1_1001),
        (0xa0, 0x1_2002),
        (0x80, 0xf_fff0),
        (0xa4, 1),
    ] {
        let mut driver = Driver::console().running(0);
        driver.set(QUEUE_SEL, 0);
        driver.set(QUEUE_READY, 0);
        assert_eq!((driver.get(QUEUE_READY), driver.transport.broken()), (0, None));
        driver.set(register, value);
        driver.set(QUEUE_READY, 1);
        assert_eq!(driver.get(QUEUE_READY), 0);
        driver.assert_broken(&format!("{register:#x} {value:#x}"));
        driver.set(STATUS, 0);
        assert_eq!((driver.get(STATUS), driver.transport.broken()), (0, None));
        let mut again = driver.running(0);
        again.memory.write_value(QUEUES + QUEUE_BYTES + 0x1002, 0_u16).unwrap();
        again.transfer(1, &[(BUFFERS, 1, false)]);
        assert_eq!(again.printed.len(), 1, "a reset makes it well");
    }
}

#[test]
fn chains_that_are_none_stop_the_device() {
    type Make = fn(&Driver);
    let cases: [(&str, Make); 9] = [
        ("loops", |d| {
            d.descriptor(1, 0, BUFFERS, 1, NEXT, 1);
            d.descriptor(1, 1, BUFFERS, 1, NEXT, 0);
            d.offer(1, 0);
        }),
        ("leaves the table", |d| {
            d.descriptor(1, 0, BUFFERS, 1, NEXT, 8);
            d.offer(1, 0);
        }),
        ("begins outside the table", |d| d.offer(1, 8)),
        ("is there more than once", |d| {
            for (n, flags) in [(0, NEXT), (1, NEXT), (2, 0)] {
                d.descriptor(1, n, BUFFERS, 1, flags, n + 1);
            }
            (0..3).for_each(|_| d.offer(1, 0));
        }),
        ("reads behind what it writes", |d| d.chain(1, &[(BUFFERS, 1, true), (BUFFERS, 1, false)])),
        ("is longer than 2^32 bytes", |d| d.chain(1, &[(0, u32::MAX, false), (0, 2, false)])),
        ("is too long", |d| d.chain(1, &[(0, 65536, false), (0, 1, false)])),
        ("is not in memory", |d| d.chain(1, &[(MEMORY - 1, 2, false)])),
        ("more than there are descriptors", |d| {
            d.memory.write_value(QUEUES + QUEUE_BYTES + 0x1002, 9_u16).unwrap();
        }),
    ];
    for (why, make) in cases {
        let mut driver = Driver::console().running(0);
        make(&driver);
        driver.set(QUEUE_NOTIFY, 1);
        driver.assert_broken(why);
        let printed = driver.printed.len();
        driver.set(QUEUE_NOTIFY, 1);
        assert_eq!(driver.printed.len(), printed, "{why}: and does nothing any more");
    }
    let disk = TestDisk::new("none", 512);
    let mut driver = Driver::block(&disk).running(0);
    driver.transfer(0, &[(BUFFERS, 16, false)]);
    driver.assert_broken("no room for a status");
}

#[derive(Clone, Debug)]
enum Step {
    Write(u16, Vec<u8>),
    Read(u16, usize),
    Poke(u64, u64),
    Offer(u64, Vec<Buffer>),
    Start(u32),
    Input(Vec<u8>),
    Line,
}

fn step() -> impl Strategy<Value = Step> {
    let register = prop_oneof![4 => (0_u16..0x40).prop_map(|n| n * 4), 1 => any::<u16>()];
    let word = prop_oneof![
        3 => 0_u32..16,
        1 => any::<u32>(),
        1 => (0..MEMORY as u32).prop_map(|gpa| gpa & !0xf),
    ];
    let value = prop_oneof![
        4 => word.clone().prop_map(|word| word.to_le_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    // Rings, descriptors and request headers.
    let gpa = prop_oneof![
        QUEUES..QUEUES + 0x80,
        QUEUES + 0x1000..QUEUES + 0x1020,
        QUEUES + 0x4000..QUEUES + 0x4020
    ];
    let number = prop_oneof![0_u64..16, any::<u64>(), BUFFERS..MEMORY + 64];
    let buffer = (
        prop_oneof![9 => BUFFERS..MEMORY + 64, 1 => any::<u64>()],
        prop_oneof![Just(16_u32), Just(512), Just(1), 0_u32..70_000, any::<u32>()],
        any::<bool>(),
    );
    let features = prop_oneof![Just(0), Just(1 << 9), any::<u32>()];
    prop_oneof![
        3 => (register, value).prop_map(|(at, data)| Step::Write(at, data)),
        1 => (any::<u16>(), 0_usize..9).prop_map(|(at, len)| Step::Read(at, len)),
        2 => (gpa, number).prop_map(|(gpa, value)| Step::Poke(gpa, value)),
        4 => (0_u64..2, prop::collection::vec(buffer, 1..6)).prop_map(|(queue, chain)| Step::Offer(queue, chain)),
        2 => features.prop_map(Step::Start),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Step::Input),
        1 => Just(Step::Line),
    ]
}

/// What no step may lead to.
fn take_steps(driver: &mut Driver, steps: &[Step]) {
    for step in steps {
        let before = driver.printed.len();
        match step {
            Step::Write(at, data) => driver.write(*at, data),
            Step::Read(at, len) => {
                let mut data = [0xaa; 8];
                driver.transport.read(*at, &mut data[..*len]);
            }
            Step::Poke(gpa, value) => driver.memory.write_value(*gpa, *value).unwrap(),
            Step::Offer(queue, buffers) => {
                // In the order that is allowed, mostly: otherwise no chain gets far.
                let mut buffers = buffers.clone();
                buffers.sort_by_key(|buffer| buffer.2);
                driver.chain(*queue, &buffers);
                driver.set(QUEUE_NOTIFY, *queue as u32);
            }
            Step::Start(features) => {
                driver.set(STATUS, 0);
                for queue in 0..2 {
                    driver.memory.write_value(QUEUES + queue * QUEUE_BYTES + 0x1000, 0_u32).unwrap();
                }
                driver.start(*features);
            }
            Step::Input(bytes) => {
                driver.input(bytes);
            }
            Step::Line => {
                driver.transport.take_line();
            }
        }
        assert!(driver.printed.len() - before <= 64 * 65536, "bounded work");
        assert_eq!(driver.get(STATUS) & NEEDS_RESET != 0, driver.transport.broken().is_some());
        assert_eq!(driver.get(MAGIC), 0x7472_6976);
    }
    driver.transport.take_line();
    let line = driver.get(INTERRUPT_STATUS) != 0;
    driver.set(INTERRUPT_ACK, u32::MAX);
    assert_eq!(driver.transport.take_line(), line.then_some(false), "a level as long as there is a reason");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_hostile_driver_of_the_console(steps in prop::collection::vec(step(), 1..60)) {
        take_steps(&mut Driver::console(), &steps);
    }

    #[test]
    fn a_hostile_driver_of_the_disk(steps in prop::collection::vec(step(), 1..60)) {
        let disk = TestDisk::new("hostile", 64 * 512);
        take_steps(&mut Driver::block(&disk), &steps);
        prop_assert_eq!(fs::metadata(&disk.path).unwrap().len(), 64 * 512, "a disk keeps its size");
    }

    #[test]
    fn a_hostile_driver_of_a_disk_to_read(steps in prop::collection::vec(step(), 1..60)) {
        let disk = TestDisk::new("hostile-read-only", 64 * 512);
        let content = fs::read(&disk.path).unwrap();
        disk.set_read_only();
        take_steps(&mut Driver::block(&disk), &steps);
        prop_assert_eq!(fs::read(&disk.path).unwrap(), content);
    }
}
