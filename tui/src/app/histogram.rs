//! The histograms of the views: which buckets there are, which one is selected, and listing exactly its events.

use super::App;
use super::action::Motion;
use super::list::List;
use super::view::{Pane, View};
use crate::model::histogram::{Bucket, Histogram, Measured};

/// The selected bucket of each pane with a histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected {
    times: List,
    handling: List,
    latency: List,
}

impl Selected {
    const fn of(&self, pane: Pane) -> Option<&List> {
        match pane {
            Pane::Times => Some(&self.times),
            Pane::Handling => Some(&self.handling),
            Pane::Latency => Some(&self.latency),
            _ => None,
        }
    }

    const fn of_mut(&mut self, pane: Pane) -> Option<&mut List> {
        match pane {
            Pane::Times => Some(&mut self.times),
            Pane::Handling => Some(&mut self.handling),
            Pane::Latency => Some(&mut self.latency),
            _ => None,
        }
    }
}

impl App {
    /// What the histogram of `pane` is about, which depends on what is selected beside it.
    #[must_use]
    pub fn measured(&self, pane: Pane) -> Option<Measured> {
        match pane {
            Pane::Times => self.statistics_row().map(|row| row.measured),
            Pane::Handling => self.flow_to().map(|(way, _)| Measured::Handler(way.vector)),
            Pane::Latency => self.shootdown().map(|shootdown| Measured::Acknowledged(shootdown.vector)),
            _ => None,
        }
    }

    /// The histogram of `pane`.
    #[must_use]
    pub fn histogram(&self, pane: Pane) -> Option<&Histogram> {
        self.analysis()?.histograms.get(self.measured(pane)?)
    }

    /// Which of its buckets is selected.
    #[must_use]
    pub fn bucket_list(&self, pane: Pane) -> List {
        self.buckets.of(pane).copied().unwrap_or_default()
    }

    fn buckets_of(&self, pane: Pane) -> Vec<Bucket> {
        self.histogram(pane).map(Histogram::buckets).unwrap_or_default()
    }

    pub(super) fn move_in_histogram(&mut self, pane: Pane, motion: Motion, page: u16) {
        let count = self.buckets_of(pane).len();
        if let Some(list) = self.buckets.of_mut(pane) {
            list.move_by(motion, count, page);
        }
    }

    /// Another histogram is shown in `pane`.
    pub(super) fn forget_bucket(&mut self, pane: Pane) {
        if let Some(list) = self.buckets.of_mut(pane) {
            *list = List::default();
        }
    }

    /// Lists exactly the events of the selected bucket.
    pub(super) fn open_bucket(&mut self, pane: Pane) {
        let buckets = self.buckets_of(pane);
        let chosen = self.bucket_list(pane).selected(buckets.len()).and_then(|n| buckets.get(n));
        if let (Some(bucket), Some(measured)) = (chosen, self.measured(pane)) {
            self.list_only(&measured.filter(bucket));
        }
    }

    pub(super) fn scroll_histograms(&mut self) {
        let Some(panes) = self.panes() else { return };
        for pane in [Pane::Times, Pane::Handling, Pane::Latency] {
            let count = self.buckets_of(pane).len();
            if let Some(list) = self.buckets.of_mut(pane) {
                list.show(count, panes.rows(pane));
            }
        }
    }

    /// Lists exactly the events that match.
    pub(super) fn list_only(&mut self, filter: &str) {
        match trace_format::Filter::parse(filter) {
            Ok(filter) => {
                self.set_filter(filter);
                self.show(View::Events);
                self.focus(Pane::Events);
            }
            Err(error) => self.complain(&error),
        }
    }
}
