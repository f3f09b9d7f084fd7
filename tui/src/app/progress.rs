//! What is under way on other threads, once it has taken longer than goes unnoticed.

use std::time::{Duration, Instant};

use super::App;

/// What is over sooner is not shown: it would flicker.
const UNNOTICED: Duration = Duration::from_millis(500);

/// The name of the job that writes a trace to where it is wanted.
pub const SAVE: &str = "save";

/// Something under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Something that is done once, by this name.
    Job(&'static str),
    /// The filter looks for its events.
    Filter,
    /// The search looks for its events.
    Search,
    /// The list is sorted.
    Sort,
    /// What the trace amounts to is counted.
    Analysis,
    /// The timeline's events are read.
    Timeline,
    /// Events in view, far apart, are read.
    List,
    /// The trace is taken in.
    Reading,
}

impl Task {
    /// What it is, in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Job(name) => name,
            Self::Filter => "filter",
            Self::Search => "search",
            Self::Sort => "sort",
            Self::Analysis => "analysis",
            Self::Timeline => "timeline",
            Self::List => "list",
            Self::Reading => "reading",
        }
    }

    /// Whether going back stops it.
    #[must_use]
    pub fn can_be_stopped(self) -> bool {
        // What is saved was wanted, and is written at the latest when the program is left.
        !matches!(self, Self::List | Self::Reading | Self::Job(SAVE))
    }
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// What.
    pub task: Task,
    /// Of a hundred.
    pub percent: u8,
}

/// Since when, and what of it is shown.
#[derive(Default)]
pub(super) struct Progress {
    since: Option<(Task, Instant)>,
    shown: Option<UnderWay>,
}

impl Progress {
    /// Takes note of what is under way at `now`. Returns whether something else is to be shown.
    fn look(&mut self, now: Instant, task: Option<(Task, f64)>) -> bool {
        let before = self.shown.take();
        match task {
            None => self.since = None,
            Some((task, share)) => {
                let since = match self.since {
                    Some((same, since)) if same == task => since,
                    _ => now,
                };
                self.since = Some((task, since));
                if now.duration_since(since) >= UNNOTICED {
                    let percent = (share.clamp(0.0, 1.0) * 100.0) as u8;
                    self.shown = Some(UnderWay { task, percent });
                }
            }
        }
        self.shown != before
    }
}

impl App {
    /// What has been under way for long enough to be shown.
    #[must_use]
    pub const fn under_way(&self) -> Option<UnderWay> {
        self.progress.shown
    }

    /// Looks what is under way. Returns whether something else is to be shown.
    pub(super) fn look_at_progress(&mut self) -> bool {
        let task = self.task();
        self.progress.look(Instant::now(), task)
    }

    /// What somebody waits for most, and how much of it is done.
    fn task(&self) -> Option<(Task, f64)> {
        if let Some(job) = &self.job {
            return Some((Task::Job(job.what), job.share()));
        }
        if let Some(missing) = self.listing() {
            return Some((Task::List, 1.0 - missing as f64 / self.window.events.len().max(1) as f64));
        }
        let of = self.reader.len().max(1) as f64;
        let share = |reached: u64| reached as f64 / of;
        let busy = [
            (Task::Filter, self.filtered.reached()),
            (Task::Search, self.search.reached()),
            (Task::Sort, self.order.reached()),
            (Task::Analysis, self.analysing()),
            (Task::Timeline, self.refining()),
            // What more is recorded is there before anybody waits for it.
            (Task::Reading, (self.known < self.reader.len() && self.machine.is_none()).then_some(self.known)),
        ];
        busy.into_iter().find_map(|(task, reached)| Some((task, share(reached?))))
    }

    /// Stops what is shown to be under way, if it can be. Whether there was something.
    pub(super) fn stop_under_way(&mut self) -> bool {
        if self.stop_job() {
            return true;
        }
        match self.under_way().map(|under_way| under_way.task) {
            Some(Task::Filter) => self.set_filter(trace_format::Filter::default()),
            Some(Task::Search) => self.search(trace_format::Filter::default()),
            Some(Task::Sort) => self.sort_by(None),
            Some(Task::Analysis) => self.stop_analysis(),
            Some(Task::Timeline) => self.stop_timeline(),
            Some(Task::Job(_) | Task::List | Task::Reading) | None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_soon_is_not_shown() {
        let mut progress = Progress::default();
        let begun = Instant::now();
        let later = |ms| begun + Duration::from_millis(ms);
        assert!(!progress.look(begun, Some((Task::Filter, 0.0))));
        assert!(!progress.look(later(499), Some((Task::Filter, 0.4))));
        assert!(progress.look(later(500), Some((Task::Filter, 0.415))));
        assert_eq!(progress.shown, Some(UnderWay { task: Task::Filter, percent: 41 }));
        assert!(!progress.look(later(520), Some((Task::Filter, 0.419))), "it looks the same");
        assert!(progress.look(later(540), Some((Task::Job("export"), 0.5))), "something else begins");
        assert_eq!(progress.shown, None);
        progress.look(later(1100), Some((Task::Job("export"), 1.5)));
        assert_eq!(progress.shown, Some(UnderWay { task: Task::Job("export"), percent: 100 }));
        assert!(progress.look(later(1101), None));
        assert!(!progress.look(later(1102), None));
    }

    #[test]
    fn the_footer_shows_it_where_there_is_room() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, crate::app::Settings::plain());
        let mut footer = |task, columns| {
            app.progress.shown = Some(UnderWay { task, percent: 43 });
            let screen = crate::ui::snapshot(&mut app, (columns, 24).into()).unwrap();
            screen.lines().last().unwrap().to_owned()
        };
        let footer_of = [120, 60, 20].map(|columns| footer(Task::Job("export"), columns));
        assert!(footer_of[0].ends_with(" export 43 % ━━━━╌╌╌╌╌╌ Esc stops it"), "{}", footer_of[0]);
        assert!(footer_of[0].starts_with(" q quit  ? help"));
        assert!(footer_of[1].ends_with(" export 43 %"), "{}", footer_of[1]);
        assert!(!footer_of[2].contains("export"), "{}", footer_of[2]);
        assert!(footer(Task::Reading, 120).ends_with(" reading 43 % ━━━━╌╌╌╌╌╌"), "nothing stops it");
    }

    #[test]
    fn going_back_stops_the_analysis_until_a_view_is_chosen() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, crate::app::Settings::plain());
        app.show(crate::app::View::Statistics);
        app.resize((80, 24).into());
        app.tick();
        assert!(app.is_analysing());
        app.progress.shown = Some(UnderWay { task: Task::Analysis, percent: 1 });
        app.update(crate::app::action::Action::Back);
        app.read_all();
        assert!(app.report().is_none() && app.is_not_analysed());
        app.update(crate::app::action::Action::Show(crate::app::View::Statistics));
        app.read_all();
        assert!(app.report().is_some());
    }
}
