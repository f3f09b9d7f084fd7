//! What the trace amounts to, for the views that show it: kept up to date by a thread while one of them is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_format::Report;

use super::App;
use super::view::View;
use crate::work::{Analysis, Analyst, Range};

/// Of a trace that grows, the analysis is made anew after this many times the time that it took.
const REST: u32 = 4;
/// And not sooner than this.
const SOONEST: Duration = Duration::from_millis(250);

/// The newest analysis and who makes it.
#[derive(Default)]
pub(super) struct Analysed {
    newest: Option<Arc<Analysis>>,
    worker: Option<Analyst>,
    /// When it was asked for.
    asked: Option<Instant>,
    /// Not before.
    next: Option<Instant>,
    /// How many events the trace had when it failed or was stopped.
    given_up: Option<u64>,
}

impl App {
    /// The newest analysis.
    #[must_use]
    pub fn analysis(&self) -> Option<&Analysis> {
        self.analysed.newest.as_deref()
    }

    /// Its report.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.analysis().map(|analysis| &analysis.report)
    }

    /// Of what range and how many events the newest analysis is.
    pub(super) fn analysed(&self) -> Option<(Range, u64)> {
        self.analysis().map(|analysis| (analysis.range, analysis.events))
    }

    /// Takes what has been found, and asks for more if the trace has grown. Returns whether something is new.
    pub(super) fn take_analysis(&mut self) -> bool {
        let found = match &mut self.analysed.worker {
            Some(worker) => worker.take(),
            None => Ok(None),
        };
        let new = match found {
            Ok(Some(analysis)) => {
                let took = self.analysed.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
                self.analysed.next = Instant::now().checked_add((took * REST).max(SOONEST));
                self.analysed.newest = Some(analysis);
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.complain(&error);
                self.analysed.given_up = Some(self.reader.len());
                true
            }
        };
        if self.wants_analysis() {
            self.analyse();
        }
        new
    }

    /// Whether there is to be another one, for the view that is shown.
    fn wants_analysis(&self) -> bool {
        let needed = match self.focus.view() {
            View::Overview | View::Statistics | View::Traps | View::Memory | View::Ipis => true,
            // Of a guest that runs the conversations in view are enough.
            View::Timeline => self.reader.is_finished() && self.known == self.reader.len(),
            View::Events | View::Console | View::Code => false,
        };
        let stale = match self.analysis() {
            None => true,
            Some(analysis) => {
                let rested = self.analysed.next.is_some_and(|next| Instant::now() >= next);
                // What has come to an end need not rest.
                let rested = rested || self.reader.is_finished();
                analysis.range != self.analysed_range() || (analysis.events < self.reader.len() && rested)
            }
        };
        needed && stale && !self.is_analysing() && self.analysed.given_up != Some(self.reader.len())
    }

    fn analyse(&mut self) {
        if self.analysed.worker.is_none() {
            match Analyst::of(&self.reader) {
                Ok(worker) => self.analysed.worker = Some(worker),
                Err(error) => return self.complain(&error),
            }
        }
        let range = self.analysed_range();
        if let Some(worker) = &mut self.analysed.worker {
            worker.ask(range);
            self.analysed.asked = Some(Instant::now());
        }
    }

    pub(super) fn is_analysing(&self) -> bool {
        self.analysed.worker.as_ref().is_some_and(Analyst::is_busy)
    }

    /// How far it is, if it is under way.
    pub(super) fn analysing(&self) -> Option<u64> {
        self.analysed.worker.as_ref().and_then(Analyst::reached)
    }

    /// Breaks it off, until another view is shown or the trace has grown.
    pub(super) fn stop_analysis(&mut self) {
        if let Some(worker) = &mut self.analysed.worker {
            worker.cancel();
        }
        self.analysed.given_up = Some(self.reader.len());
    }

    /// Has it made once more, if it was given up.
    pub(super) fn wish_for_analysis(&mut self) {
        self.analysed.given_up = None;
    }

    /// Whether nothing has been counted because it failed or was stopped.
    #[must_use]
    pub fn is_not_analysed(&self) -> bool {
        self.analysed.newest.is_none() && self.analysed.given_up == Some(self.reader.len())
    }

    /// Waits for what the analysis tells next.
    pub(super) fn wait_for_analysis(&self) {
        if let Some(worker) = &self.analysed.worker {
            worker.wait();
        }
    }
}
