//! `vmscope import`: recordings of a host's KVM as traces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use trace_format::describe::Escaped;
use trace_format::import::{self, Imported, Source, import};

use super::failure::{Code, Failure};
use super::output;
use super::progress::Bar;
use crate::new_file::NewFile;

/// `import`.
#[derive(Args, Debug)]
#[command(after_help = import::DOCUMENTATION)]
pub struct Import {
    /// The text of 'perf script' or 'trace-cmd report' with events kvm:*; '-' is standard input
    pub file: PathBuf,
    /// The trace to write; an existing file is replaced
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Of which program the text is, if its lines should not tell
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// The program that a recording is the text of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// 'perf script'
    Perf,
    /// 'trace-cmd report', or a file 'trace' of tracefs
    TraceCmd,
}

/// `vmscope import`.
pub(super) fn import_recording(arguments: &Import) -> Result<Code, Failure> {
    let is_stdin = arguments.file == Path::new("-");
    let (bar, input, name): (Bar, Box<dyn BufRead>, String) = if is_stdin {
        (Bar::default(), Box::new(io::stdin().lock()), "standard input".to_owned())
    } else {
        let file = File::open(&arguments.file)
            .with_context(|| format!("cannot open {}", arguments.file.display()))
            .map_err(|error| Failure { code: Code::Usage, error })?;
        let name = arguments.file.file_name().unwrap_or(arguments.file.as_os_str());
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let (bar, file) = Bar::of_bytes("importing", length, file);
        (bar, Box::new(BufReader::with_capacity(1 << 18, file)), name.to_string_lossy().into_owned())
    };
    let source = Source {
        format: arguments.format.map(|format| match format {
            Format::Perf => import::Format::PerfScript,
            Format::TraceCmd => import::Format::TraceCmd,
        }),
        name,
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        program: concat!("vmscope ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let file = NewFile::create(&arguments.output, (!is_stdin).then_some(&arguments.file))?;
    let scratch = tempfile::tempfile().context("cannot make a temporary file")?;
    let (file, found) = import(input, &source, scratch, file).map_err(|error| match error {
        import::ImportError::Trace(error) => Failure::from(error),
        error @ import::ImportError::Read { .. } => Failure::new(Code::Failed, error),
    })?;
    drop(bar);
    if found.events == 0 {
        write_found(&mut io::stderr(), &found)?;
        let error = anyhow::anyhow!(
            "no event of a virtual machine in it: record with 'perf record -e \"kvm:*\" -a' or 'trace-cmd record -e kvm', \
             and import the text of 'perf script' or 'trace-cmd report'"
        );
        return Err(Failure { code: Code::Trace, error });
    }
    file.keep()?;
    let mut out = output::out();
    write_found(&mut out, &found)?;
    let vcpus = if found.vcpus == 1 { "vCPU" } else { "vCPUs" };
    let path = arguments.output.to_string_lossy();
    writeln!(out, "{}: {} events of {} {vcpus}", crate::ui::text::escape(&path), found.events, found.vcpus)?;
    out.flush()?;
    Ok(Code::Done)
}

/// What became of the lines.
fn write_found(out: &mut impl Write, found: &Imported) -> io::Result<()> {
    let format = found.format.map_or("", |format| format.name());
    let colon = if format.is_empty() { "" } else { ": " };
    writeln!(out, "{format}{colon}{} lines, {} imported", found.lines, found.imported)?;
    let mut ignored: Vec<(&String, &u64)> = found.ignored.iter().collect();
    ignored.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    if !ignored.is_empty() {
        let total: u64 = found.ignored.values().sum();
        writeln!(out, "{total} for which a trace has no place:")?;
        for (name, count) in ignored {
            writeln!(out, "{count:>10} {}", Escaped(name.as_bytes()))?;
        }
    }
    if found.late > 0 {
        writeln!(out, "{} left out: their time is long before that of the lines before them", found.late)?;
    }
    if found.unknown > 0 {
        writeln!(out, "{} not understood, first:", found.unknown)?;
        for example in &found.examples {
            writeln!(out, "{:>10} {}", format!("line {}", example.line), Escaped(&example.text))?;
        }
    }
    Ok(())
}
