//! What to run and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::guests::Guest;
use crate::probe::TrapSelection;
use crate::recorder::{OnFull, RecordRegisters};

/// A guest image, by name or by file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// One that comes with vmscope.
    Builtin(&'static Guest),
    /// A file.
    File(PathBuf),
}

impl Image {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Builtin(guest) => guest.name.to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// A file that a boot protocol hands to the guest: an initial RAM disk, or a multiboot module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The file.
    pub path: PathBuf,
    /// The module's own command line, where the protocol has one.
    pub command_line: String,
}

/// A file with symbols: ELF, System.map, or what `nm` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolFile {
    /// The file.
    pub path: PathBuf,
    /// What to add to each address in it (wrapping), in bytes.
    pub offset: u64,
}

/// What `CPUID` offers the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CpuModel {
    /// What the host has, less what calibration found that it cannot run.
    #[default]
    Safe,
    /// All that the host's KVM advertises.
    Host,
}

/// Who plays the interrupt controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Irqchip {
    /// The monitor: every access, IPI and EOI is seen.
    #[default]
    User,
    /// KVM plays the local APICs, the monitor the others: much of what interrupts do happens where the monitor does
    /// not see it, and the trace's header says what ([`trace_format::Header::not_seen`]). Faster.
    ///
    /// KVM halts vCPUs by itself. So a run does not end when every vCPU is halted and nothing can wake one, and a
    /// vCPU's activity is as it was when the vCPU was last interrupted, at a pause say. The timers of KVM's local
    /// APICs go on while the guest is paused. While a vCPU is stepped it takes no interrupts, on hosts whose KVM can
    /// hold them back (`KVM_GUESTDBG_BLOCKIRQ`, Linux 5.15); on others a step may lead into a handler.
    Split,
    /// KVM plays all of them, and the 8254 timer: the same, and accesses to them and their interrupts are not seen
    /// either. The guest's handlers are found at exits, of which there are few then.
    Kernel,
}

/// Everything that determines a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to run.
    pub image: Image,
    /// An initial RAM disk for Linux (one), or modules for multiboot and PVH, in their order.
    pub modules: Vec<Module>,
    /// Where symbols come from besides the image, later ones first.
    pub symbols: Vec<SymbolFile>,
    /// What `CPUID` offers.
    pub cpu: CpuModel,
    /// Who plays the interrupt controllers.
    pub irqchip: Irqchip,
    /// A file (or block device) behind a virtio block device, of whole sectors of 512 bytes. Without permission to write
    /// it the guest can only read it.
    pub disk: Option<PathBuf>,
    /// How many vCPUs, 1 to 16.
    pub vcpus: u8,
    /// Guest memory in bytes.
    pub memory_bytes: u64,
    /// The guest's command line.
    pub append: String,
    /// Which traps to record.
    pub traps: TrapSelection,
    /// When vCPUs' registers are recorded.
    pub registers: RecordRegisters,
    /// What a vCPU does when its ring is full.
    pub on_full: OnFull,
    /// How long the run may take.
    pub timeout: Option<Duration>,
    /// Where to write the trace; nothing is recorded without.
    pub trace: Option<PathBuf>,
    /// Somebody watches the trace grow: it is flushed at 20 Hz. Otherwise it is flushed twice a second, which makes
    /// larger blocks and so fewer bytes an event.
    pub followed: bool,
    /// Begin paused, before the guest's first instruction.
    pub start_paused: bool,
    /// The command that is running, for the trace's header.
    pub command: Vec<String>,
}

impl Config {
    /// How `image` runs when nothing else is said: one vCPU, 64 MiB, every trap recorded, no trace.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self {
            image,
            modules: Vec::new(),
            symbols: Vec::new(),
            cpu: CpuModel::default(),
            irqchip: Irqchip::default(),
            disk: None,
            vcpus: 1,
            memory_bytes: 64 << 20,
            append: String::new(),
            traps: TrapSelection::ALL,
            registers: RecordRegisters::Never,
            on_full: OnFull::Wait,
            timeout: None,
            trace: None,
            followed: false,
            start_paused: false,
            command: Vec::new(),
        }
    }
}
