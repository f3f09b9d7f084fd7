//! What the UI is to look like, and `vmscope config`.

use std::io::Write as _;

use anyhow::anyhow;
use clap::Args;

use super::failure::{Code, Failure};
use super::output;
use crate::config::{Config, Environment, Look, Overrides, default_text, path};

/// `config`.
#[derive(Args, Debug)]
pub struct ConfigOptions {
    /// Print a configuration with all the defaults, to be edited
    #[arg(long)]
    default: bool,
}

/// `vmscope config`: where the configuration is and whether it can be understood, or the default one.
pub(super) fn config(arguments: &ConfigOptions) -> Result<Code, Failure> {
    let mut out = output::out();
    if arguments.default {
        out.write_all(default_text().as_bytes())?;
        out.flush()?;
        return Ok(Code::Done);
    }
    match path() {
        Some(path) if path.exists() => {
            Config::read(&path).map_err(|error| Failure::new(Code::Usage, anyhow!(error)))?;
            writeln!(out, "{}", path.display())?;
        }
        Some(path) => {
            writeln!(out, "{} (there is none: 'vmscope config --default' prints one)", path.display())?;
        }
        None => writeln!(out, "no place: neither XDG_CONFIG_HOME nor HOME is an absolute path")?,
    }
    out.flush()?;
    Ok(Code::Done)
}

/// What the UI is to be like, by the command line, the environment and the configuration.
pub(super) fn look(overrides: &Overrides) -> Result<Look, Failure> {
    let wrong = |error: String| Failure::new(Code::Usage, anyhow!(error));
    let config = path().map_or_else(|| Ok(Config::default()), |path| Config::read(&path)).map_err(wrong)?;
    config.look(overrides, &Environment::read()).map_err(wrong)
}
