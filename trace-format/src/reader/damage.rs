//! What is wrong with a trace.

use std::fmt;

use serde::{Serialize, Serializer};

/// A part of a trace that cannot be used. Everything else can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// How long it is, bytes; 0 for something that is missing.
    pub length: u64,
    /// What is wrong there.
    pub kind: DamageKind,
    /// How many events are lost by it, if the numbers of the events around it tell.
    pub events_lost: Option<u64>,
}

/// What is wrong with a part of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The first 16 bytes are not those of a trace, though what follows is one.
    Prologue,
    /// There is no header, or none that can be used: nothing is known about guest and host, and there are no symbols.
    Header,
    /// No frame begins where one should, up to where the next one does.
    Unreadable,
    /// A frame's checksum does not match its content.
    Checksum,
    /// The checksum matches, but the content makes no sense.
    Malformed(&'static str),
    /// Events that should be before a block, by its number, are not in the file.
    Missing,
    /// The index or the end of the trace does not agree with the rest; the blocks were found without it.
    Index,
    /// The last frame is cut off: the recording is being written right now, or was killed.
    TornTail,
    /// Bytes after the end of the trace.
    Trailing,
}

impl Serialize for DamageKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}", self.offset)?;
        if self.length != 0 {
            write!(f, ", {} bytes", self.length)?;
        }
        write!(f, ": {}", self.kind)?;
        match self.events_lost {
            Some(1) => f.write_str("; 1 event lost"),
            Some(n) => write!(f, "; {n} events lost"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prologue => f.write_str("the file does not begin as a trace does"),
            Self::Header => f.write_str("the header is missing or damaged"),
            Self::Unreadable => f.write_str("no frame can be read here"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Missing => f.write_str("events are missing"),
            Self::Index => f.write_str("the index does not agree with the trace"),
            Self::TornTail => f.write_str("the last frame is cut off"),
            Self::Trailing => f.write_str("bytes after the end of the trace"),
        }
    }
}
