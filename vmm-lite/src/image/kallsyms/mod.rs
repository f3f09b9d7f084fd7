//! The symbols that a Linux kernel carries for its own stack traces: kallsyms (`CONFIG_KALLSYMS`).
//!
//! `scripts/kallsyms.c` writes them into `.rodata` when a kernel is linked, so that they are there when `.symtab` has
//! been stripped, as in every bzImage. Nothing says where: the tables are found by what is in them. Since Linux 4.6:
//!
//! ```text
//!  until 6.3                 since 6.4                 since 7.0
//!  offsets or addresses      num_syms                  num_syms
//!  [relative_base]           names                     names
//!  num_syms                  markers                   markers
//!  names                     token_table               token_table
//!  markers                   token_index               token_index
//!  [seqs_of_names]           offsets or addresses      offsets, relative to themselves
//!  token_table               [relative_base]           seqs_of_names
//!  token_index               seqs_of_names
//! ```
//!
//! each aligned like a pointer, since 7.0 to four bytes. [`tokens`] are found first, they look like nothing else; then
//! backwards from them [`names`], which the markers prove; then [`addresses`] at either end.

mod addresses;
mod names;
#[cfg(test)]
mod tests;
mod tokens;

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};
use trace_format::header::Symbol;

use super::symbols::Table;
use super::unpack;
use crate::error::{Error, Result};

/// The symbols of the Linux kernel `file`, called `name`: a bzImage or a vmlinux. Sorted by address, of several names
/// for one address the one that the kernel prefers last and alone with a size.
///
/// # Errors
/// When a bzImage cannot be unpacked, or the kernel has no kallsyms tables, or too many symbols.
pub(super) fn symbols(name: &str, file: &[u8]) -> Result<Vec<Symbol>> {
    let unpacked;
    let vmlinux = if unpack::is_bzimage(file) {
        unpacked = unpack::vmlinux(name, file)?;
        &unpacked
    } else {
        file
    };
    decode(name, vmlinux).unwrap_or_else(|| Err(Error::NoKallsyms { name: name.to_owned() }))
}

fn decode(name: &str, vmlinux: &[u8]) -> Option<Result<Vec<Symbol>>> {
    let image = Image::parse(vmlinux)?;
    // A file may be made so that much of it looks like tables.
    let mut patience = Patience(1 << 28);
    tokens::find(&image).find_map(|tokens| {
        let names = names::find(&image, &tokens, &mut patience)?;
        let addresses = addresses::find(&image, &tokens, &names)?;
        Some(collect(name, &image, &tokens, &names, &addresses))
    })
}

/// Joins names and addresses, which are sorted.
fn collect(
    file: &str,
    image: &Image<'_>,
    tokens: &tokens::Tokens<'_>,
    names: &names::Names,
    addresses: &[u64],
) -> Result<Vec<Symbol>> {
    let mut table = Table::new(file);
    let mut all = names.iter(image, tokens).zip(addresses.iter().copied()).peekable();
    let mut aliases = Vec::new();
    while let Some((name, address)) = all.next() {
        if address >= image.lowest_address() && !is_noise(&name) {
            aliases.push(name);
        }
        // A symbol reaches to the next address that has a name, as for `kallsyms_lookup_size_offset`.
        let next = all.peek().map(|(_, next)| *next);
        if next == Some(address) {
            continue;
        }
        // The kernel shows the first alias (`compare_symbols` put it there), the trace's readers the last.
        let size = next.map_or(0, |next| next - address);
        let preferred = aliases.len().saturating_sub(1);
        for (i, name) in aliases.drain(..).rev().enumerate() {
            table.push(address, if i == preferred { size } else { 0 }, &name)?;
        }
    }
    Ok(table.into_symbols())
}

/// Whether a symbol is there for the build and the module loader, and names no code or data that anybody looks for.
fn is_noise(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["__ksymtab_", "__kstrtab_", "__kstrtabns_", "__crc_", "__pfx_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// How many more positions and names the search looks at: under a second's worth in all.
struct Patience(u32);

impl Patience {
    /// `None` at the end of it.
    fn spend(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

/// A little-endian ELF file of 32 or 64 bits.
struct Image<'a> {
    bytes: &'a [u8],
    /// Size of a pointer: 4 or 8.
    word: usize,
    segments: Vec<Segment>,
}

struct Segment {
    offset: u64,
    file_size: u64,
    gva: u64,
    size: u64,
}

impl<'a> Image<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        match object::FileKind::parse(bytes).ok()? {
            object::FileKind::Elf64 => Self::parse_as::<elf::FileHeader64<Endianness>>(bytes, 8),
            object::FileKind::Elf32 => Self::parse_as::<elf::FileHeader32<Endianness>>(bytes, 4),
            _ => None,
        }
    }

    fn parse_as<Elf: FileHeader<Endian = Endianness>>(bytes: &'a [u8], word: usize) -> Option<Self> {
        let header = Elf::parse(bytes).ok()?;
        let endian = header.endian().ok().filter(|endian| *endian == Endianness::Little)?;
        let segments = header
            .program_headers(endian, bytes)
            .ok()?
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .map(|segment| Segment {
                offset: segment.p_offset(endian).into(),
                file_size: segment.p_filesz(endian).into(),
                gva: segment.p_vaddr(endian).into(),
                size: segment.p_memsz(endian).into(),
            })
            .collect();
        Some(Self { bytes, word, segments })
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// The unsigned number of `size` bytes, 4 or 8.
    fn uint(&self, at: usize, size: usize) -> Option<u64> {
        if size == 4 { self.u32(at).map(u64::from) } else { self.array(at).map(u64::from_le_bytes) }
    }

    /// Where the byte at offset `at` of the file is when the kernel runs.
    fn gva_of(&self, at: usize) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = (at as u64).checked_sub(segment.offset).filter(|n| *n < segment.file_size)?;
            Some(segment.gva.wrapping_add(within))
        })
    }

    /// Whether `gva` is in the kernel.
    fn holds(&self, gva: u64) -> bool {
        self.segments.iter().any(|segment| gva.wrapping_sub(segment.gva) < segment.size)
    }

    /// Below it is user space: what has such an address is an offset into the per-CPU area.
    fn lowest_address(&self) -> u64 {
        // With CONFIG_VMSPLIT_1G a 32-bit kernel begins at 1 GiB.
        if self.word == 8 { 0xffff_8000_0000_0000 } else { 0x4000_0000 }
    }
}
