//! The state of the UI: input becomes an [`Action`], [`App::update`] carries it out and returns a [`Command`] if the
//! world outside has to do something. Drawing ([`crate::ui`]) only reads the state.

pub mod action;
mod console;
mod debugger;
pub mod keys;
pub mod layout;
mod queries;
mod save;
mod timeline;
mod typing;
mod window;

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Size;
use trace_format::event::{Actor, MACHINE};
use trace_format::{Event, Reader};

use crate::debugger::Debugger;
use crate::guest::Machine;
use crate::model::Summary;
use crate::model::search;
use crate::model::strip::Strip;
use crate::ui::theme::Theme;
use action::{Action, Command, Motion};
use keys::Meaning;
pub use timeline::Zoom;
pub use window::Window;

/// Events that one tick takes in, so that keys are answered while a long trace is read.
const EVENTS_PER_TICK: u64 = 200_000;

/// A pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Focus {
    Timeline,
    Events,
    Detail,
    Statistics,
    Console,
}

impl Focus {
    /// In the order in which Tab goes through them.
    pub const ALL: [Self; 5] = [Self::Timeline, Self::Events, Self::Detail, Self::Statistics, Self::Console];

    /// The pane's title.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Events => "events",
            Self::Detail => "detail",
            Self::Statistics => "statistics",
            Self::Console => "console",
        }
    }
}

