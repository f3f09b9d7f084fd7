//! `vmscope replay`, and what a plain `vmscope` shows where no guest can run.

use std::path::Path;
use std::time::Duration;

use trace_format::Reader;

use super::failure::{Code, Failure};
use super::look::look;
use super::{gdb, options, output, report};
use crate::app::{App, Settings};
use crate::config::Overrides;
use crate::gdb::Address;
use crate::marks::Marks;
use crate::session::{Gdb, Session};
use crate::signals::Signals;

/// `vmscope replay`.
pub(super) fn replay(arguments: &options::Replay) -> Result<Code, Failure> {
    let reader = Reader::open(&arguments.file)?;
    match &arguments.gdb {
        Some(address) if arguments.headless || !output::is_terminal() => {
            gdb::serve_trace_headless(reader, arguments, address)
        }
        Some(address) => show_beside_gdb(reader, arguments, address),
        None => show(reader, arguments.follow, None, &arguments.look, Some(arguments)),
    }
}

/// Shows a trace in the UI, and lets GDB look at it.
fn show_beside_gdb(reader: Reader, arguments: &options::Replay, address: &Address) -> Result<Code, Failure> {
    let signals = Signals::take()?;
    let image = gdb::image(reader.header(), arguments.image.as_deref())?;
    let served = gdb::serve_trace(Reader::open(&arguments.file)?, arguments, address)?;
    let settings = Settings { look: look(&arguments.look)?, ..Settings::plain() };
    let mut app = App::new(reader, settings);
    app.set_image(image);
    set_file(&mut app, Some(&arguments.file));
    app.tell(served.invitation);
    let gdb = Some(Gdb { server: &served.server, cursor: Some(&served.cursor) });
    Session { app: &mut app, guest: None, gdb, temporary: None, signals: &signals }.run()?;
    Ok(Code::Done)
}

/// Shows a trace in the UI, or reports on it if nobody looks.
///
/// `arguments` say where the trace and the guest's image are, if the trace is a file.
pub(super) fn show(
    mut reader: Reader,
    follow: bool,
    banner: Option<String>,
    overrides: &Overrides,
    arguments: Option<&options::Replay>,
) -> Result<Code, Failure> {
    let look = look(overrides)?;
    let image = gdb::image(reader.header(), arguments.and_then(|arguments| arguments.image.as_deref()))?;
    let signals = Signals::take()?;
    if !output::is_terminal() {
        if let Some(banner) = banner {
            output::progress(&banner)?;
        }
        if follow {
            wait(&mut reader, &signals)?;
        }
        report::write_report(&mut reader, false)?;
        return Ok(Code::Done);
    }
    let settings = Settings { look, follow, banner, ..Settings::plain() };
    let mut app = App::new(reader, settings);
    app.set_image(image);
    set_file(&mut app, arguments.map(|arguments| arguments.file.as_path()));
    Session { app: &mut app, guest: None, gdb: None, temporary: None, signals: &signals }.run()?;
    Ok(Code::Done)
}

/// Tells where the trace is, and reads the marks that are beside it.
fn set_file(app: &mut App, file: Option<&Path>) {
    if let Some(file) = file {
        app.set_file(file);
    }
    match file.map(Marks::of).transpose() {
        Ok(marks) => app.set_marks(marks.unwrap_or_default()),
        Err(error) => app.complain(&error),
    }
}

/// Follows a trace until its recorder finishes it or a signal comes.
fn wait(reader: &mut Reader, signals: &Signals) -> Result<(), Failure> {
    let mut said = 0;
    while !reader.is_finished() && !signals.came() {
        reader.poll()?;
        if reader.len() != said {
            said = reader.len();
            output::progress(&format_args!("{said} events"))?;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}
