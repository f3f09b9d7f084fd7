//! The state of the UI: input becomes an [`action::Action`], [`App::update`] carries it out and returns a [`Command`] if
//! the world outside has to do something. Drawing ([`crate::ui`]) only reads the state.

mod act;
pub mod action;
mod analysis;
mod bytes;
pub mod code;
mod columns;
mod console;
mod console_search;
mod control;
pub mod copy;
mod debugger;
mod export;
mod filter;
mod finder;
mod help;
mod histogram;
mod ipis;
mod job;
pub mod keys;
pub mod layout;
mod line;
mod list;
pub mod location;
mod marks;
pub mod memory;
mod motion;
mod mouse;
mod nearest;
pub mod place;
mod playback;
pub mod press;
mod progress;
mod queries;
mod range;
mod save;
mod search;
mod sort;
pub mod statistics;
pub mod table;
mod timeline;
mod traps;
mod typing;
pub mod view;
mod window;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Size;
use trace_format::event::Actor;
use trace_format::{Event, Reader};

use crate::config::Look;
use crate::debugger::Debugger;
use crate::guest::Machine;
use crate::marks::Marks;
use crate::model::Summary;
use crate::ui::theme::Theme;
use crate::work::Job;
use action::Command;
pub use columns::{Column, Columns};
pub use export::Target;
pub use filter::Listed;
pub use help::{Help, pane_of};
use keys::{Keymap, Meaning};
pub use line::Line;
pub use list::List;
pub use playback::Playback;
pub use progress::{SAVE, Task, UnderWay};
pub use range::SelectedRange;
pub use search::Searching;
pub use sort::SortBy;
use table::What;
pub use timeline::Zoom;
use view::Focus;
pub use view::{Pane, View};
pub use window::Window;

/// How long one tick takes events in, so that keys are answered while a long trace is read.
const TAKING_IN: Duration = Duration::from_millis(8);
/// Events between two looks at the clock.
const BETWEEN_LOOKS: u64 = 1024;

/// What keys go to.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The panes.
    Panes,
    /// The help.
    Help(Help),
    /// A line of text: a command, or what one needs.
    Line(Line),
    /// The guest.
    Typing,
}

/// Something to tell the user, until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What.
    pub text: String,
    /// It is an error.
    pub error: bool,
}

impl Message {
    /// An error with its causes.
    fn of_error(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self { text, error: true }
    }
}

/// How the UI begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it looks like, and its keys.
    pub look: Look,
    /// Stay at the newest event.
    pub follow: bool,
    /// The trace is a temporary file that can be saved.
    pub temporary: bool,
    /// Shown above everything else, for instance why a replay is shown instead of a live run.
    pub banner: Option<String>,
}

impl Settings {
    /// Of a replay, without colour.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            look: Look {
                theme: Theme::MONO,
                keymap: Keymap::default(),
                columns: Columns::default(),
                ascii: false,
                mouse: true,
            },
            follow: false,
            temporary: false,
            banner: None,
        }
    }
}

/// The whole state.
pub struct App {
    reader: Reader,
    known: u64,
    summary: Summary,
    settings: Settings,
    size: Size,
    machine: Option<Machine>,
    debugger: Option<Debugger>,
    /// The user's, gva.
    breakpoints: Vec<u64>,
    /// How many stops of the debugger the cursor has followed.
    followed_stops: u64,
    /// The event at which a debugger has stopped the guest.
    stop: Option<u64>,
    /// Who follows stays there.
    at_stop: bool,
    mode: Mode,
    pending: Option<KeyCode>,
    message: Option<Message>,
    focus: Focus,
    follow: bool,
    cursor: u64,
    selected: Option<Event>,
    filtered: finder::Finder,
    search: search::Search,
    order: sort::Order,
    chosen: range::Chosen,
    marks: Marks,
    playback: Playback,
    analysed: analysis::Analysed,
    buckets: histogram::Selected,
    table: statistics::Table,
    traps: traps::Traps,
    ipis: ipis::Ipis,
    window: Window,
    zoom: Zoom,
    timeline: timeline::Timeline,
    code: code::Code,
    memory: memory::Memory,
    detail_scroll: u16,
    run_scroll: u16,
    console: console::View,
    saved: Option<PathBuf>,
    /// Where the trace is, if it is a file.
    file: Option<PathBuf>,
    /// What is done once, on another thread.
    job: Option<Job>,
    progress: progress::Progress,
}

impl App {
    /// The UI of a trace. [`Self::resize`] says how large it is, [`Self::tick`] reads events.
    #[must_use]
    pub fn new(reader: Reader, settings: Settings) -> Self {
        let summary = Summary::new(reader.header());
        Self {
            summary,
            size: Size::ZERO,
            machine: None,
            debugger: None,
            breakpoints: Vec::new(),
            followed_stops: 0,
            stop: None,
            at_stop: false,
            mode: Mode::Panes,
            pending: None,
            message: None,
            focus: Focus::default(),
            follow: settings.follow,
            cursor: 0,
            selected: None,
            filtered: finder::Finder::default(),
            search: search::Search::default(),
            order: sort::Order::default(),
            chosen: range::Chosen::default(),
            marks: Marks::default(),
            playback: Playback::default(),
            analysed: analysis::Analysed::default(),
            buckets: histogram::Selected::default(),
            table: statistics::Table::default(),
            traps: traps::Traps::default(),
            ipis: ipis::Ipis::default(),
            window: Window::default(),
            zoom: Zoom::Fit,
            timeline: timeline::Timeline::default(),
            code: code::Code::default(),
            memory: memory::Memory::default(),
            detail_scroll: 0,
            run_scroll: 0,
            console: console::View::default(),
            saved: None,
            file: None,
            job: None,
            progress: progress::Progress::default(),
            settings,
            known: 0,
            reader,
        }
    }

