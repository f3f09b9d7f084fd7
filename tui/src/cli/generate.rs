//! `vmscope completions` and `vmscope man`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::failure::{Code, Failure};
use super::options::Cli;
use super::output;

/// `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// For this shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// `man`.
#[derive(Args, Debug)]
pub struct Man {
    /// Write a page for each command into DIR; otherwise the main page is printed
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints completions for a shell.
pub(super) fn completions(arguments: &Completions) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "vmscope", &mut script);
    let mut out = output::out();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Code::Done)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(arguments: &Man) -> Result<Code, Failure> {
    if let Some(directory) = &arguments.output {
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
            .with_context(|| format!("cannot write manual pages into {}", directory.display()))?;
        return Ok(Code::Done);
    }
    let mut out = output::out();
    clap_mangen::Man::new(Cli::command()).render(&mut out)?;
    out.flush()?;
    Ok(Code::Done)
}
