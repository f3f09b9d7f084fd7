//! Moving the cursor, and scrolling what has none.

use trace_format::event::MACHINE;

use super::action::Motion;
use super::place::Place;
use super::view::Pane;
use super::{App, Mode};
use crate::model::search;

impl App {
    pub(super) fn move_by(&mut self, motion: Motion) {
        if let Mode::Help(_) = self.mode {
            return self.move_in_help(motion);
        }
        let page = self.panes().map_or(1, |panes| panes.rows(self.focus.pane()));
        match self.focus.pane() {
            Pane::Timeline | Pane::Events => {
                let page = self.panes().map_or(1, |panes| self.list_rows(&panes).max(1));
                let onwards = matches!(motion, Motion::Down | Motion::HalfPageDown | Motion::PageDown);
                let newest = self.cursor + 1 >= self.known;
                let follow =
                    (motion == Motion::Last && !self.is_sorted()) || (self.follow && onwards && newest);
                self.at_stop = false;
                let to = self.moved_in_list(motion, u64::from(page));
                self.select(to.unwrap_or(self.cursor));
                self.follow = follow;
            }
            Pane::Detail => {
                let lines = crate::ui::detail::height(self);
                self.detail_scroll = scrolled(self.detail_scroll, motion, lines, page);
            }
            Pane::Run => {
                let lines = crate::ui::run_height(self);
                self.run_scroll = scrolled(self.run_scroll, motion, lines, page);
            }
            Pane::Rates | Pane::Shares | Pane::Vcpus => {}
            Pane::Statistics => self.move_in_statistics(motion, page),
            pane @ (Pane::Times | Pane::Handling | Pane::Latency) => {
                self.move_in_histogram(pane, motion, page);
            }
            pane @ (Pane::Vectors | Pane::Origins) => self.move_in_traps(pane, motion, page),
            Pane::Walk => {
                let lines = crate::ui::walk_height(self);
                self.memory.walk_scroll = scrolled(self.memory.walk_scroll, motion, lines, page);
            }
            pane @ (Pane::Pages | Pane::Space | Pane::Memory) => self.move_in_memory(pane, motion, page),
            pane @ (Pane::Shootdowns | Pane::Targets | Pane::Matrix) => {
                self.move_in_ipis(pane, motion, page);
            }
            Pane::Code => self.move_in_code(motion, page),
            Pane::Registers => {
                let lines = crate::ui::registers_height(self);
                self.code.registers_scroll = scrolled(self.code.registers_scroll, motion, lines, page);
            }
            Pane::Console if self.shows_screen() => self.scroll_screen(motion),
            Pane::Console => self.summary.console.scroll(motion, page),
        }
    }

    /// Selects event `number`, stops following, and brings it into the timeline's view.
    pub fn select(&mut self, number: u64) {
        self.follow = false;
        self.cursor = number.min(self.known.saturating_sub(1));
        self.load_selected();
        self.show_in_timeline();
    }

    /// Goes to `place`, or as near as the trace has it.
    pub(super) fn go_to(&mut self, place: Place) {
        let now = self.selected.as_ref().map_or(0, |event| event.time);
        let to = match place {
            Place::Event(number) => Ok(number),
            Place::Events(by) => Ok(self.cursor.saturating_add_signed(by)),
            Place::Time(time) => self.reader.seek_time(time),
            Place::Later(by @ 0..) => self.reader.seek_time(now.saturating_add_signed(by)),
            Place::Later(by) => {
                let after = now.saturating_add_signed(by).saturating_add(1);
                self.reader.seek_time(after).map(|number| number.saturating_sub(1))
            }
        };
        match to {
            Ok(number) if number < self.known => self.select(number),
            Ok(_) if self.known == 0 => self.refuse("there is no event yet"),
            Ok(number) => {
                self.select(self.known - 1);
                if let Place::Event(_) = place {
                    self.tell(format!("there is no event {number}: this is the last one"));
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    pub(super) fn find_kind(&mut self, forward: bool) {
        let Some(kind) = self.selected.as_ref().map(|event| event.payload.kind()) else { return };
        self.find(search::Wanted::Kind(kind), forward, kind.name());
    }

    pub(super) fn find_vcpu(&mut self, forward: bool) {
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
            Ok(Some(number)) if number < self.known => self.select_found(number, None),
            Ok(_) => self.tell(format!("no {} {what}", if forward { "later" } else { "earlier" })),
            Err(error) => self.complain(&error),
        }
    }
}

/// Scrolls a text of `lines`, `page` of them in view.
fn scrolled(at: u16, motion: Motion, lines: u16, page: u16) -> u16 {
    let most = lines.saturating_sub(page);
    let to = motion.apply(u64::from(at), u64::from(most) + 1, u64::from(page));
    u16::try_from(to).unwrap_or(u16::MAX)
}
