//! `vmscope run` and `vmscope record`.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trace_format::Reader;
use trace_format::event::StopReason;

use super::failure::{Code, Failure};
use super::look::look;
use super::options::{self, DEFAULT_GUEST};
use super::{gdb, output, report};
use crate::app::{App, Settings};
use crate::config::Look;
use crate::gdb::Server;
use crate::guest::{Guest as _, Machine};
use crate::keep::Temporary;
use crate::live::{Ended, Live, Request};
use crate::marks::Marks;
use crate::session::{Gdb, Session};
use crate::signals::Signals;
use crate::ui::text;

/// How often a run without a UI says how it goes.
const PROGRESS: Duration = Duration::from_secs(1);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(20);

/// `vmscope run`.
pub(super) fn run(arguments: options::Run) -> Result<Code, Failure> {
    let look = look(&arguments.look)?;
    let mut temporary = match arguments.output {
        Some(_) => None,
        None => Some(Temporary::new()?),
    };
    let trace = arguments.output.or_else(|| temporary.as_ref().map(|file| file.path().to_owned()));
    let guest = arguments.guest.unwrap_or_else(|| DEFAULT_GUEST.to_owned());
    let request = Request { guest, options: arguments.options, trace, followed: output::is_terminal() };
    let signals = Signals::take()?;
    let listener = gdb::listen(&request.options, output::is_terminal())?;
    let live = Live::start(&request)?;
    let server = listener.map(|listener| live.serve_gdb(listener)).transpose()?;
    let invitation = server.as_ref().map(|server| gdb::invitation(server.address(), &request));
    let Some(trace) = &request.trace else { return Ok(Code::Done) };
    let ended = if output::is_terminal() {
        let (ended, shown) = until_left(live, &signals, |live| {
            let gdb = server.as_ref().zip(invitation);
            watch(live, trace, look, temporary.as_mut(), gdb, &signals)
        });
        if let Err(panic) = shown {
            // What was recorded until here may tell why.
            if let Some(temporary) = temporary {
                output::progress(&format_args!("the trace is in {}", temporary.leave()?.display()))?;
            }
            std::panic::resume_unwind(panic);
        }
        let ended = ended?;
        if let Some(temporary) = &mut temporary {
            temporary.write()?;
        }
        ended
    } else {
        let ended = wait(live, &request, invitation, &signals)?;
        report::write_report(&mut Reader::open(trace)?, false)?;
        ended
    };
    drop(server);
    let kept = temporary.as_ref().map_or(Some(trace.as_path()), Temporary::kept);
    conclude(ended, kept)
}

/// `vmscope record`.
pub(super) fn record(arguments: options::Record) -> Result<Code, Failure> {
    let request = Request {
        guest: arguments.guest,
        options: arguments.options,
        trace: arguments.output,
        followed: false,
    };
    let signals = Signals::take()?;
    let listener = gdb::listen(&request.options, false)?;
    let live = Live::start(&request)?;
    let server = listener.map(|listener| live.serve_gdb(listener)).transpose()?;
    let invitation = server.as_ref().map(|server| gdb::invitation(server.address(), &request));
    let ended = wait(live, &request, invitation, &signals)?;
    drop(server);
    conclude(ended, request.trace.as_deref())
}

/// What `show` did with a run: it came back, or it panicked.
type Shown = std::thread::Result<Result<(), Failure>>;

/// Lets `show` show a run until the user leaves. Whatever becomes of it, a panic too, the run is ended and its trace
/// finished.
fn until_left(
    live: Live,
    signals: &Signals,
    show: impl FnOnce(&Live) -> Result<(), Failure>,
) -> (Result<Ended, Failure>, std::thread::Result<()>) {
    let shown: Shown = std::panic::catch_unwind(AssertUnwindSafe(|| show(&live)));
    if signals.came() {
        live.interrupt();
    } else {
        live.stop();
    }
    let ended = live.wait();
    match shown {
        Ok(shown) => (shown.and(ended), Ok(())),
        Err(panic) => (ended, Err(panic)),
    }
}

