//! The help: everything that can be done, to be searched and chosen from.

use crossterm::event::KeyEvent;
use tui_input::Input;

use super::action::{Action, Command, Motion};
use super::keys::Keymap;
use super::line::request;
use super::table::{Entry, Scope, TABLE, What};
use super::view::Pane;
use super::{App, Mode};

/// What is searched for, and which of what was found is selected.
#[derive(Clone, Debug, Default)]
pub struct Help {
    input: Input,
    selected: usize,
}

impl Help {
    /// What is searched for.
    #[must_use]
    pub fn text(&self) -> &str {
        self.input.value()
    }

    /// Characters before the cursor in it.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.input.cursor()
    }

    /// Which of [`App::help_entries`] is selected.
    #[must_use]
    pub const fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn edit(&mut self, key: KeyEvent) {
        if let Some(request) = request(key) {
            self.input.handle(request);
            self.selected = 0;
        }
    }
}

/// Every word of `text` is in the entry's name, its keys or its help.
fn matches(entry: &Entry, keymap: &Keymap, text: &str) -> bool {
    let keys: Vec<String> = keymap.keys(entry).map(|key| key.to_string()).collect();
    let words = format!("{} {} {}", entry.name, entry.help, keys.join(" ")).to_lowercase();
    text.to_lowercase().split_whitespace().all(|word| words.contains(word))
}

impl App {
    /// What the help shows: those of the focused pane first.
    #[must_use]
    pub fn help_entries(&self) -> Vec<&'static Entry> {
        let Mode::Help(help) = &self.mode else { return Vec::new() };
        let pane = self.focused();
        let mut found: Vec<&'static Entry> = TABLE
            .iter()
            .filter(|entry| matches!(entry.scope, Scope::Panes | Scope::Pane(_) | Scope::Typing))
            .filter(|entry| matches(entry, &self.settings.look.keymap, help.text()))
            .collect();
        found.sort_by_key(|entry| match entry.scope {
            Scope::Pane(own) => u8::from(own != pane) * 2,
            _ => 1,
        });
        found
    }

    pub(super) fn move_in_help(&mut self, motion: Motion) {
        let count = self.help_entries().len();
        let page = u64::from(self.size.height / 2);
        if let Mode::Help(help) = &mut self.mode {
            let to = motion.apply(help.selected as u64, count as u64, page);
            help.selected = usize::try_from(to).unwrap_or(0);
        }
    }

    /// Does what is selected, in the pane where it can be done.
    pub(super) fn accept_help(&mut self) -> Option<Command> {
        let Mode::Help(help) = &self.mode else { return None };
        let entry = *self.help_entries().get(help.selected)?;
        self.mode = Mode::Panes;
        if let Scope::Pane(pane) = entry.scope {
            self.focus(pane);
        }
        match &entry.what {
            // It ends what has just ended.
            What::Do(Action::StopTyping) => None,
            What::Do(action) => self.act(action.clone()),
            What::Ask(_) => {
                self.ask(entry);
                None
            }
        }
    }
}

/// The pane that an entry is for.
#[must_use]
pub const fn pane_of(entry: &Entry) -> Option<Pane> {
    match entry.scope {
        Scope::Pane(pane) => Some(pane),
        _ => None,
    }
}
