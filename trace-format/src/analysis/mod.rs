//! What a trace amounts to: counts and distributions, in memory that does not grow with the trace.
//!
//! [`Report::of`] reads a whole trace; [`Tally`] counts events as they come, for a screen that is live. As JSON a
//! report is one object; `REPORT.md` documents its fields, which are kept: they may be added to, and a change of
//! meaning raises `schema`.

mod cpu;
mod group;
mod quantiles;
mod report;
mod shootdown;
mod tables;
mod tally;
mod text;
mod whole;
mod window;

pub use cpu::{VcpuReport, Vcpus};
pub use group::{GroupReport, Groups};
pub use quantiles::{Durations, Quantiles};
pub use report::{ExitReport, GuestReport, IpiReport, IrqReport, NamedFact, Report, TraceReport, TrapReport};
pub use shootdown::{Shootdown, Shootdowns, Target, VectorReport};
pub use tally::Tally;
pub use whole::{Details, Plan, grouped};
pub use window::{MOST_WINDOWS, Windows};