/// What keys go to.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The panes.
    Panes,
    /// The help, scrolled down by so many lines.
    #[allow(missing_docs)]
    Help { scroll: u16 },
    /// A line of text: the name for a trace to be saved.
    Prompt(tui_input::Input),
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
    /// Colours.
    pub theme: Theme,
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
    pub const fn plain() -> Self {
        Self { theme: Theme { color: false }, follow: false, temporary: false, banner: None }
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
    side: Focus,
    maximized: bool,
    follow: bool,
    cursor: u64,
    selected: Option<Event>,
    window: Window,
    zoom: Zoom,
    strip: Option<Strip>,
    strip_known: u64,
    detail_scroll: u16,
    statistics_scroll: u16,
    console: console::View,
    saved: Option<PathBuf>,
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
            followed_stops: 0,
            stop: None,
            at_stop: false,
            mode: Mode::Panes,
            pending: None,
            message: None,
            focus: Focus::Events,
            side: Focus::Detail,
            maximized: false,
            follow: settings.follow,
            cursor: 0,
            selected: None,
            window: Window::default(),
            zoom: Zoom::Fit,
            strip: None,
            strip_known: 0,
            detail_scroll: 0,
            statistics_scroll: 0,
            console: console::View::default(),
            saved: None,
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
        let (mut taken, mut failure) = (0, None);
        let mut events = self.reader.forward(self.known);
        let behind = loop {
            if taken == EVENTS_PER_TICK {
                break true;
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
        let changed = self.known != before || self.reader.is_finished() != was_finished;
        if changed {
            self.refresh();
        }
        Tick { changed, behind }
    }

    /// Takes the whole trace in as it is now.
    pub fn read_all(&mut self) {
        while self.tick().behind {}
        self.refresh();
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
        if new {
            self.stop_typing_to_nobody();
        }
        new
    }

    /// Tells the user something.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), error: false });
    }

    /// Tells the user about an error.
    pub fn complain(&mut self, error: &dyn std::error::Error) {
        self.message = Some(Message::of_error(error));
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Option<Command> {
        self.message = None;
        let pending = self.pending.take();
        match keys::meaning(&self.mode, self.focus, pending, key) {
            Meaning::Action(action) => self.update(action),
            Meaning::Pending(half) => {
                self.pending = Some(half);
                self.typed(key)
            }
            Meaning::Nothing => self.typed(key),
        }
    }

    /// A key that is not bound: it is text for the prompt or for the guest.
    fn typed(&mut self, key: KeyEvent) -> Option<Command> {
        match &mut self.mode {
            Mode::Prompt(input) => save::edit(input, key),
            Mode::Typing => return typing::typed(self.display(), key).map(Command::Type),
            Mode::Panes | Mode::Help { .. } => {}
        }
        None
    }

    /// Carries an action out.
    pub fn update(&mut self, action: Action) -> Option<Command> {
        let command = self.act(action);
        self.refresh();
        command
    }

    fn act(&mut self, action: Action) -> Option<Command> {
        match action {
            Action::Quit => return Some(Command::Quit),
            Action::Suspend => return Some(Command::Suspend),
            Action::Help => {
                self.mode = match self.mode {
                    Mode::Help { .. } => Mode::Panes,
                    _ => Mode::Help { scroll: 0 },
                };
            }
            Action::Back => self.back(),
            Action::NextPane => self.turn(1),
            Action::PreviousPane => self.turn(Focus::ALL.len() - 1),
            Action::Maximize => self.maximized = !self.maximized,
            Action::Details => self.focus(Focus::Detail),
            Action::Move(motion) => self.move_by(motion),
            Action::NextOfKind => self.find_kind(true),
            Action::PreviousOfKind => self.find_kind(false),
            Action::NextOnVcpu => self.find_vcpu(true),
            Action::PreviousOnVcpu => self.find_vcpu(false),
            Action::ZoomIn => self.zoom_by(true),
            Action::ZoomOut => self.zoom_by(false),
            Action::Fit => self.zoom = Zoom::Fit,
            Action::PanLeft if self.shows_screen() => self.scroll_screen_aside(false),
            Action::PanRight if self.shows_screen() => self.scroll_screen_aside(true),
            Action::PanLeft => self.pan(false),
            Action::PanRight => self.pan(true),
            Action::SwitchDisplay => self.switch_display(),
            Action::Type => self.start_typing(),
            Action::StopTyping => self.mode = Mode::Panes,
            Action::TogglePause => return self.toggle_pause(),
            Action::Step => return self.step(),
            Action::Save => self.ask_where_to_save(),
            Action::Accept => return self.accept(),
        }
        None
    }

    fn back(&mut self) {
        if !matches!(self.mode, Mode::Panes) {
            self.mode = Mode::Panes;
        } else if self.maximized {
            self.maximized = false;
        } else if self.settings.banner.is_some() {
            self.settings.banner = None;
        } else {
            self.focus = Focus::Events;
        }
    }

    /// Focuses a pane.
    pub fn focus(&mut self, focus: Focus) {
        self.focus = focus;
        if matches!(focus, Focus::Detail | Focus::Statistics | Focus::Console) {
            self.side = focus;
        }
    }

    fn turn(&mut self, by: usize) {
        let at = Focus::ALL.iter().position(|focus| *focus == self.focus).unwrap_or(0);
        self.focus(Focus::ALL[(at + by) % Focus::ALL.len()]);
    }

    fn move_by(&mut self, motion: Motion) {
        let page = self.panes().map_or(1, |panes| panes.rows(self.focus));
        if let Mode::Help { scroll } = &mut self.mode {
            *scroll = scrolled(*scroll, motion, crate::ui::help::LINES, self.size.height / 2);
            return;
        }
        match self.focus {
            Focus::Timeline | Focus::Events => {
                let page = self.panes().map_or(1, |panes| panes.rows(Focus::Events).max(1));
                let to = motion.apply(self.cursor, self.known, u64::from(page));
                let onwards = matches!(motion, Motion::Down | Motion::HalfPageDown | Motion::PageDown);
                let newest = self.cursor + 1 >= self.known;
                let follow = motion == Motion::Last || (self.follow && onwards && newest);
                self.at_stop = false;
                self.select(to);
                self.follow = follow;
            }
            Focus::Detail => {
                let lines = crate::ui::detail::height(self);
                self.detail_scroll = scrolled(self.detail_scroll, motion, lines, page);
            }
            Focus::Statistics => {
                let lines = crate::ui::statistics::height(self);
                self.statistics_scroll = scrolled(self.statistics_scroll, motion, lines, page);
            }
            Focus::Console if self.shows_screen() => self.scroll_screen(motion),
            Focus::Console => self.summary.console.scroll(motion, page),
        }
    }

    /// Selects event `number`, stops following, and brings it into the timeline's view.
    pub fn select(&mut self, number: u64) {
        self.follow = false;
        self.cursor = number.min(self.known.saturating_sub(1));
        self.load_selected();
        self.show_in_timeline();
    }

    fn find_kind(&mut self, forward: bool) {
        let Some(kind) = self.selected.as_ref().map(|event| event.payload.kind()) else { return };
        self.find(search::Wanted::Kind(kind), forward, kind.name());
    }

    fn find_vcpu(&mut self, forward: bool) {
        let Some(vcpu) = self.selected.as_ref().map(|event| event.vcpu) else { return };
        let whose = if vcpu == MACHINE { "of the machine".to_owned() } else { format!("of vCPU {vcpu}") };
        self.find(search::Wanted::Vcpu(vcpu), forward, &format!("event {whose}"));
    }

    fn find(&mut self, wanted: search::Wanted, forward: bool, what: &str) {
        let found = if forward {
            wanted.next(&mut self.reader, self.cursor + 1)
        } else {
            wanted.previous(&mut self.reader, self.cursor)
        };
        match found {
            Ok(Some(number)) if number < self.known => self.select(number),
            Ok(_) => self.tell(format!("no {} {what}", if forward { "later" } else { "earlier" })),
            Err(error) => self.complain(&error),
        }
    }

    fn toggle_pause(&mut self) -> Option<Command> {
        match &self.machine {
            Some(Machine::Running) => return Some(Command::Pause),
            Some(Machine::Paused { .. }) => return Some(Command::Resume),
            Some(Machine::Stopped { why }) => self.tell(format!("nothing to pause: {why}")),
            None => self.tell("nothing to pause: this is a recorded trace"),
        }
        None
    }

    fn step(&mut self) -> Option<Command> {
        match &self.machine {
            Some(Machine::Paused { .. }) => {
                let vcpu = self.selected.as_ref().map_or(0, |event| event.vcpu);
                self.follow = true;
                return Some(Command::Step { vcpu: if vcpu == MACHINE { 0 } else { vcpu } });
            }
            Some(Machine::Running) => self.tell("the guest runs: pause it with Space, then step"),
            Some(Machine::Stopped { why }) => self.tell(format!("nothing to step: {why}")),
            None => self.tell("nothing to step: this is a recorded trace"),
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
        self.load_window(panes.rows(Focus::Events));
        self.load_strip(panes.timeline_columns());
        if let Some(area) = panes.inside(Focus::Console) {
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
}

/// Scrolls a text of `lines`, `page` of them in view.
fn scrolled(at: u16, motion: Motion, lines: u16, page: u16) -> u16 {
    let most = lines.saturating_sub(page);
    let to = motion.apply(u64::from(at), u64::from(most) + 1, u64::from(page));
    u16::try_from(to).unwrap_or(u16::MAX)
}
