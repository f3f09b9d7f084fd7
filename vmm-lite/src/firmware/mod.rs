//! What a PC's firmware leaves in memory for the kernel that it starts: the memory map and the tables that describe
//! the machine.
//!
//! No firmware runs here: the monitor writes the tables before the guest's first instruction.
//!
//! | gpa | what |
//! |---|---|
//! | 0x400 | [BIOS data area](bios_data) |
//! | 0x9fc00 | extended BIOS data area: its size, nothing else |
//! | 0xf0000 | [ACPI tables](acpi), first of them the RSDP |
//! | 0xf8000 | [MP table](mptable), for kernels without ACPI |

pub mod acpi;
pub mod bios_data;
pub mod configuration;
pub mod e820;
pub mod mptable;

use crate::error::Result;
use crate::memory::Memory;

/// Where the ACPI tables begin, with the RSDP, gpa: Linux's boot parameters and PVH's start information name it, other
/// kernels search for it.
pub const RSDP: u64 = e820::TABLES;
/// Where the MP floating pointer structure is, gpa.
const MP_TABLE: u64 = 0xf_8000;

/// What the tables have to tell about a machine beyond what every machine has.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// How many vCPUs there are; their APIC ids are their numbers.
    pub vcpus: u8,
    /// EAX of CPUID leaf 1.
    pub cpu_signature: u32,
    /// EDX of CPUID leaf 1.
    pub cpu_features: u32,
    /// The virtio devices.
    pub virtio: &'a [VirtioSlot],
}

impl Description<'_> {
    /// The IOAPIC's id: the first that is no local APIC's.
    #[must_use]
    pub const fn ioapic_id(&self) -> u8 {
        self.vcpus
    }
}

/// Where a virtio-mmio device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioSlot {
    /// Its registers, gpa, below 4 GiB: a page.
    pub gpa: u32,
    /// Its interrupt: ISA line and IOAPIC pin. The line is level-triggered and active high, up as long as the device's
    /// interrupt status is not 0.
    pub irq: u8,
}

/// Writes all tables.
///
/// # Errors
/// When there is less than 1 MiB of memory.
pub fn write(memory: &Memory, description: &Description<'_>) -> Result<()> {
    bios_data::write(memory)?;
    memory.write(RSDP, &acpi::tables(RSDP as u32, description))?;
    memory.write(MP_TABLE, &mptable::table(MP_TABLE as u32, description))
}

/// The byte that makes a table's sum 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: [VirtioSlot; 8] = [VirtioSlot { gpa: 0xd000_0000, irq: 5 }; 8];

    #[test]
    fn the_largest_tables_have_room() {
        let most = Description { vcpus: 255, cpu_signature: 0, cpu_features: 0, virtio: &SLOTS };
        assert!(RSDP + acpi::tables(RSDP as u32, &most).len() as u64 <= MP_TABLE);
        assert!(MP_TABLE + mptable::table(MP_TABLE as u32, &most).len() as u64 <= e820::TABLES_END);
    }

    #[test]
    fn kernels_find_them() {
        let memory = Memory::new(1 << 20).unwrap();
        let description = Description { vcpus: 1, cpu_signature: 0, cpu_features: 0, virtio: &[] };
        write(&memory, &description).unwrap();
        let mut area = vec![0; 0x1_0000];
        memory.read(0xf_0000, &mut area).unwrap();
        let find = |what: &[u8]| area.chunks(16).position(|line| line.starts_with(what)).map(|at| at * 16);
        assert_eq!((find(b"RSD PTR "), find(b"_MP_")), (Some(0), Some(0x8000)));
    }
}
