//! A PS/2 keyboard with a US layout (IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)").
//!
//! It sends scan code set 2 unless told otherwise; the controller makes set 1 of that. A key that is typed goes down,
//! and comes up when the next is typed or after [`HELD_NS`]: a terminal tells only that there was a key, but games look
//! from time to time at which keys are down. Nothing repeats.

use std::collections::VecDeque;

/// Scan code bytes that the guest has not taken yet, at most; keys that do not fit are refused.
const KEYS_LIMIT: usize = 256;
/// Replies that it has not taken yet, at most; the oldest are lost, as when a real keyboard is not listened to.
const REPLIES_LIMIT: usize = 16;

/// How long a key stays down, as under a quick finger.
pub(super) const HELD_NS: u64 = 80_000_000;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const SELF_TEST_PASSED: u8 = 0xaa;
const IDENTITY: [u8; 2] = [0xab, 0x83];

const EXTENDED: u8 = 0xe0;
/// The prefix of a key that comes up, in set 2.
const BREAK: u8 = 0xf0;
const LEFT_SHIFT: u8 = 0x12;
const LEFT_CONTROL: u8 = 0x14;

/// A key to type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    /// What a printable ASCII character needs, shift included.
    Character(char),
    /// Ctrl and a letter, a to z.
    Control(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    Insert,
    Delete,
    /// F1 to F12.
    Function(u8),
}

/// The keyboard.
#[derive(Clone, Debug)]
pub struct Keyboard {
    /// The next bytes for the controller; replies go before keys.
    replies: VecDeque<u8>,
    keys: VecDeque<u8>,
    /// What is to be sent when the key that is down comes up, and when that is.
    down: Option<(Vec<u8>, u64)>,
    /// The byte sent last, for the resend command.
    last: u8,
    /// The command whose parameter comes next.
    parameter_of: Option<u8>,
    /// 1 or 2.
    scan_codes: u8,
    scanning: bool,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyboard {
    /// As firmware leaves it: scanning.
    #[must_use]
    pub fn new() -> Self {
        Self {
            replies: VecDeque::with_capacity(REPLIES_LIMIT),
            keys: VecDeque::with_capacity(KEYS_LIMIT),
            down: None,
            last: 0,
            parameter_of: None,
            scan_codes: 2,
            scanning: true,
        }
    }

    /// Presses `key`, to let go some time after `now_ns` ([`Self::expire`]). False if a US keyboard has no such key, the
    /// guest has switched the keyboard off, or has not read what was typed before.
    pub fn type_key(&mut self, key: Key, now_ns: u64) -> bool {
        let Some(stroke) = Stroke::of(key) else { return false };
        let (down, up) = (self.coded(stroke.down()), self.coded(stroke.up()));
        let before = self.down.as_ref().map_or(0, |(up, _)| up.len());
        let room = self.scanning && self.keys.len() + before + down.len() + up.len() <= KEYS_LIMIT;
        if room {
            self.let_go();
            self.keys.extend(down);
            self.down = Some((up, now_ns.saturating_add(HELD_NS)));
        }
        room
    }

    /// Lets go of a key that has been down for long enough at `now_ns`.
    pub fn expire(&mut self, now_ns: u64) {
        if self.next_deadline_ns().is_some_and(|at| at <= now_ns) {
            self.let_go();
        }
    }

    /// When a key comes up, in ns.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.down.as_ref().map(|(_, at)| *at)
    }

    fn let_go(&mut self) {
        if let Some((up, _)) = self.down.take() {
            self.keys.extend(up);
        }
    }

    /// Forgets what was typed.
    fn forget(&mut self) {
        self.keys.clear();
        self.down = None;
    }

    /// Codes of set 2 in the set that the guest has chosen.
    fn coded(&self, set_2: impl Iterator<Item = u8>) -> Vec<u8> {
        let mut translation = Translation::default();
        set_2
            .filter_map(|byte| if self.scan_codes == 1 { translation.next(byte) } else { Some(byte) })
            .collect()
    }

    /// The next byte on its way to the controller.
    pub fn send(&mut self) -> Option<u8> {
        let byte = self.replies.pop_front().or_else(|| self.keys.pop_front())?;
        self.last = byte;
        Some(byte)
    }

