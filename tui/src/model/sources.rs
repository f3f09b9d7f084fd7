//! Where instructions come from in a program's source: what DWARF in the guest's image tells, and the files themselves
//! where they are here.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, LittleEndian, SectionId};
use object::{CompressionFormat, Object as _, ObjectSection as _, ObjectSymbol as _};
use trace_format::symbols::Symbols;

/// A source file that is longer is not read, bytes.
const LONGEST_FILE: u64 = 16 << 20;
/// How many files are kept at most.
const MOST_FILES: usize = 64;
/// How many symbols are tried for how far the guest has moved itself.
const MOST_TRIED: usize = 64;

type Bytes = EndianArcSlice<LittleEndian>;

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file, as the compiler was given it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// What it says, if the file is here.
    pub text: Option<String>,
}

/// What an image tells of its source.
pub struct Sources {
    context: Context<Bytes>,
    /// How far the guest's code is from where its image has it, bytes.
    slide: u64,
    files: HashMap<String, Option<Arc<[String]>>>,
}

/// Why an image tells nothing.
#[derive(Debug)]
pub enum SourcesError {
    /// It is no ELF file, or is damaged.
    Object(object::Error),
    /// Its DWARF is damaged.
    Dwarf(gimli::Error),
}

impl std::fmt::Display for SourcesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Object(error) => write!(f, "the source lines of the image: {error}"),
            Self::Dwarf(error) => write!(f, "the source lines of the image: its DWARF: {error}"),
        }
    }
}

impl std::error::Error for SourcesError {}

impl Sources {
    /// Those of an image, whose symbols are in the guest where `symbols` has them; `None` if it has none.
    ///
    /// # Errors
    /// If what it has is damaged.
    pub fn of(image: &Arc<[u8]>, symbols: &Symbols) -> Result<Option<Self>, SourcesError> {
        // What is no ELF file has no DWARF: a flat image, a bzImage.
        if !image.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let file = object::File::parse(&**image).map_err(SourcesError::Object)?;
        if file.section_by_name(SectionId::DebugInfo.name()).is_none() {
            return Ok(None);
        }
        let whole = Bytes::new(Arc::clone(image), LittleEndian);
        let dwarf = Dwarf::load(|id| section(&file, &whole, id.name())).map_err(SourcesError::Object)?;
        let slide = slide(&file, symbols);
        let context = Context::from_dwarf(dwarf).map_err(SourcesError::Dwarf)?;
        Ok(Some(Self { context, slide, files: HashMap::new() }))
    }

    /// The line that the instruction at `gva` is of, if that is known.
    ///
    /// # Errors
    /// If the DWARF that tells is damaged.
    pub fn line(&mut self, gva: u64) -> Result<Option<SourceLine>, SourcesError> {
        let found = self.context.find_location(gva.wrapping_sub(self.slide)).map_err(SourcesError::Dwarf)?;
        let Some((file, line)) = found.and_then(|found| Some((found.file?.to_owned(), found.line?))) else {
            return Ok(None);
        };
        let text = self.text(&file, line);
        Ok(Some(SourceLine { file, line, text }))
    }

    fn text(&mut self, file: &str, line: u32) -> Option<String> {
        if !self.files.contains_key(file) && self.files.len() >= MOST_FILES {
            self.files.clear();
        }
        let lines = self.files.entry(file.to_owned()).or_insert_with(|| read(Path::new(file)));
        let at = usize::try_from(line).ok()?.checked_sub(1)?;
        lines.as_ref()?.get(at).cloned()
    }
}

