//! Which part of a trace a command is about.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use trace_format::Filter;
use trace_format::filter::{Selection, documentation};

use super::failure::{Code, Failure};
use super::output;

/// `--filter`, `--from` and `--to`.
#[derive(Args, Clone, Debug)]
pub struct SelectionOptions {
    /// Only events that match, for instance 'kind == exit and latency > 50us' (see 'vmscope help filter')
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<Filter>,
    /// Only what happened so long after the start or later, for instance 1.5s or 20ms
    #[arg(long, value_name = "TIME", value_parser = super::guest::moment)]
    pub from: Option<Duration>,
    /// Only what happened so long after the start or earlier
    #[arg(long, visible_alias = "until", value_name = "TIME", value_parser = super::guest::moment)]
    pub to: Option<Duration>,
}

impl SelectionOptions {
    /// What they mean.
    #[must_use]
    pub fn selection(&self) -> Selection {
        selection(self.filter.as_ref(), self.from, self.to)
    }
}

/// What matches `filter` and happened within these times, those that are given.
pub(super) fn selection(filter: Option<&Filter>, from: Option<Duration>, to: Option<Duration>) -> Selection {
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Selection {
        filter: filter.cloned().unwrap_or_default(),
        from: from.map_or(0, ns),
        to: to.map_or(u64::MAX, ns),
    }
}

/// `vmscope filter`: what can be said in `--filter`.
pub(super) fn explain() -> Result<Code, Failure> {
    let mut out = output::out();
    out.write_all(documentation().as_bytes())?;
    out.flush()?;
    Ok(Code::Done)
}
