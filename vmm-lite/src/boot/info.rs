//! The boot-information structure.

use crate::error::{Error, Result};
use crate::memory::Memory;

/// gpa of the boot information.
pub(crate) const BOOT_INFO: u64 = 0x600;
/// "VMSC", the first field of the boot information and of a guest's calls.
pub(crate) const MAGIC: u32 = 0x4353_4d56;
/// Room for the command line, with its terminating zero.
const COMMAND_LINE_BYTES: usize = 512;

/// What a guest is told at its start: `struct vmscope_boot` of `guests/vmscope.h`.
#[derive(Clone, Debug)]
pub(crate) struct BootInfo<'a> {
    /// How many vCPUs there are.
    pub vcpus: u8,
    /// Whether the guest may switch its local APICs to x2APIC mode.
    pub x2apic: bool,
    /// Frequency of the time stamp counter, 0 if unknown.
    pub tsc_khz: u64,
    /// The guest's command line.
    pub command_line: &'a str,
}

impl BootInfo<'_> {
    /// Writes it to [`BOOT_INFO`].
    ///
    /// # Errors
    /// When the command line does not fit, or low memory is missing.
    pub(crate) fn write(&self, memory: &Memory) -> Result<()> {
        let command_line = self.command_line.as_bytes();
        if command_line.len() >= COMMAND_LINE_BYTES || command_line.contains(&0) {
            return Err(Error::Setting {
                what: "the guest's command line",
                allowed: "at most 511 bytes without a zero",
                value: format!("{} bytes", command_line.len()),
            });
        }
        let mut bytes = Vec::with_capacity(40 + COMMAND_LINE_BYTES);
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(u32::from(self.vcpus).to_le_bytes());
        bytes.extend(u32::from(self.x2apic).to_le_bytes());
        bytes.extend(memory.len().to_le_bytes());
        bytes.extend(self.tsc_khz.to_le_bytes());
        bytes.extend((command_line.len() as u32).to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(command_line);
        bytes.resize(40 + COMMAND_LINE_BYTES, 0);
        memory.write(BOOT_INFO, &bytes)
    }
}
