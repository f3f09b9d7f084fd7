//! Source lines and labels between the instructions.

use std::collections::HashMap;
use std::sync::Arc;

use super::{App, Row};
use crate::model::code::Line;
use crate::model::sources::SourceLine;
use crate::work::Lines;

/// More addresses than that are looked up anew.
const MOST_KNOWN: usize = 50_000;

/// Which lines are known, by gva.
#[derive(Debug, Default)]
pub(super) struct Known {
    found: HashMap<u64, Option<SourceLine>>,
    /// What is looked for.
    asked: Vec<u64>,
    worker: Option<Lines>,
}

impl App {
    /// The rows of these instructions. Lines that are not known yet come later.
    pub(super) fn rows_of(&mut self, lines: Vec<Line>) -> Vec<Row> {
        self.ask_for_lines(&lines);
        let mut rows = Vec::with_capacity(lines.len());
        let mut before = None;
        for line in lines {
            if let Some((name, 0)) = self.header().symbolize(line.gva) {
                rows.push(Row::Label(crate::ui::text::escape(name).into_owned()));
                before = None;
            }
            let source = self.code.lines.found.get(&line.gva).and_then(Option::as_ref);
            if let Some(source) = source.filter(|source| before.as_ref() != Some(*source)) {
                rows.push(Row::Source(source.clone()));
                before = Some(source.clone());
            }
            rows.push(Row::Code(line));
        }
        rows
    }

    fn ask_for_lines(&mut self, lines: &[Line]) {
        let Some(image) = &self.code.image else { return };
        let known = &mut self.code.lines;
        if known.found.len() > MOST_KNOWN {
            known.found.clear();
        }
        let unknown: Vec<u64> =
            lines.iter().map(|line| line.gva).filter(|gva| !known.found.contains_key(gva)).collect();
        if unknown.is_empty() || known.worker.as_ref().is_some_and(Lines::is_busy) {
            return;
        }
        if known.worker.is_none() {
            match Lines::of(Arc::clone(image), self.reader.header().symbols.clone()) {
                Ok(worker) => known.worker = Some(worker),
                Err(error) => return self.complain(&error),
            }
        }
        if let Some(worker) = &mut self.code.lines.worker {
            worker.ask(unknown.clone());
            self.code.lines.asked = unknown;
        }
    }

    /// Takes what has been found. Returns whether something is new.
    pub(in crate::app) fn take_lines(&mut self) -> bool {
        let Some(worker) = &mut self.code.lines.worker else { return false };
        match worker.take() {
            Ok(None) => false,
            Ok(Some(found)) => {
                self.code.lines.found.extend(found);
                true
            }
            Err(error) => {
                // Not to be asked for again and again.
                let asked = std::mem::take(&mut self.code.lines.asked);
                self.code.lines.found.extend(asked.into_iter().map(|gva| (gva, None)));
                self.complain(&error);
                true
            }
        }
    }

    /// Whether lines are looked for.
    pub(in crate::app) fn is_finding_lines(&self) -> bool {
        self.code.lines.worker.as_ref().is_some_and(Lines::is_busy)
    }

    /// Waits for them.
    pub(in crate::app) fn wait_for_lines(&self) {
        if let Some(worker) = &self.code.lines.worker {
            worker.wait();
        }
    }
}
