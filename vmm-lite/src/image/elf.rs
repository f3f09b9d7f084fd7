//! ELF files of both classes: segments into memory, notes.

use object::LittleEndian;
use object::elf::{
    EM_386, EM_X86_64, ET_EXEC, FileHeader32, FileHeader64, Machine, NoteType, PF_W, PT_LOAD, PT_NOTE,
};
use object::read::elf::{FileHeader, ProgramHeader};
use trace_format::header::Stretch;

use super::{ImageFile, place};
use crate::error::Result;
use crate::memory::Memory;

/// The size of an ELF file's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Elf32,
    Elf64,
}

/// An ELF file whose segments are in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) class: Class,
    /// gpa of its entry.
    pub(super) entry: u64,
    /// The entry as the file names it, a gva.
    pub(super) virtual_entry: u64,
    /// The highest gva of a segment's start.
    pub(super) highest_gva: u64,
    /// The first gpa behind its segments.
    pub(super) end: u64,
    /// gpa of the entry that a PVH note names.
    pub(super) pvh_entry: Option<u32>,
}

/// The class of an ELF file, `None` if it is none.
pub(super) fn class(bytes: &[u8]) -> Option<Class> {
    match bytes {
        [0x7f, b'E', b'L', b'F', 1, ..] => Some(Class::Elf32),
        // A class that does not exist is found to be damaged when the header is read.
        [0x7f, b'E', b'L', b'F', ..] => Some(Class::Elf64),
        _ => None,
    }
}

/// The most stretches that are told of.
const MOST_CONSTANT: usize = 64;

/// What of an ELF file the guest has no permission to write where it is loaded; nothing of a damaged file, or of what is
/// none.
pub(super) fn constant(bytes: &[u8]) -> Vec<Stretch> {
    match class(bytes) {
        Some(Class::Elf32) => constant_of::<FileHeader32<LittleEndian>>(bytes).unwrap_or_default(),
        Some(Class::Elf64) => constant_of::<FileHeader64<LittleEndian>>(bytes).unwrap_or_default(),
        None => Vec::new(),
    }
}

fn constant_of<Elf: FileHeader<Endian = LittleEndian>>(bytes: &[u8]) -> object::Result<Vec<Stretch>> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?.iter();
    let constant = segments.filter(|s| s.p_type(endian) == PT_LOAD && !s.p_flags(endian).contains(PF_W));
    let stretches = constant.map(|segment| Stretch {
        gva: segment.p_vaddr(endian).into(),
        offset: segment.p_offset(endian).into(),
        length: segment.p_filesz(endian).into(),
    });
    Ok(stretches.filter(|stretch| stretch.length > 0).take(MOST_CONSTANT).collect())
}

/// Loads each segment at its physical address.
pub(super) fn load(image: ImageFile<'_>, class: Class, memory: &Memory) -> Result<Placed> {
    match class {
        Class::Elf32 => load_as::<FileHeader32<LittleEndian>>(image, class, &[EM_386, EM_X86_64], memory),
        Class::Elf64 => load_as::<FileHeader64<LittleEndian>>(image, class, &[EM_X86_64], memory),
    }
}

fn load_as<Elf: FileHeader<Endian = LittleEndian>>(
    image: ImageFile<'_>,
    class: Class,
    machines: &[Machine],
    memory: &Memory,
) -> Result<Placed> {
    let damaged = |e: object::Error| image.damaged(e);
    let header = Elf::parse(image.bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    if !machines.contains(&header.e_machine(endian)) {
        return Err(image.unknown("it is an ELF file, but not for x86"));
    }
    if header.e_type(endian) != ET_EXEC {
        return Err(image.unknown(
            "it is an ELF file, but not an executable with fixed addresses (link with -no-pie; a kernel module or an \
             object file must be linked first)",
        ));
    }
    let virtual_entry: u64 = header.e_entry(endian).into();
    let (mut by_gva, mut by_gpa) = (None, None);
    let mut placed = Placed { class, entry: 0, virtual_entry, highest_gva: 0, end: 0, pvh_entry: None };
    // Segments that share their contents or their place could make little of a file a lot of work.
    let (mut notes_left, mut memory_left) = (image.bytes.len() as u64, memory.len());
    for segment in header.program_headers(endian, image.bytes).map_err(damaged)? {
        if segment.p_type(endian) == PT_NOTE {
            notes_left = (notes_left.checked_sub(segment.p_filesz(endian).into()))
                .ok_or_else(|| image.damaged("its notes are larger than the file, all together"))?;
            placed.pvh_entry = pvh_note::<Elf>(segment, endian, image.bytes).or(placed.pvh_entry);
        }
        if segment.p_type(endian) != PT_LOAD || segment.p_memsz(endian).into() == 0 {
            continue;
        }
        let gpa: u64 = segment.p_paddr(endian).into();
        let gva: u64 = segment.p_vaddr(endian).into();
        let data =
            segment.data(endian, image.bytes).map_err(|()| image.damaged("a segment is outside the file"))?;
        let size = segment.p_memsz(endian).into().max(data.len() as u64);
        place::check(image, gpa, size, memory)?;
        memory_left = memory_left.checked_sub(size).ok_or_else(|| {
            image.damaged("its segments overlap: all together they are larger than the guest's memory")
        })?;
        // What is beyond the file's part is zero already: the memory is new.
        memory.write(gpa, data)?;
        placed.end = placed.end.max(gpa + size);
        placed.highest_gva = placed.highest_gva.max(gva);
        let within = |start: u64| Some(virtual_entry.wrapping_sub(start)).filter(|offset| *offset < size);
        by_gva = by_gva.or(within(gva).map(|offset| gpa + offset));
        by_gpa = by_gpa.or(within(gpa).map(|_| virtual_entry));
    }
    // A kernel that is linked high may name its entry by its physical address, as Linux does.
    placed.entry = by_gva
        .or(by_gpa)
        .ok_or_else(|| image.damaged(format!("its entry {virtual_entry:#x} is in none of its segments")))?;
    Ok(placed)
}

/// What the note `XEN_ELFNOTE_PHYS32_ENTRY` says (Xen, docs/misc/pvh.pandoc), if it is in this segment.
fn pvh_note<Elf: FileHeader>(segment: &Elf::ProgramHeader, endian: Elf::Endian, bytes: &[u8]) -> Option<u32> {
    const PHYS32_ENTRY: NoteType = NoteType(18);
    let mut notes = segment.notes(endian, bytes).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY {
            return note.desc().first_chunk().map(|entry| u32::from_le_bytes(*entry));
        }
    }
    None
}
