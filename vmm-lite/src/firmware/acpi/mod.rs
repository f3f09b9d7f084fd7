//! The ACPI tables (ACPI 6.5): RSDP, RSDT, XSDT, FADT, FACS, MADT, DSDT.
//!
//! The ports of the fixed hardware and the value that turns the machine off are those of QEMU's PC, because small
//! kernels write them without reading a table.

mod dsdt;
mod madt;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;

use super::{Description, checksum};
use crate::devices::power::{ACPI_RESET, PORT_ACPI_RESET, PORT_PM_TIMER, PORT_PM1_CONTROL, PORT_PM1_EVENT};

/// The ISA line of the system control interrupt.
pub const SCI: u8 = 9;
const OEM: [u8; 6] = *b"VMSCOP";
const OEM_TABLE: [u8; 8] = *b"VMSCOPE ";
const OEM_REVISION: u32 = 1;
const HEADER_BYTES: u32 = 36;
/// Tables begin at multiples of this.
const ALIGNMENT: usize = 64;
const RSDP_BYTES: usize = 36;

/// All tables one after the other for a machine that has them at `gpa`, a multiple of 64: first the RSDP.
#[must_use]
pub fn tables(gpa: u32, machine: &Description<'_>) -> Vec<u8> {
    let mut area = Area { gpa, bytes: vec![0; RSDP_BYTES] };
    let facs = area.push(&FACS::new());
    let dsdt = area.push(&dsdt::dsdt(machine));
    let tables = [area.push(&fadt(facs, dsdt)), area.push(&madt::madt(machine))];

    let mut rsdt = table(*b"RSDT", 1);
    let mut xsdt = table(*b"XSDT", 1);
    for gpa in tables {
        rsdt.append(gpa);
        xsdt.append(u64::from(gpa));
    }
    let (rsdt, xsdt) = (area.push(&rsdt), area.push(&xsdt));
    area.bytes[..RSDP_BYTES].copy_from_slice(&rsdp(rsdt, xsdt));
    area.bytes
}

/// A table without a body.
fn table(signature: [u8; 4], revision: u8) -> Sdt {
    Sdt::new(signature, HEADER_BYTES, revision, OEM, OEM_TABLE, OEM_REVISION)
}

/// Where tables are put one after the other.
struct Area {
    gpa: u32,
    bytes: Vec<u8>,
}

impl Area {
    /// Appends a table and returns its gpa.
    fn push(&mut self, table: &dyn Aml) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let gpa = self.gpa + self.bytes.len() as u32;
        table.to_aml_bytes(&mut self.bytes);
        gpa
    }
}

/// The root pointer. The crate's knows only the XSDT; small kernels read only the RSDT.
fn rsdp(rsdt: u32, xsdt: u32) -> Vec<u8> {
    const CHECKSUM: usize = 8;
    const RSDT: usize = 16;
    const EXTENDED_CHECKSUM: usize = 32;
    /// The first checksum's, those of ACPI 1.0.
    const FIRST_BYTES: usize = 20;
    let mut bytes = Vec::with_capacity(RSDP_BYTES);
    Rsdp::new(OEM, xsdt.into()).to_aml_bytes(&mut bytes);
    bytes[RSDT..RSDT + 4].copy_from_slice(&rsdt.to_le_bytes());
    (bytes[CHECKSUM], bytes[EXTENDED_CHECKSUM]) = (0, 0);
    bytes[CHECKSUM] = checksum(&bytes[..FIRST_BYTES]);
    bytes[EXTENDED_CHECKSUM] = checksum(&bytes);
    bytes
}

/// The fixed description table. There is no SMI command port, so ACPI mode is always on; and no fixed power or sleep
/// button.
fn fadt(facs: u32, dsdt: u32) -> FADT {
    const LEGACY_DEVICES: u16 = 1;
    const KEYBOARD_CONTROLLER: u16 = 1 << 1;
    const NO_MSI: u16 = 1 << 3;
    const REGISTER_CENTURY: u8 = 0x32;
    // Above 100 us and 1000 us: there are no such states (ACPI 6.5, table 5.9).
    const NO_C2: u16 = 101;
    const NO_C3: u16 = 1001;

    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION).preferred_pm_profile(PmProfile::Desktop);
    for flag in [
        Flags::Wbinvd,
        Flags::ProcC1,
        Flags::PwrButton,
        Flags::SlpButton,
        Flags::FixRtc,
        Flags::TmrValExt,
        Flags::ResetRegSup,
    ] {
        fadt = fadt.flag(flag);
    }
    fadt.firmware_ctrl = facs.into();
    fadt.dsdt = dsdt.into();
    fadt.x_dsdt = u64::from(dsdt).into();
    fadt.sci_int = u16::from(SCI).into();
    fadt.pm1a_evt_blk = u32::from(PORT_PM1_EVENT).into();
    fadt.pm1a_cnt_blk = u32::from(PORT_PM1_CONTROL).into();
    fadt.pm_tmr_blk = u32::from(PORT_PM_TIMER).into();
    (fadt.pm1_evt_len, fadt.pm1_cnt_len, fadt.pm_tmr_len) = (4, 2, 4);
    fadt.x_pm1a_evt_blk = port(PORT_PM1_EVENT, 32, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = port(PORT_PM1_CONTROL, 16, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = port(PORT_PM_TIMER, 32, AccessSize::DwordAccess);
    (fadt.p_lvl2_lat, fadt.p_lvl3_lat) = (NO_C2.into(), NO_C3.into());
    fadt.century = REGISTER_CENTURY;
    fadt.iapc_boot_arch = (LEGACY_DEVICES | KEYBOARD_CONTROLLER | NO_MSI).into();
    fadt.reset_reg = port(PORT_ACPI_RESET, 8, AccessSize::ByteAccess);
    fadt.reset_value = ACPI_RESET;
    fadt.finalize()
}

fn port(port: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, port.into())
}

#[cfg(test)]
mod tests;
