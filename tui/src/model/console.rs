//! The guest's console: its output interpreted by a terminal emulator, so that nothing it writes reaches the user's
//! terminal as it is.

use std::collections::VecDeque;

use crate::app::action::Motion;

/// Output that is kept to be laid out again when the pane changes its size, in bytes.
const KEPT: usize = 64 << 10;

/// Lines above the screen that can be scrolled to.
const SCROLLBACK: usize = 1000;

/// A screen of the guest's output.
pub struct Console {
    parser: vt100::Parser,
    kept: VecDeque<u8>,
    written: u64,
}

impl Console {
    /// An empty screen.
    #[must_use]
    pub fn new() -> Self {
        Self { parser: vt100::Parser::new(24, 80, SCROLLBACK), kept: VecDeque::new(), written: 0 }
    }

    /// Takes output of the guest.
    pub fn write(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len() as u64);
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..excess);
        self.feed(bytes);
    }

    /// Gives the screen another size, at least 2 by 2, and lays the output out again.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        let size = (rows.max(2), columns.max(2));
        if self.parser.screen().size() == size {
            return;
        }
        self.parser = vt100::Parser::new(size.0, size.1, SCROLLBACK);
        let kept: Vec<u8> = self.kept.iter().copied().collect();
        self.feed(&kept);
    }

    /// Scrolls, with `page` lines in view.
    pub fn scroll(&mut self, motion: Motion, page: u16) {
        // Scrolling counts from the newest line upwards; the emulator knows how far it goes.
        let back = match motion {
            Motion::First => SCROLLBACK,
            Motion::Last => 0,
            _ => {
                let above = SCROLLBACK.saturating_sub(self.scrolled_back()) as u64;
                let to = motion.apply(above, SCROLLBACK as u64 + 1, u64::from(page));
                SCROLLBACK.saturating_sub(usize::try_from(to).unwrap_or(SCROLLBACK))
            }
        };
        self.parser.screen_mut().set_scrollback(back);
    }

    /// How many lines above the newest screen are shown.
    #[must_use]
    pub fn scrolled_back(&self) -> usize {
        self.parser.screen().scrollback()
    }

    /// How many lines there are above the newest screen.
    fn above(&mut self) -> usize {
        let shown = self.scrolled_back();
        let screen = self.parser.screen_mut();
        screen.set_scrollback(SCROLLBACK);
        let above = screen.scrollback();
        screen.set_scrollback(shown);
        above
    }

    /// Every line, from the first that can be scrolled to. One that is too long for the screen is several.
    pub fn lines(&mut self) -> Vec<String> {
        let (shown, above) = (self.scrolled_back(), self.above());
        let (rows, columns) = self.parser.screen().size();
        let mut lines = Vec::new();
        while lines.len() < above + usize::from(rows) {
            let back = above.saturating_sub(lines.len());
            self.parser.screen_mut().set_scrollback(back);
            let known = lines.len() - (above - back);
            lines.extend(self.parser.screen().rows(0, columns).skip(known));
        }
        self.parser.screen_mut().set_scrollback(shown);
        lines
    }

    /// The number of the first line in view, of [all](Self::lines).
    pub fn first_line(&mut self) -> usize {
        self.above().saturating_sub(self.scrolled_back())
    }

    /// Scrolls so that line `number` is in view.
    pub fn show_line(&mut self, number: usize) {
        let (above, first) = (self.above(), self.first_line());
        let rows = usize::from(self.parser.screen().size().0);
        if !(first..first + rows).contains(&number) {
            let back = above.saturating_sub(number.saturating_sub(rows / 2));
            self.parser.screen_mut().set_scrollback(back);
        }
    }

    /// What is to be shown.
    #[must_use]
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Bytes of output so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Guests write plain line feeds and leave the return to the terminal; a second return does no harm.
    fn feed(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', text)) => {
                    self.parser.process(text);
                    self.parser.process(b"\r\n");
                }
                _ => self.parser.process(line),
            }
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_line_feed_returns_to_the_first_column() {
        let mut console = Console::new();
        console.write(b"one\ntwo\r\nthr");
        console.write(b"ee\r");
        console.write(b"\nfour");
        assert_eq!(console.screen().contents().trim_end(), "one\ntwo\nthree\nfour");
    }

    #[test]
    fn another_size_keeps_the_output() {
        let mut console = Console::new();
        console.write(b"a longer line of output\nand another");
        console.resize(10, 12);
        assert!(console.screen().contents().contains("another"));
        console.resize(24, 80);
        assert_eq!(console.screen().contents().trim_end(), "a longer line of output\nand another");
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let sequence = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            ("[ -/0-9;?]{0,8}", prop::char::range('@', '~'))
                .prop_map(|(arguments, command)| { format!("\x1b[{arguments}{command}").into_bytes() }),
            prop::sample::select(vec![
                "\u{1f600}",
                "\u{4e00}",
                "e\u{301}",
                "\r",
                "\n",
                "\t",
                "\x08",
                "\x1bM",
                "\x1b7",
                "\x1b8",
                "\x1bc",
                "\x1b[?1049h",
                "\x1b[?1049l",
                "\x1b[2;3r"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        prop::collection::vec(sequence, 0..200).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_output_of_a_guest_is_fatal(
            parts in prop::collection::vec((hostile(), 0u16..30, 0u16..90, prop::sample::select(vec![Motion::First, Motion::Last, Motion::Up, Motion::PageDown])), 1..6)
        ) {
            let mut console = Console::new();
            for (bytes, rows, columns, motion) in parts {
                console.write(&bytes);
                console.scroll(motion, rows);
                console.resize(rows, columns);
                prop_assert!(console.screen().contents().len() < 1 << 20);
            }
        }
    }

    #[test]
    fn every_line_can_be_had_and_shown() {
        let mut console = Console::new();
        console.resize(7, 20);
        for lines in [1, 6, 7, 30, 1500] {
            for n in 0..lines {
                console.write(format!("{lines}.{n}\n").as_bytes());
            }
            console.scroll(Motion::PageUp, 7);
            let (before, all) = (console.scrolled_back(), console.lines());
            assert_eq!(console.scrolled_back(), before, "the view stays");
            let expected: Vec<String> = (0..lines).map(|n| format!("{lines}.{n}")).collect();
            let written = all.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
            let kept = expected.len().min(written);
            assert_eq!(all[written - kept..written], expected[expected.len() - kept..], "{lines}");
            let first = console.first_line();
            let screen: Vec<String> = console.screen().rows(0, 20).collect();
            assert_eq!(screen, all[first..first + 7]);
            for number in (0..all.len()).step_by(5) {
                console.show_line(number);
                let first = console.first_line();
                assert!((first..first + 7).contains(&number), "{number} of {}, at {first}", all.len());
            }
            console.scroll(Motion::Last, 7);
        }
    }
}
