//! What is pressed, and how it is written: in the help, the footer and the configuration.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

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

/// Keys that are no characters: as they are written, with other spellings that are understood.
const NAMED: [(KeyCode, &str, &[&str]); 16] = [
    (KeyCode::Char(' '), "Space", &[]),
    (KeyCode::Up, "↑", &["up"]),
    (KeyCode::Down, "↓", &["down"]),
    (KeyCode::Left, "←", &["left"]),
    (KeyCode::Right, "→", &["right"]),
    (KeyCode::PageUp, "PgUp", &["pageup"]),
    (KeyCode::PageDown, "PgDn", &["pagedown"]),
    (KeyCode::BackTab, "Shift-Tab", &["backtab"]),
    (KeyCode::Tab, "Tab", &[]),
    (KeyCode::Enter, "Enter", &["return"]),
    (KeyCode::Esc, "Esc", &["escape"]),
    (KeyCode::Home, "Home", &[]),
    (KeyCode::End, "End", &[]),
    (KeyCode::Insert, "Ins", &["insert"]),
    (KeyCode::Delete, "Del", &["delete"]),
    (KeyCode::Backspace, "Backspace", &[]),
];

impl Press {
    /// What `key` is, once.
    #[must_use]
    pub fn of(key: KeyEvent) -> Self {
        match controlled(key) {
            Some(c) => Self::Ctrl(c),
            None => Self::Key(key.code),
        }
    }
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

impl fmt::Display for Press {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ctrl(c) => write!(f, "Ctrl-{}", c.to_ascii_uppercase()),
            Self::Twice(KeyCode::Char(c)) if *c != ' ' => write!(f, "{c}{c}"),
            Self::Twice(code) => write!(f, "{0} {0}", Self::Key(*code)),
            Self::Key(code) => match (NAMED.iter().find(|(named, ..)| named == code), code) {
                (Some((_, name, _)), _) => f.write_str(name),
                (None, KeyCode::Char(c)) => write!(f, "{c}"),
                (None, KeyCode::F(n)) => write!(f, "F{n}"),
                (None, code) => write!(f, "{code:?}"),
            },
        }
    }
}

impl FromStr for Press {
    type Err = String;

    /// The inverse of its `Display`; names in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no key: write a character, Ctrl-X, F1 to F12, or Space, Enter, PgUp, Shift-Tab and the like"
            )
        };
        let lower = text.to_lowercase();
        if let Some(rest) = lower.strip_prefix("ctrl-") {
            let mut chars = rest.chars();
            return match (chars.next(), chars.next()) {
                (Some(c), None) => Ok(Self::Ctrl(c)),
                _ => Err(wrong()),
            };
        }
        if let Some(code) = key(text, &lower) {
            return Ok(Self::Key(code));
        }
        let twice = match text.split_once(' ') {
            Some((first, second)) => (first == second).then_some(first),
            None => {
                let half = text.get(..text.len() / 2);
                half.filter(|half| half.chars().count() == 1 && text.ends_with(half))
            }
        };
        twice.and_then(|half| key(half, &half.to_lowercase())).map(Self::Twice).ok_or_else(wrong)
    }
}

fn key(text: &str, lower: &str) -> Option<KeyCode> {
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next())
        && c != ' '
    {
        let arrow = NAMED.iter().find(|(_, name, _)| *name == text).map(|(code, ..)| *code);
        return Some(arrow.unwrap_or(KeyCode::Char(c)));
    }
    if let Some(n) = lower.strip_prefix('f').and_then(|n| n.parse().ok())
        && (1..=12).contains(&n)
    {
        return Some(KeyCode::F(n));
    }
    let named =
        NAMED.iter().find(|(_, name, others)| name.to_lowercase() == lower || others.contains(&lower));
    named.map(|(code, ..)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let keys = NAMED.iter().map(|(code, ..)| *code);
        let keys =
            keys.chain(['q', 'G', '?', '-', ']', 'é'].map(KeyCode::Char)).chain((1..=12).map(KeyCode::F));
        for code in keys {
            for press in [Press::Key(code), Press::Twice(code)] {
                assert_eq!(press.to_string().parse(), Ok(press), "{press}");
            }
        }
        for c in ['a', ']', '\\'] {
            assert_eq!(Press::Ctrl(c).to_string().parse(), Ok(Press::Ctrl(c)));
        }
        assert_eq!("ctrl-d".parse(), Ok(Press::Ctrl('d')));
        assert_eq!("UP".parse(), Ok(Press::Key(KeyCode::Up)));
    }

    #[test]
    fn what_is_no_key_is_said() {
        for text in ["", "ctrl-", "ctrl-ab", "F13", "gh", "hello", "a b"] {
            assert!(text.parse::<Press>().unwrap_err().contains("is no key"), "{text}");
        }
    }
}
