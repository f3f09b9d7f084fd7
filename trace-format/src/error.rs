//! What can go wrong with a trace as a whole. What is wrong inside one is [`crate::Damage`].

use std::io;
use std::path::PathBuf;

/// Why a trace could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened.
    #[error("cannot open {}", path.display())]
    #[allow(missing_docs)]
    Open { path: PathBuf, source: io::Error },
    /// Reading failed.
    #[error("cannot read {length} bytes of the trace at offset {offset}")]
    #[allow(missing_docs)]
    Read { offset: u64, length: u64, source: io::Error },
    /// Whoever wanted it no longer does: [`Reader::interrupt_by`](crate::Reader::interrupt_by).
    #[error("reading the trace was broken off")]
    Interrupted,
    /// Writing failed. The trace ends with the last block that was written whole.
    #[error("cannot write to the trace")]
    Write(#[source] io::Error),
    /// Writing failed earlier, so that nothing may follow.
    #[error("writing the trace failed before, so it cannot be continued")]
    Broken,
    /// The file does not begin as a trace does.
    #[error("not a vmscope trace")]
    NotATrace,
    /// A version of the format that this program does not know.
    #[error("the trace has format version {found}; this program reads version {known}")]
    #[allow(missing_docs)]
    Version { found: u16, known: u16 },
    /// The file became shorter while it was followed.
    #[error("the trace shrank from {from} to {to} bytes while it was read")]
    #[allow(missing_docs)]
    Shrank { from: u64, to: u64 },
    /// An event is older than the one before it.
    #[error("an event of {time} ns was appended after one of {last} ns")]
    #[allow(missing_docs)]
    OutOfOrder { time: u64, last: u64 },
    /// An event names a vCPU that the format has no room for.
    #[error("an event of vCPU {vcpu}: a trace holds vCPUs 0 to {max} and the machine", max = crate::format::MAX_VCPU)]
    #[allow(missing_docs)]
    Vcpu { vcpu: u8 },
    /// Something does not fit into the format's limits.
    #[error("{what} is {size}, more than a trace holds ({limit})")]
    #[allow(missing_docs)]
    TooLarge { what: &'static str, size: u64, limit: u64 },
    /// The compressor failed.
    #[error("cannot compress a part of the trace")]
    Compress(#[source] io::Error),
    /// No thread to read with could be started.
    #[error("cannot start a thread that reads the trace")]
    Thread(#[source] io::Error),
    /// An event's fields could not be encoded.
    #[error("cannot encode a {what}")]
    #[allow(missing_docs)]
    Encode { what: &'static str, source: postcard::Error },
}