/// Shows a run in the UI until the user leaves.
fn watch(
    live: &Live,
    trace: &Path,
    look: Look,
    temporary: Option<&mut Temporary>,
    gdb: Option<(&Server, String)>,
    signals: &Signals,
) -> Result<(), Failure> {
    let settings = Settings { look, follow: true, temporary: temporary.is_some(), ..Settings::plain() };
    let mut app = App::new(Reader::open(trace)?, settings);
    app.set_file(trace);
    if temporary.is_none() {
        match Marks::of(trace) {
            Ok(marks) => app.set_marks(marks),
            Err(error) => app.complain(&error),
        }
    }
    app.set_image(gdb::image(app.header(), None)?);
    let gdb = gdb.map(|(server, invitation)| {
        app.tell(invitation);
        Gdb { server, cursor: None }
    });
    Ok(Session { app: &mut app, guest: Some(live), gdb, temporary, signals }.run()?)
}

/// Waits for the end of a run, which a signal brings about, and says how it goes.
fn wait(
    live: Live,
    request: &Request,
    invitation: Option<String>,
    signals: &Signals,
) -> Result<Ended, Failure> {
    output::progress(&format_args!(
        "{} {}",
        request.guest,
        if request.options.wait { "waits" } else { "runs" }
    ))?;
    if let Some(invitation) = invitation {
        output::progress(&invitation)?;
    }
    let start = Instant::now();
    let mut said = start;
    let mut reader: Option<Reader> = None;
    while !matches!(live.machine(), Machine::Stopped { .. }) {
        if signals.came() {
            live.interrupt();
        }
        std::thread::sleep(POLL);
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            let seconds = start.elapsed().as_secs();
            match events(&mut reader, request.trace.as_ref())? {
                Some(events) => {
                    output::progress(&format_args!("{seconds:>4} s {:>14} events", text::count(events)))?;
                }
                None => output::progress(&format_args!("{seconds:>4} s"))?,
            }
        }
    }
    live.wait()
}

/// Events recorded so far; `None` without a recorder.
fn events(reader: &mut Option<Reader>, trace: Option<&PathBuf>) -> Result<Option<u64>, Failure> {
    let Some(trace) = trace else { return Ok(None) };
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(Reader::open(trace)?),
    };
    reader.poll()?;
    Ok(Some(reader.len()))
}

/// The last line, and the exit code.
fn conclude(ended: Ended, trace: Option<&Path>) -> Result<Code, Failure> {
    let kept = match trace {
        Some(path) => format!(", trace in {}", path.display()),
        None => String::new(),
    };
    output::progress(&format_args!("{} after {}{kept}", ended.why, text::duration(ended.duration_ns)))?;
    match ended {
        Ended { failure: Some(failure), .. } => Err(failure),
        Ended {
            why: StopReason::GuestExit { status: 0 } | StopReason::Reset { .. } | StopReason::PowerOff,
            ..
        } => Ok(Code::Done),
        Ended { why: StopReason::Ended { .. }, .. } => Ok(Code::Done),
        _ => Ok(Code::Failed),
    }
}

#[cfg(all(test, feature = "live", target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_ui_leaves_a_finished_trace() {
        if std::fs::File::open("/dev/kvm").is_err() {
            eprintln!("SKIP a_panic_of_the_ui_leaves_a_finished_trace: no /dev/kvm");
            return;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let trace = directory.path().join("t.vmt");
        let arguments = ["vmscope", "run", "tlb-shootdown", "--append", "rounds=100000"];
        let cli = <options::Cli as clap::Parser>::try_parse_from(arguments).expect("a command line");
        let Some(options::Command::Run(run)) = cli.command else { panic!("it is run") };
        let request = Request {
            guest: "tlb-shootdown".into(),
            options: run.options,
            trace: Some(trace.clone()),
            followed: true,
        };
        let signals = Signals::take().expect("signals");
        let live = Live::start(&request).expect("a guest");
        let (ended, shown) = until_left(live, &signals, |_| panic!("as a defect of the UI would"));
        assert!(shown.is_err());
        assert!(matches!(ended.expect("an orderly end").why, StopReason::Ended { .. }));
        assert!(Reader::open(&trace).expect("a trace").is_finished());
    }
}
