//! Names for addresses, from a guest's image and from files beside it.

use std::fmt::{self, Write as _};
use std::path::Path;

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHN_XINDEX, SHT_SYMTAB, STT_FUNC, STT_NOTYPE, STT_OBJECT};
use object::read::elf::{FileHeader, SectionHeader as _, Sym as _};
use trace_format::header::Symbol;

use super::elf::Class;
use super::{ImageFile, elf, kallsyms, read_file, unpack};
use crate::config::SymbolFile;
use crate::error::{Error, Result};

/// More symbols a trace does not hold (FORMAT.md).
pub(super) const MOST: usize = 1 << 20;
/// The most bytes of all names together, likewise.
pub(super) const MOST_NAMES: usize = 32 << 20;
/// The longest name, bytes: what is behind that nobody reads. As `KSYM_NAME_LEN`.
const LONGEST_NAME: usize = 512;

/// Symbols of one file as they are found. A small file can name a lot: many symbols may share one long name, and a
/// mangled name may say the same over and over.
pub(super) struct Table<'n> {
    /// The file's name.
    name: &'n str,
    symbols: Vec<Symbol>,
    /// Bytes that are left for names.
    room: usize,
}

impl<'n> Table<'n> {
    pub(super) const fn new(name: &'n str) -> Self {
        Self { name, symbols: Vec::new(), room: MOST_NAMES }
    }

    /// Adds a symbol; `name` is mangled or not.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn push(&mut self, address: u64, size: u64, name: &str) -> Result<()> {
        let name = readable(name);
        let room = self.room.checked_sub(name.len()).filter(|_| self.symbols.len() < MOST);
        self.room = room.ok_or_else(|| Error::TooManySymbols { name: self.name.to_owned() })?;
        self.symbols.push(Symbol { address, size, name });
        Ok(())
    }

    pub(super) fn into_symbols(self) -> Vec<Symbol> {
        self.symbols
    }
}

/// The functions, objects and labels of an ELF file that has them, sorted; a file without symbols is no error.
///
/// # Errors
/// When there are too many.
pub(super) fn of_elf(image: ImageFile<'_>) -> Result<Vec<Symbol>> {
    match elf::class(image.bytes) {
        Some(Class::Elf32) => of_elf_as::<FileHeader32<Endianness>>(image),
        Some(Class::Elf64) => of_elf_as::<FileHeader64<Endianness>>(image),
        None => Ok(Vec::new()),
    }
}

fn of_elf_as<Elf: FileHeader<Endian = Endianness>>(image: ImageFile<'_>) -> Result<Vec<Symbol>> {
    let tables = || {
        let header = Elf::parse(image.bytes)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, image.bytes)?;
        let symbols = sections.symbols(endian, image.bytes, SHT_SYMTAB)?;
        let strings = sections.section(symbols.string_section())?.data(endian, image.bytes)?;
        Ok::<_, object::Error>((endian, symbols, strings))
    };
    let Ok((endian, symbols, strings)) = tables() else { return Ok(Vec::new()) };
    let mut table = Table::new(image.name);
    for symbol in symbols.iter() {
        let section = symbol.st_shndx(endian);
        let defined = !section.is_special() || section == SHN_XINDEX;
        if !defined || !matches!(symbol.st_type(), STT_FUNC | STT_OBJECT | STT_NOTYPE) {
            continue;
        }
        // Not `Sym::name`, which looks for the end of a name however far it is.
        let bytes = strings.get(symbol.st_name(endian) as usize..).unwrap_or_default();
        let bytes = bytes.get(..=LONGEST_NAME).unwrap_or(bytes);
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.is_empty() {
            let (address, size) = (symbol.st_value(endian).into(), symbol.st_size(endian).into());
            table.push(address, size, &String::from_utf8_lossy(name))?;
        }
    }
    let mut symbols = table.into_symbols();
    symbols.sort();
    Ok(symbols)
}

