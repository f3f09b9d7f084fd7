//! What this host can and cannot do.

use std::io::Write as _;

use super::failure::{Code, Failure};
use super::{options, output};
use crate::live;
use crate::ui::text;

/// `vmscope doctor`.
pub(super) fn doctor(arguments: &options::Doctor) -> Result<Code, Failure> {
    let found = live::doctor()?;
    let mut out = output::out();
    if arguments.json {
        let json = serde_json::json!({ "host": found.host, "calibration": found.calibration });
        writeln!(out, "{json:#}")?;
    } else {
        let sections = [("host", &found.host), ("found by trying", &found.calibration)];
        let names = sections.iter().flat_map(|(_, facts)| facts.iter().map(|fact| fact.name.chars().count()));
        let width = names.max().unwrap_or(0);
        for (section, facts) in sections {
            writeln!(out, "{section}")?;
            for fact in facts {
                writeln!(out, "  {:<width$}  {}", text::escape(&fact.name), text::escape(&fact.value))?;
            }
        }
    }
    out.flush()?;
    Ok(Code::Done)
}
