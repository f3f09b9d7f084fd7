//! `vmscope export`: a trace for other tools.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use trace_format::Reader;
use trace_format::filter::{Field, Filter};

use super::events::known_field;
use super::failure::{Code, Failure};
use super::output;
use super::progress::Bar;
use super::selection::selection;
use crate::export::{self, Format};
use crate::new_file::NewFile;
use crate::ui::text;

/// `export`.
#[derive(Args, Debug)]
pub struct Export {
    /// The trace
    pub file: PathBuf,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub to: Format,
    /// The file to write, which is there once it is complete; an existing file is replaced. Standard output by default,
    /// if it is no terminal, or for '-'
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only these events, for instance 'vcpu == 0 and exit.reason == mmio' (see 'vmscope help filter')
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<Filter>,
    /// Only what happened so long after the start or later, for instance 1.5s or 20ms
    #[arg(long, value_name = "TIME", value_parser = super::guest::moment)]
    pub from: Option<Duration>,
    /// Only what happened so long after the start or earlier (--to is the format here)
    #[arg(long, value_name = "TIME", value_parser = super::guest::moment)]
    pub until: Option<Duration>,
    /// The columns of CSV, separated by commas, for instance time,vcpu,kind,symbol
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = known_field)]
    pub fields: Option<Vec<&'static Field>>,
}

/// `vmscope export`.
pub(super) fn export(arguments: &Export) -> Result<Code, Failure> {
    let Export { file, to, output, filter, from, until, fields } = arguments;
    if fields.is_some() && *to != Format::Csv {
        return Err(usage("--fields is for --to csv: the other formats have all fields"));
    }
    let output = output.as_deref().filter(|path| *path != Path::new("-"));
    if output.is_none() && output::is_terminal() {
        return Err(usage(
            "this would fill the terminal with what is no text for people: give -o FILE, or pipe it",
        ));
    }
    to.check().map_err(usage)?;
    let mut reader = Reader::open(file)?;
    let selection = selection(filter.as_ref(), *from, *until);
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let bar = Bar::of_events("exporting", &mut [&mut reader]);
    let mut write = |out: &mut (dyn Write + Send)| -> Result<u64, Failure> {
        Ok(export::write(&mut reader, *to, &selection, fields.as_deref(), &name, out)?)
    };
    match output {
        None => {
            write(&mut BufWriter::with_capacity(64 << 10, stdout()))?;
        }
        Some(path) => {
            let mut new = BufWriter::with_capacity(64 << 10, NewFile::create(path, Some(file))?);
            let events = write(&mut new)?;
            let new = new.into_inner().map_err(|error| Failure::from(error.into_error()))?;
            new.keep()?;
            drop(bar);
            let events = text::count(events);
            output::progress(&format_args!("{events} events written to {}", path.display()))?;
        }
    }
    output::warn_of_damage(&reader)
}

fn usage(message: &'static str) -> Failure {
    Failure::new(Code::Usage, anyhow!(message))
}

impl From<trace_format::export::Error> for Failure {
    fn from(error: trace_format::export::Error) -> Self {
        match error {
            trace_format::export::Error::Trace(error) => error.into(),
            error => Self::new(Code::Failed, error),
        }
    }
}
