//! Images without a boot protocol of their own: ELF files that follow vmscope's convention
//! (`guests/runtime/vmscope.h`), and flat 16-bit code.

use super::elf::{Class, Placed};
use super::{Handover, ImageFile, Kind, Loaded};
use crate::boot::{BOOT_INFO, BOOT_STACK_TOP, Entry, EntryRegisters, FLAT_LOAD, Mode};
use crate::error::{Error, Result};
use crate::firmware::e820;
use crate::memory::Memory;

/// Enters an ELF file in the mode of its class, the boot information's address in RDI or EDI.
pub(super) fn load_elf(image: ImageFile<'_>, placed: &Placed, handover: Handover<'_>) -> Result<Loaded> {
    image.takes_no_modules("an ELF image without a multiboot header or PVH note", handover)?;
    let (kind, mode) = match placed.class {
        Class::Elf64 => (Kind::Elf64, Mode::Long),
        Class::Elf32 => (Kind::Elf32, Mode::Protected),
    };
    let registers = EntryRegisters { rdi: BOOT_INFO, rsp: BOOT_STACK_TOP, ..EntryRegisters::default() };
    let entry = Entry { mode, address: placed.entry, registers };
    let constant = super::elf::constant(image.bytes);
    Ok(Loaded { kind, entry, symbols: super::symbols::of_elf(image)?, no_symbols: None, constant })
}

/// A flat image is recognized by nothing: it is what is no other kind and fits below the end of conventional memory.
pub(super) fn load_flat(image: ImageFile<'_>, handover: Handover<'_>, memory: &Memory) -> Result<Loaded> {
    if image.bytes.is_empty() {
        return Err(image.unknown("it is empty"));
    }
    if let Some(what) = well_known(image.bytes) {
        return Err(image.unknown(what));
    }
    let end = FLAT_LOAD + image.bytes.len() as u64;
    if end > e820::EBDA {
        return Err(image.unknown(format!(
            "it has no Linux setup header (HdrS at 0x202), does not begin with the ELF magic number 7f 45 4c 46, has no \
             multiboot header with load addresses in its first 8 KiB, and for a flat 16-bit image, loaded at \
             {FLAT_LOAD:#x}, it is too large (at most {} bytes)",
            e820::EBDA - FLAT_LOAD
        )));
    }
    if end > memory.len() {
        return Err(Error::ImageTooLarge { name: image.name.to_owned(), end, memory: memory.len() });
    }
    image.takes_no_modules("a flat 16-bit image", handover)?;
    memory.write(FLAT_LOAD, image.bytes)?;
    let registers = EntryRegisters { rsp: FLAT_LOAD, ..EntryRegisters::default() };
    let entry = Entry { mode: Mode::Real, address: FLAT_LOAD, registers };
    Ok(Loaded { kind: Kind::Flat, entry, symbols: Vec::new(), no_symbols: None, constant: Vec::new() })
}

/// What else people hand to a monitor, by how it begins, and what to do about it.
fn well_known(bytes: &[u8]) -> Option<&'static str> {
    const MULTIBOOT2: [u8; 4] = 0xe852_50d6_u32.to_le_bytes();
    /// The header is in the first 32 KiB, aligned to 8 bytes (Multiboot2 Specification, 3.1).
    const MULTIBOOT2_WITHIN: usize = 32 << 10;
    const BEGINNINGS: [(&[u8], &str); 9] = [
        (b"\xfd7zXZ\0", "it is compressed by xz: unpack it (unxz) and run what comes out"),
        (b"\x28\xb5\x2f\xfd", "it is compressed by zstd: unpack it (unzstd) and run what comes out"),
        (b"BZh", "it is compressed by bzip2: unpack it (bunzip2) and run what comes out"),
        (b"QFI\xfb", "it is a qcow2 disk image: vmscope boots kernels, not disks (--disk takes a raw image)"),
        (b"KDMV", "it is a VMDK disk image: vmscope boots kernels, not disks (--disk takes a raw image)"),
        (
            b"MZ",
            "it is a PE file without a Linux setup header: EFI programs need firmware, which vmscope has not",
        ),
        (b"070701", "it is a cpio archive: an initial RAM disk goes with --initrd, beside a kernel"),
        (
            b"!<arch>\n",
            "it is an ar archive, a static library or a Debian package: take the kernel out of it",
        ),
        (b"#!", "it is a script"),
    ];
    if let Some((_, what)) = BEGINNINGS.into_iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(what);
    }
    let aligned = bytes.chunks_exact(8).take(MULTIBOOT2_WITHIN / 8);
    let multiboot2 = aligned.filter(|chunk| chunk.starts_with(&MULTIBOOT2)).count() > 0;
    multiboot2
        .then_some("it has a multiboot 2 header: vmscope has multiboot 1, PVH and the Linux boot protocol")
}
