//! Saving a temporary trace.

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::action::Command;
use super::{App, Mode};

impl App {
    /// Opens the prompt, or says why there is nothing to save.
    pub(super) fn ask_where_to_save(&mut self) {
        if let Some(path) = &self.saved {
            self.tell(format!("the trace is saved as {} already", path.display()));
        } else if self.settings.temporary {
            let guest: String =
                self.guest_name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            self.mode = Mode::Prompt(Input::new(format!("{guest}.vmt")));
        } else {
            self.tell("the trace is a file of its own already");
        }
    }

    /// The prompt was answered.
    pub(super) fn accept(&mut self) -> Option<Command> {
        let Mode::Prompt(input) = &self.mode else { return None };
        let name = input.value().trim();
        if name.is_empty() {
            self.tell("a trace needs a name; Esc cancels");
            return None;
        }
        let path = PathBuf::from(name);
        self.mode = Mode::Panes;
        Some(Command::Save { path })
    }

    /// The trace is now kept under this name.
    pub fn set_saved(&mut self, path: PathBuf) {
        self.saved = Some(path);
    }

    /// Whether leaving now loses the trace.
    #[must_use]
    pub fn unsaved(&self) -> bool {
        self.settings.temporary && self.saved.is_none()
    }
}

/// Edits the prompt's line.
pub(super) fn edit(input: &mut Input, key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let request = match key.code {
        KeyCode::Char('u') if control => InputRequest::DeleteLine,
        KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
        KeyCode::Char('a') if control => InputRequest::GoToStart,
        KeyCode::Char('e') if control => InputRequest::GoToEnd,
        KeyCode::Char(c) if !control => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return,
    };
    input.handle(request);
}
