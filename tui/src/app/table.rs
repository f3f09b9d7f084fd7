//! The table of everything that can be done: its name, its keys, its words for footer and help.
//!
//! The command line takes the names, the configuration binds keys to them, help and footer are rendered from them, and
//! the tests play a session for each.

use std::path::PathBuf;

use crossterm::event::KeyCode;
use trace_format::Filter;
use trace_format::filter::{Candidate, complete};

use super::App;
use super::action::{Action, Motion, Wanted};
use super::columns::{Columns, complete_columns};
use super::copy::Copied;
use super::export::Target;
use super::location::Location;
use super::memory::flags::Flags;
use super::memory::parse_cr3;
use super::memory::place::MemoryPlace;
use super::place::Place;
use super::press::Press::{self, Ctrl, Key, Twice};
use super::sort::{SortBy, complete_sort};
use super::view::{Pane, View};

/// Where a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In every pane.
    Panes,
    /// In one pane, before [`Scope::Panes`].
    Pane(Pane),
    /// While the help is open.
    Help,
    /// While a line of text is edited.
    Line,
    /// While keys go to the guest: all that are not bound here.
    Typing,
}

/// Something that can be done.
#[derive(Debug)]
pub struct Entry {
    /// Its name, for the command line and the configuration.
    pub name: &'static str,
    /// Where its keys hold.
    pub scope: Scope,
    /// Its keys, unless the configuration has others.
    pub keys: &'static [Press],
    /// What is done.
    pub what: What,
    /// It is for a live guest: in a replay it only says that there is none.
    pub live: bool,
    /// In a word, for the footer; empty where the footer does not show it.
    pub hint: &'static str,
    /// In words, for the help.
    pub help: &'static str,
}

/// What an entry does.
#[derive(Debug)]
pub enum What {
    /// This.
    Do(Action),
    /// What a line of text says; its key asks for it.
    Ask(Argument),
}

/// The text that an action needs.
#[derive(Debug)]
pub struct Argument {
    /// What it is, in the help.
    pub placeholder: &'static str,
    /// Before the line.
    pub label: &'static str,
    /// The line as it is in the beginning; an error says why there is nothing to ask.
    pub initial: fn(&App) -> Result<String, String>,
    /// What it asks for.
    pub parse: fn(&str) -> Result<Action, String>,
    /// What could come at a byte of it.
    pub complete: fn(&App, &str, usize) -> Vec<Candidate>,
}

impl Entry {
    const fn within(mut self, pane: Pane) -> Self {
        self.scope = Scope::Pane(pane);
        self
    }

    const fn live(mut self) -> Self {
        self.live = true;
        self
    }
}

const fn entry(
    scope: Scope,
    name: &'static str,
    keys: &'static [Press],
    action: Action,
    hint: &'static str,
    help: &'static str,
) -> Entry {
    Entry { name, scope, keys, what: What::Do(action), live: false, hint, help }
}

const fn ask(
    name: &'static str,
    keys: &'static [Press],
    argument: Argument,
    hint: &'static str,
    help: &'static str,
) -> Entry {
    Entry { name, scope: Scope::Panes, keys, what: What::Ask(argument), live: false, hint, help }
}

const fn char(c: char) -> Press {
    Key(KeyCode::Char(c))
}

use Scope::{Help, Line, Panes, Typing};

const GOTO: Argument = Argument {
    placeholder: "PLACE",
    label: "go to",
    initial: |_| Ok(String::new()),
    parse: |text| Place::parse(text).map(Action::Goto),
    complete: |_, _, _| Vec::new(),
};

const FILTER: Argument = Argument {
    placeholder: "EXPR",
    label: "filter",
    initial: |app| Ok(app.filter().to_owned()),
    parse: |text| wanted(text).map(Action::Filter),
    complete: |_, text, cursor| complete(text, cursor),
};

const SEARCH: Argument = Argument {
    placeholder: "EXPR",
    label: "search",
    initial: |app| Ok(app.search_text().to_owned()),
    parse: |text| wanted(text).map(Action::Search),
    complete: |_, text, cursor| complete(text, cursor),
};

const COLUMNS: Argument = Argument {
    placeholder: "FIELDS",
    label: "columns of the events",
    initial: |app| Ok(app.columns().names().collect::<Vec<_>>().join(",")),
    parse: |text| Columns::parse(text).map(Action::Columns),
    complete: |_, text, _| complete_columns(text),
};

