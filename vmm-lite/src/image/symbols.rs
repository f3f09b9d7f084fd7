//! Names for addresses, from a guest's image and from files beside it.

use std::path::Path;

use object::{Object, ObjectSymbol, SymbolKind};
use trace_format::header::Symbol;

use super::{kallsyms, read_file, unpack};
use crate::config::SymbolFile;
use crate::error::{Error, Result};

/// The functions, objects and labels of an ELF file that has them, sorted; a file without symbols is no error.
pub(super) fn of_elf(bytes: &[u8]) -> Vec<Symbol> {
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
            Some(symbol(s.address(), s.size(), name))
        })
        .collect();
    symbols.sort();
    symbols
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
    if super::elf::class(&bytes).is_some() || unpack::is_bzimage(&bytes) {
        let symbols = of_elf(&bytes);
        return if symbols.is_empty() { kallsyms::symbols(&name, &bytes) } else { Ok(symbols) };
    }
    let text = String::from_utf8_lossy(&bytes);
    let symbols: Vec<Symbol> = text.lines().filter_map(of_line).collect();
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
fn of_line(line: &str) -> Option<Symbol> {
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
    (!matches!(kind, 'U' | 'u' | 'N' | 'a' | 'A' | '-')).then(|| symbol(address, size, name))
}

fn symbol(address: u64, size: u64, name: &str) -> Symbol {
    Symbol { address, size, name: format!("{:#}", rustc_demangle::demangle(name)) }
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
        let of = |line| of_line(line).map(|s| (s.address, s.size, s.name));
        assert_eq!(of("ffffffff81000000 T _stext"), Some((0xffff_ffff_8100_0000, 0, "_stext".into())));
        assert_eq!(of("1000 20 t a [module]"), Some((0x1000, 0x20, "a".into())));
        assert_eq!(of("1000 d _ZN3foo3barE"), Some((0x1000, 0, "foo::bar".into())));
        for line in ["", "1000", "1000 T", "                 U memcpy", "xyz T a", "1000 A a", "1000 2g T a"]
        {
            assert_eq!(of(line), None, "{line}");
        }
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
