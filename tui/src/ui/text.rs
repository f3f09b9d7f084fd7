//! Numbers, times and foreign text as people read them.

use std::borrow::Cow;

/// `text` without anything that a terminal could obey: control characters and those that reorder text are escaped.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    let unsafe_char = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if unsafe_char(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// A duration with three digits and its unit: `823 ns`, `12.3 µs`, `1.20 s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let value = ns as f64;
    // From 999.5 of a unit on, three digits would round up to 1000 of it.
    let (scale, unit) = UNITS.into_iter().find(|(scale, _)| value >= scale * 0.9995).unwrap_or((1.0, "ns"));
    let value = value / scale;
    let digits = match value {
        _ if scale == 1.0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A time in seconds to the nanosecond: `0.000 123 456`.
#[must_use]
pub fn timestamp(ns: u64) -> String {
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    format!("{seconds}.{:03} {:03} {:03}", rest / 1_000_000, rest / 1_000 % 1_000, rest % 1_000)
}

/// A count with its thousands apart: `1 234 567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in the largest unit that divides it: `2 MiB`, `4 KiB`, `100 bytes`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.into_iter().find(|(shift, _)| n >> shift > 0 && n.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{n} bytes"), |(shift, name)| format!("{} {name}", n >> shift))
}

/// A share in percent.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 { "<0.1 %".into() } else { format!("{percent:.1} %") }
}

/// Two hexadecimal digits a byte, a space between.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The words of `text` in lines of at most `width` columns; a longer word has a line of its own.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Seconds to the microsecond, as wide as the `longest` time needs.
#[must_use]
pub fn seconds(ns: u64, longest: u64) -> String {
    let width = (longest / 1_000_000_000).checked_ilog10().map_or(1, |digits| digits as usize + 1);
    format!("{:>width$}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000)
}

/// `text` in at most `width` characters; what is longer ends in `…`.
#[must_use]
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return text.into();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let cases = [
            (0, "0 ns"),
            (823, "823 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (99_960, "100 µs"),
            (999_400, "999 µs"),
            (999_600, "1.00 ms"),
            (61_000_000_000, "61.0 s"),
            (u64::MAX, "18446744074 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn sentences_are_wrapped_at_words() {
        assert_eq!(wrap("IPIs: KVM plays the local APICs", 15), ["IPIs: KVM plays", "the local APICs"]);
        assert_eq!(wrap("a wordthatislong b", 6), ["a", "wordthatislong", "b"]);
        assert!(wrap("", 6).is_empty());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(timestamp(1_000_123_456), "1.000 123 456");
        assert_eq!(bytes(2 << 20), "2 MiB");
        assert_eq!(bytes(4097), "4097 bytes");
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(percent(0.0004), "<0.1 %");
        assert_eq!(percent(0.5), "50.0 %");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(escape("plain é 日本"), "plain é 日本");
        assert_eq!(escape("\x1b[2J\u{202e}x\u{9b}"), "\\u{1b}[2J\\u{202e}x\\u{9b}");
    }
}
