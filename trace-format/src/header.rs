//! What a trace says about itself before its first event.

use serde::{Deserialize, Serialize};

pub use crate::symbols::{Symbol, Symbols};

/// The facts that hold for a whole trace: which guest, on which host, recorded how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The built-in guest's name or the image's path as given.
    pub guest: String,
    /// The command that recorded the trace, one argument an element.
    pub command: Vec<String>,
    /// The guest's own command line (`--append`).
    pub guest_command_line: String,
    /// Number of vCPUs, 1 to 16.
    pub vcpus: u8,
    /// Guest memory in bytes.
    pub memory_bytes: u64,
    /// Wall-clock time of event time 0, ns since the Unix epoch.
    pub start_unix_ns: u64,
    /// Frequency of the guest's time stamp counter in kHz, 0 if the host does not tell.
    pub tsc_khz: u64,
    /// Facts about the host: kernel, CPU, KVM capabilities; name and value, in the order they are shown.
    pub host: Vec<Fact>,
    /// What calibration found about this host's KVM; name and value, in the order they are shown.
    pub calibration: Vec<Fact>,
    /// Version of the program that recorded the trace.
    pub recorder: String,
    /// What this recording cannot see, and why: a sentence each, such as for `--irqchip kernel`.
    pub not_seen: Vec<String>,
    /// Symbols of the guest image.
    pub symbols: Symbols,
}

/// A named fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What the fact is about.
    pub name: String,
    /// The fact itself.
    pub value: String,
}

impl Header {
    /// The name of the symbol that holds guest virtual address `address`, and the offset into it in bytes:
    /// [`Symbols::at`].
    #[must_use]
    pub fn symbolize(&self, address: u64) -> Option<(&str, u64)> {
        self.symbols.at(address)
    }
}
