//! Plain output.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write, stderr, stdout};

use trace_format::Reader;

use super::failure::{Code, Failure};
use crate::ui::text;

/// Standard output with a buffer; to be flushed at the end, so that errors are seen.
pub(super) fn out() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 << 10, stdout().lock())
}

/// Whether somebody looks at standard output.
pub(super) fn is_terminal() -> bool {
    stdout().is_terminal()
}

/// Whether somebody looks who likes colours (https://no-color.org).
pub(super) fn is_coloured() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes an error message.
pub(super) fn error(message: &dyn Display) -> io::Result<()> {
    writeln!(stderr(), "vmscope: {}", text::escape(&message.to_string()))
}

/// Writes a line about how it goes to standard error, so that standard output has nothing but the result.
pub(super) fn progress(message: &dyn Display) -> io::Result<()> {
    writeln!(stderr(), "{}", text::escape(&message.to_string()))
}

/// Says on standard error what could not be read of a trace.
pub(super) fn warn_of_damage(reader: &Reader) -> Result<Code, Failure> {
    for damage in reader.damage() {
        error(&damage)?;
    }
    Ok(Code::Done)
}