    /// A byte from the controller: a command, or a parameter.
    pub fn receive(&mut self, byte: u8) {
        match (self.parameter_of.take(), byte) {
            // Scan code set: which one, or which one it is.
            (Some(0xf0), 0) => self.reply(&[ACK, self.scan_codes]),
            (Some(0xf0), 1 | 2) => {
                self.forget();
                self.scan_codes = byte;
                self.reply(&[ACK]);
            }
            // Set 3 nobody uses, and nearly all keyboards get it wrong.
            (Some(0xf0), 3..=0x7f) => self.reply(&[RESEND]),
            // Lights, typematic rate: there are none.
            (Some(0xed | 0xf3), 0..=0x7f) => self.reply(&[ACK]),
            // A command, even where a parameter should be.
            (_, command) => self.command(command),
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0xed | 0xf0 | 0xf3 => {
                self.parameter_of = Some(command);
                self.reply(&[ACK]);
            }
            0xee => self.reply(&[0xee]),
            0xf2 => self.reply(&[ACK, IDENTITY[0], IDENTITY[1]]),
            0xf4 => {
                self.scanning = true;
                self.reply(&[ACK]);
            }
            0xf5 | 0xf6 => {
                self.forget();
                self.scan_codes = 2;
                self.scanning = command == 0xf6;
                self.reply(&[ACK]);
            }
            // Which keys repeat, in set 3.
            0xf7..=0xfa => self.reply(&[ACK]),
            0xfe => self.reply(&[self.last]),
            0xff => {
                *self = Self::new();
                self.reply(&[ACK, SELF_TEST_PASSED]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn reply(&mut self, bytes: &[u8]) {
        let excess = (self.replies.len() + bytes.len()).saturating_sub(REPLIES_LIMIT);
        self.replies.drain(..excess);
        self.replies.extend(bytes);
    }
}

/// The controller's translation from set 2 to set 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Translation {
    comes_up: bool,
}

impl Translation {
    /// What the guest gets for `byte`, if anything.
    pub(super) fn next(&mut self, byte: u8) -> Option<u8> {
        if byte == BREAK {
            self.comes_up = true;
            return None;
        }
        let code = match byte {
            // F7, and Alt with SysRq.
            0x83 => 0x41,
            0x84 => 0x54,
            byte => SET_1.get(usize::from(byte)).copied().unwrap_or(byte),
        };
        // A prefix does not end what comes after it.
        let comes_up = byte != EXTENDED && std::mem::take(&mut self.comes_up);
        Some(if comes_up { code | 0x80 } else { code })
    }
}

/// Set 1 for each code of set 2 below 0x80. The 8042 translates codes that no key has, too.
#[rustfmt::skip]
const SET_1: [u8; 0x80] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

/// Keys with characters: set 2 code, without and with shift.
#[rustfmt::skip]
const CHARACTERS: [(u8, char, char); 48] = [
    (0x0e, '`', '~'), (0x16, '1', '!'), (0x1e, '2', '@'), (0x26, '3', '#'), (0x25, '4', '$'), (0x2e, '5', '%'),
    (0x36, '6', '^'), (0x3d, '7', '&'), (0x3e, '8', '*'), (0x46, '9', '('), (0x45, '0', ')'), (0x4e, '-', '_'),
    (0x55, '=', '+'), (0x15, 'q', 'Q'), (0x1d, 'w', 'W'), (0x24, 'e', 'E'), (0x2d, 'r', 'R'), (0x2c, 't', 'T'),
    (0x35, 'y', 'Y'), (0x3c, 'u', 'U'), (0x43, 'i', 'I'), (0x44, 'o', 'O'), (0x4d, 'p', 'P'), (0x54, '[', '{'),
    (0x5b, ']', '}'), (0x5d, '\\', '|'), (0x1c, 'a', 'A'), (0x1b, 's', 'S'), (0x23, 'd', 'D'), (0x2b, 'f', 'F'),
    (0x34, 'g', 'G'), (0x33, 'h', 'H'), (0x3b, 'j', 'J'), (0x42, 'k', 'K'), (0x4b, 'l', 'L'), (0x4c, ';', ':'),
    (0x52, '\'', '"'), (0x1a, 'z', 'Z'), (0x22, 'x', 'X'), (0x21, 'c', 'C'), (0x2a, 'v', 'V'), (0x32, 'b', 'B'),
    (0x31, 'n', 'N'), (0x3a, 'm', 'M'), (0x41, ',', '<'), (0x49, '.', '>'), (0x4a, '/', '?'), (0x29, ' ', ' '),
];

/// F1 to F12.
const FUNCTIONS: [u8; 12] = [0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x78, 0x07];

/// A key, and what is held down with it: codes of set 2.
#[derive(Clone, Copy, Debug)]
struct Stroke {
    held: Option<u8>,
    extended: bool,
    code: u8,
}

impl Stroke {
    fn of(key: Key) -> Option<Self> {
        let character = |wanted: char| {
            CHARACTERS
                .iter()
                .find(|(_, plain, shifted)| wanted == *plain || wanted == *shifted)
                .map(|&(code, plain, _)| (code, wanted != plain))
        };
        let plain = |code| Self { held: None, extended: false, code };
        let extended = |code| Self { held: None, extended: true, code };
        Some(match key {
            Key::Character(wanted) => {
                let (code, shift) = character(wanted)?;
                Self { held: shift.then_some(LEFT_SHIFT), extended: false, code }
            }
            Key::Control(letter) if letter.is_ascii_alphabetic() => {
                let (code, _) = character(letter)?;
                Self { held: Some(LEFT_CONTROL), extended: false, code }
            }
            Key::Control(_) => return None,
            Key::Function(n) => plain(*FUNCTIONS.get(usize::from(n.checked_sub(1)?))?),
            Key::Enter => plain(0x5a),
            Key::Escape => plain(0x76),
            Key::Backspace => plain(0x66),
            Key::Tab => plain(0x0d),
            Key::Up => extended(0x75),
            Key::Down => extended(0x72),
            Key::Left => extended(0x6b),
            Key::Right => extended(0x74),
            Key::Home => extended(0x6c),
            Key::End => extended(0x69),
            Key::PageUp => extended(0x7d),
            Key::PageDown => extended(0x7a),
            Key::Insert => extended(0x70),
            Key::Delete => extended(0x71),
        })
    }

    fn prefix(self) -> Option<u8> {
        self.extended.then_some(EXTENDED)
    }

    /// Everything down in order.
    fn down(self) -> impl Iterator<Item = u8> {
        self.held.into_iter().chain(self.prefix()).chain([self.code])
    }

    /// Everything up again.
    fn up(self) -> impl Iterator<Item = u8> {
        let release = self.held.into_iter().flat_map(|held| [BREAK, held]);
        self.prefix().into_iter().chain([BREAK, self.code]).chain(release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[Key]) -> Vec<u8> {
        let mut keyboard = Keyboard::new();
        keys.iter().for_each(|&key| assert!(keyboard.type_key(key, 0), "{key:?}"));
        keyboard.expire(HELD_NS);
        sent(&mut keyboard)
    }

    fn sent(keyboard: &mut Keyboard) -> Vec<u8> {
        std::iter::from_fn(|| keyboard.send()).collect()
    }

    fn commanded(keyboard: &mut Keyboard, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().for_each(|&byte| keyboard.receive(byte));
        sent(keyboard)
    }

    #[test]
    fn keys_in_set_2() {
        assert_eq!(typed(&[Key::Character('a')]), [0x1c, 0xf0, 0x1c]);
        assert_eq!(typed(&[Key::Character('A')]), [0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12]);
        assert_eq!(typed(&[Key::Control('C')]), [0x14, 0x21, 0xf0, 0x21, 0xf0, 0x14]);
        assert_eq!(typed(&[Key::Delete]), [0xe0, 0x71, 0xe0, 0xf0, 0x71]);
        assert_eq!(typed(&[Key::Function(7)]), [0x83, 0xf0, 0x83]);
    }

    #[test]
    fn a_key_stays_down_until_its_time_or_the_next() {
        let mut keyboard = Keyboard::new();
        assert!(keyboard.type_key(Key::Left, 5));
        assert_eq!(keyboard.next_deadline_ns(), Some(5 + HELD_NS));
        keyboard.expire(4 + HELD_NS);
        assert_eq!(sent(&mut keyboard), [0xe0, 0x6b]);
        assert!(keyboard.type_key(Key::Character('a'), 6));
        assert_eq!(sent(&mut keyboard), [0xe0, 0xf0, 0x6b, 0x1c]);
        keyboard.expire(6 + HELD_NS);
        assert_eq!((sent(&mut keyboard), keyboard.next_deadline_ns()), (vec![0xf0, 0x1c], None));
        assert!(keyboard.type_key(Key::Enter, 7));
        commanded(&mut keyboard, &[0xff]);
        keyboard.expire(u64::MAX);
        assert!(sent(&mut keyboard).is_empty(), "it has been reset");
    }

    #[test]
    fn every_printable_character_has_a_key_and_nothing_else_has() {
        for byte in 0..=u8::MAX {
            let printable = byte == b' ' || byte.is_ascii_graphic();
            assert_eq!(Keyboard::new().type_key(Key::Character(byte.into()), 0), printable, "{byte:#x}");
            assert_eq!(Keyboard::new().type_key(Key::Control(byte.into()), 0), byte.is_ascii_alphabetic());
            assert_eq!(Keyboard::new().type_key(Key::Function(byte), 0), (1..=12).contains(&byte));
        }
    }

    /// Set 1 numbers the keys along the rows of the first PC's keyboard.
    #[test]
    fn set_1_goes_along_the_rows() {
        for (first, row) in [
            (0x02, "1234567890-="),
            (0x10, "qwertyuiop[]"),
            (0x1e, "asdfghjkl;'`"),
            (0x2b, "\\zxcvbnm,./"),
            (0x39, " "),
        ] {
            for (code, character) in (first..).zip(row.chars()) {
                let mut keyboard = Keyboard::new();
                assert_eq!(commanded(&mut keyboard, &[0xf0, 1]), [ACK, ACK]);
                assert!(keyboard.type_key(Key::Character(character), 0));
                keyboard.expire(HELD_NS);
                assert_eq!(sent(&mut keyboard), [code, code | 0x80], "{character}");
            }
        }
        let functions = FUNCTIONS.map(|code| Translation::default().next(code).unwrap());
        assert_eq!(functions[..10], [59, 60, 61, 62, 63, 64, 65, 66, 67, 68]);
        assert_eq!(functions[10..], [0x57, 0x58]);
    }

    #[test]
    fn no_two_codes_translate_alike() {
        let mut codes = SET_1;
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn prefixes_survive_translation() {
        let mut translation = Translation::default();
        let bytes = typed(&[Key::Up]);
        let translated: Vec<u8> = bytes.into_iter().filter_map(|byte| translation.next(byte)).collect();
        assert_eq!(translated, [0xe0, 0x48, 0xe0, 0xc8]);
    }

    #[test]
    fn commands() {
        let mut keyboard = Keyboard::new();
        let mut answers = |bytes: &[u8]| commanded(&mut keyboard, bytes);
        assert_eq!(answers(&[0xff]), [0xfa, 0xaa]);
        assert_eq!(answers(&[0xf2]), [0xfa, 0xab, 0x83]);
        assert_eq!(answers(&[0xee]), [0xee]);
        assert_eq!(answers(&[0xed, 0x07]), [0xfa, 0xfa]);
        assert_eq!(answers(&[0xf3, 0x00]), [0xfa, 0xfa]);
        assert_eq!(answers(&[0xf0, 0]), [0xfa, 0xfa, 2]);
        assert_eq!(answers(&[0xf0, 3]), [0xfa, 0xfe]);
        assert_eq!(answers(&[0xfe]), [0xfe], "once more");
        assert_eq!(answers(&[0x12]), [0xfe], "no command");
        assert_eq!(answers(&[0xed, 0xf2]), [0xfa, 0xfa, 0xab, 0x83], "a command instead of a parameter");
    }

    #[test]
    fn a_keyboard_that_is_switched_off_takes_no_keys() {
        let mut keyboard = Keyboard::new();
        assert!(keyboard.type_key(Key::Enter, 0));
        assert_eq!(commanded(&mut keyboard, &[0xf5]), [0xfa], "what was typed is gone");
        assert!(!keyboard.type_key(Key::Enter, 0));
        commanded(&mut keyboard, &[0xf4]);
        assert!(keyboard.type_key(Key::Enter, 0));
    }

    #[test]
    fn queues_are_bounded_and_replies_come_first() {
        let mut keyboard = Keyboard::new();
        let taken = (0..1000).filter(|_| keyboard.type_key(Key::Tab, 0)).count();
        assert_eq!(taken, KEYS_LIMIT / 3);
        for _ in 0..1000 {
            keyboard.receive(0xf2);
        }
        assert_eq!(keyboard.replies.len(), REPLIES_LIMIT);
        keyboard.expire(HELD_NS);
        let bytes = sent(&mut keyboard);
        assert_eq!(bytes.len(), REPLIES_LIMIT + taken * 3);
        assert_eq!(bytes[REPLIES_LIMIT - 3..REPLIES_LIMIT + 1], [0xfa, 0xab, 0x83, 0x0d]);
    }
}