const SORT: Argument = Argument {
    placeholder: "[-]FIELD",
    label: "sort the events by",
    initial: |app| Ok(app.sorted_by().map_or("", |by| by.field).to_owned()),
    parse: |text| SortBy::parse(text).map(Action::SortBy),
    complete: |app, text, _| complete_sort(app, text),
};

const SEARCH_CONSOLE: Argument = Argument {
    placeholder: "TEXT",
    label: "search the console",
    initial: |app| Ok(app.console_needle().map_or("", |needle| needle.text()).to_owned()),
    parse: |text| Ok(Action::SearchConsole(text.to_owned())),
    complete: |_, _, _| Vec::new(),
};

const MARK: Argument = Argument {
    placeholder: "NOTE",
    label: "mark, with a note",
    initial: App::note,
    parse: |text| Ok(Action::Mark(text.trim().to_owned())),
    complete: |_, _, _| Vec::new(),
};

const GOTO_MARK: Argument = Argument {
    placeholder: "EVENT",
    label: "go to mark",
    initial: |app| match app.marks().all() {
        [] => Err("there is no mark yet".to_owned()),
        _ => Ok(String::new()),
    },
    parse: |text| Place::parse(text).map(Action::Goto),
    complete: |app, text, _| app.complete_mark(text),
};

const COPY: Argument = Argument {
    placeholder: "WHAT",
    label: "copy",
    initial: |_| Ok(Copied::Event.name().to_owned()),
    parse: |text| text.parse().map(Action::Copy),
    complete: |_, text, _| {
        let name = |copied: Copied| Candidate {
            text: copied.name().to_owned(),
            about: String::new(),
            replaces: 0..text.len(),
        };
        Copied::ALL.into_iter().map(name).collect()
    },
};

const EXPORT: Argument = Argument {
    placeholder: "[!] [FORMAT] FILE",
    label: "export what is selected to",
    initial: |_| Ok(String::new()),
    parse: |text| Target::parse(text).map(Action::Export),
    complete: |app, text, _| app.complete_target(text),
};

const SAVE: Argument = Argument {
    placeholder: "FILE",
    label: "save the trace as",
    initial: App::name_to_save,
    parse: |text| trace_name(text).map(Action::Save),
    complete: |_, _, _| Vec::new(),
};

const RUN_TO: Argument = Argument {
    placeholder: "EXPR",
    label: "run to the next event with",
    initial: |app| app.guest_to("run").map(|()| app.filter().to_owned()),
    parse: |text| wanted(text).map(Action::RunTo),
    complete: |_, text, cursor| complete(text, cursor),
};

const BREAKPOINT: Argument = Argument {
    placeholder: "PLACE",
    label: "breakpoint at",
    initial: |app| app.guest_to("stop").map(|()| String::new()),
    parse: |text| Location::parse(text).map(Action::Breakpoint),
    complete: |app, text, _| app.complete_location(text),
};

const SAVE_COPY: Argument = Argument {
    placeholder: "FILE",
    label: "copy what is recorded so far to",
    initial: App::name_of_copy,
    parse: |text| trace_name(text).map(Action::SaveCopy),
    complete: |_, _, _| Vec::new(),
};

const MEMORY_AT: Argument = Argument {
    placeholder: "PLACE",
    label: "memory at",
    initial: |_| Ok(String::new()),
    parse: |text| MemoryPlace::parse(text).map(Action::ShowMemory),
    complete: |app, text, _| app.complete_memory_place(text),
};

const SPACE: Argument = Argument {
    placeholder: "CR3",
    label: "address space of cr3",
    initial: |_| Ok(String::new()),
    parse: |text| parse_cr3(text).map(Action::ShowSpace),
    complete: |app, text, _| app.complete_cr3(text),
};

const FLAGS: Argument = Argument {
    placeholder: "FLAGS",
    label: "ranges with",
    initial: |app| Ok(app.space_flags().to_string()),
    parse: |text| Flags::parse(text).map(Action::SpaceFlags),
    complete: |_, text, _| Flags::complete(text),
};

fn wanted(text: &str) -> Result<Wanted, String> {
    Filter::parse(text.trim()).map(Wanted).map_err(|error| error.to_string())
}

fn trace_name(text: &str) -> Result<PathBuf, String> {
    match text.trim() {
        "" => Err("a trace needs a name; Esc cancels".to_owned()),
        name => Ok(PathBuf::from(name)),
    }
}

