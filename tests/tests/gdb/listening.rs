//! Where vmscope listens.

use std::os::unix::net::UnixListener;

use vmscope_tests::program;

use crate::{Vmscope, gdb_or_skip};

#[test]
fn core_a_unix_socket() {
    if !gdb_or_skip("core_a_unix_socket") {
        return;
    }
    let vmscope = Vmscope::listen("hello", "DIR/gdb.sock", &["--wait"]);
    let socket = std::path::PathBuf::from(&vmscope.address);
    assert!(socket.exists());
    assert!(vmscope.gdb(&["info threads", "detach"]).contains("\"cpu0\""));
    let directory = vmscope.finish_well();
    assert!(!socket.exists() && directory.path().exists());
}

#[test]
fn a_socket_nobody_listens_at_is_replaced_and_another_file_is_not() {
    if !gdb_or_skip("a_socket_nobody_listens_at_is_replaced_and_another_file_is_not") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    let text = path.to_string_lossy();
    let vmscope = Vmscope::listen("hello", &text, &["--wait"]);
    // A second vmscope does not take it from the first.
    let trace = directory.path().join("x.vmt");
    let trace = trace.to_string_lossy();
    let second = program::run(&["record", "hello", "-o", &trace, "--gdb", &text]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("somebody listens there already"));
    assert!(vmscope.gdb(&["kill"]).contains("killed"));
    vmscope.finish();
    assert!(!path.exists(), "it is removed in the end");
    std::fs::write(&path, "mine").unwrap();
    let refused = program::run(&["record", "hello", "-o", &trace, "--gdb", &text]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn other_machines_are_let_in_only_if_asked_for() {
    if !gdb_or_skip("other_machines_are_let_in_only_if_asked_for") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("x.vmt");
    let arguments = ["record", "hello", "-o", &trace.to_string_lossy(), "--gdb", "0.0.0.0:0"];
    let refused = program::run(&arguments);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--gdb-anywhere"));
    let allowed = program::run(&[&arguments[..], &["--gdb-anywhere"]].concat());
    assert_eq!(allowed.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&allowed.stderr).contains("warning: whoever can reach 0.0.0.0:"));
    let nobody = program::run(&["record", "hello", "-o", &trace.to_string_lossy(), "--wait"]);
    assert_eq!(nobody.status.code(), Some(2));
}
