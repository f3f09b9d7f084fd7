//! Clients that are no GDB, or a broken one. None of them harms the guest.

use crate::{Vmscope, gdb_or_skip};

#[test]
fn core_garbage_and_half_packets() {
    if !gdb_or_skip("core_garbage_and_half_packets") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    // Somebody who only looks whether the port is open, and one who has something else in mind.
    drop(vmscope.connect());
    vmscope.connect().write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut client = vmscope.connect();
    client.write(
        &[b"$".repeat(10), vec![b'a'; 100_000], b"#00".to_vec(), vec![0; 5000], b"\x03\x03".to_vec()]
            .concat(),
    );
    assert_eq!(client.ask("qC"), "QC1", "and what comes then is understood");
    for malformed in
        ["", "G00", "M0", "P0=1", "Hgzz", "Z0", "vCont;x", "qXfer:features:read:", "m0,ffffffffffffffff"]
    {
        client.ask(malformed);
    }
    assert_eq!(client.ask("Z0,zz,1").get(..1), Some("E"));
    assert_eq!(client.ask("?"), "T05thread:1;");
    // Half a packet, and gone.
    client.write(b"$g");
    drop(client);
    // The guest still waits for its debugger.
    let said = vmscope.gdb(&["info threads", "detach"]);
    assert!(said.contains("_start+0x0"), "{said}");
    vmscope.finish_well();
}

#[test]
fn core_ctrl_c_byte_by_byte() {
    if !gdb_or_skip("core_ctrl_c_byte_by_byte") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=1000000"]);
    let mut client = vmscope.connect();
    assert_eq!(client.ask("QStartNoAckMode"), "OK");
    for _ in 0..20 {
        client.send("vCont;c");
        client.write(b"\x03");
        assert!(client.receive().starts_with("T02thread:"));
    }
    // Who asks while it runs gets an error, and who is gone leaves it running.
    client.send("vCont;c");
    assert_eq!(client.ask("g"), "E01");
    assert_eq!(client.ask("vKill;1"), "OK");
    assert!(client.is_closed());
    let (last, _) = vmscope.finish();
    assert!(last.contains("ended by gdb"), "{last}");
}

/// A time limit ends the guest while its debugger thinks.
#[test]
fn an_end_while_the_guest_stands_still_is_told_at_the_next_motion() {
    if !gdb_or_skip("an_end_while_the_guest_stands_still_is_told_at_the_next_motion") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--timeout", "5"]);
    let mut client = vmscope.connect();
    // Its registers can be had until then.
    while !client.ask("g").starts_with('E') {}
    client.send("vCont;c");
    assert!(client.receive().starts_with('O'), "in words first");
    assert_eq!(client.receive(), "X0e", "SIGALRM");
    assert!(client.is_closed());
    let (last, _) = vmscope.finish();
    assert!(last.contains("time"), "{last}");
}