/// Everything, in the order in which help and footer show it.
#[rustfmt::skip]
pub static TABLE: &[Entry] = &[
    entry(Panes, "quit", &[char('q'), Ctrl('c')], Action::Quit, "quit", "quit; a running guest is ended, its trace finished"),
    entry(Panes, "help", &[char('?')], Action::Help, "help", "this help; type to search it, Enter does what is selected"),
    entry(Panes, "command", &[char(':')], Action::Command, "command", "the command line: every action has a name, Tab completes"),
    entry(Panes, "overview", &[char('1')], Action::Show(View::Overview), "", "view: the run at a glance"),
    entry(Panes, "timeline", &[char('2')], Action::Show(View::Timeline), "", "view: what every vCPU did when"),
    entry(Panes, "events", &[char('3')], Action::Show(View::Events), "", "view: the events, one a line"),
    entry(Panes, "statistics", &[char('4')], Action::Show(View::Statistics), "", "view: exits, traps and IPIs with percentiles and histograms"),
    entry(Panes, "traps", &[char('5')], Action::Show(View::Traps), "", "view: which code traps, into which handler, for how long"),
    entry(Panes, "memory", &[char('6')], Action::Show(View::Memory), "", "view: the selected walk, the pages that fault most, what address spaces map, bytes"),
    entry(Panes, "ipis", &[char('7')], Action::Show(View::Ipis), "", "view: shootdowns and other IPIs, the slowest first, target by target"),
    entry(Panes, "console", &[char('8')], Action::Show(View::Console), "", "view: what the guest writes"),
    entry(Panes, "code", &[char('9')], Action::Show(View::Code), "", "view: the instructions around the selected event, its vCPU's registers, breakpoints"),
    entry(Panes, "next-view", &[char('}')], Action::NextView, "", "the next view"),
    entry(Panes, "previous-view", &[char('{')], Action::PreviousView, "", "the view before"),
    entry(Panes, "next-pane", &[Key(KeyCode::Tab)], Action::NextPane, "pane", "focus the next pane"),
    entry(Panes, "previous-pane", &[Key(KeyCode::BackTab)], Action::PreviousPane, "", "focus the pane before"),
    entry(Panes, "maximize", &[char('e'), char('\\')], Action::Maximize, "maximize", "maximize the focused pane, and back"),
    entry(Panes, "open", &[Key(KeyCode::Enter)], Action::Open, "open", "open what is selected: of an event, its fields"),
    entry(Panes, "back", &[Key(KeyCode::Esc)], Action::Back, "", "back: stops what is under way, then from a maximized pane, a search, an order, a range, a filter, to the view's first pane"),
    entry(Panes, "pause", &[char(' ')], Action::TogglePause, "pause", "pause the guest, resume it").live(),
    entry(Panes, "step", &[char('s')], Action::Step, "step", "while paused: one instruction on the selected event's vCPU").live(),
    entry(Panes, "step-over", &[char('S')], Action::StepOver, "over", "while paused: the same, but a call or a repeated instruction to its end").live(),
    ask("run-to", &[char('r')], RUN_TO, "run to", "let the guest run to the next event that matches a filter").live(),
    entry(Panes, "breakpoint-here", &[char('b')], Action::BreakpointHere, "breakpoint", "a breakpoint where the selected event was, in view 9 at the selected instruction; or none there any more").live(),
    ask("breakpoint", &[char('B')], BREAKPOINT, "", "a breakpoint at an address or a symbol, or none there any more; Tab lists both").live(),
    entry(Panes, "breakpoints", &[char('L')], Action::ListBreakpoints, "", "say which breakpoints there are").live(),
    entry(Panes, "clear-breakpoints", &[char('D')], Action::ClearBreakpoints, "", "take all breakpoints away but GDB's").live(),
    entry(Panes, "reset", &[char('R')], Action::Reset, "", "have the guest begin anew; its trace goes on").live(),
    entry(Panes, "stop", &[char('X')], Action::Stop, "", "end the guest; what was recorded stays here to be looked at").live(),
    ask("save-copy", &[char('W')], SAVE_COPY, "", "copy what is recorded so far to a new file").live(),
    ask("save", &[char('w')], SAVE, "save", "save the temporary trace of a live run").live(),
    entry(Panes, "up", &[Key(KeyCode::Up), char('k')], Action::Move(Motion::Up), "", "up; in the events this stops following"),
    entry(Panes, "down", &[Key(KeyCode::Down), char('j')], Action::Move(Motion::Down), "", "down"),
    entry(Panes, "page-up", &[Key(KeyCode::PageUp), Ctrl('b')], Action::Move(Motion::PageUp), "", "a page up"),
    entry(Panes, "page-down", &[Key(KeyCode::PageDown), Ctrl('f')], Action::Move(Motion::PageDown), "", "a page down"),
    entry(Panes, "half-page-up", &[Ctrl('u')], Action::Move(Motion::HalfPageUp), "", "half a page up"),
    entry(Panes, "half-page-down", &[Ctrl('d')], Action::Move(Motion::HalfPageDown), "", "half a page down"),
    entry(Panes, "first", &[Twice(KeyCode::Char('g')), Key(KeyCode::Home)], Action::Move(Motion::First), "", "to the beginning"),
    entry(Panes, "last", &[char('G'), Key(KeyCode::End)], Action::Move(Motion::Last), "", "to the end, and follow it"),
    ask("filter", &[char('/')], FILTER, "filter", "show only events that match; 'vmscope help filter' has the language"),
    ask("search", &[char('F')], SEARCH, "", "go to the next event that matches and highlight all that do, with the others in view; n and N go on"),
    ask("columns", &[char('C')], COLUMNS, "", "the columns of the events: fields with commas between them, and 'event', what it says, below a line of their names where a click sorts; none are the usual ones"),
    ask("sort", &[char('O')], SORT, "", "the events in the order of a field, the largest first with -; once more the other way round; none is the trace's order"),
    ask("goto", &[char('#')], GOTO, "", "go to an event by its number, to a time, or so far on or back"),
    entry(Panes, "select-range", &[char('x')], Action::SelectRange, "", "begin a range of time at the cursor, end it, take it back; views 1, 4 to 7 are of it"),
    ask("mark", &[char('m')], MARK, "", "mark the event with a note, kept in a file beside the trace"),
    entry(Panes, "unmark", &[char('M')], Action::Unmark, "", "take the event's mark away"),
    ask("goto-mark", &[char('\'')], GOTO_MARK, "", "go to a mark; Tab lists them"),
    entry(Panes, "next-mark", &[char(')')], Action::NextMark, "", "the next marked event"),
    entry(Panes, "previous-mark", &[char('(')], Action::PreviousMark, "", "the marked event before"),
    entry(Panes, "measure", &[char('|')], Action::SelectBetweenMarks, "", "select the range between the marks around the cursor, and say how long it is"),
    entry(Panes, "play", &[char('p')], Action::Play, "", "play a recorded run from the cursor on, or stop"),
    entry(Panes, "faster", &[char('>')], Action::Faster, "", "play twice as fast"),
    entry(Panes, "slower", &[char('<')], Action::Slower, "", "play half as fast"),
    ask("copy", &[char('y')], COPY, "", "copy the event, the filter or an address to the terminal's clipboard (OSC 52)"),
    ask("export", &[char('E')], EXPORT, "", "write the selected events, range and filter together: CSV, Perfetto, Chrome JSON, Parquet or a trace, by the file's name; 'export!' replaces a file"),
    entry(Panes, "next-alike", &[char('n')], Action::NextOfKind, "next alike", "the next match of the search; without one, the next event of the selected one's kind"),
    entry(Panes, "previous-alike", &[char('N')], Action::PreviousOfKind, "", "the match before; without a search, the previous event of the selected one's kind"),
    entry(Panes, "next-on-vcpu", &[char(']')], Action::NextOnVcpu, "next on vCPU", "the next event on the same vCPU"),
    entry(Panes, "previous-on-vcpu", &[char('[')], Action::PreviousOnVcpu, "", "the previous event on the same vCPU"),
    entry(Panes, "zoom-in", &[char('+'), char('=')], Action::ZoomIn, "zoom", "timeline: zoom in around the selected event"),
    entry(Panes, "zoom-out", &[char('-')], Action::ZoomOut, "", "timeline: zoom out"),
    entry(Panes, "fit", &[char('0')], Action::Fit, "fit", "timeline: show the whole run"),
    entry(Panes, "left", &[Key(KeyCode::Left), char('h')], Action::PanLeft, "", "timeline: to earlier times; text screen: left"),
    entry(Panes, "right", &[Key(KeyCode::Right), char('l')], Action::PanRight, "", "timeline: to later times; text screen: right"),
    entry(Scope::Pane(Pane::Statistics), "order", &[char('o')], Action::Sort, "order", "statistics: sort by the next column"),
    entry(Scope::Pane(Pane::Statistics), "times", &[char('t')], Action::SwitchTimes, "guest time", "statistics: of exits the time in the guest before them, or of their handling"),
    ask("memory-at", &[char('a')], MEMORY_AT, "", "view 6: the bytes at an address, a symbol or where a register points; 'gpa 0x1000' is physical"),
    ask("flags", &[char('f')], FLAGS, "flags", "address space: list only ranges with these flags: w+x, u !g, large; nothing lists all").within(Pane::Space),
    entry(Scope::Pane(Pane::Space), "changes", &[char('d')], Action::SwitchChanges, "changes", "address space: what has changed since the range began, or the guest stopped before"),
    entry(Scope::Pane(Pane::Space), "next-space", &[char('c')], Action::NextSpace, "next cr3", "address space: that of the next cr3"),
    ask("space", &[char('t')], SPACE, "", "address space: that of a cr3; Tab lists those that were walked, a paused guest's can be any").within(Pane::Space),
    entry(Scope::Pane(Pane::Console), "type", &[char('i')], Action::Type, "type", "console: type to the guest").live(),
    entry(Typing, "stop-typing", &[Ctrl(']'), Twice(KeyCode::Esc)], Action::StopTyping, "stop typing", "stop typing to the guest"),
    entry(Scope::Pane(Pane::Console), "display", &[char('v')], Action::SwitchDisplay, "display", "console: serial terminal or text screen"),
    ask("search-console", &[char('/')], SEARCH_CONSOLE, "search", "console: go to a text, in what has scrolled away too; with a capital in it capitals matter").within(Pane::Console),
    entry(Scope::Pane(Pane::Console), "next-in-console", &[char('n')], Action::NextInConsole, "", "console: the next line that has it"),
    entry(Scope::Pane(Pane::Console), "previous-in-console", &[char('N')], Action::PreviousInConsole, "", "console: the line before that has it"),
    entry(Panes, "suspend", &[Ctrl('z')], Action::Suspend, "", "suspend vmscope, and a live guest with it, until the shell continues it"),
    entry(Help, "help-close", &[Key(KeyCode::Esc), char('?')], Action::Help, "close", "close the help"),
    entry(Help, "help-do", &[Key(KeyCode::Enter)], Action::Accept, "do it", "do what is selected"),
    entry(Help, "help-up", &[Key(KeyCode::Up)], Action::Move(Motion::Up), "", "up"),
    entry(Help, "help-down", &[Key(KeyCode::Down)], Action::Move(Motion::Down), "", "down"),
    entry(Help, "help-page-up", &[Key(KeyCode::PageUp)], Action::Move(Motion::PageUp), "", "a page up"),
    entry(Help, "help-page-down", &[Key(KeyCode::PageDown)], Action::Move(Motion::PageDown), "", "a page down"),
    entry(Help, "help-quit", &[Ctrl('c')], Action::Quit, "", "quit"),
    entry(Line, "line-accept", &[Key(KeyCode::Enter)], Action::Accept, "do it", "do it"),
    entry(Line, "line-cancel", &[Key(KeyCode::Esc), Ctrl('c')], Action::Back, "cancel", "cancel"),
    entry(Line, "line-complete", &[Key(KeyCode::Tab), Key(KeyCode::Down)], Action::Complete, "complete", "take the next candidate"),
    entry(Line, "line-complete-back", &[Key(KeyCode::BackTab), Key(KeyCode::Up)], Action::CompleteBack, "", "take the candidate before"),
];

/// The entry that the command line and the configuration call `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_everything_is_explained() {
        for (n, entry) in TABLE.iter().enumerate() {
            assert!(TABLE[n + 1..].iter().all(|other| other.name != entry.name), "{}", entry.name);
            assert!(!entry.help.is_empty() && !entry.name.contains(' '), "{}", entry.name);
        }
    }

    #[test]
    fn no_key_is_bound_twice_in_a_scope() {
        for (n, a) in TABLE.iter().enumerate() {
            for b in &TABLE[n + 1..] {
                let both = a.keys.iter().find(|key| b.keys.contains(key));
                assert!(a.scope != b.scope || both.is_none(), "{both:?}: {} and {}", a.name, b.name);
            }
        }
    }

    #[test]
    fn every_view_has_its_number() {
        for view in View::ALL {
            let entry = find(view.name()).unwrap();
            assert_eq!(entry.keys, [Key(KeyCode::Char(char::from(b'0' + view.number())))], "{}", view.name());
        }
    }
}
