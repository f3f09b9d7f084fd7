//! Which key does what: the table's keys, or those that the configuration has instead.

use crossterm::event::{KeyCode, KeyEvent};

use super::Mode;
use super::press::Press;
use super::table::{Entry, Scope, TABLE};
use super::view::Pane;

/// Keys and what they do.
#[derive(Clone, Debug)]
pub struct Keymap(Vec<Binding>);

#[derive(Clone, Copy, Debug)]
struct Binding {
    press: Press,
    entry: &'static Entry,
}

impl Default for Keymap {
    /// As the table has it.
    fn default() -> Self {
        let keys = |entry: &'static Entry| entry.keys.iter().map(move |&press| Binding { press, entry });
        Self(TABLE.iter().flat_map(keys).collect())
    }
}

/// What a key means.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// This.
    Entry(&'static Entry),
    /// The first half of a sequence.
    Pending(KeyCode),
    /// Nothing.
    Nothing,
}

impl Keymap {
    /// Binds no key to `entry`.
    pub fn unbind(&mut self, entry: &Entry) {
        self.0.retain(|binding| binding.entry.name != entry.name);
    }

    /// Binds `keys` and no others to `entry`.
    ///
    /// # Errors
    /// If one of them does something else there: which.
    pub fn bind(&mut self, entry: &'static Entry, keys: &[Press]) -> Result<(), String> {
        self.unbind(entry);
        for &press in keys {
            if let Some(other) =
                self.0.iter().find(|other| other.press == press && other.entry.scope == entry.scope)
            {
                return Err(format!("{press} is for `{}` already", other.entry.name));
            }
            self.0.push(Binding { press, entry });
        }
        Ok(())
    }

    /// The keys of `entry`, the one to be shown first.
    pub fn keys(&self, entry: &Entry) -> impl Iterator<Item = Press> {
        self.0.iter().filter(move |binding| binding.entry.name == entry.name).map(|binding| binding.press)
    }

    /// Looks `key` up for the mode and pane in front; `pending` is the first half of a sequence if there was one.
    #[must_use]
    pub fn meaning(&self, mode: &Mode, pane: Pane, pending: Option<KeyCode>, key: KeyEvent) -> Meaning {
        let press = Press::of(key);
        let second = match press {
            Press::Key(code) if pending == Some(code) => Some(Press::Twice(code)),
            _ => None,
        };
        let mut first = Meaning::Nothing;
        for scope in scopes(mode, pane) {
            for Binding { press: bound, entry } in
                self.0.iter().filter(|binding| binding.entry.scope == scope)
            {
                if *bound == press || Some(*bound) == second {
                    return Meaning::Entry(entry);
                }
                if let (Press::Twice(half), Press::Key(code)) = (*bound, press)
                    && half == code
                {
                    first = Meaning::Pending(code);
                }
            }
        }
        first
    }
}

/// Where keys are looked up, the first one first.
pub fn scopes(mode: &Mode, pane: Pane) -> impl Iterator<Item = Scope> {
    let (own, scope) = match mode {
        Mode::Panes => (Some(Scope::Pane(pane)), Scope::Panes),
        Mode::Help(_) => (None, Scope::Help),
        Mode::Line(_) => (None, Scope::Line),
        Mode::Typing => (None, Scope::Typing),
    };
    own.into_iter().chain([scope])
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;
    use crate::app::table::find;

    fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn name(meaning: Meaning) -> Option<&'static str> {
        match meaning {
            Meaning::Entry(entry) => Some(entry.name),
            Meaning::Pending(_) | Meaning::Nothing => None,
        }
    }

    #[test]
    fn every_key_can_be_reached() {
        let keymap = Keymap::default();
        for entry in TABLE {
            let (mode, pane) = match entry.scope {
                Scope::Panes => (Mode::Panes, Pane::Events),
                Scope::Pane(pane) => (Mode::Panes, pane),
                Scope::Help => (Mode::Help(Default::default()), Pane::Events),
                Scope::Line => (Mode::Line(Default::default()), Pane::Events),
                Scope::Typing => (Mode::Typing, Pane::Console),
            };
            for key in entry.keys {
                let (pending, event) = match *key {
                    Press::Key(code) => (None, press(code)),
                    Press::Ctrl(c) => (None, KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)),
                    Press::Twice(code) => (Some(code), press(code)),
                };
                assert_eq!(name(keymap.meaning(&mode, pane, pending, event)), Some(entry.name), "{key}");
            }
        }
    }

    #[test]
    fn a_sequence_begins_and_ends() {
        let keymap = Keymap::default();
        let lookup = |pending, code| keymap.meaning(&Mode::Panes, Pane::Events, pending, press(code));
        assert!(matches!(lookup(None, KeyCode::Char('g')), Meaning::Pending(KeyCode::Char('g'))));
        assert_eq!(name(lookup(Some(KeyCode::Char('g')), KeyCode::Char('g'))), Some("first"));
        assert!(matches!(lookup(None, KeyCode::F(9)), Meaning::Nothing));
    }

    #[test]
    fn shifted_letters_are_keys_of_their_own() {
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        let found = Keymap::default().meaning(&Mode::Panes, Pane::Events, None, shifted);
        assert_eq!(name(found), Some("last"));
    }

    #[test]
    fn keys_can_be_bound_otherwise() {
        let mut keymap = Keymap::default();
        let zoom = find("zoom-in").unwrap();
        assert_eq!(
            keymap.bind(zoom, &[Press::Key(KeyCode::Char('q'))]),
            Err("q is for `quit` already".to_owned())
        );
        keymap.bind(zoom, &[Press::Key(KeyCode::Char('z'))]).unwrap();
        assert_eq!(keymap.keys(zoom).collect::<Vec<_>>(), [Press::Key(KeyCode::Char('z'))]);
        let lookup = |c| name(keymap.meaning(&Mode::Panes, Pane::Events, None, press(KeyCode::Char(c))));
        assert_eq!((lookup('z'), lookup('+')), (Some("zoom-in"), None));
    }
}
