//! What a trace amounts to: counts and distributions, in memory that does not grow with the trace: at most 64 MiB beyond
//! what the reader holds, whatever is named in it.
//!
//! [`Report::of`] reads a whole trace; [`Tally`] counts events as they come, for a screen that is live. As JSON a
//! report is one object; `REPORT.md` documents its fields, which are kept: they may be added to, and a change of
//! meaning raises `schema`.

mod counts;
mod cpu;
mod group;
mod handler;
mod quantiles;
mod recent;
mod report;
mod shootdown;
mod spans;
mod tables;
mod tally;
mod text;
mod time_line;
mod walk;
mod whole;
mod window;

pub use cpu::{VcpuReport, Vcpus};
pub use group::{GroupReport, Groups, MOST_GROUPS};
pub use handler::{HandlerReport, Handlers};
pub use quantiles::{Durations, Quantiles};
pub use report::{ExitReport, GuestReport, IpiReport, IrqReport, NamedFact, Report, TraceReport, TrapReport};
pub use shootdown::{Shootdown, Shootdowns, Target, VectorReport};
pub use tally::Tally;
pub use text::Table;
pub use time_line::{MOST_CELLS, TimeLine, over_time};
pub use walk::{WalkReport, Walks};
pub use whole::{Details, Plan, grouped};
pub use window::{MOST_WINDOWS, Windows};
