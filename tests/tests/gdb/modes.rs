//! One set of registers in 16-bit, 32-bit and 64-bit code.

use vmscope_tests::images::MODES;

use crate::{Vmscope, gdb_or_skip};

/// Where the descriptor at 0x20 of `guests/modes.S` and the real-mode selector 0x2000 lead, and somewhere else.
const BASE: u64 = 0x20000;
const OTHER_BASE: u64 = 0x21230;

/// The body of the packet that GDB says it has received.
fn packets(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("received: \"")?.strip_suffix('"')).collect()
}

#[test]
fn core_registers_are_the_same_in_every_mode_and_selectors_bring_their_base() {
    if !gdb_or_skip("core_registers_are_the_same_in_every_mode_and_selectors_bring_their_base") {
        return;
    }
    let vmscope = Vmscope::image(MODES, &["--wait"]);
    let mut commands = vec!["monitor break-on io.port == 0x80".to_owned()];
    for (n, (bits, selector)) in [(16, 0x2000), (32, 0x20), (64, 0x20)].into_iter().enumerate() {
        let value = 0xabc0_0000_u32 + bits;
        commands.extend([
            "continue".to_owned(),
            "printf \"@ %d\\n\", $rax".to_owned(),
            "maintenance packet g".to_owned(),
            format!("set $fs = {selector:#x}"),
            "printf \"@ %#lx %#x\\n\", $fs_base, $fs".to_owned(),
            format!("set {{unsigned int}} {BASE:#x} = {value:#x}"),
            // All others are as they were, in the packet too.
            format!("set $r1{n} = {bits}"),
            "continue".to_owned(),
            "printf \"@ %#x\\n\", $eax".to_owned(),
        ]);
    }
    // A base by itself, as 64-bit code has them.
    commands.extend([
        format!("set $gs_base = {OTHER_BASE:#x}"),
        format!("set {{unsigned int}} {OTHER_BASE:#x} = 0x1234567"),
        "continue".to_owned(),
        "printf \"@ %#x %#lx %d\\n\", $eax, $gs_base, $r10 == 16 && $r11 == 32 && $r12 == 64".to_owned(),
        "monitor break-on off".to_owned(),
        "detach".to_owned(),
    ]);
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let said = vmscope.gdb(&commands);
    let values: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("@ ")).collect();
    let expected = [
        "16",
        "0x20000 0x2000",
        "0xabc00010",
        "32",
        "0x20000 0x20",
        "0xabc00020",
        "64",
        "0x20000 0x20",
        "0xabc00040",
        "0x1234567 0x21230 1",
    ];
    assert_eq!(values, expected, "{said}");
    let packets = packets(&said);
    assert_eq!(packets.len(), 3, "{said}");
    let rip = |packet: &str| u64::from_str_radix(&packet[16 * 16..17 * 16], 16).unwrap().swap_bytes();
    for (packet, bits) in packets.iter().zip([16, 32, 64]) {
        assert_eq!(packet.len(), packets[0].len(), "{said}");
        assert!(packet.starts_with(&format!("{bits:02x}00000000000000")), "RAX in {packet}");
        assert!((0x7c00..0x7e00).contains(&rip(packet)), "RIP {:#x} in {packet}", rip(packet));
    }
    vmscope.finish_well();
}
