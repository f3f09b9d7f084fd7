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
    /// The image's file, where something of it can be relied on to be in the guest's memory.
    pub image: Option<ImageFacts>,
}

/// What a trace says of the guest's image, for who has the same file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Bytes of the file, unpacked if it is compressed as a whole.
    pub length: u64,
    /// CRC-32 (IEEE) of them.
    pub crc32: u32,
    /// What the guest has no permission to write.
    pub constant: Vec<Stretch>,
}

/// A stretch of an image that is in guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Where in guest virtual memory.
    pub gva: u64,
    /// Where in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl ImageFacts {
    /// Those of the image `bytes` with these constant stretches.
    #[must_use]
    pub fn of(bytes: &[u8], constant: Vec<Stretch>) -> Self {
        Self { length: bytes.len() as u64, crc32: crc32fast::hash(bytes), constant }
    }

    /// Whether `bytes` are the image.
    #[must_use]
    pub fn agrees(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.length && crc32fast::hash(bytes) == self.crc32
    }

    /// What is at `gva` of the image `bytes`, up to the end of its stretch; `None` if that is not known.
    #[must_use]
    pub fn at<'b>(&self, bytes: &'b [u8], gva: u64) -> Option<&'b [u8]> {
        let stretch = self.constant.iter().find(|s| gva >= s.gva && gva - s.gva < s.length)?;
        let end = stretch.offset.checked_add(stretch.length)?;
        let start = stretch.offset + (gva - stretch.gva);
        bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_bytes_and_gives_what_is_constant() {
        let bytes = b"0123456789";
        let constant = vec![
            Stretch { gva: 0x1000, offset: 2, length: 4 },
            Stretch { gva: u64::MAX - 1, offset: u64::MAX, length: 2 },
            Stretch { gva: 0x2000, offset: 8, length: 4 },
        ];
        let image = ImageFacts::of(bytes, constant);
        assert!(image.agrees(bytes) && !image.agrees(b"0123456780") && !image.agrees(b""));
        assert_eq!(image.at(bytes, 0x1001), Some(&b"345"[..]));
        assert_eq!((image.at(bytes, 0x1004), image.at(bytes, 0xfff)), (None, None));
        assert_eq!((image.at(bytes, u64::MAX), image.at(bytes, 0x2000)), (None, None), "outside the file");
    }
}
