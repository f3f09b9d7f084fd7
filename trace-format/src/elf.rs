//! A guest's symbols as an ELF file, for what takes them from one: GDB, perf, addr2line.
//!
//! The file has names and no code. GDB looks for the name of an address only where there is a section, so there is one
//! wherever there are symbols, and none of them has anything in the file (`SHT_NOBITS`).

use std::io::{self, Write};

use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, ELFOSABI_NONE, EM_X86_64, ET_EXEC, EV_CURRENT, FileFlags, FileHeader64,
    Ident, SHF_ALLOC, SHF_EXECINSTR, SHN_UNDEF, SHT_NOBITS, SHT_NULL, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL,
    STB_LOCAL, STT_NOTYPE, SectionFlags, SectionHeader64, SectionType, Sym64, SymbolBind, SymbolInfo,
    SymbolOther, SymbolSection,
};
use object::pod::{bytes_of, bytes_of_slice};
use object::{LittleEndian as LE, U16, U32, U64};

use crate::symbols::Symbols;

/// Names of sections, at the beginning of all names.
const SECTION_NAMES: &[u8] = b"\0.text\0.symtab\0.strtab\0";
const TEXT: u32 = 1;
const SYMTAB: u32 = 7;
const STRTAB: u32 = 15;
/// Symbols with a larger gap between them, bytes, are in two sections.
const GAP: u64 = 1 << 20;
/// The most sections with symbols: all behind are in the last one. ELF has room for some 65 000.
const MOST_SECTIONS: usize = 1000;

/// Writes an x86-64 executable that has `symbols` where the guest has them, [slide](Symbols::slide) included, and
/// nothing else. Their type is `STT_NOTYPE`, as traces do not tell code from data; a control character in a name is `?`.
///
/// # Errors
///
/// When `out` cannot be written to, or all names together exceed 4 GiB.
pub fn write(symbols: &Symbols, out: &mut impl Write) -> io::Result<()> {
    let mut placed: Vec<_> = symbols.placed().collect();
    placed.sort_by_key(|(address, ..)| *address);

    let mut sections: Vec<Section> = Vec::new();
    let mut names = SECTION_NAMES.to_vec();
    let mut table = symbol(0, STB_LOCAL, SHN_UNDEF, 0, 0);
    for (address, size, name) in placed {
        let last = address.saturating_add(size.saturating_sub(1));
        let full = sections.len() == MOST_SECTIONS;
        match sections.last_mut() {
            Some(section) if full || address.saturating_sub(section.last) <= GAP => {
                section.last = section.last.max(last);
            }
            _ => sections.push(Section { first: address, last }),
        }
        let offset = u32::try_from(names.len()).map_err(io::Error::other)?;
        let shown = name.chars().map(|c| if c.is_control() { '?' } else { c });
        names.extend(shown.collect::<String>().as_bytes());
        names.push(0);
        // Section 0 is none.
        let section = SymbolSection(sections.len() as u16);
        table.extend(symbol(offset, STB_GLOBAL, section, address, size));
    }

    // In the file: the header, the symbols, the names, and what tells of sections.
    let table_offset = size_of::<FileHeader64<LE>>() as u64;
    let names_offset = table_offset + table.len() as u64;
    let padding = names.len().next_multiple_of(8) - names.len();
    let headers_offset = names_offset + (names.len() + padding) as u64;
    let strtab = sections.len() as u16 + 2;
    let mut headers = vec![header(0, SHT_NULL, 0, 0)];
    headers.extend(sections.iter().map(|section| section.header(table_offset)));
    headers.push(SectionHeader64 {
        sh_link: U32::new(LE, strtab.into()),
        // The first that is not local.
        sh_info: U32::new(LE, 1),
        sh_entsize: U64::new(LE, size_of::<Sym64<LE>>() as u64),
        ..header(SYMTAB, SHT_SYMTAB, table_offset, table.len() as u64)
    });
    headers.push(header(STRTAB, SHT_STRTAB, names_offset, names.len() as u64));

    // GDB complains of an entry point that is in no section.
    let entry = sections.first().map_or(0, |section| section.first);
    out.write_all(bytes_of(&file_header(entry, headers_offset, strtab)))?;
    out.write_all(&table)?;
    out.write_all(&names)?;
    out.write_all(&[0; 8][..padding])?;
    out.write_all(bytes_of_slice(&headers))
}

/// Where there are symbols: from the first byte of the first to the last of the last.
struct Section {
    first: u64,
    last: u64,
}

impl Section {
    /// `offset` is where its bytes would be in the file.
    fn header(&self, offset: u64) -> SectionHeader64<LE> {
        let size = (self.last - self.first).saturating_add(1);
        SectionHeader64 {
            sh_flags: U64::new(LE, SHF_ALLOC | SHF_EXECINSTR),
            sh_addr: U64::new(LE, self.first),
            ..header(TEXT, SHT_NOBITS, offset, size)
        }
    }
}

