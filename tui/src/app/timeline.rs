//! What the timeline shows: zoom, pan, and making its strip.

use trace_format::Error;

use super::App;
use super::layout::LANE_NAMES;
use crate::model::strip::{Builder, EXACT_LIMIT, Strip, View};

/// The shortest span, ns.
const SHORTEST_NS: u64 = 100;

/// Events before the view that are read with it, because what they began may reach into it.
const LEAD_IN: u64 = 64;

/// How much of the run the timeline shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// All of it.
    Fit,
    /// A part; while the cursor follows, the newest of this span.
    Part(View),
}

impl App {
    /// The part of the run that the timeline shows.
    #[must_use]
    pub fn view(&self) -> View {
        let whole = self.whole();
        match self.zoom {
            Zoom::Fit => whole,
            Zoom::Part(view) if self.follow => {
                View { start: whole.end().saturating_sub(view.span), span: view.span }
            }
            Zoom::Part(view) => view,
        }
    }

    fn whole(&self) -> View {
        View { start: 0, span: self.summary.last_time.saturating_add(1) }
    }

    /// Halves or doubles the span; the selected event stays where it is.
    pub(super) fn zoom_by(&mut self, inwards: bool) {
        let view = self.view();
        let span = if inwards { view.span / 2 } else { view.span.saturating_mul(2) }.max(SHORTEST_NS);
        let whole = self.whole().span;
        // Nearly all of it is all: halving and doubling are not exact.
        if span >= whole - whole / 64 {
            self.zoom = Zoom::Fit;
            return;
        }
        let middle = view.start.saturating_add(view.span / 2);
        let anchor = self.selected.as_ref().map(|event| event.time);
        let anchor = anchor.filter(|time| view.column(*time, 1).is_some()).unwrap_or(middle);
        let offset = u128::from(anchor - view.start) * u128::from(span) / u128::from(view.span);
        let start = anchor.saturating_sub(u64::try_from(offset).unwrap_or(u64::MAX));
        self.zoom = Zoom::Part(View { start, span });
    }

    /// Moves the view by an eighth, and no further than the run goes.
    pub(super) fn pan(&mut self, later: bool) {
        let view = self.view();
        let by = (view.span / 8).max(1);
        let last = self.whole().span.saturating_sub(view.span);
        let start =
            if later { view.start.saturating_add(by).min(last) } else { view.start.saturating_sub(by) };
        if let Zoom::Part(_) = self.zoom {
            self.follow = false;
            self.zoom = Zoom::Part(View { start, ..view });
        }
    }

    /// Centres the view on the selected event if that is outside.
    pub(super) fn show_in_timeline(&mut self) {
        let (Zoom::Part(view), Some(event)) = (self.zoom, &self.selected) else { return };
        if view.column(event.time, 1).is_none() {
            self.zoom = Zoom::Part(View { start: event.time.saturating_sub(view.span / 2), ..view });
        }
    }

    /// Selects the first event at `column` of the pane, which is `width` columns wide, or after it.
    pub(super) fn click_in_timeline(&mut self, column: u16, width: u16) {
        let columns = width.saturating_sub(LANE_NAMES);
        let Some(column) = column.checked_sub(LANE_NAMES).filter(|_| columns > 0) else { return };
        match self.reader.seek_time(self.view().time(column, columns)) {
            Ok(number) => self.select(number),
            Err(error) => self.complain(&error),
        }
    }

    /// Makes the strip for `columns`, unless it is there already.
    pub(super) fn load_strip(&mut self, columns: u16) {
        if columns == 0 {
            self.strip = None;
            return;
        }
        let view = self.view();
        let known = self.known;
        let current = self
            .strip
            .as_ref()
            .is_some_and(|strip| strip.view == view && strip.columns == columns && self.strip_known == known);
        if !current {
            self.strip = Some(self.make_strip(view, columns));
            self.strip_known = known;
        }
    }

    fn make_strip(&mut self, view: View, columns: u16) -> Strip {
        match self.exact_strip(view, columns) {
            Ok(Some(strip)) => return strip,
            Ok(None) => {}
            Err(error) => self.complain(&error),
        }
        Strip::coarse(&self.summary.activity, view, columns)
    }

    /// From the events in view; `None` if those are too many.
    fn exact_strip(&mut self, view: View, columns: u16) -> Result<Option<Strip>, Error> {
        let first = self.reader.seek_time(view.start)?.saturating_sub(LEAD_IN);
        let end = self.reader.seek_time(view.end())?.saturating_add(LEAD_IN).min(self.known);
        if end.saturating_sub(first) > EXACT_LIMIT {
            return Ok(None);
        }
        let mut builder = Builder::new(&self.summary.activity, view, columns);
        for found in self.reader.forward(first) {
            let (number, event) = found?;
            if number >= end {
                break;
            }
            builder.add(&event);
        }
        Ok(Some(builder.finish(&self.summary.activity)))
    }
}
