//! A place in a trace, as a user writes it.

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To event `number`.
    Event(u64),
    /// To the first event at this time, ns, or later.
    Time(u64),
    /// So many events on, or back.
    Events(i64),
    /// To the first event so much later, ns, or the last one so much earlier.
    Later(i64),
}

impl Place {
    /// For people: what can be written.
    pub const FORMS: &'static str = "an event's number, a time (1.5s, 20ms), or how far (+100, -2ms)";

    /// Understands `text`: `1234` and `#1234` are numbers of events, `1.5s` and `20 ms` times; with a sign it is how far.
    ///
    /// # Errors
    /// If it is neither: a sentence that says what could be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{text}` is no place: write {}", Self::FORMS);
        if let Some(number) = text.strip_prefix('#') {
            return number.replace([' ', '_'], "").parse().map(Self::Event).map_err(|_| wrong());
        }
        let (sign, amount) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(amount), _) => (Some(1), amount),
            (_, Some(amount)) => (Some(-1), amount),
            _ => (None, text),
        };
        let digits = amount.replace([' ', '_'], "");
        let signed = |n: u64, sign: i64| i64::try_from(n).map(|n| n * sign).map_err(|_| wrong());
        match (digits.parse(), time(&digits), sign) {
            (Ok(n), _, None) => Ok(Self::Event(n)),
            (Ok(n), _, Some(sign)) => Ok(Self::Events(signed(n, sign)?)),
            (Err(_), Some(ns), None) => Ok(Self::Time(ns)),
            (Err(_), Some(ns), Some(sign)) => Ok(Self::Later(signed(ns, sign)?)),
            (Err(_), None, _) => Err(wrong()),
        }
    }
}

/// A time with its unit, in ns, exactly.
fn time(text: &str) -> Option<u64> {
    let (number, scale) =
        [("ns", 1), ("µs", 1_000), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000_u64)]
            .into_iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if number.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut ns = whole.checked_mul(scale)?;
    let mut digit = scale;
    for byte in fraction.bytes() {
        digit /= 10;
        ns = ns.checked_add(u64::from(byte - b'0') * digit)?;
    }
    Some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbers_times_and_distances() {
        let cases = [
            ("0", Place::Event(0)),
            ("#1 234", Place::Event(1234)),
            ("1_000", Place::Event(1000)),
            ("1.5s", Place::Time(1_500_000_000)),
            ("20 ms", Place::Time(20_000_000)),
            (".25us", Place::Time(250)),
            ("7ns", Place::Time(7)),
            ("+10", Place::Events(10)),
            ("-10", Place::Events(-10)),
            ("-2ms", Place::Later(-2_000_000)),
        ];
        for (text, place) in cases {
            assert_eq!(Place::parse(text), Ok(place), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_said() {
        for text in [
            "",
            "x",
            "s",
            "ms",
            "1.2.3s",
            "-",
            "#",
            "#x",
            "99999999999999999999",
            "99999999999999s",
            "+99999999999999999999",
        ] {
            let error = Place::parse(text).unwrap_err();
            assert!(error.contains("is no place") && error.contains("20ms"), "{text}: {error}");
        }
    }
}