fn header(name: u32, kind: SectionType, offset: u64, size: u64) -> SectionHeader64<LE> {
    SectionHeader64 {
        sh_name: U32::new(LE, name),
        sh_type: U32::new(LE, kind),
        sh_flags: U64::new(LE, SectionFlags(0)),
        sh_addr: U64::new(LE, 0),
        sh_offset: U64::new(LE, offset),
        sh_size: U64::new(LE, size),
        sh_link: U32::new(LE, 0),
        sh_info: U32::new(LE, 0),
        sh_addralign: U64::new(LE, 1),
        sh_entsize: U64::new(LE, 0),
    }
}

/// The bytes of a symbol whose name is at `name` of all names.
fn symbol(name: u32, binding: SymbolBind, section: SymbolSection, address: u64, size: u64) -> Vec<u8> {
    let symbol = Sym64 {
        st_name: U32::new(LE, name),
        st_info: SymbolInfo::new(binding, STT_NOTYPE),
        st_other: SymbolOther(0),
        st_shndx: U16::new(LE, section),
        st_value: U64::new(LE, address),
        st_size: U64::new(LE, size),
    };
    bytes_of(&symbol).to_vec()
}

/// The head of a file whose section headers begin at `sections`, and in which section `strtab`, the last, has the names.
fn file_header(entry: u64, sections: u64, strtab: u16) -> FileHeader64<LE> {
    FileHeader64 {
        e_ident: Ident {
            magic: ELFMAG,
            class: ELFCLASS64,
            data: ELFDATA2LSB,
            version: EV_CURRENT,
            os_abi: ELFOSABI_NONE,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: U16::new(LE, ET_EXEC),
        e_machine: U16::new(LE, EM_X86_64),
        e_version: U32::new(LE, EV_CURRENT.0.into()),
        e_entry: U64::new(LE, entry),
        e_phoff: U64::new(LE, 0),
        e_shoff: U64::new(LE, sections),
        e_flags: U32::new(LE, FileFlags(0)),
        e_ehsize: U16::new(LE, size_of::<FileHeader64<LE>>() as u16),
        e_phentsize: U16::new(LE, 0),
        e_phnum: U16::new(LE, 0),
        e_shentsize: U16::new(LE, size_of::<SectionHeader64<LE>>() as u16),
        e_shnum: U16::new(LE, strtab + 1),
        e_shstrndx: U16::new(LE, SymbolSection(strtab)),
    }
}

#[cfg(test)]
mod tests {
    use object::read::elf::{ElfFile64, Sym as _};
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    use super::*;
    use crate::symbols::Symbol;

    const KERNEL: u64 = 0xffff_ffff_8100_0000;

    fn file(symbols: &[(u64, u64, &str)], slide: u64) -> Vec<u8> {
        let symbols =
            symbols.iter().map(|&(address, size, name)| Symbol { address, size, name: name.into() });
        let mut symbols: Symbols = symbols.collect();
        symbols.set_slide(slide);
        let mut file = Vec::new();
        write(&symbols, &mut file).unwrap();
        file
    }

    /// Name, address and section of every symbol.
    fn symbols(file: &ElfFile64<'_, LE>) -> Vec<(String, u64, u16)> {
        let of = |symbol: object::read::elf::ElfSymbol64<'_, '_, LE>| {
            let section = symbol.elf_symbol().st_shndx(LE).0;
            (symbol.name().unwrap().to_owned(), symbol.address(), section)
        };
        file.symbols().map(of).collect()
    }

    #[test]
    fn symbols_are_where_the_guest_has_them() {
        let bytes = file(
            &[(0x40_0000, 0x20, "main"), (KERNEL, 0x10, "_stext"), (KERNEL + 0x1000, 0, "label\0\u{1b}[m")],
            0x200_0000,
        );
        let file = ElfFile64::<LE>::parse(&*bytes).unwrap();
        assert_eq!(
            symbols(&file),
            [
                ("main".into(), 0x40_0000, 1),
                ("_stext".into(), KERNEL + 0x200_0000, 2),
                ("label??[m".into(), KERNEL + 0x200_1000, 2)
            ]
        );
        let sections: Vec<_> = file.sections().map(|s| (s.name().unwrap(), s.address(), s.size())).collect();
        assert_eq!(sections[..2], [(".text", 0x40_0000, 0x20), (".text", KERNEL + 0x200_0000, 0x1001)]);
        assert_eq!(sections.len(), 4);
    }

    #[test]
    fn anything_in_a_trace_is_written() {
        let far: Vec<_> = (0..70_000).map(|n| (n << 32, u64::MAX, "x")).collect();
        for (table, count) in [
            (&[][..], 0),
            (&[(0, u64::MAX, ""), (1 << 63, 1, "a"), (u64::MAX, u64::MAX, "b")], 3),
            (&far, 70_000),
        ] {
            for slide in [0, u64::MAX] {
                let bytes = file(table, slide);
                let file = ElfFile64::<LE>::parse(&*bytes).unwrap();
                let lost = usize::from(count == 3 && slide != 0);
                assert_eq!(symbols(&file).len(), count - lost);
            }
        }
        let far: Vec<_> = far.iter().map(|(address, ..)| (*address, 1, "x")).collect();
        let bytes = file(&far, 0);
        let sections = ElfFile64::<LE>::parse(&*bytes).unwrap().sections().count();
        assert_eq!(sections, MOST_SECTIONS + 2);
    }
}