/// Adds what `files` name to `symbols`. Where several name one address the last one counts.
///
/// # Errors
/// When a file cannot be read, or has no symbols in a form that is known.
pub(crate) fn read(mut symbols: Vec<Symbol>, files: &[SymbolFile]) -> Result<Vec<Symbol>> {
    for SymbolFile { path, offset } in files {
        let mut more = of_file(path)?;
        for symbol in &mut more {
            symbol.address = symbol.address.wrapping_add(*offset);
        }
        more.sort();
        symbols.retain(|symbol| more.binary_search_by_key(&symbol.address, |new| new.address).is_err());
        symbols.extend(more);
    }
    symbols.sort();
    Ok(symbols)
}

fn of_file(path: &Path) -> Result<Vec<Symbol>> {
    let bytes = read_file(path)?;
    let name = path.display().to_string();
    if elf::class(&bytes).is_some() || unpack::is_bzimage(&bytes) {
        let symbols = of_elf(ImageFile { name: &name, bytes: &bytes })?;
        return if symbols.is_empty() { kallsyms::symbols(&name, &bytes) } else { Ok(symbols) };
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut table = Table::new(&name);
    for (address, size, name) in text.lines().filter_map(of_line) {
        table.push(address, size, name)?;
    }
    let symbols = table.into_symbols();
    if symbols.is_empty() {
        return Err(Error::NoSymbols { name });
    }
    Ok(symbols)
}

/// A line of a System.map, of `/proc/kallsyms`, or of what `nm` prints, with sizes (`-S`) or without:
///
/// ```text
/// ffffffff81000000 T _stext
/// ffffffff81000000 0000000000000041 T _stext
/// ```
///
/// Undefined, debugging and absolute symbols name no code or data.
fn of_line(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut word = words.next()?;
    let mut size = 0;
    if word.len() > 1 {
        size = u64::from_str_radix(word, 16).ok()?;
        word = words.next()?;
    }
    let kind = word.chars().next().filter(|_| word.len() == 1)?;
    let name = words.next()?;
    (!matches!(kind, 'U' | 'u' | 'N' | 'a' | 'A' | '-')).then_some((address, size, name))
}

/// A name for people: demangled, and cut if it is very long.
fn readable(name: &str) -> String {
    /// Takes as much as there is room for.
    struct Short(String);

    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let Self(short) = self;
            let end = text.floor_char_boundary(LONGEST_NAME - short.len());
            short.push_str(&text[..end]);
            // Whoever writes is not to go on for what nobody keeps.
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }

    let mut short = Short(String::new());
    // What is not taken is cut off.
    let _ = if name.len() > LONGEST_NAME {
        short.write_str(name)
    } else {
        write!(short, "{:#}", rustc_demangle::demangle(name))
    };
    short.0
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn lines_of_every_form() {
        assert_eq!(of_line("ffffffff81000000 T _stext"), Some((0xffff_ffff_8100_0000, 0, "_stext")));
        assert_eq!(of_line("1000 20 t a [module]"), Some((0x1000, 0x20, "a")));
        for line in ["", "1000", "1000 T", "                 U memcpy", "xyz T a", "1000 A a", "1000 2g T a"]
        {
            assert_eq!(of_line(line), None, "{line}");
        }
    }

    /// A number above 0 as mangled names have it, without the `_` behind it (RFC 2603).
    fn base_62(number: usize) -> String {
        let digits = [number.wrapping_sub(1) / 62, number.wrapping_sub(1) % 62].map(|digit| {
            let digits = (b'0'..=b'9').chain(b'a'..=b'z').chain(b'A'..=b'Z');
            char::from(digits.clone().nth(digit).unwrap())
        });
        digits.into_iter().skip_while(|digit| *digit == '0').collect()
    }

    /// An ELF64 file of `count` functions that share a name of `length` bytes.
    fn elf_of(count: usize, length: usize) -> Vec<u8> {
        let mut file = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0].to_vec();
        file.resize(64, 0);
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &[2, 0, 62, 0, 1]);
        put(40, &64_u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 2]);
        let (symbols, names) = (64 * 4, 64 * 4 + 24 * count);
        file.resize(symbols, 0);
        // Of types SHT_SYMTAB and SHT_STRTAB; the first names the second, which is section 2.
        for (n, words) in
            [(2_u64, symbols, 24 * count, 24_u64), (3, names, length + 1, 0)].into_iter().enumerate()
        {
            let (kind, offset, size, entry) = words;
            let words = [kind << 32, 0, 0, offset as u64, size as u64, 2, 0, entry];
            let header = 64 * (2 + n);
            file[header..header + 64].copy_from_slice(&words.map(u64::to_le_bytes).concat());
        }
        // A global function in section 1.
        file.extend([0x12_u64 << 32 | 1 << 48, 0x1000, 1].map(u64::to_le_bytes).concat().repeat(count));
        file.extend(b"x".repeat(length));
        file.push(0);
        file
    }

    #[test]
    fn names_that_symbols_share_are_not_multiplied_without_bound() {
        let of = |bytes: &[u8]| of_elf(ImageFile { name: "k", bytes });
        assert_eq!(of(&elf_of(3, 2)).unwrap()[0], Symbol { address: 0x1000, size: 1, name: "xx".into() });
        let symbols = of(&elf_of(1000, 1 << 20)).unwrap();
        assert_eq!(symbols.len(), 1000);
        assert!(symbols.iter().all(|symbol| symbol.name.len() == LONGEST_NAME));
        let error = of(&elf_of(MOST_NAMES / LONGEST_NAME + 1, 1 << 20)).unwrap_err().to_string();
        assert!(error.starts_with("k has more symbols"), "{error}");
        assert!(of(&elf_of(MOST, 1)).is_ok());
        assert!(matches!(of(&elf_of(MOST + 1, 1)), Err(Error::TooManySymbols { .. })));
    }

    #[test]
    fn names_are_demangled_and_cut() {
        assert_eq!(readable("_ZN3foo3barE"), "foo::bar");
        assert_eq!(readable("_RNvC1a1b"), "a::b");
        let long = "ä".repeat(1000);
        assert_eq!(readable(&long), long[..LONGEST_NAME]);
        assert_eq!(readable(&long[..LONGEST_NAME]), long[..LONGEST_NAME]);
        // Each pair is one of two of the pair before: few bytes that say "u8" 2^30 times.
        let (mut mangled, mut pair) = ("IC1aThhE".to_owned(), 4);
        for _ in 0..30 {
            let back = base_62(pair);
            pair = mangled.len();
            mangled.push_str(&format!("TB{back}_B{back}_E"));
        }
        let short = readable(&format!("_R{mangled}E"));
        assert!(short.starts_with("a::<(u8, u8), ((u8, u8), "), "{short}");
        assert_eq!(short.len(), LONGEST_NAME);
    }

    #[test]
    fn later_files_count_and_offsets_wrap() {
        let (first, second) = (file("1000 T a\n2000 T b\n"), file("1800 T better\n0 T low\n"));
        let files = [
            SymbolFile { path: first.path().to_owned(), offset: 0 },
            SymbolFile { path: second.path().to_owned(), offset: 0x800_u64.wrapping_sub(0) },
        ];
        let own = vec![Symbol { address: 0x2000, size: 8, name: "image".into() }];
        let names: Vec<_> = read(own, &files).unwrap().into_iter().map(|s| (s.address, s.name)).collect();
        let expected = [(0x800, "low"), (0x1000, "a"), (0x2000, "better")];
        assert_eq!(names, expected.map(|(address, name)| (address, name.to_owned())));
    }

    #[test]
    fn a_file_without_symbols_is_an_error() {
        let empty = file("nothing to see\n");
        let files = [SymbolFile { path: empty.path().to_owned(), offset: 0 }];
        let error = read(Vec::new(), &files).unwrap_err().to_string();
        assert!(error.contains("System.map"), "{error}");
    }
}
