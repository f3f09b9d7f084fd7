//! ELF64 images.

use object::elf::{EM_X86_64, ET_EXEC, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol, SymbolKind};
use trace_format::header::Symbol;

use super::{Entry, Loaded, kallsyms, unknown};
use crate::boot::LONG_MODE_LOWEST;
use crate::error::{Error, Result};
use crate::memory::Memory;

/// Loads each segment at its physical address.
pub(super) fn load(name: &str, bytes: &[u8], memory: &Memory) -> Result<Loaded> {
    let damaged = |e: object::Error| Error::DamagedImage { name: name.to_owned(), problem: e.to_string() };
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    if header.e_machine.get(endian) != EM_X86_64 {
        return Err(unknown(name, "it is an ELF file, but not for x86-64"));
    }
    if header.e_type.get(endian) != ET_EXEC {
        return Err(unknown(
            name,
            "it is an ELF file, but not an executable with fixed addresses (link with -no-pie)",
        ));
    }
    let virtual_entry = header.e_entry.get(endian);
    let mut entry = None;
    for segment in header.program_headers(endian, bytes).map_err(damaged)? {
        if segment.p_type(endian) != PT_LOAD || segment.p_memsz(endian) == 0 {
            continue;
        }
        let gpa = segment.p_paddr(endian);
        let size = segment.p_memsz(endian);
        let data = segment.data(endian, bytes).map_err(|()| Error::DamagedImage {
            name: name.to_owned(),
            problem: "a segment is outside the file".to_owned(),
        })?;
        if gpa < LONG_MODE_LOWEST {
            return Err(Error::ImageTooLow { name: name.to_owned(), gpa, lowest: LONG_MODE_LOWEST });
        }
        let end = gpa.saturating_add(size.max(data.len() as u64));
        if end > memory.len() {
            return Err(Error::ImageTooLarge { name: name.to_owned(), end, memory: memory.len() });
        }
        // What is beyond the file's part is zero already: the memory is new.
        memory.write(gpa, data)?;
        let offset = virtual_entry.wrapping_sub(segment.p_vaddr(endian));
        if offset < size {
            entry = Some(gpa + offset);
        }
    }
    let address = entry.ok_or_else(|| Error::DamagedImage {
        name: name.to_owned(),
        problem: format!("its entry {virtual_entry:#x} is in none of its segments"),
    })?;
    Ok(Loaded { entry: Entry::LongMode { address }, symbols: symbols(name, bytes) })
}

/// The functions, objects and labels of an image that has them; an image without symbols is no error.
fn symbols(name: &str, bytes: &[u8]) -> Vec<Symbol> {
    let Ok(file) = object::File::parse(bytes) else { return Vec::new() };
    let mut symbols: Vec<Symbol> = file
        .symbols()
        .filter(|s| {
            s.is_definition()
                && matches!(
                    s.kind(),
                    SymbolKind::Text | SymbolKind::Data | SymbolKind::Label | SymbolKind::Unknown
                )
        })
        .filter_map(|s| {
            let name = s.name().ok().filter(|name| !name.is_empty())?;
            Some(Symbol {
                address: s.address(),
                size: s.size(),
                name: format!("{:#}", rustc_demangle::demangle(name)),
            })
        })
        .collect();
    if symbols.is_empty() {
        return kallsyms::symbols(name, bytes).unwrap_or_default();
    }
    // Of several names for one address the one with a size comes last and is found first.
    symbols.sort_by(|a, b| (a.address, a.size, &a.name).cmp(&(b.address, b.size, &b.name)));
    symbols
}
