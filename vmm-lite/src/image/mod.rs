//! Guest images: what they are, where they go, what they are told, what they call things.
//!
//! The kind is recognized from the file ([`Kind`]); each boot protocol is a module: `linux`, `multiboot`, `pvh`,
//! `plain`.

mod elf;
mod kallsyms;
mod linux;
mod multiboot;
mod place;
mod plain;
mod pvh;
mod symbols;
mod unpack;

use std::borrow::Cow;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use trace_format::header::{Stretch, Symbol};

pub use crate::boot::{Entry, EntryRegisters, Mode};
use crate::config::Module;
use crate::error::{Error, Result};
use crate::memory::Memory;

pub(crate) use symbols::read as read_symbols;

/// The most that is read of a file, bytes: a disk image or `/dev/zero` is no kernel.
const MOST_BYTES: u64 = 2 << 30;
/// What `gzip` files begin with (RFC 1952, 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What kind of image a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Linux bzImage, entered in 64-bit mode.
    BzImage64,
    /// A Linux bzImage whose kernel has only the 32-bit entry.
    BzImage32,
    /// The ELF file of a 64-bit Linux kernel.
    Vmlinux64,
    /// The ELF file of a 32-bit Linux kernel.
    Vmlinux32,
    /// A kernel with a multiboot 1 header.
    Multiboot,
    /// An ELF file with the note that names a PVH entry.
    Pvh,
    /// Another ELF64 file: one that follows vmscope's own convention.
    Elf64,
    /// Another ELF32 file, likewise.
    Elf32,
    /// 16-bit code as in a boot sector.
    Flat,
}

impl Kind {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BzImage64 => "Linux bzImage, 64-bit entry",
            Self::BzImage32 => "Linux bzImage, 32-bit entry",
            Self::Vmlinux64 => "Linux vmlinux, 64-bit",
            Self::Vmlinux32 => "Linux vmlinux, 32-bit",
            Self::Multiboot => "multiboot kernel",
            Self::Pvh => "PVH kernel",
            Self::Elf64 => "ELF64 image",
            Self::Elf32 => "ELF32 image",
            Self::Flat => "flat 16-bit image",
        }
    }
}

/// A module or initial RAM disk that has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleData {
    /// Its file's name, for messages.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Its own command line.
    pub command_line: String,
}

/// What the guest is given besides its image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handover<'a> {
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Modules, in their order.
    pub modules: &'a [ModuleData],
}

/// A guest image in guest memory.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it is.
    pub kind: Kind,
    /// How it starts.
    pub entry: Entry,
    /// Its symbols, sorted by address.
    pub symbols: Vec<Symbol>,
    /// Why a kernel that should have symbols has none.
    pub no_symbols: Option<String>,
    /// What of the file stays in memory as it is, as far as the file says that it cannot be written.
    pub constant: Vec<Stretch>,
}

/// Reads an image file. One that is compressed by gzip is unpacked, as GRUB does.
///
/// # Errors
/// When it cannot be read or unpacked.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::ReadImage { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.starts_with(GZIP) {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).take(MOST_BYTES).read_to_end(&mut unpacked).map_err(failed)?;
        return Ok(unpacked);
    }
    Ok(bytes)
}

/// Reads modules, as they are, for a guest of `memory` bytes.
///
/// # Errors
/// When one cannot be read, or they are larger than that.
pub fn read_modules(modules: &[Module], memory: u64) -> Result<Vec<ModuleData>> {
    let mut room = memory;
    let mut read = Vec::with_capacity(modules.len());
    for Module { path, command_line } in modules {
        let mut bytes = Vec::new();
        fs::File::open(path)
            // One byte more tells what is too large from what just fits.
            .and_then(|file| file.take(room.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(|source| Error::ReadImage { path: path.clone(), source })?;
        room = room.checked_sub(bytes.len() as u64).ok_or_else(|| Error::ModuleTooLarge {
            path: path.clone(),
            room,
            memory,
        })?;
        read.push(ModuleData { name: path.display().to_string(), bytes, command_line: command_line.clone() });
    }
    Ok(read)
}

/// Puts the image `bytes`, called `name`, into `memory`, and what it is given.
///
/// # Errors
/// When its kind is not known, it is damaged, it does not fit, or it cannot be given something.
pub fn load(name: &str, bytes: &[u8], handover: Handover<'_>, memory: &Memory) -> Result<Loaded> {
    let image = ImageFile { name, bytes };
    if unpack::is_bzimage(bytes) {
        return linux::load_bzimage(image, handover, memory);
    }
    let multiboot = multiboot::Header::find(bytes);
    if let Some(class) = elf::class(bytes) {
        let placed = elf::load(image, class, memory)?;
        if linux::is_vmlinux(bytes, &placed) {
            return linux::load_vmlinux(image, &placed, handover, memory);
        }
        if let Some(header) = multiboot {
            return multiboot::load_elf(image, header, &placed, handover, memory);
        }
        if let Some(entry) = placed.pvh_entry {
            return pvh::load(image, entry, &placed, handover, memory);
        }
        return plain::load_elf(image, &placed, handover);
    }
    if let Some(header) = multiboot.filter(multiboot::Header::has_addresses) {
        return multiboot::load_flat(image, header, handover, memory);
    }
    plain::load_flat(image, handover, memory)
}

/// A file's contents and what it is called.
#[derive(Clone, Copy)]
struct ImageFile<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl ImageFile<'_> {
    fn unknown(self, looked_for: impl Into<Cow<'static, str>>) -> Error {
        Error::UnknownImage { name: self.name.to_owned(), looked_for: looked_for.into().into_owned() }
    }

    fn damaged(self, problem: impl ToString) -> Error {
        Error::DamagedImage { name: self.name.to_owned(), problem: problem.to_string() }
    }

    /// Refuses what `protocol` has no place for.
    fn takes_no_modules(self, protocol: &'static str, handover: Handover<'_>) -> Result<()> {
        match handover.modules.first() {
            None => Ok(()),
            Some(module) => Err(Error::NotTaken {
                name: self.name.to_owned(),
                protocol,
                what: format!("the module {}", module.name),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
