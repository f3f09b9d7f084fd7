//! Guest images: what they are, where they go, what they call things.

mod elf;
mod kallsyms;
mod unpack;

use std::path::PathBuf;

use trace_format::header::Symbol;

use crate::boot::FLAT_LOAD;
use crate::error::{Error, Result};
use crate::memory::Memory;

/// The end of conventional memory, where a flat image must end.
const FLAT_END: u64 = 0x9_f000;

/// How the first vCPU is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In 64-bit mode at this address.
    LongMode {
        /// gpa and gva.
        address: u64,
    },
    /// In real mode at the place where flat images are loaded.
    RealMode,
}

/// A guest image in guest memory.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// How it starts.
    pub entry: Entry,
    /// Its symbols, sorted by address.
    pub symbols: Vec<Symbol>,
}

/// Reads an image file.
///
/// # Errors
/// When it cannot be read.
pub fn read_file(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::ReadImage { path: path.clone(), source })
}

/// Puts the image `bytes`, called `name`, into `memory`.
///
/// # Errors
/// When its kind is not known, it is damaged, or it does not fit.
pub fn load(name: &str, bytes: &[u8], memory: &Memory) -> Result<Loaded> {
    const ELF_MAGIC: &[u8] = b"\x7fELF";
    const ELF_CLASS_64: u8 = 2;
    if bytes.starts_with(ELF_MAGIC) {
        if bytes.get(4) != Some(&ELF_CLASS_64) {
            return Err(unknown(name, "it is an ELF file, but not a 64-bit one"));
        }
        return elf::load(name, bytes, memory);
    }
    load_flat(name, bytes, memory)
}

/// A flat image is recognized by nothing: it is what is no other kind and fits below the end of conventional memory.
fn load_flat(name: &str, bytes: &[u8], memory: &Memory) -> Result<Loaded> {
    if bytes.is_empty() {
        return Err(unknown(name, "it is empty"));
    }
    let end = FLAT_LOAD + bytes.len() as u64;
    if end > FLAT_END {
        return Err(unknown(
            name,
            "it does not begin with the ELF magic number 7f 45 4c 46, and for a flat 16-bit image, loaded at 0x7c00, it \
             is too large (at most 619520 bytes)",
        ));
    }
    if end > memory.len() {
        return Err(Error::ImageTooLarge { name: name.to_owned(), end, memory: memory.len() });
    }
    memory.write(FLAT_LOAD, bytes)?;
    Ok(Loaded { entry: Entry::RealMode, symbols: Vec::new() })
}

fn unknown(name: &str, looked_for: &str) -> Error {
    Error::UnknownImage { name: name.to_owned(), looked_for: looked_for.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory::new(1 << 20).unwrap()
    }

    #[test]
    fn an_empty_file_is_no_image() {
        assert!(load("x", &[], &memory()).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_large_flat_file_is_no_image() {
        let error = load("x", &vec![0; 700_000], &memory()).unwrap_err().to_string();
        assert!(error.contains("ELF magic") && error.contains("too large"), "{error}");
    }

    #[test]
    fn a_flat_image_goes_where_boot_sectors_go() {
        let memory = memory();
        let loaded = load("x", &[0xf4, 0xeb], &memory).unwrap();
        assert_eq!(loaded.entry, Entry::RealMode);
        assert_eq!(memory.read_value::<u16>(0x7c00).unwrap(), 0xebf4);
    }

    #[test]
    fn a_32_bit_elf_file_is_named_as_such() {
        let error = load("x", b"\x7fELF\x01\x01\x01", &memory()).unwrap_err().to_string();
        assert!(error.contains("64-bit"), "{error}");
    }

    #[test]
    fn a_truncated_elf_file_is_damaged() {
        let error = load("x", b"\x7fELF\x02\x01\x01", &memory()).unwrap_err();
        assert!(matches!(error, Error::DamagedImage { .. }), "{error}");
    }
}
