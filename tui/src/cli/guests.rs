//! The built-in guests: a list of them, and their images for debuggers.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::failure::{Code, Failure};
use super::output;
use crate::live;
use crate::new_file::NewFile;

/// `guests`.
#[derive(Args, Debug)]
pub struct Guests {
    /// Write the image of this one, with its debug information
    #[arg(value_name = "NAME", requires = "output")]
    name: Option<String>,
    /// Where to write it
    #[arg(short, long, value_name = "FILE", requires = "name")]
    output: Option<PathBuf>,
}

/// `vmscope guests`.
pub(super) fn guests(arguments: &Guests) -> Result<Code, Failure> {
    match (&arguments.name, &arguments.output) {
        (Some(name), Some(path)) => {
            let unknown = || anyhow!("there is no built-in guest {name:?}; 'vmscope guests' lists them");
            let image = live::image(name).ok_or_else(|| Failure::new(Code::Usage, unknown()))?;
            let mut file = NewFile::create(path, None)?;
            file.write_all(image).with_context(|| format!("cannot write {}", path.display()))?;
            file.keep()?;
        }
        _ => list()?,
    }
    Ok(Code::Done)
}

fn list() -> Result<(), Failure> {
    let mut out = output::out();
    for guest in live::guests()? {
        writeln!(out, "{}: {}", guest.name, guest.about)?;
        writeln!(out, "    look at: {}", guest.demonstrates)?;
        writeln!(out, "    vCPUs:   {}", guest.vcpus)?;
        for (key, default, about) in guest.options {
            writeln!(out, "    --append {key}={default}: {about}")?;
        }
    }
    out.flush()?;
    Ok(())
}
