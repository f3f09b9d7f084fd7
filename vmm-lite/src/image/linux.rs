//! The Linux boot protocol (Documentation/arch/x86/boot.rst, zero-page.rst): bzImages, and the ELF files inside them.

use std::io::Cursor;

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, screen_info, setup_header};
use linux_loader::loader::{BzImage, KernelLoader as _};
use vm_memory::GuestAddress;

use super::elf::{Class, Placed};
use super::{Handover, ImageFile, Kind, Loaded, ModuleData, kallsyms, place, symbols};
use crate::boot::{Area, BOOT_STACK_TOP, Entry, EntryRegisters, Mode};
use crate::error::{Error, Result};
use crate::firmware::{RSDP, e820};
use crate::memory::Memory;

/// Versions of the boot protocol that brought fields which are needed here.
mod version {
    pub(super) const INITRD_ADDR_MAX: u16 = 0x203;
    pub(super) const CMDLINE_SIZE: u16 = 0x206;
    pub(super) const PREF_ADDRESS: u16 = 0x20a;
    pub(super) const XLOADFLAGS: u16 = 0x20c;
}
/// In `xloadflags`: there is a 64-bit entry, at [`ENTRY_64`].
const XLF_KERNEL_64: u16 = 1;
/// From the load address to the 64-bit entry.
const ENTRY_64: u64 = 0x200;
/// "HdrS".
const MAGIC: u32 = 0x5372_6448;
/// `type_of_loader`: one without a number.
const LOADER: u8 = 0xff;
/// Where an initial RAM disk must end for kernels that do not say (boot.rst, `initrd_addr_max`).
const INITRD_MAX: u32 = 0x37ff_ffff;
/// The longest command line of kernels that do not say, and of today's (`COMMAND_LINE_SIZE`).
const OLD_COMMAND_LINE_BYTES: u32 = 255;
const COMMAND_LINE_BYTES: u32 = 2047;
/// The start of the addresses that a 64-bit kernel is linked for (`__START_KERNEL_map`).
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// The lowest that a 32-bit kernel may be linked for (`CONFIG_VMSPLIT_1G`).
const LOWEST_PAGE_OFFSET: u64 = 0x4000_0000;

/// Loads a bzImage.
pub(super) fn load_bzimage(image: ImageFile<'_>, handover: Handover<'_>, memory: &Memory) -> Result<Loaded> {
    let header = read_header(image, memory)?;
    let wide = header.version >= version::XLOADFLAGS && header.xloadflags & XLF_KERNEL_64 != 0;
    let load = u64::from(header.code32_start);
    let zero_page = hand_over(image, header, kernel_end(image, &header), handover, memory)?;
    let mut loaded = if wide {
        enter(Kind::BzImage64, Mode::Long, load + ENTRY_64, zero_page)
    } else {
        enter(Kind::BzImage32, Mode::Protected, load, zero_page)
    };
    match kallsyms::symbols(image.name, image.bytes) {
        Ok(symbols) => loaded.symbols = symbols,
        Err(error) => loaded.no_symbols = Some(error.to_string()),
    }
    Ok(loaded)
}

/// Whether an ELF file that has been loaded is a Linux kernel: it is linked where those are, and says so.
pub(super) fn is_vmlinux(bytes: &[u8], placed: &Placed) -> bool {
    let lowest = match placed.class {
        Class::Elf64 => START_KERNEL_MAP,
        Class::Elf32 => LOWEST_PAGE_OFFSET,
    };
    placed.highest_gva >= lowest && memchr::memmem::find(bytes, b"Linux version ").is_some()
}

/// Starts the ELF file of a kernel that has been loaded, at the same entry that a bzImage's code jumps to.
pub(super) fn load_vmlinux(
    image: ImageFile<'_>,
    placed: &Placed,
    handover: Handover<'_>,
    memory: &Memory,
) -> Result<Loaded> {
    let header = setup_header {
        header: MAGIC,
        boot_flag: 0xaa55,
        version: version::XLOADFLAGS,
        initrd_addr_max: INITRD_MAX,
        cmdline_size: COMMAND_LINE_BYTES,
        ..setup_header::default()
    };
    let zero_page = hand_over(image, header, placed.end, handover, memory)?;
    let mut loaded = match placed.class {
        Class::Elf64 => enter(Kind::Vmlinux64, Mode::Long, placed.entry, zero_page),
        Class::Elf32 => enter(Kind::Vmlinux32, Mode::Protected, placed.entry, zero_page),
    };
    loaded.symbols = symbols::of_elf(image)?;
    if loaded.symbols.is_empty() {
        match kallsyms::symbols(image.name, image.bytes) {
            Ok(symbols) => loaded.symbols = symbols,
            Err(error) => loaded.no_symbols = Some(error.to_string()),
        }
    }
    Ok(loaded)
}

