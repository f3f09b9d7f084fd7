//! What a trace amounts to: counts and distributions, in memory that does not grow with the trace.
//!
//! [`Report::of`] reads a whole trace; [`Tally`] counts events as they come, for a screen that is live. As JSON a
//! report is one object; `REPORT.md` documents its fields, which are kept: they may be added to, and a change of
//! meaning raises `schema`.

mod quantiles;
mod report;
mod tally;
mod text;

pub use quantiles::{Durations, Quantiles};
pub use report::{ExitReport, GuestReport, IpiReport, IrqReport, NamedFact, Report, TraceReport, TrapReport};
pub use tally::Tally;
