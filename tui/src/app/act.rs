//! Carrying actions out.

use super::action::{Action, Command};
use super::line::Line;
use super::timeline::Zoom;
use super::view::{Pane, View};
use super::{App, Help, Mode};

impl App {
    /// Carries an action out.
    pub fn update(&mut self, action: Action) -> Option<Command> {
        let before = self.cursor;
        let command = self.act(action);
        if self.cursor != before {
            self.play_from_here();
            self.stay();
        }
        self.refresh();
        command
    }

    pub(super) fn act(&mut self, action: Action) -> Option<Command> {
        match action {
            Action::Quit => return Some(Command::Quit),
            Action::Suspend => return Some(Command::Suspend),
            Action::Help => {
                self.mode = match self.mode {
                    Mode::Help(_) => Mode::Panes,
                    _ => Mode::Help(Help::default()),
                };
            }
            Action::Back => self.back(),
            Action::Command => self.mode = Mode::Line(Line::command(self)),
            Action::Show(view) => self.show(view),
            Action::NextView => self.turn_view(1),
            Action::PreviousView => self.turn_view(-1),
            Action::NextPane => self.focus.turn(1),
            Action::PreviousPane => self.focus.turn(-1),
            Action::Maximize => self.focus.maximized = !self.focus.maximized,
            Action::Open => self.open(),
            Action::Move(motion) => self.move_by(motion),
            Action::Goto(place) => self.go_to(place),
            Action::Filter(filter) => self.set_filter(filter.0),
            Action::SearchConsole(text) => self.search_console(&text),
            Action::NextInConsole => self.find_in_console(true),
            Action::PreviousInConsole => self.find_in_console(false),
            Action::Search(wanted) => self.search(wanted.0),
            Action::NextOfKind if self.is_searched() => self.find_match(true),
            Action::PreviousOfKind if self.is_searched() => self.find_match(false),
            Action::NextOfKind => self.find_kind(true),
            Action::PreviousOfKind => self.find_kind(false),
            Action::NextOnVcpu => self.find_vcpu(true),
            Action::PreviousOnVcpu => self.find_vcpu(false),
            Action::ZoomIn => self.zoom_by(true),
            Action::ZoomOut => self.zoom_by(false),
            Action::Fit => self.zoom = Zoom::Fit,
            Action::PanLeft if self.shows_screen() => self.scroll_screen_aside(false),
            Action::PanRight if self.shows_screen() => self.scroll_screen_aside(true),
            Action::PanLeft if self.focus.pane() == Pane::Matrix => self.move_in_matrix(false),
            Action::PanRight if self.focus.pane() == Pane::Matrix => self.move_in_matrix(true),
            Action::PanLeft => self.pan(false),
            Action::PanRight => self.pan(true),
            Action::SelectRange => self.select_range(),
            Action::SelectBetweenMarks => self.select_between_marks(),
            Action::ShowMemory(place) => self.show_memory(&place),
            Action::SpaceFlags(flags) => self.set_space_flags(flags),
            Action::SwitchChanges => self.switch_changes(),
            Action::NextSpace => self.next_space(),
            Action::ShowSpace(cr3) => self.show_space(cr3),
            Action::Mark(note) => self.mark(note),
            Action::Unmark => self.unmark(),
            Action::NextMark => self.find_mark(true),
            Action::PreviousMark => self.find_mark(false),
            Action::Play => self.toggle_play(),
            Action::Faster => self.change_speed(true),
            Action::Slower => self.change_speed(false),
            Action::Copy(copied) => return self.copy(copied),
            Action::Export(target) => self.export(target),
            Action::Columns(columns) => self.set_columns(columns),
            Action::SortBy(by) => self.sort_by(by),
            Action::Sort => self.sort_statistics(),
            Action::SwitchTimes => self.switch_times(),
            Action::SwitchDisplay => self.switch_display(),
            Action::Type => self.start_typing(),
            Action::StopTyping => self.mode = Mode::Panes,
            Action::TogglePause => return self.toggle_pause(),
            Action::Step => return self.step(),
            Action::StepOver => return self.step_over(),
            Action::RunTo(filter) => return self.run_to(filter.0),
            Action::BreakpointHere => return self.toggle_breakpoint_here(),
            Action::Breakpoint(location) => return self.toggle_breakpoint(&location),
            Action::ListBreakpoints => self.list_breakpoints(),
            Action::ClearBreakpoints => return self.clear_breakpoints(),
            Action::Reset => return self.reset(),
            Action::Stop => return self.stop(),
            Action::SaveCopy(path) => return self.save_copy(path),
            Action::Save(path) => return Some(Command::Save { path }),
            Action::Complete => self.complete_line(false),
            Action::CompleteBack => self.complete_line(true),
            Action::Accept if matches!(self.mode, Mode::Help(_)) => return self.accept_help(),
            Action::Accept => return self.accept_line(),
        }
        None
    }

    fn back(&mut self) {
        if !matches!(self.mode, Mode::Panes) {
            self.mode = Mode::Panes;
        } else if self.stop_under_way() {
            // It is shown no more, or will tell.
        } else if self.focus.maximized {
            self.focus.maximized = false;
        } else if self.settings.banner.is_some() {
            self.settings.banner = None;
        } else if self.focus.pane() == Pane::Console && self.forget_console_search() {
            // What is found is no longer shown.
        } else if self.forget_search() {
            // Its matches are no longer shown.
        } else if self.forget_order() {
            // It is that of the trace again.
        } else if self.forget_range() {
            // It has gone.
        } else if self.is_filtered() {
            self.set_filter(trace_format::Filter::default());
        } else if let Some(first) = self.focus.view().panes().first() {
            self.focus.set(*first);
        }
    }

    /// Focuses a pane.
    pub fn focus(&mut self, pane: Pane) {
        self.focus.set(pane);
    }

    /// Shows a view.
    pub fn show(&mut self, view: View) {
        self.wish_for_analysis();
        self.focus.show(view);
    }

    fn turn_view(&mut self, by: isize) {
        self.wish_for_analysis();
        self.focus.turn_view(by);
    }

    fn open(&mut self) {
        match self.focus.pane() {
            Pane::Timeline | Pane::Events => self.focus(Pane::Detail),
            Pane::Statistics => self.open_statistics(),
            pane @ (Pane::Times | Pane::Handling | Pane::Latency) => self.open_bucket(pane),
            pane @ (Pane::Vectors | Pane::Origins) => self.open_in_traps(pane),
            pane @ (Pane::Walk | Pane::Pages | Pane::Space | Pane::Memory) => self.open_in_memory(pane),
            pane @ (Pane::Shootdowns | Pane::Targets | Pane::Matrix) => self.open_in_ipis(pane),
            Pane::Code => self.open_code(),
            Pane::Registers => self.focus(Pane::Code),
            Pane::Rates | Pane::Shares | Pane::Vcpus | Pane::Run | Pane::Detail | Pane::Console => {}
        }
    }

    fn complete_line(&mut self, back: bool) {
        if let Mode::Line(line) = &mut self.mode {
            line.complete(back);
        }
    }
}