/// Loads the kernel of a bzImage and returns its setup header, with the load address in `code32_start`.
fn read_header(image: ImageFile<'_>, memory: &Memory) -> Result<setup_header> {
    const CODE32_START: usize = 0x214;
    let start = image.bytes.get(CODE32_START..).and_then(|rest| rest.first_chunk().copied());
    let start = start.map(u32::from_le_bytes).ok_or_else(|| image.damaged("its setup header is cut off"))?;
    place::check(image, start.into(), image.bytes.len() as u64, memory)?;
    let mut file = Cursor::new(image.bytes);
    let loaded = BzImage::load(memory.map(), Some(GuestAddress(start.into())), &mut file, None)
        .map_err(|error| image.damaged(error))?;
    loaded.setup_header.ok_or_else(|| image.damaged("it has no setup header"))
}

/// The first gpa behind what the kernel of a bzImage uses before it knows the memory map.
fn kernel_end(image: ImageFile<'_>, header: &setup_header) -> u64 {
    let load = u64::from(header.code32_start);
    let loaded = load.saturating_add(image.bytes.len() as u64);
    if header.version < version::PREF_ADDRESS {
        return loaded;
    }
    // It unpacks itself to where it prefers to run, or above where it was loaded (boot.rst, `init_size`).
    load.max(header.pref_address).saturating_add(header.init_size.into()).max(loaded)
}

/// Writes the zero page and what it points to; returns its gpa.
fn hand_over(
    image: ImageFile<'_>,
    mut header: setup_header,
    kernel_end: u64,
    handover: Handover<'_>,
    memory: &Memory,
) -> Result<u32> {
    place::check(image, kernel_end, 0, memory)?;
    let mut area = Area::new(memory);
    let longest =
        if header.version >= version::CMDLINE_SIZE { header.cmdline_size } else { OLD_COMMAND_LINE_BYTES };
    header.type_of_loader = LOADER;
    header.cmd_line_ptr = area.text("the guest's command line", handover.command_line, longest as usize)?;
    if let Some(initrd) = initrd(image, handover)? {
        let highest =
            if header.version >= version::INITRD_ADDR_MAX { header.initrd_addr_max } else { INITRD_MAX };
        let size = initrd.bytes.len() as u64;
        let gpa = place::below(image, u64::from(highest) + 1, kernel_end, size, memory)?;
        memory.write(gpa, &initrd.bytes)?;
        // Below 4 GiB, as `highest` is.
        (header.ramdisk_image, header.ramdisk_size) = (gpa as u32, size as u32);
    }
    let mut zero_page =
        boot_params { hdr: header, acpi_rsdp_addr: RSDP, screen_info: text_mode(), ..boot_params::default() };
    let map = e820::memory_map(memory.len());
    zero_page.e820_entries = map.len() as u8;
    let mut table = zero_page.e820_table;
    for (entry, range) in table.iter_mut().zip(&map) {
        *entry = boot_e820_entry { addr: range.start, size: range.len, r#type: range.kind as u32 };
    }
    zero_page.e820_table = table;
    area.value(&zero_page)
}

/// The one module that Linux takes.
fn initrd<'a>(image: ImageFile<'_>, handover: Handover<'a>) -> Result<Option<&'a ModuleData>> {
    match handover.modules {
        [] => Ok(None),
        [initrd] => Ok(Some(initrd)),
        [_, second, ..] => Err(Error::NotTaken {
            name: image.name.to_owned(),
            protocol: "Linux, beside its initial RAM disk",
            what: format!("the module {}", second.name),
        }),
    }
}

/// What a PC's firmware leaves on the screen: mode 3 of a VGA, 80 by 25 cells of 16 lines, nothing on it.
fn text_mode() -> screen_info {
    screen_info {
        orig_video_mode: 3,
        orig_video_cols: 80,
        orig_video_lines: 25,
        orig_video_ega_bx: 3,
        orig_video_isVGA: 1,
        orig_video_points: 16,
        ..screen_info::default()
    }
}

fn enter(kind: Kind, mode: Mode, address: u64, zero_page: u32) -> Loaded {
    let registers =
        EntryRegisters { rsi: zero_page.into(), rsp: BOOT_STACK_TOP, ..EntryRegisters::default() };
    Loaded {
        kind,
        entry: Entry { mode, address, registers }, // A kernel writes to its own code.
        symbols: Vec::new(),
        no_symbols: None,
        constant: Vec::new(),
    }
}
