//! What the timeline shows: zoom, pan, and having its strip made.

use super::App;
use super::layout::{LANE_NAMES, Rows};
use super::view::Pane;
use crate::model::strip::{EXACT_LIMIT, Strip, View};
use crate::work::{Part, Range, Strips};

/// The shortest span, ns.
const SHORTEST_NS: u64 = 100;

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

    /// Selects the first event at `column` of the pane, which is `width` columns wide, or after it; in the line of stalls
    /// the ICR write of the one there.
    pub(super) fn click_in_timeline(&mut self, row: usize, column: u16, width: u16) {
        let Some((column, columns)) = in_lanes(column, width) else { return };
        let stalls = self.timeline_rows().is_some_and(|rows| rows.stalls);
        let stall = self.strip().filter(|_| stalls && row == 0).and_then(|strip| {
            // The slowest is drawn over the others.
            strip.brackets.iter().rfind(|stall| (stall.from..=stall.to).contains(&column))
        });
        if let Some(event) = stall.map(|stall| stall.event) {
            return self.select(event);
        }
        let time = self.view().time(column, columns);
        self.timeline.pressed = Some(time);
        self.select_time(time);
    }

    /// The mouse was moved with its button down: a range is selected.
    pub(super) fn drag_in_timeline(&mut self, column: u16, width: u16) {
        let (Some((column, columns)), Some(pressed)) = (in_lanes(column, width), self.timeline.pressed)
        else {
            return;
        };
        self.timeline.dragged = true;
        self.drag_range(pressed);
        self.select_time(self.view().time(column, columns));
    }

    /// Its button was let go.
    pub(super) fn drop_in_timeline(&mut self) {
        if self.timeline.pressed.take().is_some() && std::mem::take(&mut self.timeline.dragged) {
            self.end_drag();
        }
    }

    /// Another click begins.
    pub(super) fn forget_drag(&mut self) {
        (self.timeline.pressed, self.timeline.dragged) = (None, false);
    }

    fn select_time(&mut self, time: u64) {
        match self.reader.seek_time(time) {
            Ok(number) => self.select(number),
            Err(error) => self.complain(&error),
        }
    }

    /// How the timeline's lines are used; `None` if it is not on the screen or has no room.
    #[must_use]
    pub fn timeline_rows(&self) -> Option<Rows> {
        Rows::new(self.panes()?.inside(Pane::Timeline)?.height, self.summary.activity.lanes())
    }

    /// Brings the strip up to date for so many columns.
    pub(super) fn load_strip(&mut self, columns: u16) {
        if columns == 0 {
            self.timeline.strip = None;
            return;
        }
        let shown = Shown { view: self.view(), columns, known: self.known, analysis: self.analysed() };
        if self.timeline.strip.is_none() || self.timeline.shown != Some(shown) {
            let mut strip = self.make_strip(shown);
            strip.add_shootdowns(self.shootdowns());
            self.timeline.strip = Some(strip);
            self.timeline.marks = match self.mark_times_in(shown.view) {
                Ok(times) => times,
                Err(error) => {
                    self.complain(&error);
                    Vec::new()
                }
            };
            self.timeline.shown = Some(shown);
        }
    }

    fn make_strip(&mut self, shown: Shown) -> Strip {
        let Shown { view, columns, known, .. } = shown;
        if let Some(strip) = self.timeline.refined(shown) {
            return strip.clone();
        }
        let part = Part { view, columns, before: self.summary.activity.states_before(view.start), known };
        let exact = part.events(&mut self.reader).and_then(|events| {
            if events.end.saturating_sub(events.start) <= EXACT_LIMIT {
                return part.clone().strip(&mut self.reader, events).map(Some);
            }
            Ok(None)
        });
        match exact {
            Ok(Some(strip)) => {
                self.timeline.stop_refining();
                return strip;
            }
            Ok(None) => self.refine(part),
            Err(error) => self.complain(&error),
        }
        Strip::coarse(&self.summary.activity, view, columns)
    }

    /// Has the events read that counts are too coarse for: a bucket of them is wider than a column. Where more is still
    /// recorded, that would have to begin anew each time.
    fn refine(&mut self, part: Part) {
        let column = part.view.span / u64::from(part.columns.max(1));
        let coarse = self.summary.activity.width_ns() > column;
        let complete = self.known == self.reader.len()
            && (self.reader.is_finished() || part.view.end() <= self.summary.last_time);
        if !coarse || !complete || self.follow {
            return self.timeline.stop_refining();
        }
        if self.timeline.wanted == Some((part.view, part.columns)) {
            return;
        }
        if self.timeline.worker.is_none() {
            match Strips::of(&self.reader) {
                Ok(worker) => self.timeline.worker = Some(worker),
                Err(error) => return self.complain(&error),
            }
        }
        if let Some(worker) = &mut self.timeline.worker {
            self.timeline.wanted = Some((part.view, part.columns));
            worker.ask(part);
        }
    }

    /// Takes what has been read for the timeline. Returns whether that is new.
    pub(super) fn take_strip(&mut self) -> bool {
        let Some(worker) = &mut self.timeline.worker else { return false };
        match worker.take() {
            Ok(None) => false,
            Ok(Some(strip)) => {
                self.timeline.refined = Some(strip);
                self.timeline.strip = None;
                true
            }
            Err(error) => {
                self.complain(&error);
                true
            }
        }
    }

    /// Whether events are read for the timeline.
    #[must_use]
    pub fn is_refining(&self) -> bool {
        self.timeline.worker.as_ref().is_some_and(Strips::is_busy)
    }

    /// How far that is; it is short in each place.
    pub(super) fn refining(&self) -> Option<u64> {
        self.timeline.worker.as_ref().and_then(Strips::reached)
    }

    /// Breaks it off: the counts stay.
    pub(super) fn stop_timeline(&mut self) {
        if let Some(worker) = &mut self.timeline.worker {
            worker.cancel();
        }
    }

    /// Waits for what is read.
    pub(super) fn wait_for_strip(&self) {
        if let Some(worker) = &self.timeline.worker {
            worker.wait();
        }
    }

    /// When the marked events in view of the timeline were, ns.
    #[must_use]
    pub fn mark_times(&self) -> &[u64] {
        &self.timeline.marks
    }

    /// Something that the strip does not depend on has changed.
    pub(super) fn draw_timeline_anew(&mut self) {
        self.timeline.strip = None;
    }

    /// What the timeline shows; `None` while it is not on the screen.
    #[must_use]
    pub const fn strip(&self) -> Option<&Strip> {
        self.timeline.strip.as_ref()
    }
}

