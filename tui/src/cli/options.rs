//! What the command line accepts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The guest of a plain `vmscope`.
pub(crate) const DEFAULT_GUEST: &str = "tlb-shootdown";

/// An interactive debugger for virtual machines: runs a guest under KVM, records what the hypervisor sees of it, and
/// shows it live or replays it.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = "See 'vmscope --help' for examples and exit codes.")]
#[command(after_long_help = "\
Examples:
  vmscope                                     run the default guest and watch it
  vmscope run demand-paging --cpus 2          run another one
  vmscope run ./kernel.elf --memory 512M      run your own ELF64 image
  vmscope record tlb-shootdown -o t.vmt       record without a UI
  vmscope replay t.vmt                        look at what was recorded
  vmscope report t.vmt --json | jq .ipis      totals for a script
  vmscope events t.vmt | grep page-fault      a line an event

Exit codes: 0 done, 1 the guest failed, 2 usage, 3 this host cannot, 4 a bad trace.")]
pub struct Cli {
    /// What to do; a guest alone means `run`.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: Run,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a guest and watch it (the default)
    Run(Run),
    /// Run a guest and record it, without a UI
    Record(Record),
    /// Look at a recorded trace, in the same UI
    Replay(Replay),
    /// Totals and percentiles of a trace
    ///
    /// Counts by kind, exits by reason with their times, traps, IPIs, and what the guest counted itself.
    Report(Report),
    /// A line for each event of a trace
    Events(Events),
    /// Read all of a trace and say whether it is intact
    ///
    /// Every block is decoded. What is damaged is listed, and the exit code is 4.
    Check(TraceFile),
    /// List the built-in guests
    Guests,
    /// Say what this host's KVM can and cannot do
    Doctor(Doctor),
}

/// `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// A built-in guest (see 'vmscope guests') or an image: ELF64, or flat real-mode code [default: tlb-shootdown]
    pub guest: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: GuestOptions,
    /// Keep the trace in FILE; otherwise it is a temporary file that 'w' saves
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `record`.
#[derive(Args, Debug)]
pub struct Record {
    /// A built-in guest (see 'vmscope guests') or an image: ELF64, or flat real-mode code
    pub guest: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: GuestOptions,
    /// The trace to write; an existing file is replaced
    #[arg(short, long, value_name = "FILE", required_unless_present = "no_trace")]
    pub output: Option<PathBuf>,
    /// Run the same guest with the recorder off, to measure what recording costs
    #[arg(long, conflicts_with = "output")]
    pub no_trace: bool,
}

/// How to run a guest.
#[derive(Args, Clone, Debug)]
pub struct GuestOptions {
    /// Number of vCPUs, 1 to 16 [default: what the guest shows best with, 1 for an image]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub cpus: Option<u8>,
    /// Guest memory, for instance 512M
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size)]
    pub memory: u64,
    /// End the run after so long, for instance 10s or 500ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// The guest's own command line, for instance 'rounds=100'
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub append: String,
    /// Which traps to record: all, none, or a list of vectors such as 14,13,syscall
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub traps: String,
    /// What to do when the guest makes events faster than they can be written
    ///
    /// wait: the vCPU waits, and nothing is lost. drop: events are dropped, and counted.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnFull::Wait)]
    pub on_full: OnFull,
}

/// What to do when the recorder cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFull {
    /// The vCPU waits.
    Wait,
    /// Events are dropped and counted.
    Drop,
}

/// `replay`.
#[derive(Args, Debug)]
pub struct Replay {
    /// The trace
    pub file: PathBuf,
    /// Stay at the end of a trace that is still being written
    #[arg(long)]
    pub follow: bool,
}

/// `report`.
#[derive(Args, Debug)]
pub struct Report {
    /// The trace
    pub file: PathBuf,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `events`.
#[derive(Args, Debug)]
pub struct Events {
    /// The trace
    pub file: PathBuf,
    /// How each event is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// `check`.
#[derive(Args, Debug)]
pub struct TraceFile {
    /// The trace
    pub file: PathBuf,
}

/// `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// A size in bytes, with `K`, `M` or `G` for their binary multiples.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[number.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        other => return Err(format!("unknown unit '{other}': use K, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| "not a size: give a number and K, M or G".to_owned())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".to_owned())
}

/// A time: seconds, or with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit '{other}': use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "not a time: give a number and ms, s, m or h".to_owned())?;
    Duration::try_from_secs_f64(number * unit)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_guest_alone_means_run() {
        let cli = Cli::parse_from(["vmscope"]);
        assert!(cli.command.is_none() && cli.run.guest.is_none());
        let cli = Cli::parse_from(["vmscope", "hello", "--cpus", "2"]);
        assert_eq!((cli.run.guest.as_deref(), cli.run.options.cpus), (Some("hello"), Some(2)));
        let cli = Cli::parse_from(["vmscope", "run", "hello"]);
        assert!(matches!(cli.command, Some(Command::Run(run)) if run.guest.as_deref() == Some("hello")));
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("12X").is_err() && size("").is_err() && size("0").is_err());
        assert!(size("99999999999999G").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert!(duration("-1").is_err() && duration("x").is_err() && duration("1e300h").is_err());
    }

    #[test]
    fn record_writes_a_trace_or_says_that_it_does_not() {
        assert!(Cli::try_parse_from(["vmscope", "record", "hello"]).is_err());
        assert!(Cli::try_parse_from(["vmscope", "record", "hello", "--no-trace"]).is_ok());
        assert!(Cli::try_parse_from(["vmscope", "record", "hello", "-o", "x", "--no-trace"]).is_err());
        assert!(Cli::try_parse_from(["vmscope", "run", "hello", "--cpus", "17"]).is_err());
    }
}
