//! The table that binds keys to actions. Help and footer are rendered from it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::{Action, Motion};
use super::{Focus, Mode};

/// A key, or the same key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// A key.
    Key(KeyCode),
    /// With Ctrl.
    Ctrl(char),
    /// A key twice.
    Twice(KeyCode),
}

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In every pane.
    Panes,
    /// In one pane, before [`Scope::Panes`].
    Pane(Focus),
    /// While the help is open.
    Help,
    /// While a prompt is open.
    Prompt,
    /// While keys go to the guest: all that are not bound here.
    Typing,
}

/// Keys and what they do.
pub struct Binding {
    /// Where.
    pub scope: Scope,
    /// Any of these.
    pub keys: &'static [Press],
    /// Does this.
    pub action: Action,
    /// In words, for the help.
    pub help: &'static str,
    /// In a word, for the footer; empty where the footer does not show it.
    pub hint: &'static str,
}

const fn binding(
    scope: Scope,
    keys: &'static [Press],
    action: Action,
    hint: &'static str,
    help: &'static str,
) -> Binding {
    Binding { scope, keys, action, help, hint }
}

use Press::{Ctrl, Key, Twice};
use Scope::{Help, Pane, Panes, Prompt, Typing};

const fn char(c: char) -> Press {
    Key(KeyCode::Char(c))
}

/// Every binding, in the order in which help and footer show them.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    binding(Panes, &[char('q'), Ctrl('c')], Action::Quit, "quit", "quit; a running guest is ended, its trace finished"),
    binding(Panes, &[char('?')], Action::Help, "help", "this help"),
    binding(Panes, &[Key(KeyCode::Tab)], Action::NextPane, "pane", "focus the next pane"),
    binding(Panes, &[Key(KeyCode::BackTab)], Action::PreviousPane, "", "focus the pane before"),
    binding(Panes, &[char('e'), char('\\')], Action::Maximize, "maximize", "maximize the focused pane, and back"),
    binding(Panes, &[Key(KeyCode::Enter)], Action::Details, "detail", "focus the selected event's detail"),
    binding(Panes, &[Key(KeyCode::Esc)], Action::Back, "", "back: from a maximized pane, then to the events"),
    binding(Panes, &[char(' ')], Action::TogglePause, "pause", "pause the guest, resume it"),
    binding(Panes, &[char('s')], Action::Step, "step", "while paused: one instruction on the selected event's vCPU"),
    binding(Panes, &[char('w')], Action::Save, "save", "save the temporary trace of a live run"),
    binding(Panes, &[Key(KeyCode::Up), char('k')], Action::Move(Motion::Up), "", "up; in the events this stops following"),
    binding(Panes, &[Key(KeyCode::Down), char('j')], Action::Move(Motion::Down), "", "down"),
    binding(Panes, &[Key(KeyCode::PageUp), Ctrl('b')], Action::Move(Motion::PageUp), "", "a page up"),
    binding(Panes, &[Key(KeyCode::PageDown), Ctrl('f')], Action::Move(Motion::PageDown), "", "a page down"),
    binding(Panes, &[Ctrl('u')], Action::Move(Motion::HalfPageUp), "", "half a page up"),
    binding(Panes, &[Ctrl('d')], Action::Move(Motion::HalfPageDown), "", "half a page down"),
    binding(Panes, &[Twice(KeyCode::Char('g')), Key(KeyCode::Home)], Action::Move(Motion::First), "", "to the beginning"),
    binding(Panes, &[char('G'), Key(KeyCode::End)], Action::Move(Motion::Last), "", "to the end, and follow it"),
    binding(Panes, &[char('n')], Action::NextOfKind, "next alike", "the next event of the selected one's kind"),
    binding(Panes, &[char('N')], Action::PreviousOfKind, "", "the previous event of the selected one's kind"),
    binding(Panes, &[char(']')], Action::NextOnVcpu, "", "the next event on the same vCPU"),
    binding(Panes, &[char('[')], Action::PreviousOnVcpu, "", "the previous event on the same vCPU"),
    binding(Panes, &[char('+'), char('=')], Action::ZoomIn, "zoom", "timeline: zoom in around the selected event"),
    binding(Panes, &[char('-')], Action::ZoomOut, "", "timeline: zoom out"),
    binding(Panes, &[char('0')], Action::Fit, "fit", "timeline: show the whole run"),
    binding(Panes, &[Key(KeyCode::Left), char('h')], Action::PanLeft, "", "timeline: to earlier times; text screen: left"),
    binding(Panes, &[Key(KeyCode::Right), char('l')], Action::PanRight, "", "timeline: to later times; text screen: right"),
    binding(Pane(Focus::Console), &[char('i')], Action::Type, "type", "console: type to the guest"),
    binding(Typing, &[Ctrl(']'), Twice(KeyCode::Esc)], Action::StopTyping, "stop typing", "stop typing to the guest"),
    binding(Pane(Focus::Console), &[char('v')], Action::SwitchDisplay, "view", "console: serial terminal or text screen"),
    binding(Panes, &[Ctrl('z')], Action::Suspend, "", "suspend vmscope; a live guest goes on"),
    binding(Help, &[char('?'), Key(KeyCode::Esc), char('q'), Key(KeyCode::Enter)], Action::Help, "close", "close the help"),
    binding(Help, &[Key(KeyCode::Up), char('k')], Action::Move(Motion::Up), "", "up"),
    binding(Help, &[Key(KeyCode::Down), char('j')], Action::Move(Motion::Down), "scroll", "down"),
    binding(Help, &[Key(KeyCode::PageUp), Ctrl('u')], Action::Move(Motion::PageUp), "", "a page up"),
    binding(Help, &[Key(KeyCode::PageDown), Ctrl('d')], Action::Move(Motion::PageDown), "", "a page down"),
    binding(Help, &[Ctrl('c')], Action::Quit, "", "quit"),
    binding(Prompt, &[Key(KeyCode::Enter)], Action::Accept, "save", "save"),
    binding(Prompt, &[Key(KeyCode::Esc), Ctrl('c')], Action::Back, "cancel", "cancel"),
];

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// An action.
    Action(Action),
    /// The first half of a sequence.
    Pending(KeyCode),
    /// Nothing.
    Nothing,
}

