//! Multiboot 1 (GNU, "Multiboot Specification version 0.6.96").

use super::elf::Placed;
use super::{Handover, ImageFile, Kind, Loaded, place, symbols};
use crate::boot::{Area, Entry, EntryRegisters, Mode};
use crate::error::Result;
use crate::firmware::e820;
use crate::memory::{LOW_END, Memory};

const MAGIC: u32 = 0x1bad_b002;
/// In EAX at the entry.
const BOOTED: u64 = 0x2bad_b002;
/// The header is within so many bytes, aligned to four.
const WITHIN: usize = 8192;
/// Flags that a loader must know, or refuse: the low half.
mod wants {
    pub(super) const KNOWN: u32 = 0b111;
    pub(super) const REQUIRED: u32 = 0xffff;
    /// Load addresses are in the header.
    pub(super) const ADDRESSES: u32 = 1 << 16;
}
/// The longest command line: nothing says, so what has room.
const COMMAND_LINE_BYTES: usize = 16 << 10;
const LOADER: &str = concat!("vmscope ", env!("CARGO_PKG_VERSION"));

/// A multiboot header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where in the file it is.
    offset: u64,
    flags: u32,
    addresses: [u32; 5],
}

impl Header {
    /// Finds the header of an image.
    pub(super) fn find(bytes: &[u8]) -> Option<Self> {
        let words: Vec<u32> = bytes
            .get(..bytes.len().min(WITHIN))?
            .as_chunks()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let at = words.windows(3).position(|window| match *window {
            [MAGIC, flags, checksum] => MAGIC.wrapping_add(flags).wrapping_add(checksum) == 0,
            _ => false,
        })?;
        let word = |n: usize| words.get(at + n).copied().unwrap_or(0);
        Some(Self {
            offset: 4 * at as u64,
            flags: word(1),
            addresses: [word(3), word(4), word(5), word(6), word(7)],
        })
    }

    /// Whether it says where to load the file, so that the file need not be ELF.
    pub(super) const fn has_addresses(&self) -> bool {
        self.flags & wants::ADDRESSES != 0
    }
}

/// Hands over to an ELF file that has been loaded.
pub(super) fn load_elf(
    image: ImageFile<'_>,
    header: Header,
    placed: &Placed,
    handover: Handover<'_>,
    memory: &Memory,
) -> Result<Loaded> {
    start(image, header, placed.entry, placed.end, handover, memory)
}

/// Loads a file by the addresses in its header and hands over to it.
pub(super) fn load_flat(
    image: ImageFile<'_>,
    header: Header,
    handover: Handover<'_>,
    memory: &Memory,
) -> Result<Loaded> {
    let [header_at, load, load_end, bss_end, entry] = header.addresses.map(u64::from);
    let first = (header_at.checked_sub(load))
        .and_then(|before| header.offset.checked_sub(before))
        .ok_or_else(|| image.damaged("its multiboot header is before its load address"))?;
    let rest = image.bytes.get(first as usize..).unwrap_or_default();
    // Zero stands for: to the end of the file, and: no bss.
    let length = match load_end {
        0 => rest.len() as u64,
        end => end
            .checked_sub(load)
            .ok_or_else(|| image.damaged("its multiboot load end is before its start"))?,
    };
    let data = rest
        .get(..length as usize)
        .ok_or_else(|| image.damaged("the file ends before what its multiboot header loads"))?;
    let end = (load + length).max(bss_end);
    place::check(image, load, end - load, memory)?;
    memory.write(load, data)?;
    start(image, header, entry, end, handover, memory)
}

