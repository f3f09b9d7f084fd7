//! `vmscope diff`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use trace_format::diff::{self, Condition, Options};
use trace_format::{Reader, diff::Diff as Difference};

use super::failure::{Code, Failure};
use super::output;
use super::progress::Bar;
use super::selection::SelectionOptions;

/// What to compare.
#[derive(Args, Debug)]
#[command(after_help = diff::DOCUMENTATION)]
pub struct Diff {
    /// The first trace, A
    pub a: PathBuf,
    /// The second, B
    pub b: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: SelectionOptions,
    /// What differs by less than this has not changed, %
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    pub threshold: f64,
    /// Compare how often things happen in a second, not in the whole run
    #[arg(long)]
    pub rates: bool,
    /// Print what has not changed, too
    #[arg(long)]
    pub all: bool,
    /// Print at most N rows of a table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// The exit code is 1 if this is true, for instance 'p99(latency where kind == ipi) > 110%'
    #[arg(long, value_name = "EXPR")]
    pub fail_if: Option<Condition>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1e6).contains(&number) { Ok(number) } else { Err("out of range".to_owned()) }
}

/// Compares two traces.
pub(super) fn diff(arguments: &Diff) -> Result<Code, Failure> {
    let (mut a, mut b) = (Reader::open(&arguments.a)?, Reader::open(&arguments.b)?);
    let selection = arguments.selection.selection();
    let options = Options {
        selection: selection.clone(),
        threshold: arguments.threshold / 100.0,
        rates: arguments.rates,
    };
    let bar = Bar::of_events("comparing", &mut [&mut a, &mut b]);
    let found = Difference::of(&mut a, &mut b, &options)?;
    let judge = |condition: &Condition| condition.judge(&found, &mut a, &mut b, &selection);
    let judgement = arguments.fail_if.as_ref().map(judge).transpose()?;
    drop(bar);
    let mut out = output::out();
    if arguments.json {
        let mut json = serde_json::to_value(&found).map_err(io::Error::from)?;
        if let (Some(fields), Some(judgement)) = (json.as_object_mut(), &judgement) {
            fields.insert("fail_if".to_owned(), serde_json::to_value(judgement).map_err(io::Error::from)?);
        }
        serde_json::to_writer_pretty(&mut out, &json).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", found.text(arguments.all, arguments.top))?;
        if let Some(judgement) = &judgement {
            write!(out, "\n{judgement}")?;
        }
    }
    out.flush()?;
    output::warn_of_damage(&a)?;
    output::warn_of_damage(&b)?;
    let damaged = !a.damage().is_empty() || !b.damage().is_empty();
    Ok(match judgement {
        // What could not be read may be what the condition is about.
        Some(_) if damaged => Code::Trace,
        Some(judgement) if judgement.is_true => Code::Failed,
        _ => Code::Done,
    })
}