    /// Looks whether the trace has grown and takes events in.
    pub fn tick(&mut self) -> Tick {
        let (before, was_finished) = (self.known, self.reader.is_finished());
        if let Err(error) = self.reader.poll() {
            self.complain(&error);
        }
        let begun = Instant::now();
        let (mut taken, mut failure) = (0, None);
        let mut events = self.reader.forward(self.known);
        let behind = loop {
            if taken == BETWEEN_LOOKS {
                if begun.elapsed() >= TAKING_IN {
                    break true;
                }
                taken = 0;
            }
            match events.next() {
                Some(Ok((number, event))) => {
                    self.summary.add(number, &event);
                    self.known = number + 1;
                    taken += 1;
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    break false;
                }
                None => {
                    self.known = self.reader.len();
                    break false;
                }
            }
        };
        if let Some(error) = failure {
            self.complain(&error);
        }
        let found = self.take_matches()
            | self.take_found()
            | self.take_order()
            | self.take_analysis()
            | self.take_strip()
            | self.take_lines()
            | self.take_job()
            | self.take_listed();
        let changed = self.look_at_progress() | found
            || self.known != before
            || self.reader.is_finished() != was_finished;
        if changed {
            self.refresh();
        }
        Tick { changed, behind, working: self.is_working() }
    }

    /// Takes the whole trace in as it is now, and waits for everything that is looked for in it.
    pub fn read_all(&mut self) {
        loop {
            let tick = self.tick();
            if tick.working {
                self.filtered.wait();
                self.search.wait();
                self.order.wait();
                self.wait_for_analysis();
                self.wait_for_strip();
                self.wait_for_lines();
                self.wait_for_job();
                self.wait_for_listed();
            } else if !tick.behind {
                break;
            }
        }
        self.refresh();
    }

    /// Whether something is done on another thread.
    fn is_working(&self) -> bool {
        self.filtered.is_busy()
            || self.search.is_busy()
            || self.order.is_busy()
            || self.is_analysing()
            || self.is_refining()
            || self.is_finding_lines()
            || self.is_listing()
            || self.job.is_some()
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
        self.refresh();
    }

    /// What the guest is doing, where there is one to control. Returns whether that is new.
    pub fn set_machine(&mut self, machine: Option<Machine>) -> bool {
        let new = self.machine != machine;
        self.machine = machine;
        if new && self.machine == Some(Machine::Paused { by: Actor::Gdb }) {
            // Where GDB has stopped it is what is to be seen.
            self.follow = true;
        }
        if new && self.shows_live_code() {
            self.stands_still();
        }
        if new {
            self.stop_typing_to_nobody();
        }
        new
    }

    /// Tells the user something.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), error: false });
    }

    /// Tells the user why something is not done.
    fn refuse(&mut self, why: impl Into<String>) {
        self.message = Some(Message { text: why.into(), error: true });
    }

    /// Tells the user about an error.
    pub fn complain(&mut self, error: &dyn std::error::Error) {
        self.message = Some(Message::of_error(error));
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Option<Command> {
        self.message = None;
        let pending = self.pending.take();
        match self.settings.look.keymap.meaning(&self.mode, self.focus.pane(), pending, key) {
            Meaning::Entry(entry) => match &entry.what {
                What::Do(action) => self.update(action.clone()),
                What::Ask(_) => {
                    self.ask(entry);
                    None
                }
            },
            Meaning::Pending(half) => {
                self.pending = Some(half);
                self.typed(key)
            }
            Meaning::Nothing => self.typed(key),
        }
    }

    /// A key that is not bound: it is text for a line, for the search in the help, or for the guest.
    fn typed(&mut self, key: KeyEvent) -> Option<Command> {
        match &mut self.mode {
            Mode::Line(_) => self.edit_line(key),
            Mode::Help(help) => help.edit(key),
            Mode::Typing => return typing::typed(self.display(), key).map(Command::Type),
            Mode::Panes => {}
        }
        None
    }

    /// Brings everything that depends on size, cursor and trace up to date, so that drawing only reads.
    fn refresh(&mut self) {
        let last = self.known.saturating_sub(1);
        self.look_for_stop();
        let followed = self.stop.filter(|_| self.at_stop).unwrap_or(last);
        self.cursor = if self.follow { followed } else { self.cursor }.min(last);
        self.load_selected();
        let Some(panes) = self.panes() else { return };
        self.scroll_statistics();
        self.scroll_traps();
        self.scroll_ipis();
        self.scroll_histograms();
        self.load_code();
        self.load_memory();
        self.load_window(self.list_rows(&panes));
        self.load_strip(panes.timeline_columns());
        if let Some(area) = panes.inside(Pane::Console) {
            self.summary.console.resize(area.height, area.width);
            self.load_screen();
        }
    }

    fn load_selected(&mut self) {
        let cursor = self.cursor;
        let before = self.selected.take();
        match self.reader.event(cursor) {
            Ok(event) => self.selected = event,
            Err(error) => self.complain(&error),
        }
        if self.selected != before {
            self.detail_scroll = 0;
        }
    }
}

/// What a tick found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The screen has to be drawn again.
    pub changed: bool,
    /// There are more events to take in at once.
    pub behind: bool,
    /// Something is being looked for on another thread.
    pub working: bool,
}
