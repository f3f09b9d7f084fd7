//! What to run and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::guests::Guest;
use crate::probe::TrapSelection;
use crate::recorder::OnFull;

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

/// Everything that determines a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to run.
    pub image: Image,
    /// How many vCPUs, 1 to 16.
    pub vcpus: u8,
    /// Guest memory in bytes.
    pub memory_bytes: u64,
    /// The guest's command line.
    pub append: String,
    /// Which traps to record.
    pub traps: TrapSelection,
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
