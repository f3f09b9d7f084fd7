//! What the firmware configuration device has: the items that test kernels made for QEMU read.

use super::e820;
use crate::devices::fw_cfg::{FwCfg, key};

/// The device's content for a machine.
#[must_use]
pub fn items(vcpus: u8, memory_bytes: u64, command_line: &str) -> FwCfg {
    let mut line = command_line.as_bytes().to_vec();
    line.push(0);
    let mut map = Vec::with_capacity(20 * e820::MOST_RANGES);
    for range in e820::memory_map(memory_bytes) {
        map.extend(range.start.to_le_bytes());
        map.extend(range.len.to_le_bytes());
        map.extend((range.kind as u32).to_le_bytes());
    }
    FwCfg::new()
        .with_item(key::RAM_SIZE, memory_bytes.to_le_bytes())
        .with_item(key::NB_CPUS, u16::from(vcpus).to_le_bytes())
        .with_item(key::MAX_CPUS, u16::from(vcpus).to_le_bytes())
        .with_item(key::COMMAND_LINE_SIZE, (line.len() as u32).to_le_bytes())
        .with_item(key::COMMAND_LINE, line)
        .with_file("etc/e820", map)
        .with_file("opt/org.vmscope/version", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_kernel_learns_of_its_machine() {
        let mut device = items(4, 64 << 20, "quiet");
        let mut read = |key, bytes| {
            device.select(key);
            (0..bytes).map(|_| device.read()).collect::<Vec<_>>()
        };
        assert_eq!(read(0x03, 8), (64_u64 << 20).to_le_bytes());
        assert_eq!((read(0x05, 2), read(0x0f, 2)), (vec![4, 0], vec![4, 0]));
        assert_eq!((read(0x14, 4), read(0x15, 7)), (vec![6, 0, 0, 0], b"quiet\0\0".to_vec()));
        assert_eq!(&read(0x19, 20)[12..], b"etc/e820");
        // The first range: usable memory from 0 to 0x9fc00.
        assert_eq!(
            read(0x20, 20),
            [[0; 8], 0x9_fc00_u64.to_le_bytes()].concat().into_iter().chain([1, 0, 0, 0]).collect::<Vec<_>>()
        );
    }
}
