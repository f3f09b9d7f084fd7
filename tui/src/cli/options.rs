//! What the command line accepts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::assert::Assert;
use super::check::Check;
use super::diff::Diff;
use super::events::Events;
use super::guest::GuestOptions;
use super::guests::Guests;
use super::import::Import;
use super::report::Report;
use super::slice::Slice;
use super::symbols::Symbols;
use crate::config::Overrides;
use crate::gdb::Address;

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
  vmscope run ./kernel.elf --memory 512M      run your own kernel
  vmscope run vmlinuz --initrd initrd.img --append console=ttyS0 --cpus 2
                                              run Linux
  vmscope record tlb-shootdown -o t.vmt       record without a UI
  vmscope replay t.vmt                        look at what was recorded
  vmscope report t.vmt --json | jq .ipis      totals for a script
  vmscope events t.vmt --filter 'trap.vector == page-fault and cpl == user'
                                              a line an event (see 'vmscope help filter')
  vmscope assert t.vmt 'count(exit.reason == mmio) < 1000'
                                              a regression test in one line
  vmscope screen t.vmt --at 2s                the guest's text screen two seconds after the start

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
    /// What a trace amounts to: exits, traps, shootdowns, vCPUs, hottest pages and functions
    ///
    /// Counts and distributions of times; quantiles are at most 0.1 % too high, and where a trace times too many different
    /// things for that, the report says by how much. With --by, a table of any field.
    Report(Report),
    /// A line for each event of a trace, or for those that match a filter
    Events(Events),
    /// Write a part of a trace as a trace of its own
    ///
    /// What the rest could not be understood without stays: where the kernel runs, and which events were lost.
    Slice(Slice),
    /// Check claims about a trace, for tests in CI
    ///
    /// All are checked in one pass, and the exit code is 1 if one does not hold.
    Assert(Assert),
    /// Compare two traces: what changed, by how much, and where two runs of one guest part ways
    ///
    /// A change is a difference of at least the threshold that is more than noise: with p < 0.01, after Holm's correction for
    /// all that is compared. Counts: a binomial test. Times: the Mann-Whitney test of all values, and a binomial test of how
    /// the longest hundredth is divided. These know the noise within the runs, not that from one run to another. Steps are what
    /// each vCPU did by itself: exits for ports, memory, MSRs and hypercalls, traps, IPIs, marks; not when, with which data,
    /// or while it handled an interrupt.
    Diff(Diff),
    /// Explain the language of --filter and list its fields
    #[command(override_help = trace_format::filter::documentation())]
    Filter,
    /// Write a trace in another tool's format: Perfetto, Chrome, CSV, Parquet
    Export(super::export::Export),
    /// Write the guest's symbols as an ELF file, for GDB
    ///
    /// They are at the addresses that the guest has them at: a Linux kernel moves itself (KASLR), and where to is known
    /// when it has set up its system calls. For a guest without debug information of its own, such as a bzImage; of a
    /// trace that is being written, too: 'gdb ELF -ex "target remote ADDRESS"'. There are names in the file and no code,
    /// so GDB has it from the guest.
    Symbols(Symbols),
    /// Print the guest's VGA text screen as it was at the end, or at a moment
    ///
    /// A line for each row, without colours. If the guest never wrote to its text screen, or not before that moment, the
    /// exit code is 1.
    Screen(Screen),
    /// Print what the guest wrote to its serial and debug consoles
    ///
    /// Control characters other than line feeds and tabs are escaped, as are bytes that are not UTF-8, so that nothing
    /// the guest wrote is obeyed by a terminal.
    Console(Console),
    /// Read all of a trace and say whether it is intact
    ///
    /// Every block is decoded. What is damaged is listed, and the exit code is 4. What is intact can be written as a new
    /// trace with '--repair'.
    Check(Check),
    /// Make a trace of a recording of a host's KVM: text of perf script or trace-cmd report
    ///
    /// For recordings of any machine under KVM with the events kvm:*. The trace has exits with their times, IPIs and
    /// interrupts, and says what the recording does not tell. Lines that are not understood are counted, and the first of
    /// them shown.
    Import(Import),
    /// List the built-in guests, or write the image of one for GDB to find its symbols in
    Guests(Guests),
    /// Say what this host's KVM can and cannot do
    Doctor(Doctor),
    /// Say where the UI's configuration is, or print one with all the defaults
    Config(super::look::ConfigOptions),
    /// Print completions of this command line for a shell
    Completions(super::generate::Completions),
    /// Print the manual page, or write one for each command
    Man(super::generate::Man),
}

