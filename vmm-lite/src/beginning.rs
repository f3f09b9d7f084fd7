//! What is in a machine's memory and on its bus before its first instruction, for when it begins and begins anew.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::{SystemTime, UNIX_EPOCH};

use trace_format::header::ImageFacts;

use crate::boot::{BootInfo, Entry};
use crate::config::{Config, Image, Module};
use crate::devices::{MemorySizes, PortBus};
use crate::error::{Error, Result};
use crate::firmware::{self, Description, VirtioSlot};
use crate::image::{self, Handover, Kind, Loaded, ModuleData};
use crate::irq::Chips;
use crate::memory::{LOW_END, Memory};

/// What a guest is made of, read.
pub(crate) struct Pieces {
    name: String,
    image: Cow<'static, [u8]>,
    modules: Vec<ModuleData>,
}

impl Pieces {
    /// Reads the image and modules of a guest with `memory_bytes` of memory.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn read(image: &Image, modules: &[Module], memory_bytes: u64) -> Result<Self> {
        let modules = image::read_modules(modules, memory_bytes)?;
        let bytes = match image {
            Image::Builtin(guest) => Cow::Borrowed(guest.image),
            Image::File(path) => Cow::Owned(image::read_file(path)?),
        };
        Ok(Self { name: image.name(), image: bytes, modules })
    }

    /// Puts them into memory.
    ///
    /// # Errors
    /// When they are of no known kind, damaged or do not fit.
    pub(crate) fn load(&self, command_line: &str, memory: &Memory) -> Result<Loaded> {
        image::load(&self.name, &self.image, Handover { command_line, modules: &self.modules }, memory)
    }

    /// What the trace's header says of the image, if something of it stays in memory as it is.
    pub(crate) fn facts(&self, loaded: &Loaded) -> Option<ImageFacts> {
        let constant = loaded.constant.clone();
        (!constant.is_empty()).then(|| ImageFacts::of(&self.image, constant))
    }

    /// Tells whether they are the same as at another time, within this process.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for bytes in std::iter::once(&*self.image).chain(self.modules.iter().map(|module| &*module.bytes)) {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        hasher.finish()
    }
}

/// How a machine begins.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    image: Image,
    modules: Vec<Module>,
    append: String,
    vcpus: u8,
    memory_bytes: u64,
    /// Of the pieces that were loaded.
    digest: u64,
    pub(crate) entry: Entry,
    kind: Kind,
    cpu_signature: u32,
    cpu_features: u32,
    slots: Vec<VirtioSlot>,
    x2apic: bool,
    tsc_khz: u64,
}

/// What of a machine's beginning the host decides.
pub(crate) struct Hardware {
    /// What `CPUID` says of the CPU: its signature and features.
    pub(crate) signature: (u32, u32),
    /// Where virtio devices are.
    pub(crate) slots: Vec<VirtioSlot>,
    pub(crate) x2apic: bool,
    pub(crate) tsc_khz: u64,
}

impl Beginning {
    pub(crate) fn new(config: &Config, pieces: &Pieces, loaded: &Loaded, hardware: Hardware) -> Self {
        let Hardware { signature: (cpu_signature, cpu_features), slots, x2apic, tsc_khz } = hardware;
        Self {
            image: config.image.clone(),
            modules: config.modules.clone(),
            append: config.append.clone(),
            vcpus: config.vcpus,
            memory_bytes: config.memory_bytes,
            digest: pieces.digest(),
            entry: loaded.entry,
            kind: loaded.kind,
            cpu_signature,
            cpu_features,
            slots,
            x2apic,
            tsc_khz,
        }
    }

    /// Reads the image and modules again.
    ///
    /// # Errors
    /// When they cannot be read, or are others: the trace has the symbols of the first.
    pub(crate) fn read_again(&self) -> Result<Pieces> {
        let pieces = Pieces::read(&self.image, &self.modules, self.memory_bytes)?;
        if pieces.digest() == self.digest {
            Ok(pieces)
        } else {
            Err(Error::ImageChanged { name: pieces.name })
        }
    }

    /// Puts the image and modules into memory that is all zero, and what goes with them.
    ///
    /// # Errors
    /// When memory is missing.
    pub(crate) fn load(&self, pieces: &Pieces, memory: &Memory) -> Result<()> {
        pieces.load(&self.append, memory)?;
        self.furnish(memory)
    }

