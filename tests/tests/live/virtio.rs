//! The virtio devices, driven by a guest through their registers.

use std::fs;

use trace_format::Reader;
use trace_format::event::{IrqSource, Output, Payload};
use vmm_lite::{Config, Error, Image, Vm, guests};
use vmscope_tests::images::VIRTIO;
use vmscope_tests::run::{Guest, Run, Started};
use vmscope_tests::skip::kvm_or_skip;

const SECTOR: usize = 512;

/// What was printed on the virtio console.
fn printed(run: &Run) -> String {
    let bytes = run.events.iter().filter_map(|event| match &event.payload {
        Payload::Console(output) if output.port == 0xd000_0000 => Some(&output.bytes[..]),
        _ => None,
    });
    String::from_utf8(bytes.flatten().copied().collect()).unwrap()
}

/// How many interrupts came by a pin of the IOAPIC.
fn interrupts(run: &Run, pin: u8) -> u64 {
    run.count_where(|payload| matches!(payload, Payload::Irq(irq) if irq.source == IrqSource::IoApic { pin }))
}

#[test]
fn core_virtio_disk_and_console() {
    if !kvm_or_skip("core_virtio_disk_and_console") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let before: Vec<u8> = (0..4 * SECTOR).map(|n| (n / 3) as u8).collect();
    fs::write(&path, &before).unwrap();

    let mut guest = Guest::image(VIRTIO, 1).append("disk=yes");
    guest.config.disk = Some(path.clone());
    let run = guest.run();
    run.assert_well();
    assert_eq!(run.counters()["sectors"], 4);
    assert_eq!(printed(&run), "hello from virtio\n");
    assert_eq!((interrupts(&run, 10), interrupts(&run, 11)), (1, 4));

    let after = fs::read(&path).unwrap();
    let copied: Vec<u8> = before[SECTOR..2 * SECTOR].iter().map(|byte| byte.wrapping_add(1)).collect();
    assert_eq!(after[2 * SECTOR..3 * SECTOR], copied);
    assert_eq!((&after[..2 * SECTOR], &after[3 * SECTOR..]), (&before[..2 * SECTOR], &before[3 * SECTOR..]));
}

/// Waits until the guest has printed on the virtio console.
fn wait_for_output(started: &Started) {
    let control = started.vm.control();
    let mut reader = Reader::open(&started.trace).unwrap();
    super::control::until("the guest prints", || {
        control.flush();
        reader.poll().unwrap();
        let mut found = false;
        let is_output = |payload: &Payload| matches!(payload, Payload::Console(output) if output.port >= Output::FIRST_GPA);
        reader.for_each(|_, event| found |= is_output(&event.payload)).unwrap();
        found
    });
}

#[test]
fn core_input_goes_to_the_virtio_console_that_is_in_use() {
    if !kvm_or_skip("core_input_goes_to_the_virtio_console_that_is_in_use") {
        return;
    }
    let started = Guest::image(VIRTIO, 1).append("input=yes").start();
    wait_for_output(&started);
    let control = started.vm.control();
    // Two pieces, whatever the guest does between them.
    assert_eq!(control.console_input(b"typed "), 6);
    assert_eq!(control.console_input(b"here\n"), 5);
    let run = started.finish();
    run.assert_well();
    assert_eq!(printed(&run), "hello from virtio\ntyped here\n");
}

#[test]
fn a_file_that_is_no_disk_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    fs::write(&path, [0; 700]).unwrap();
    let hello = guests::find("hello").unwrap();
    let config = Config { disk: Some(path.clone()), ..Config::new(Image::Builtin(hello)) };
    let error = Vm::start(config).unwrap_err();
    assert!(matches!(&error, Error::NotADisk { .. }), "{error}");
    let path = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "{path} cannot be a disk: 700 bytes are no sectors of 512 (truncate -s %512 appends what is missing)"
        )
    );
}
