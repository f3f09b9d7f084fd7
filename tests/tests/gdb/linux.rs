//! Linux, as Debian built it: without debug information, and moved to an address of its own choice (KASLR). GDB gets
//! the symbols that vmscope found in the kernel.

use std::fs;

use trace_format::Reader;
use trace_format::event::{Output, Payload};
use vmscope_tests::images::SHOOTDOWN;
use vmscope_tests::initramfs::Initramfs;
use vmscope_tests::linux::Shootdown;
use vmscope_tests::program;
use vmscope_tests::real::file_or_skip;
use vmscope_tests::run::emulates;
use vmscope_tests::skip::skip;

use crate::{Vmscope, gdb_or_skip};

const ROUNDS: u64 = 5;

#[test]
fn linux_stops_in_the_middle_of_its_system_calls_and_goes_on() {
    let test = "linux_stops_in_the_middle_of_its_system_calls_and_goes_on";
    if !gdb_or_skip(test) {
        return;
    }
    let files = ["busybox", "vmlinuz"].map(|name| file_or_skip(test, name));
    let [Some(busybox), Some(kernel)] = files else { return };
    if SHOOTDOWN.is_empty() {
        skip(test, "there is no static C library: shootdown could not be linked");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [archive, shootdown, elf] =
        ["initramfs.cpio", "shootdown", "linux.elf"].map(|name| directory.path().join(name));
    Initramfs::new().write(&busybox, &archive).unwrap();
    fs::write(&shootdown, SHOOTDOWN).unwrap();
    let [archive, shootdown, elf] = [&archive, &shootdown, &elf].map(|path| path.to_str().unwrap());

    let append = format!("console=ttyS0 panic=-1 quiet run=\"shootdown 2 {ROUNDS}\"");
    let vmscope = Vmscope::file(
        &kernel,
        &["--wait", "--cpus", "2", "--memory", "512M", "--timeout", "900s", "--initrd", archive, "--symbols"]
            .into_iter()
            .chain([shootdown, "--append", &append])
            .collect::<Vec<_>>(),
    );
    let trace = vmscope.trace();
    let symbols = format!("shell {} symbols {} -o {elf}", program::path().display(), trace.display());
    let symbol_file = format!("symbol-file {elf}");
    let reader = Reader::open(&trace).unwrap();
    if emulates(reader.header()) {
        // Where KVM emulates guest kernel code a boot does not come to its end: how it begins, and that it is known.
        let said = vmscope.gdb(&[&symbols, &symbol_file, "info symbol do_madvise", "info threads", "kill"]);
        assert!(said.contains("do_madvise in section .text"), "{said}");
        assert!(said.contains("Thread 1 \"cpu0\" (running, ring 0"), "{said}");
        vmscope.finish();
        return;
    }

    let said = vmscope.gdb(&[
        "monitor break-on kind == slide",
        "continue",
        "monitor break-on off",
        &symbols,
        &symbol_file,
        "break *do_madvise",
        "continue",
        "info threads",
        "printf \"@ advice %d\\n\", $ecx",
        "bt 3",
        "continue",
        "delete",
        "tbreak *touch_pages",
        "continue",
        "printf \"@ ring %d\\n\", $cs & 3",
        "detach",
    ]);
    println!("{said}");
    for wanted in [
        ", the kernel's moved by 0x",
        "hit Breakpoint 1, 0x",
        "ring 0, do_madvise+0x0",
        "@ advice 4",
        "in __x64_sys_madvise ()",
        "@ ring 3",
        "detached",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
    assert_eq!(said.matches("hit Breakpoint 1, 0x").count(), 2, "{said}");
    let directory = vmscope.finish_as("the guest switched itself off");
    let mut reader = Reader::open(directory.path().join("t.vmt")).unwrap();
    let mut console = Vec::new();
    for event in reader.forward(0) {
        if let Payload::Console(Output { bytes, .. }) = event.unwrap().1.payload {
            console.extend_from_slice(&bytes);
        }
    }
    let counts = Shootdown::find(&String::from_utf8_lossy(&console));
    assert_eq!(counts.count("madvise"), ROUNDS);
}