/// Writes the multiboot information and enters.
fn start(
    image: ImageFile<'_>,
    header: Header,
    entry: u64,
    end: u64,
    handover: Handover<'_>,
    memory: &Memory,
) -> Result<Loaded> {
    let unknown = header.flags & wants::REQUIRED & !wants::KNOWN;
    if unknown != 0 {
        return Err(image.unknown(format!(
            "its multiboot header requires features that nobody has defined (flags {unknown:#x})"
        )));
    }
    let info = information(image, end, handover, memory)?;
    let registers = EntryRegisters { rax: BOOTED, rbx: info.into(), ..EntryRegisters::default() };
    let entry = Entry { mode: Mode::Protected, address: entry, registers };
    let constant = super::elf::constant(image.bytes);
    Ok(Loaded { kind: Kind::Multiboot, entry, symbols: symbols::of_elf(image)?, no_symbols: None, constant })
}

/// Writes the information structure (3.3) and what it points to; returns its gpa.
fn information(image: ImageFile<'_>, end: u64, handover: Handover<'_>, memory: &Memory) -> Result<u32> {
    let mut area = Area::new(memory);
    let modules = modules(image, end, handover, &mut area, memory)?;
    let mut map = Vec::new();
    for range in e820::memory_map(memory.len()) {
        map.extend(20_u32.to_le_bytes()); // of the rest of the entry
        map.extend(range.start.to_le_bytes());
        map.extend(range.len.to_le_bytes());
        map.extend((range.kind as u32).to_le_bytes());
    }
    // As GRUB Legacy and QEMU have it: the kernel's name, then its arguments.
    let command_line = format!("{} {}", image.name, handover.command_line);
    let upper = memory.len().min(LOW_END).saturating_sub(e820::TABLES_END);

    /// Fields by their offsets.
    const MEMORY: usize = 4;
    const COMMAND_LINE: usize = 16;
    const MODULES: usize = 20;
    const MAP: usize = 44;
    const LOADER_NAME: usize = 64;
    const FRAMEBUFFER: usize = 88;
    /// Which of them are there: memory, command line, modules, map, loader's name, framebuffer.
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9 | 1 << 12;
    let mut info = [0; 116];
    let mut put = |at: usize, bytes: &[u8]| info[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &FLAGS.to_le_bytes());
    put(MEMORY, &((e820::EBDA >> 10) as u32).to_le_bytes());
    put(MEMORY + 4, &((upper >> 10) as u32).to_le_bytes());
    put(
        COMMAND_LINE,
        &area.text("the guest's command line", &command_line, COMMAND_LINE_BYTES)?.to_le_bytes(),
    );
    put(MODULES, &(modules.len() as u32 / 16).to_le_bytes());
    put(MODULES + 4, &area.bytes(&modules, 4)?.to_le_bytes());
    put(MAP, &(map.len() as u32).to_le_bytes());
    put(MAP + 4, &area.bytes(&map, 4)?.to_le_bytes());
    put(LOADER_NAME, &area.text("the loader's name", LOADER, LOADER.len())?.to_le_bytes());
    // Whatever video mode the header asks for, this is what there is: 80 by 25 cells of text.
    put(FRAMEBUFFER, &e820::TEXT_MEMORY.to_le_bytes());
    put(FRAMEBUFFER + 8, &160_u32.to_le_bytes());
    put(FRAMEBUFFER + 12, &80_u32.to_le_bytes());
    put(FRAMEBUFFER + 16, &25_u32.to_le_bytes());
    put(FRAMEBUFFER + 20, &[16, 2]); // bits of a cell, type "EGA text"
    area.bytes(&info, 8)
}

/// Puts the modules behind the kernel and returns their list.
fn modules(
    image: ImageFile<'_>,
    end: u64,
    handover: Handover<'_>,
    area: &mut Area<'_>,
    memory: &Memory,
) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    let mut end = end;
    for module in handover.modules {
        let size = module.bytes.len() as u64;
        let start = place::above(image, end, size, memory)?;
        memory.write(start, &module.bytes)?;
        end = start + size;
        let line = match module.command_line.as_str() {
            "" => module.name.clone(),
            arguments => format!("{} {arguments}", module.name),
        };
        let line = area.text("a module's command line", &line, COMMAND_LINE_BYTES)?;
        for field in [start as u32, end as u32, line, 0] {
            list.extend(field.to_le_bytes());
        }
    }
    Ok(list)
}
