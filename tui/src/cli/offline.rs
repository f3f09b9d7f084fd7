//! Commands that read a trace from beginning to end.

use std::io::Write as _;

use trace_format::Reader;

use super::failure::{Code, Failure};
use super::output;

/// `vmscope filter`.
pub(super) fn filter() -> Result<Code, Failure> {
    let mut out = output::out();
    out.write_all(trace_format::filter::documentation().as_bytes())?;
    out.flush()?;
    Ok(Code::Done)
}

/// Says on standard error what could not be read.
pub(super) fn warn_of_damage(reader: &Reader) -> Result<Code, Failure> {
    for damage in reader.damage() {
        output::error(&damage)?;
    }
    Ok(Code::Done)
}
