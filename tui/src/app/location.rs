//! A place in the guest's code, as a user writes it.

use trace_format::filter::Candidate;

use super::App;
use crate::ui::text;

/// The most symbols that are proposed: a kernel has more than anybody reads.
const MOST: usize = 200;

/// An address, or a symbol and how far behind its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    symbol: Option<String>,
    offset: u64,
}

impl Location {
    /// The gva `address`.
    #[must_use]
    pub const fn at(address: u64) -> Self {
        Self { symbol: None, offset: address }
    }

    /// Understands `text`: `0xffff800000101234`, `main` and `main+0x1c`.
    ///
    /// # Errors
    /// If it is neither: a sentence that says what could be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || {
            format!("`{text}` is no place in code: write an address (0x1234), or a symbol (main, main+0x1c)")
        };
        let hexadecimal = |digits: &str| {
            let digits = digits.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
            digits.and_then(|digits| u64::from_str_radix(&digits.replace('_', ""), 16).ok())
        };
        if let Some(address) = hexadecimal(text) {
            return Ok(Self::at(address));
        }
        let (symbol, offset) = match text.rsplit_once('+') {
            Some((symbol, offset)) => {
                (symbol, hexadecimal(offset).or_else(|| offset.parse().ok()).ok_or_else(wrong)?)
            }
            None => (text, 0),
        };
        if symbol.is_empty() || symbol.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { symbol: Some(symbol.to_owned()), offset })
    }
}

impl App {
    /// The gva of `location`, with the kernel where it runs.
    pub(super) fn locate(&self, location: &Location) -> Result<u64, String> {
        let Location { symbol, offset } = location;
        let Some(symbol) = symbol else { return Ok(*offset) };
        match self.header().symbols.address_of(symbol) {
            Some(address) => Ok(address.wrapping_add(*offset)),
            None => Err(format!("the guest's image has no symbol `{}`", text::escape(symbol))),
        }
    }

    /// What the guest calls the code at `gva`; its address if it has no name for it.
    #[must_use]
    pub fn name_of(&self, gva: u64) -> String {
        match self.header().symbolize(gva) {
            Some((name, 0)) => text::escape(name).into_owned(),
            Some((name, offset)) => format!("{}+{offset:#x}", text::escape(name)),
            None => format!("{gva:#x}"),
        }
    }

    /// Breakpoints, to be taken away, and symbols whose names have `text` in them, those that begin with it first.
    pub(super) fn complete_location(&self, text: &str) -> Vec<Candidate> {
        let candidate =
            |text: String, about: String, length: usize| Candidate { text, about, replaces: 0..length };
        let set = self
            .breakpoints
            .iter()
            .map(|gva| (self.name_of(*gva), *gva))
            .filter(|(name, _)| name.contains(text));
        let set = set
            .map(|(name, gva)| candidate(name, format!("{gva:#x}: takes this breakpoint away"), text.len()));
        set.chain(self.complete_symbol(text)).collect()
    }

    /// Symbols whose names have `text` in them, those that begin with it first.
    pub(super) fn complete_symbol(&self, text: &str) -> Vec<Candidate> {
        let candidate =
            |text: String, about: String, length: usize| Candidate { text, about, replaces: 0..length };
        let mut found = Vec::new();
        let mut others = Vec::new();
        for (address, _, name) in self.header().symbols.placed() {
            let into = match name.find(text) {
                Some(0) => &mut found,
                Some(_) => &mut others,
                None => continue,
            };
            if into.len() < MOST && name.chars().all(|c| !c.is_control()) {
                into.push(candidate(name.to_owned(), format!("{address:#x}"), text.len()));
            }
        }
        found.extend(others);
        found.truncate(MOST);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_addresses_and_symbols() {
        let symbol = |name: &str, offset| Ok(Location { symbol: Some(name.to_owned()), offset });
        assert_eq!(Location::parse(" 0xffff_8000 "), Ok(Location::at(0xffff_8000)));
        assert_eq!(Location::parse("main"), symbol("main", 0));
        assert_eq!(Location::parse("main+0x1c"), symbol("main", 0x1c));
        assert_eq!(Location::parse("main+3"), symbol("main", 3));
        for wrong in ["", "0x", "0xg", "12", "+3", "main+", "main+x", "0x+1"] {
            assert!(Location::parse(wrong).is_err(), "{wrong}");
        }
    }
}