/// `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// A built-in guest (see 'vmscope guests') or an image file [default: tlb-shootdown]
    ///
    /// What kind of image a file is, is seen from its content: a Linux bzImage or vmlinux, a kernel with PVH entry or
    /// multiboot 1 header, an ELF64 or ELF32 image, or flat 16-bit code.
    pub guest: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: GuestOptions,
    /// Keep the trace in FILE; otherwise it is a temporary file that 'w' saves
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub look: Overrides,
}

/// `record`.
#[derive(Args, Debug)]
pub struct Record {
    /// A built-in guest (see 'vmscope guests') or an image file
    ///
    /// What kind of image a file is, is seen from its content: a Linux bzImage or vmlinux, a kernel with PVH entry or
    /// multiboot 1 header, an ELF64 or ELF32 image, or flat 16-bit code.
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

/// `replay`.
#[derive(Args, Debug)]
pub struct Replay {
    /// The trace
    pub file: PathBuf,
    /// Stay at the end of a trace that is still being written
    #[arg(long)]
    pub follow: bool,
    /// Let GDB connect to the trace at ADDR: HOST:PORT, or the path of a Unix socket
    ///
    /// It begins at the UI's cursor and goes from event to event, forwards and backwards; the cursor follows it.
    /// Registers are known where they were recorded (see 'record --registers'), and memory where the guest's image has
    /// it and the guest may not write, or an event tells of it.
    #[arg(long, value_name = "ADDR", conflicts_with = "follow")]
    pub gdb: Option<Address>,
    /// Let other machines connect, too
    #[arg(long, requires = "gdb")]
    pub gdb_anywhere: bool,
    /// Without the UI, for GDB
    #[arg(long, requires = "gdb")]
    pub headless: bool,
    /// The image of the guest, if it is not where the trace says
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub look: Overrides,
}

/// `screen`.
#[derive(Args, Debug)]
pub struct Screen {
    /// The trace
    pub file: PathBuf,
    /// As it was so long after the start, for instance 1.5s or 20ms
    #[arg(long, value_name = "TIME", value_parser = super::guest::moment, conflicts_with = "event")]
    pub at: Option<Duration>,
    /// As it was after event N, counted from 0
    #[arg(long, value_name = "N")]
    pub event: Option<u64>,
}

/// `console`.
#[derive(Args, Debug)]
pub struct Console {
    /// The trace
    pub file: PathBuf,
    /// Write the bytes as the guest did; not to a terminal
    #[arg(long)]
    pub raw: bool,
}

/// `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::super::guest::{Cpu, Irqchip};
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
    fn record_writes_a_trace_or_says_that_it_does_not() {
        assert!(Cli::try_parse_from(["vmscope", "record", "hello"]).is_err());
        assert!(Cli::try_parse_from(["vmscope", "record", "hello", "--no-trace"]).is_ok());
        assert!(Cli::try_parse_from(["vmscope", "record", "hello", "-o", "x", "--no-trace"]).is_err());
        assert!(Cli::try_parse_from(["vmscope", "run", "hello", "--cpus", "17"]).is_err());
    }

    #[test]
    fn a_linux_kernel_has_an_initrd_and_others_have_modules() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' '));
        let cli = parse("vmscope vmlinuz --initrd i --symbols a --symbols b@4 --cpu host --irqchip split");
        let options = cli.expect("a command line").run.options;
        assert_eq!((options.initrd, options.symbols.len()), (Some("i".into()), 2));
        assert_eq!((options.cpu, options.irqchip), (Cpu::Host, Irqchip::Split));
        let cli = parse("vmscope run k --module a --module b").expect("a command line");
        assert!(matches!(cli.command, Some(Command::Run(run)) if run.options.module.len() == 2));
        assert!(parse("vmscope run k --module a --initrd b").is_err());
        assert!(parse("vmscope run k --initrd a --initrd b").is_err());
        assert!(parse("vmscope run k --irqchip both").is_err());
    }
}
