//! The command line: one module for each way to use a trace or a guest.

mod assert;
mod check;
mod diff;
mod display;
mod doctor;
mod events;
mod export;
mod failure;
mod gdb;
mod generate;
mod guest;
mod guests;
mod import;
mod look;
mod options;
mod output;
mod progress;
mod replay;
mod report;
mod run;
mod selection;
mod slice;
mod symbols;

use std::process::ExitCode;

use clap::Parser;
use trace_format::Reader;

use crate::embedded;

pub use failure::{Code, Failure};
pub use guest::{Cpu, GuestOptions, Irqchip, ModuleFile, OnFull, Registers, SymbolFile};
pub use options::{Cli, Command};

/// What `main` does: reads the command line, carries it out, and turns errors into messages and exit codes.
#[must_use]
pub fn main() -> ExitCode {
    let code = match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => Code::Done,
        Err(failure) => {
            // If standard error is gone, too, there is nobody to tell.
            let _ = output::error(&failure);
            failure.code
        }
    };
    ExitCode::from(code as u8)
}

/// A plain `vmscope` shows something everywhere: where this host cannot run the default guest, what a guest looked like
/// elsewhere.
fn run_or_replay(arguments: options::Run) -> Result<Code, Failure> {
    let plain = arguments.guest.is_none() && arguments.output.is_none();
    let overrides = arguments.look.clone();
    match run::run(arguments) {
        Err(failure) if plain && failure.code == Code::Host => {
            let banner = format!("{failure}. This is a recorded run of {}.", options::DEFAULT_GUEST);
            replay::show(Reader::from_bytes(embedded::TRACE)?, false, Some(banner), &overrides, None)
        }
        outcome => outcome,
    }
}

fn dispatch(cli: Cli) -> Result<Code, Failure> {
    match cli.command {
        None => run_or_replay(cli.run),
        Some(Command::Run(arguments)) => run::run(arguments),
        Some(Command::Record(arguments)) => run::record(arguments),
        Some(Command::Replay(arguments)) => replay::replay(&arguments),
        Some(Command::Report(arguments)) => report::report(&arguments),
        Some(Command::Events(arguments)) => events::events(&arguments),
        Some(Command::Slice(arguments)) => slice::cut(&arguments),
        Some(Command::Assert(arguments)) => assert::assert(&arguments),
        Some(Command::Diff(arguments)) => diff::diff(&arguments),
        Some(Command::Filter) => selection::explain(),
        Some(Command::Export(arguments)) => export::export(&arguments),
        Some(Command::Symbols(arguments)) => symbols::write(&arguments),
        Some(Command::Screen(arguments)) => display::screen(&arguments),
        Some(Command::Console(arguments)) => display::console(&arguments),
        Some(Command::Check(arguments)) => check::check(&arguments),
        Some(Command::Import(arguments)) => import::import_recording(&arguments),
        Some(Command::Guests(arguments)) => guests::guests(&arguments),
        Some(Command::Doctor(arguments)) => doctor::doctor(&arguments),
        Some(Command::Config(arguments)) => look::config(&arguments),
        Some(Command::Completions(arguments)) => generate::completions(&arguments),
        Some(Command::Man(arguments)) => generate::man(&arguments),
    }
}
