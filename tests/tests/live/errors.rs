//! What cannot be run says why.

use std::fs;

use vmscope_tests::program;
use vmscope_tests::skip::kvm_or_skip;

/// Runs `vmscope record` on something; it must fail with `code` and say all of `words`.
fn refuse(code: i32, arguments: &[&str], words: &[&str]) {
    let output = program::run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?} does not say {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn guests_that_are_none() {
    if !kvm_or_skip("guests_that_are_none") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let trace = path("t.vmt");
    refuse(2, &["record", "no-such-guest", "-o", &trace], &["no-such-guest", "tlb-shootdown"]);

    let large = path("large.bin");
    fs::write(&large, vec![0x90; 1 << 20]).unwrap();
    refuse(2, &["record", &large, "-o", &trace], &["ELF", "too large"]);

    for class in [b"\x7fELF\x01\x01\x01", b"\x7fELF\x02\x01\x01"] {
        let torn = path("torn");
        fs::write(&torn, class).unwrap();
        refuse(2, &["record", &torn, "-o", &trace], &["damaged"]);
    }
    let initrd = ["record", "hello", "--initrd", &large, "-o", &trace];
    refuse(2, &initrd, &["cannot give hello the module", "takes none"]);
}

#[test]
fn settings_that_are_out_of_range() {
    if !kvm_or_skip("settings_that_are_out_of_range") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("t.vmt");
    let trace = trace.to_str().unwrap();
    refuse(2, &["record", "hello", "--cpus", "17", "-o", trace], &["17"]);
    refuse(2, &["record", "hello", "--cpus", "0", "-o", trace], &["0"]);
    refuse(2, &["record", "hello", "--memory", "1M", "-o", trace], &["memory"]);
    refuse(2, &["record", "hello", "--traps", "pagefault", "-o", trace], &["pagefault", "page-fault"]);
    refuse(
        2,
        &["record", "hello", "-o", "/no/such/directory/t.vmt"],
        &["/no/such/directory/t.vmt", "No such"],
    );
}

#[test]
fn a_guest_that_fails_is_exit_code_1() {
    if !kvm_or_skip("a_guest_that_fails_is_exit_code_1") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("t.vmt");
    let output = program::run(&[
        "record",
        "tlb-shootdown",
        "--append",
        "no-such-word=1",
        "-o",
        trace.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_triple_fault_ends_the_run() {
    if !kvm_or_skip("a_triple_fault_ends_the_run") {
        return;
    }
    // In protected mode with an empty interrupt table there is no handler for anything. (Not in real mode: a KVM that
    // carries out the instruction itself does not look at the table's limit there.)
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("fault.bin");
    let trace = directory.path().join("t.vmt");
    let mut code = vec![
        0x0f, 0x01, 0x16, 0x20, 0x7c, // lgdt [0x7c20]
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0x0c, 0x01, // or al, 1
        0x0f, 0x22, 0xc0, // mov cr0, eax
        0xea, 0x12, 0x7c, 0x08, 0x00, // jmp 8:0x7c12
        0x0f, 0x01, 0x1d, 0x28, 0x7c, 0x00, 0x00, // lidt [0x7c28], all zero
        0xcc, // int3
    ];
    code.resize(0x20, 0);
    code.extend([0x0f, 0x00, 0x30, 0x7c, 0x00, 0x00]); // the GDT's pointer
    code.resize(0x38, 0);
    code.extend([0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf, 0x00]); // 32-bit code
    fs::write(&image, &code).unwrap();
    let output = program::run(&["record", image.to_str().unwrap(), "-o", trace.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("triple fault"), "{said}");
}

#[test]
fn a_guest_that_halts_for_ever_is_seen() {
    if !kvm_or_skip("a_guest_that_halts_for_ever_is_seen") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("halt.bin");
    let trace = directory.path().join("t.vmt");
    fs::write(&image, [0xfa, 0xf4]).unwrap(); // cli; hlt
    let output =
        program::run(&["record", image.to_str().unwrap(), "--cpus", "2", "-o", trace.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing can wake"), "{said}");
}