    /// Puts firmware tables, boot tables and boot information into memory.
    ///
    /// # Errors
    /// When low memory is missing.
    pub(crate) fn furnish(&self, memory: &Memory) -> Result<()> {
        let description = Description {
            vcpus: self.vcpus,
            cpu_signature: self.cpu_signature,
            cpu_features: self.cpu_features,
            virtio: &self.slots,
        };
        firmware::write(memory, &description)?;
        self.entry.prepare(memory)?;
        // Others have what their boot protocol gives them at the same place.
        if matches!(self.kind, Kind::Elf64 | Kind::Elf32 | Kind::Flat) {
            let info = BootInfo {
                vcpus: self.vcpus,
                x2apic: self.x2apic,
                tsc_khz: self.tsc_khz,
                command_line: &self.append,
            };
            info.write(memory)?;
        }
        Ok(())
    }

    /// The port bus with all its devices, at `now_ns` of the run's clock.
    pub(crate) fn bus(&self, now_ns: u64) -> PortBus {
        let sizes = MemorySizes {
            below_4g: self.memory_bytes.min(LOW_END),
            above_4g: self.memory_bytes.saturating_sub(LOW_END),
        };
        let items = firmware::configuration::items(self.vcpus, self.memory_bytes, &self.append);
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        PortBus::new(self.chips(), sizes, items, unix_ns, now_ns)
    }

    /// The interrupt controllers as firmware leaves them: the lines of virtio devices are level-triggered at the 8259s,
    /// too, as the tables say.
    fn chips(&self) -> Chips {
        /// The ELCRs, which have a bit for each line.
        const PORT_ELCR: [u16; 2] = [0x4d0, 0x4d1];
        // The IOAPIC's id must be none of the local APICs'.
        let mut chips = Chips::new(self.vcpus);
        for (port, levels) in PORT_ELCR.into_iter().zip(level_lines(&self.slots).to_le_bytes()) {
            // Nothing is in service yet that this could end.
            chips.pic.write(port, levels);
        }
        chips
    }
}

#[cfg(test)]
impl Beginning {
    /// That of a built-in guest in 1 MiB, for tests.
    pub(crate) fn of(guest: &str) -> Self {
        let guest = crate::guests::find(guest).unwrap();
        let config = Config { memory_bytes: 1 << 20, ..Config::new(Image::Builtin(guest)) };
        let pieces = Pieces::read(&config.image, &[], 0).unwrap();
        let loaded = pieces.load("", &Memory::new(16 << 20).unwrap()).unwrap();
        let hardware = Hardware { signature: (0, 0), slots: Vec::new(), x2apic: false, tsc_khz: 0 };
        Self::new(&config, &pieces, &loaded, hardware)
    }
}

/// The ISA lines that firmware makes level-triggered, a bit each.
pub(crate) fn level_lines(virtio: &[VirtioSlot]) -> u16 {
    virtio.iter().fold(0, |levels, slot| levels | 1 << (slot.irq & 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of `image` in 1 MiB.
    fn beginning(image: Image) -> (Beginning, Memory) {
        let config = Config { memory_bytes: 4 << 20, append: "words".to_owned(), ..Config::new(image) };
        let memory = Memory::new(config.memory_bytes).unwrap();
        let pieces = Pieces::read(&config.image, &config.modules, config.memory_bytes).unwrap();
        let loaded = pieces.load(&config.append, &memory).unwrap();
        let hardware = Hardware { signature: (1, 2), slots: Vec::new(), x2apic: true, tsc_khz: 1000 };
        let beginning = Beginning::new(&config, &pieces, &loaded, hardware);
        beginning.furnish(&memory).unwrap();
        (beginning, memory)
    }

    fn contents(memory: &Memory) -> Vec<u8> {
        let mut bytes = vec![0; memory.len() as usize];
        memory.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn memory_is_the_same_at_every_beginning() {
        let (beginning, memory) = beginning(Image::Builtin(crate::guests::find("hello").unwrap()));
        let first = contents(&memory);
        memory.write(0x10_0000, &[0xab; 0x1000]).unwrap();
        crate::kvm::clear(&memory).unwrap();
        beginning.load(&beginning.read_again().unwrap(), &memory).unwrap();
        assert!(contents(&memory) == first);
    }

    #[test]
    fn an_image_that_has_changed_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xf4; 512]).unwrap();
        let (beginning, _memory) = beginning(Image::File(file.path().to_owned()));
        assert!(beginning.read_again().is_ok());
        std::fs::write(file.path(), [0x90; 512]).unwrap();
        let Err(error) = beginning.read_again() else { panic!("it has changed") };
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
        std::fs::remove_file(file.path()).unwrap();
        assert!(beginning.read_again().is_err());
    }
}