/// The lines of a file; what is none, or cannot be read, is simply not here.
fn read(path: &Path) -> Option<Arc<[String]>> {
    let about = fs::metadata(path).ok()?;
    if !about.is_file() || about.len() > LONGEST_FILE {
        return None;
    }
    let text = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// A section, which shares the image's bytes unless it is compressed.
fn section(file: &object::File<'_>, whole: &Bytes, name: &str) -> Result<Bytes, object::Error> {
    let Some(section) = file.section_by_name(name) else {
        return Ok(Bytes::new(Arc::from([]), LittleEndian));
    };
    let place = section.compressed_file_range()?;
    if place.format != CompressionFormat::None {
        return Ok(Bytes::new(Arc::from(&*section.uncompressed_data()?), LittleEndian));
    }
    let range = usize::try_from(place.offset).ok().and_then(|start| {
        let end = start.checked_add(usize::try_from(place.compressed_size).ok()?)?;
        whole.get(start..end).map(|_| Range { start, end })
    });
    // Where it lies in the file was checked when the section's place was asked for.
    Ok(range.map_or_else(|| Bytes::new(Arc::from([]), LittleEndian), |range| whole.range(range)))
}

/// How far symbols are in the guest from where the file has them: what most of those say that are looked at.
fn slide(file: &object::File<'_>, symbols: &Symbols) -> u64 {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    let distances = file.symbols().filter(object::ObjectSymbol::is_definition).filter_map(|symbol| {
        let address = symbols.address_of(symbol.name().ok()?)?;
        Some(address.wrapping_sub(symbol.address()))
    });
    for distance in distances.take(MOST_TRIED) {
        *counts.entry(distance).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(distance, _)| distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_or_has_no_dwarf_tells_nothing() {
        let symbols = Symbols::default();
        assert!(Sources::of(&Arc::from(*b"flat code"), &symbols).unwrap().is_none());
        let mut elf = Vec::new();
        trace_format::elf::write(&symbols, &mut elf).unwrap();
        assert!(Sources::of(&elf.into(), &symbols).unwrap().is_none());
    }

    #[test]
    fn an_elf_file_cut_short_is_an_error() {
        let error = Sources::of(&Arc::from(*b"\x7fELF\x02\x01\x01"), &Symbols::default());
        assert!(error.is_err_and(|error| error.to_string().starts_with("the source lines of the image: ")));
    }

    #[cfg(feature = "live")]
    mod built_in {
        use super::*;

        fn sources(moved: u64) -> (Sources, u64) {
            let image = crate::live::image("tlb-shootdown").unwrap();
            let file = object::File::parse(image).unwrap();
            let symbols: Symbols = file
                .symbols()
                .filter(|symbol| symbol.is_definition() && symbol.address() != 0)
                .map(|symbol| trace_format::header::Symbol {
                    address: symbol.address() + moved,
                    size: symbol.size(),
                    name: symbol.name().unwrap().to_owned(),
                })
                .collect();
            let main = symbols.address_of("take_part").unwrap();
            (Sources::of(&Arc::from(image), &symbols).unwrap().unwrap(), main)
        }

        #[test]
        fn a_function_has_its_file() {
            let (mut sources, gva) = sources(0);
            let line = sources.line(gva).unwrap().unwrap();
            assert!(line.file.ends_with("guests/tlb-shootdown.c"), "{line:?}");
            assert!(line.line > 1);
            assert_eq!(sources.line(0x10).unwrap(), None);
        }

        #[test]
        fn a_guest_that_has_moved_has_its_lines_where_it_is() {
            let (mut here, gva) = sources(0);
            let (mut there, moved) = sources(0x4000_0000);
            assert_eq!(moved, gva + 0x4000_0000);
            assert_eq!(there.line(moved).unwrap(), here.line(gva).unwrap());
            assert_eq!(there.line(gva).unwrap(), None);
        }

        #[test]
        fn the_text_is_that_of_the_file() {
            let (mut sources, gva) = sources(0);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.c");
            std::fs::write(&path, "one\n\ttwo\n").unwrap();
            assert_eq!(sources.text(path.to_str().unwrap(), 2).as_deref(), Some("\ttwo"));
            assert_eq!(sources.text(path.to_str().unwrap(), 3), None);
            assert_eq!(sources.text("/dev/zero", 1), None);
            assert!(sources.line(gva).is_ok());
        }

        #[test]
        fn damage_anywhere_is_no_panic() {
            let image = crate::live::image("tlb-shootdown").unwrap();
            let (_, gva) = sources(0);
            for at in (0..image.len()).step_by(97) {
                let mut damaged = image.to_vec();
                damaged[at] ^= 0x55;
                if let Ok(Some(mut sources)) = Sources::of(&damaged.into(), &Symbols::default()) {
                    let _ = sources.line(gva);
                }
            }
        }
    }
}
