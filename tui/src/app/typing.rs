//! What a key of the user's terminal is to the guest.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::Typed;
use super::press::controlled;
use crate::guest::Key;
use crate::model::output::Display;

const ESCAPE: u8 = 0x1b;

/// What `key` is at the guest's keyboard if its text screen is shown, or at a terminal on its serial port; `None` for a
/// key that is neither.
pub(super) fn typed(display: Display, key: KeyEvent) -> Option<Typed> {
    match display {
        Display::Screen => at_keyboard(key).map(Typed::Key),
        Display::Serial => at_terminal(key).map(Typed::Serial),
    }
}

fn at_keyboard(key: KeyEvent) -> Option<Key> {
    if let Some(c) = controlled(key) {
        return c.is_ascii_alphabetic().then_some(Key::Control(c));
    }
    Some(match key.code {
        KeyCode::Char(c) => Key::Character(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Insert => Key::Insert,
        KeyCode::Delete => Key::Delete,
        KeyCode::F(n @ 1..=12) => Key::Function(n),
        _ => return None,
    })
}

/// The bytes that an xterm sends ("XTerm Control Sequences", normal cursor keys); Alt puts an escape before them.
fn at_terminal(key: KeyEvent) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if key.modifiers.contains(KeyModifiers::ALT) {
        bytes.push(ESCAPE);
    }
    if let Some(c) = controlled(key) {
        bytes.push(control(c)?);
        return Some(bytes);
    }
    if let KeyCode::Char(c) = key.code {
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(bytes);
    }
    let sequence: &[u8] = match key.code {
        KeyCode::Enter => b"\r",
        KeyCode::Esc => b"\x1b",
        KeyCode::Backspace => b"\x7f",
        KeyCode::Tab => b"\t",
        KeyCode::BackTab => b"\x1b[Z",
        KeyCode::Up => b"\x1b[A",
        KeyCode::Down => b"\x1b[B",
        KeyCode::Right => b"\x1b[C",
        KeyCode::Left => b"\x1b[D",
        KeyCode::Home => b"\x1b[H",
        KeyCode::End => b"\x1b[F",
        KeyCode::Insert => b"\x1b[2~",
        KeyCode::Delete => b"\x1b[3~",
        KeyCode::PageUp => b"\x1b[5~",
        KeyCode::PageDown => b"\x1b[6~",
        KeyCode::F(n) => FUNCTIONS.get(usize::from(n.checked_sub(1)?))?,
        _ => return None,
    };
    bytes.extend_from_slice(sequence);
    Some(bytes)
}

/// F1 to F12.
const FUNCTIONS: [&[u8]; 12] = [
    b"\x1bOP",
    b"\x1bOQ",
    b"\x1bOR",
    b"\x1bOS",
    b"\x1b[15~",
    b"\x1b[17~",
    b"\x1b[18~",
    b"\x1b[19~",
    b"\x1b[20~",
    b"\x1b[21~",
    b"\x1b[23~",
    b"\x1b[24~",
];

/// The control character of Ctrl and `c` (ECMA-48, the columns of letters less 0x40).
fn control(c: char) -> Option<u8> {
    match c {
        ' ' => Some(0),
        '?' => Some(0x7f),
        'a'..='z' | '['..='_' | '@' => Some(c as u8 & 0x1f),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(code: KeyCode, modifiers: KeyModifiers) -> Option<Vec<u8>> {
        match typed(Display::Serial, KeyEvent::new(code, modifiers)) {
            Some(Typed::Serial(bytes)) => Some(bytes),
            Some(Typed::Key(key)) => panic!("{key:?} at a terminal"),
            None => None,
        }
    }

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        match typed(Display::Screen, KeyEvent::new(code, modifiers)) {
            Some(Typed::Key(key)) => Some(key),
            Some(Typed::Serial(bytes)) => panic!("{bytes:?} at a keyboard"),
            None => None,
        }
    }

    #[test]
    fn terminals_send_bytes() {
        let (none, control, alt) = (KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT);
        let sent = |code, modifiers| serial(code, modifiers).unwrap();
        assert_eq!(sent(KeyCode::Char('A'), KeyModifiers::SHIFT), b"A");
        assert_eq!(sent(KeyCode::Char('é'), none), "é".as_bytes());
        assert_eq!(sent(KeyCode::Char('c'), control), [3]);
        assert_eq!(sent(KeyCode::Char('4'), control), [0x1c]);
        assert_eq!(sent(KeyCode::Char(' '), control), [0]);
        assert_eq!(sent(KeyCode::Char('x'), alt), b"\x1bx");
        assert_eq!(sent(KeyCode::Enter, none), b"\r");
        assert_eq!(sent(KeyCode::F(12), none), b"\x1b[24~");
        assert_eq!((serial(KeyCode::F(0), none), serial(KeyCode::F(13), none)), (None, None));
        assert_eq!(serial(KeyCode::Char('é'), control), None);
    }

    #[test]
    fn keyboards_send_keys() {
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        assert_eq!(key(KeyCode::Char('A'), KeyModifiers::SHIFT), Some(Key::Character('A')));
        assert_eq!(key(KeyCode::Char('c'), control), Some(Key::Control('c')));
        assert_eq!(key(KeyCode::Char('6'), control), None);
        assert_eq!(key(KeyCode::F(12), none), Some(Key::Function(12)));
        assert_eq!(key(KeyCode::F(13), none), None);
        assert_eq!(key(KeyCode::Esc, none), Some(Key::Escape));
    }
}
