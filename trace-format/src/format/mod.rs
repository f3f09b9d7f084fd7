//! The parts of a trace file, from the outside in. `FORMAT.md` is the specification.
//!
//! Nothing in here trusts its input: every length is checked against what is there and against a cap before anything
//! is allocated or decompressed.

pub(crate) mod block;
pub(crate) mod column;
pub(crate) mod frame;
pub(crate) mod head;
pub(crate) mod index;
pub(crate) mod lane;
pub(crate) mod payload;
pub(crate) mod section;
pub(crate) mod summary;
pub(crate) mod varint;

/// The first bytes of every trace. The high bit, the line ends and the ^Z show a file that was transferred as text.
pub(crate) const MAGIC: [u8; 8] = *b"\x8bVMT\r\n\x1a\n";
/// The version of the format that this crate writes, and the only one that it reads.
pub(crate) const VERSION: u16 = 1;
/// Length of the prologue: magic, version, flags, CRC.
pub(crate) const PROLOGUE: usize = 16;

/// The highest vCPU number that a trace can hold. One bit of 64 is the machine's.
pub(crate) const MAX_VCPU: u8 = 62;
/// The most events in a block.
pub(crate) const MAX_BLOCK_EVENTS: u32 = 1 << 16;
/// The most bytes of a section of a block, decompressed.
pub(crate) const MAX_BLOCK_SECTION: u32 = 1 << 20;
/// The most bytes of the header's facts, decompressed. A byte can be an empty string, which takes 24 bytes of memory.
pub(crate) const MAX_FACTS: u32 = 1 << 20;
/// The most bytes of the symbol table in the header, decompressed.
pub(crate) const MAX_SYMBOL_TABLE: u32 = 32 << 20;
/// The most bytes of the section of the header that tells what is not seen, decompressed.
pub(crate) const MAX_NOT_SEEN: u32 = 64 << 10;
/// The most bytes of what the header says of the image.
pub(crate) const MAX_IMAGE: u32 = 16 << 10;
/// The most symbols in a header.
pub(crate) const MAX_SYMBOLS: u32 = 1 << 20;
/// The most bytes of a frame's summary.
pub(crate) const MAX_SUMMARY: u16 = 1 << 10;
/// The most bytes of a frame's body.
pub(crate) const MAX_BODY: u32 = 64 << 20;

/// The prologue of a file of this version.
pub(crate) fn prologue() -> [u8; PROLOGUE] {
    let mut bytes = [0; PROLOGUE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Why bytes with the right checksum still make no sense: a faulty writer or a forged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);
