//! `vmscope assert`.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use trace_format::assertion::{Aggregate, Amount, Assertion, Verdict, check};
use trace_format::{Reader, assertion};

use super::failure::{Code, Failure};
use super::output;
use super::progress::Bar;

/// What is claimed of which trace.
#[derive(Args, Debug)]
#[command(after_help = assertion::DOCUMENTATION)]
pub struct Assert {
    /// The trace
    pub file: PathBuf,
    /// What must hold, for instance 'count(exit.reason == mmio) < 1000'
    #[arg(required = true, value_name = "EXPR")]
    pub assertions: Vec<Assertion>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Says which assertions hold.
pub(super) fn assert(arguments: &Assert) -> Result<Code, Failure> {
    let mut reader = Reader::open(&arguments.file)?;
    let bar = Bar::of_events("checking", &mut [&mut reader]);
    let verdicts = check(&mut reader, &arguments.assertions)?;
    drop(bar);
    let mut out = output::out();
    let claims = || arguments.assertions.iter().zip(&verdicts);
    let all_hold = verdicts.iter().all(|verdict| verdict.holds);
    if arguments.json {
        let assertions: Vec<Value> = claims().map(|(assertion, verdict)| json(assertion, verdict)).collect();
        let report = json!({ "holds": all_hold, "assertions": assertions });
        serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for (assertion, verdict) in claims() {
            let word = if verdict.holds { "holds" } else { "FAILS" };
            writeln!(out, "{word}  {}", assertion.text())?;
            for (aggregate, amount) in assertion.aggregates().iter().zip(&verdict.values) {
                writeln!(out, "       {aggregate} is {}", shown(aggregate, *amount))?;
            }
        }
    }
    out.flush()?;
    output::warn_of_damage(&reader)?;
    // What could not be read may be what the assertion is about.
    let damaged = !reader.damage().is_empty();
    Ok(match (all_hold, damaged) {
        (_, true) => Code::Trace,
        (true, false) => Code::Done,
        (false, false) => Code::Failed,
    })
}

/// In words; of a time besides in ns, which is what a limit is set by.
fn shown(aggregate: &Aggregate, amount: Option<Amount>) -> String {
    let Some(amount) = amount else { return "not there: no event that matches has a value".to_owned() };
    let shown = amount.shown(aggregate.unit());
    match (amount, aggregate.unit()) {
        (Amount::Whole(ns @ 1000..), "ns") => format!("{shown} ({ns} ns)"),
        _ => shown,
    }
}

fn json(assertion: &Assertion, verdict: &Verdict) -> Value {
    let amounts = assertion.aggregates().into_iter().zip(&verdict.values);
    let amounts: Vec<Value> = amounts
        .map(|(aggregate, amount)| {
            let value = match amount {
                None => Value::Null,
                Some(Amount::Whole(value)) => {
                    u64::try_from(*value).map_or_else(|_| json!(*value as f64), |v| json!(v))
                }
                Some(Amount::Real(value)) => json!(value),
            };
            json!({ "amount": aggregate.text, "value": value, "unit": aggregate.unit() })
        })
        .collect();
    json!({ "assertion": assertion.text(), "holds": verdict.holds, "amounts": amounts })
}
