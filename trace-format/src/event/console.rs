//! What the guest says: output, marks, counts.

use arrayvec::{ArrayString, ArrayVec};
use serde::{Deserialize, Serialize};

/// A short text inside an event.
pub type Text = ArrayString<48>;

/// Bytes that the guest wrote to a console device. They are the guest's: show them escaped or through a terminal
/// emulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Which device: its first port, 0x3f8 for the first serial port, 0xe9 for the debug console; or, from
    /// [`Self::FIRST_GPA`] on, the gpa of its registers: a virtio console.
    pub port: u32,
    /// The bytes.
    pub bytes: ArrayVec<u8, 64>,
}

impl Output {
    /// The first [`Self::port`] that is none: the guest physical address of a device's registers.
    pub const FIRST_GPA: u32 = 0x1_0000;

    /// What [`Self::port`] is: `port` or `gpa`.
    #[must_use]
    pub const fn port_or_gpa(&self) -> &'static str {
        if self.port < Self::FIRST_GPA { "port" } else { "gpa" }
    }
}

/// A mark in the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Made by the guest, not by a user.
    pub by_guest: bool,
    /// Its text.
    pub text: Text,
    /// A number that belongs to it.
    pub value: u64,
}

/// A count that the guest keeps about itself, as it stood when reported; later reports replace earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What is counted: `syscalls`, `faults`, `ipis`, `shootdowns`.
    pub name: Text,
    /// How many.
    pub value: u64,
}
