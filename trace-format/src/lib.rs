//! The vmscope event model and its trace file.
//!
//! What the hypervisor saw of a guest is a sequence of [`Event`]s in time order. This crate defines them and how they
//! are stored; it knows neither KVM nor a terminal and builds on any platform. `FORMAT.md` specifies the file byte by
//! byte.
//!
//! ```
//! use trace_format::{Event, Header, Payload, Reader, Writer, event::VcpuState};
//!
//! let mut writer = Writer::new(Vec::new(), &Header { vcpus: 1, ..Header::default() })?;
//! writer.append(&Event { time: 1_000, vcpu: 0, payload: Payload::State(VcpuState::Created) })?;
//! let file = writer.finish()?;
//!
//! let mut reader = Reader::from_bytes(file)?;
//! for event in reader.forward(0) {
//!     let (number, event) = event?;
//!     assert_eq!((number, event.time), (0, 1_000));
//! }
//! # Ok::<(), trace_format::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod analysis;
pub mod assertion;
pub mod describe;
pub mod diff;
pub mod elf;
mod error;
pub mod event;
pub mod export;
pub mod filter;
mod format;
pub mod header;
pub mod import;
pub mod reader;
mod repair;
pub mod screen;
mod slice;
pub mod symbols;
mod verify;
mod writer;

pub use analysis::Report;
pub use error::Error;
pub use event::{Event, Kind, Payload};
pub use filter::Filter;
pub use format::summary::Summary;
pub use header::Header;
pub use reader::{Damage, DamageKind, Reader};
pub use repair::{Repaired, repair};
pub use slice::{Sliced, slice};
pub use verify::{Verification, verify};
pub use writer::Writer;
