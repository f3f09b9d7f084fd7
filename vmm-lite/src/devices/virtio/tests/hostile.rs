//! Drivers that do anything.

use std::fs;

use proptest::prelude::*;

use super::driver::*;

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
