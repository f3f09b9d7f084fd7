//! What views ask of the state; none of it changes anything.

use trace_format::{Event, Header, Reader};

use super::layout::{Panes, Wanted};
use super::{App, Message, Mode, Pane, Settings, View, Window};
use crate::debugger::Debugger;
use crate::guest::Machine;
use crate::model::Summary;
use crate::ui::theme::Theme;

/// What the UI shows.
impl App {
    /// Where the panes are; `None` if the terminal is too small.
    #[must_use]
    pub fn panes(&self) -> Option<Panes> {
        let lanes = u16::try_from(self.summary.activity.lanes()).unwrap_or(u16::MAX);
        let wanted = Wanted {
            view: self.focus.view(),
            pane: self.focus.pane(),
            maximized: self.focus.maximized,
            lanes,
        };
        Panes::new(self.size, wanted)
    }

    /// The trace's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.reader.header()
    }

    /// What the guest is called: of an image file the name without its folders.
    #[must_use]
    pub fn guest_name(&self) -> &str {
        base_name(&self.header().guest)
    }

    /// The trace.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Numbers of events that have been taken in: from 0 to this.
    #[must_use]
    pub const fn known(&self) -> u64 {
        self.known
    }

    /// Totals of what has been read.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// How the UI began.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Colours.
    #[must_use]
    pub const fn theme(&self) -> Theme {
        self.settings.look.theme
    }

    /// What a debugger beside does, if one could be there.
    #[must_use]
    pub const fn debugger(&self) -> Option<&Debugger> {
        self.debugger.as_ref()
    }

    /// What the guest is doing, where there is one to control.
    #[must_use]
    pub const fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    /// What keys go to.
    #[must_use]
    pub const fn mode(&self) -> &Mode {
        &self.mode
    }

    /// What the user is told.
    #[must_use]
    pub const fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// The view that is shown.
    #[must_use]
    pub const fn view_shown(&self) -> View {
        self.focus.view()
    }

    /// The focused pane.
    #[must_use]
    pub const fn focused(&self) -> Pane {
        self.focus.pane()
    }

    /// Whether the cursor stays at the newest event.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.follow
    }

    /// The number of the selected event.
    #[must_use]
    pub const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The selected event; `None` if there is none or it is damaged in the file.
    #[must_use]
    pub const fn selected(&self) -> Option<&Event> {
        self.selected.as_ref()
    }

    /// The events in view of the list.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// How far a pane of text is scrolled down, in lines.
    #[must_use]
    pub const fn scroll(&self, pane: Pane) -> u16 {
        match pane {
            Pane::Detail => self.detail_scroll,
            Pane::Run => self.run_scroll,
            Pane::Registers => self.code.registers_scroll,
            Pane::Walk => self.memory.walk_scroll,
            _ => 0,
        }
    }
}

/// A trace may come from anywhere, and its guest's name need not be a path of this system.
fn base_name(guest: &str) -> &str {
    guest.rsplit('/').find(|part| !part.is_empty()).unwrap_or(guest)
}

#[cfg(test)]
mod tests {
    use super::base_name;

    #[test]
    fn a_guest_is_called_like_its_file() {
        assert_eq!(base_name("/boot/vmlinuz-6.1"), "vmlinuz-6.1");
        assert_eq!(base_name("kernels/"), "kernels");
        assert_eq!(base_name("tlb-shootdown"), "tlb-shootdown");
        assert_eq!(base_name("/"), "/");
    }
}
