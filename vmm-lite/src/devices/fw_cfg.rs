//! QEMU's firmware configuration device, ports 0x510 and 0x511: numbered items and named files that the guest reads a
//! byte at a time. Test kernels take the number of CPUs and the memory's size from it.
//!
//! The traditional interface only (QEMU, docs/specs/fw_cfg): the DMA interface at 0x514 is not there, as the ID says.

use std::collections::BTreeMap;

/// Selector: 16 bits, write.
pub const PORT_FW_CFG_SELECTOR: u16 = 0x510;
/// Data: a byte, read.
pub const PORT_FW_CFG_DATA: u16 = 0x511;

/// Keys of numbered items.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0x00;
    /// Which interfaces there are, 4 bytes: bit 0 the traditional one.
    pub const ID: u16 = 0x01;
    /// Bytes of memory, 8 bytes.
    pub const RAM_SIZE: u16 = 0x03;
    /// How many CPUs there are, 2 bytes.
    pub const NB_CPUS: u16 = 0x05;
    /// How many there could be, 2 bytes.
    pub const MAX_CPUS: u16 = 0x0f;
    /// Bytes of the kernel's command line with its terminating zero, 4 bytes.
    pub const COMMAND_LINE_SIZE: u16 = 0x14;
    /// The command line.
    pub const COMMAND_LINE: u16 = 0x15;
    /// The directory of files: how many (big-endian, 4 bytes), then 64 bytes each.
    pub const FILE_DIRECTORY: u16 = 0x19;
    /// The first file's; the others follow.
    pub const FIRST_FILE: u16 = 0x20;
}

/// Bits of a selector: the item is one of the architecture's own. The bit for writing, 14, is not looked at, because
/// nothing can be written.
const KEY: u16 = 0xbfff;
/// Bytes of a file's name in the directory, with a terminating zero.
const NAME_BYTES: usize = 56;

/// The device.
#[derive(Clone, Debug)]
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    files: u16,
    selected: u16,
    offset: usize,
}

impl Default for FwCfg {
    fn default() -> Self {
        Self::new()
    }
}

impl FwCfg {
    /// With nothing but what says what it is.
    #[must_use]
    pub fn new() -> Self {
        const TRADITIONAL: u32 = 1;
        let items = BTreeMap::from([
            (key::SIGNATURE, b"QEMU".to_vec()),
            (key::ID, TRADITIONAL.to_le_bytes().to_vec()),
            (key::FILE_DIRECTORY, vec![0; 4]),
        ]);
        Self { items, files: 0, selected: 0, offset: 0 }
    }

    /// Adds a numbered item.
    #[must_use]
    pub fn with_item(mut self, key: u16, data: impl Into<Vec<u8>>) -> Self {
        self.items.insert(key, data.into());
        self
    }

    /// Adds a file; of its `name` the first 55 bytes.
    #[must_use]
    pub fn with_file(mut self, name: &str, data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        let key = key::FIRST_FILE + self.files;
        self.files += 1;
        let mut entry = [0; 8 + NAME_BYTES];
        entry[..4].copy_from_slice(&(data.len() as u32).to_be_bytes());
        entry[4..6].copy_from_slice(&key.to_be_bytes());
        let length = name.len().min(NAME_BYTES - 1);
        entry[8..8 + length].copy_from_slice(&name.as_bytes()[..length]);
        let directory = self.items.entry(key::FILE_DIRECTORY).or_default();
        directory.extend(entry);
        directory[..4].copy_from_slice(&u32::from(self.files).to_be_bytes());
        self.with_item(key, data)
    }

    /// Writes the selector: the item's first byte is next.
    pub const fn select(&mut self, selector: u16) {
        (self.selected, self.offset) = (selector & KEY, 0);
    }

    /// Reads the next byte; 0 behind the item's last, and where there is no item.
    pub fn read(&mut self) -> u8 {
        let byte = self.items.get(&self.selected).and_then(|item| item.get(self.offset)).copied();
        self.offset += usize::from(byte.is_some());
        byte.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(device: &mut FwCfg, selector: u16, bytes: usize) -> Vec<u8> {
        device.select(selector);
        (0..bytes).map(|_| device.read()).collect()
    }

    #[test]
    fn a_kernel_finds_it_and_reads_items() {
        let mut device = FwCfg::new().with_item(key::NB_CPUS, 4_u16.to_le_bytes());
        assert_eq!(item(&mut device, key::SIGNATURE, 6), b"QEMU\0\0");
        assert_eq!(item(&mut device, key::ID, 4), [1, 0, 0, 0], "no DMA");
        assert_eq!(item(&mut device, key::NB_CPUS, 2), [4, 0]);
        assert_eq!(item(&mut device, key::NB_CPUS | 0x4000, 2), [4, 0]);
        assert_eq!(item(&mut device, key::NB_CPUS | 0x8000, 2), [0, 0]);
        assert_eq!(item(&mut device, 0x1234, 2), [0, 0]);
    }

    #[test]
    fn files_are_in_the_directory() {
        let long = "x".repeat(80);
        let mut device = FwCfg::new().with_file("etc/e820", [1, 2, 3]).with_file(&long, [9]);
        let directory = item(&mut device, key::FILE_DIRECTORY, 4 + 2 * 64);
        assert_eq!(directory[..4], [0, 0, 0, 2]);
        assert_eq!(&directory[4..21], b"\0\0\0\x03\0\x20\0\0etc/e820\0");
        assert_eq!(directory[68..76], [0, 0, 0, 1, 0, 0x21, 0, 0]);
        assert_eq!((&directory[76..131], directory[131]), (&long.as_bytes()[..55], 0));
        assert_eq!(item(&mut device, 0x20, 4), [1, 2, 3, 0]);
        assert_eq!(item(&mut device, 0x21, 1), [9]);
    }
}