/// The column of those that show time, and how many these are.
fn in_lanes(column: u16, width: u16) -> Option<(u16, u16)> {
    let columns = width.saturating_sub(LANE_NAMES);
    column.checked_sub(LANE_NAMES).filter(|column| *column < columns).map(|column| (column, columns))
}

/// What is drawn, and what it was made from.
#[derive(Default)]
pub(super) struct Timeline {
    strip: Option<Strip>,
    shown: Option<Shown>,
    /// When the marked events in view were, ns.
    marks: Vec<u64>,
    /// Where the mouse's button went down, ns.
    pressed: Option<u64>,
    /// It has moved since.
    dragged: bool,
    worker: Option<Strips>,
    /// What the worker was asked for last.
    wanted: Option<(View, u16)>,
    /// What it answered.
    refined: Option<Strip>,
}

/// What a strip depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    view: View,
    columns: u16,
    known: u64,
    /// Of what the conversations are known.
    analysis: Option<(Range, u64)>,
}

impl Timeline {
    /// What was read for this view: all of it, as nothing is read before everything in view is recorded.
    fn refined(&self, shown: Shown) -> Option<&Strip> {
        self.refined.as_ref().filter(|strip| strip.view == shown.view && strip.columns == shown.columns)
    }

    fn stop_refining(&mut self) {
        self.wanted = None;
        if let Some(worker) = self.worker.as_mut().filter(|worker| worker.is_busy()) {
            worker.cancel();
        }
    }
}
