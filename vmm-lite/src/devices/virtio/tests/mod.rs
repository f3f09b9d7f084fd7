//! The devices as a driver sees them: through their registers and through memory.

mod driver;
mod hostile;

use virtio_bindings::bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;

use super::*;
use crate::error::Error;
use driver::*;

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