/// Looks `key` up for the mode and pane in front; `pending` is the first half of a sequence if there was one.
#[must_use]
pub fn meaning(mode: &Mode, focus: Focus, pending: Option<KeyCode>, key: KeyEvent) -> Meaning {
    let scopes: &[Scope] = match mode {
        Mode::Panes => &[Pane(focus), Panes],
        Mode::Help { .. } => &[Help],
        Mode::Prompt(_) => &[Prompt],
        Mode::Typing => &[Typing],
    };
    let press = match controlled(key) {
        Some(c) => Ctrl(c),
        None => Key(key.code),
    };
    let second = match press {
        Key(code) if pending == Some(code) => Some(Twice(code)),
        _ => None,
    };
    let mut first = Meaning::Nothing;
    for scope in scopes {
        for binding in BINDINGS.iter().filter(|binding| binding.scope == *scope) {
            for bound in binding.keys {
                if *bound == press || Some(*bound) == second {
                    return Meaning::Action(binding.action);
                }
                if let (Twice(half), Key(code)) = (*bound, press)
                    && half == code
                {
                    first = Meaning::Pending(code);
                }
            }
        }
    }
    first
}

/// What is pressed with Ctrl, in lower case; `None` without Ctrl. Terminals send the same for Ctrl-4 to Ctrl-7 as for
/// Ctrl and `\\`, `]`, `^` and `_`, and crossterm takes the digits.
#[must_use]
pub fn controlled(key: KeyEvent) -> Option<char> {
    let KeyCode::Char(c) = key.code else { return None };
    key.modifiers.contains(KeyModifiers::CONTROL).then_some(match c {
        '4' => '\\',
        '5' => ']',
        '6' => '^',
        '7' => '_',
        c => c.to_ascii_lowercase(),
    })
}

impl std::fmt::Display for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ctrl(c) => write!(f, "Ctrl-{}", c.to_ascii_uppercase()),
            Self::Twice(KeyCode::Char(c)) => write!(f, "{c}{c}"),
            Self::Twice(code) => write!(f, "{0} {0}", Self::Key(*code)),
            Self::Key(KeyCode::Char(' ')) => f.write_str("Space"),
            Self::Key(KeyCode::Char(c)) => write!(f, "{c}"),
            Self::Key(KeyCode::Up) => f.write_str("↑"),
            Self::Key(KeyCode::Down) => f.write_str("↓"),
            Self::Key(KeyCode::Left) => f.write_str("←"),
            Self::Key(KeyCode::Right) => f.write_str("→"),
            Self::Key(KeyCode::PageUp) => f.write_str("PgUp"),
            Self::Key(KeyCode::PageDown) => f.write_str("PgDn"),
            Self::Key(KeyCode::BackTab) => f.write_str("Shift-Tab"),
            Self::Key(code) => write!(f, "{code:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn no_key_is_bound_twice_in_a_scope() {
        for (n, a) in BINDINGS.iter().enumerate() {
            for b in &BINDINGS[n + 1..] {
                let both = a.keys.iter().find(|key| b.keys.contains(key));
                assert!(a.scope != b.scope || both.is_none(), "{both:?}: {} and {}", a.help, b.help);
            }
        }
    }

    #[test]
    fn every_binding_can_be_reached_and_explained() {
        for binding in BINDINGS {
            let (mode, focus) = match binding.scope {
                Panes => (Mode::Panes, Focus::Events),
                Pane(focus) => (Mode::Panes, focus),
                Help => (Mode::Help { scroll: 0 }, Focus::Events),
                Prompt => (Mode::Prompt(tui_input::Input::default()), Focus::Events),
                Typing => (Mode::Typing, Focus::Console),
            };
            assert!(!binding.help.is_empty());
            for key in binding.keys {
                let (pending, event) = match *key {
                    Key(code) => (None, press(code)),
                    Ctrl(c) => (None, KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)),
                    Twice(code) => (Some(code), press(code)),
                };
                let found = meaning(&mode, focus, pending, event);
                assert_eq!(found, Meaning::Action(binding.action), "{key}");
            }
        }
    }

    #[test]
    fn a_sequence_begins_and_ends() {
        let g = press(KeyCode::Char('g'));
        let lookup = |pending| meaning(&Mode::Panes, Focus::Events, pending, g);
        assert_eq!(lookup(None), Meaning::Pending(KeyCode::Char('g')));
        assert_eq!(lookup(Some(KeyCode::Char('g'))), Meaning::Action(Action::Move(Motion::First)));
        assert_eq!(meaning(&Mode::Panes, Focus::Events, None, press(KeyCode::F(9))), Meaning::Nothing);
    }

    #[test]
    fn shifted_letters_and_shifted_tab_are_keys_of_their_own() {
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        let found = meaning(&Mode::Panes, Focus::Events, None, shifted);
        assert_eq!(found, Meaning::Action(Action::Move(Motion::Last)));
    }
}
