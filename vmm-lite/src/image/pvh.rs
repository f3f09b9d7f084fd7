//! The PVH boot protocol (Xen, docs/misc/pvh.pandoc): a 32-bit entry that an ELF note names, and `hvm_start_info`.

use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};

use super::elf::Placed;
use super::{Handover, ImageFile, Kind, Loaded, place, symbols};
use crate::boot::{Area, Entry, EntryRegisters, Mode};
use crate::error::Result;
use crate::firmware::{RSDP, e820};
use crate::memory::Memory;

/// "xEn3", with the highest bit of the E set.
const MAGIC: u32 = 0x336e_c578;
/// The version that has a memory map.
const VERSION: u32 = 1;
/// The longest command line: a page, as Xen's tools have it.
const COMMAND_LINE_BYTES: usize = 4095;

/// Hands over, with the start information's address in EBX.
pub(super) fn load(
    image: ImageFile<'_>,
    entry: u32,
    placed: &Placed,
    handover: Handover<'_>,
    memory: &Memory,
) -> Result<Loaded> {
    let mut area = Area::new(memory);
    let mut modules = Vec::with_capacity(handover.modules.len());
    let mut end = placed.end;
    for module in handover.modules {
        let size = module.bytes.len() as u64;
        let paddr = place::above(image, end, size, memory)?;
        memory.write(paddr, &module.bytes)?;
        end = paddr + size;
        let cmdline_paddr =
            area.text("a module's command line", &module.command_line, COMMAND_LINE_BYTES)?.into();
        modules.push(hvm_modlist_entry { paddr, size, cmdline_paddr, reserved: 0 });
    }
    let modlist_paddr = area.values(&modules)?.into();
    let map: Vec<_> = e820::memory_map(memory.len())
        .into_iter()
        .map(|range| hvm_memmap_table_entry {
            addr: range.start,
            size: range.len,
            type_: range.kind as u32,
            reserved: 0,
        })
        .collect();
    let info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        flags: 0,
        nr_modules: modules.len() as u32,
        modlist_paddr,
        cmdline_paddr: area
            .text("the guest's command line", handover.command_line, COMMAND_LINE_BYTES)?
            .into(),
        rsdp_paddr: RSDP,
        memmap_paddr: area.values(&map)?.into(),
        memmap_entries: map.len() as u32,
        reserved: 0,
    };
    let registers = EntryRegisters { rbx: area.value(&info)?.into(), ..EntryRegisters::default() };
    let entry = Entry { mode: Mode::Protected, address: entry.into(), registers };
    let constant = super::elf::constant(image.bytes);
    Ok(Loaded { kind: Kind::Pvh, entry, symbols: symbols::of_elf(image)?, no_symbols: None, constant })
}
