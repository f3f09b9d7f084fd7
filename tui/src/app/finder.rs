//! Having the events of a selection looked for, on a thread, and going on where the trace has grown.

use trace_format::filter::Selection;
use trace_format::{Error, Reader};

use crate::work::{Matches, Searched};

/// A selection and its events, as far as they have been found. Everything is not looked for.
#[derive(Default)]
pub(super) struct Finder {
    selection: Selection,
    matches: Matches,
    /// Started with the first selection.
    worker: Option<Searched>,
    /// How many events the trace had when it failed: it is not tried again before there are more.
    failed: Option<u64>,
}

impl Finder {
    /// What is looked for.
    pub(super) const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What has been found.
    pub(super) const fn matches(&self) -> &Matches {
        &self.matches
    }

    /// Whether something is.
    pub(super) fn is_wanted(&self) -> bool {
        !self.selection.is_everything()
    }

    /// Looks for the events of `selection`, and no longer for others.
    pub(super) fn look_for(&mut self, selection: Selection, reader: &Reader) -> Result<(), Error> {
        self.matches = Matches::default();
        self.selection = selection;
        self.failed = None;
        if self.is_wanted() {
            return self.go_on(reader);
        }
        if let Some(worker) = &mut self.worker {
            worker.cancel();
        }
        Ok(())
    }

    /// Has the trace searched, what has come since the last time at least.
    fn go_on(&mut self, reader: &Reader) -> Result<(), Error> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            None => self.worker.insert(Searched::of(reader)?),
        };
        worker.ask(self.selection.clone());
        Ok(())
    }

    /// Takes what has been found. Returns whether that is new.
    pub(super) fn take(&mut self, reader: &Reader) -> Result<bool, Error> {
        if !self.is_wanted() {
            return Ok(false);
        }
        let Some(worker) = &mut self.worker else { return Ok(false) };
        let found = worker.take().inspect_err(|_| self.failed = Some(reader.len()))?;
        let new = found.is_some();
        if let Some(matches) = found {
            self.matches = matches;
        }
        let more = self.matches.searched() < reader.len() && self.failed != Some(reader.len());
        if !worker.is_busy() && more {
            self.go_on(reader)?;
        }
        Ok(new)
    }

    /// Whether the search is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.worker.as_ref().is_some_and(Searched::is_busy)
    }

    /// How far it is, if it is under way.
    pub(super) fn reached(&self) -> Option<u64> {
        self.worker.as_ref().and_then(Searched::reached)
    }

    /// Waits for what it tells next.
    pub(super) fn wait(&self) {
        if let Some(worker) = &self.worker {
            worker.wait();
        }
    }
}
