//! Names and values in two columns.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::theme::Theme;
use crate::ui::text;
use trace_format::header::Header;

/// Width of the names' column.
const NAMES: usize = 12;

/// Collects lines of names and values.
pub(super) struct Fields<'a> {
    theme: Theme,
    header: &'a Header,
    lines: Vec<Line<'static>>,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(theme: Theme, header: &'a Header) -> Self {
        Self { theme, header, lines: Vec::new() }
    }

    pub(super) fn lines(self) -> Vec<Line<'static>> {
        self.lines
    }

    pub(super) const fn theme(&self) -> Theme {
        self.theme
    }

    /// A line of its own.
    pub(super) fn line(&mut self, line: impl Into<Line<'static>>) {
        self.lines.push(line.into());
    }

    /// A name and a value.
    pub(super) fn field(&mut self, name: &str, value: impl Into<String>) {
        self.styled(name, value, Style::new());
    }

    /// A name and a value that is shown in `style`.
    pub(super) fn styled(&mut self, name: &str, value: impl Into<String>, style: Style) {
        let name = Span::styled(format!("{name:<NAMES$} "), self.theme.name());
        self.lines.push(Line::from(vec![name, Span::styled(value.into(), style)]));
    }

    /// A guest virtual address, and the symbol it is in.
    pub(super) fn code(&mut self, name: &str, gva: u64) {
        self.field(name, address(gva));
        if let Some((name, offset)) = self.header.symbolize(gva) {
            let symbol = format!("{}+{offset:#x}", text::escape(name));
            self.styled("", symbol, self.theme.good());
        }
    }

    /// A duration.
    pub(super) fn time(&mut self, name: &str, ns: u64) {
        let exact = if ns < 1000 { String::new() } else { format!(" ({} ns)", text::count(ns)) };
        self.field(name, format!("{}{exact}", text::duration(ns)));
    }

    /// A number in hexadecimal.
    pub(super) fn hex(&mut self, name: &str, value: u64) {
        self.field(name, format!("{value:#x}"));
    }
}

/// An address, its 16-bit groups apart: `0xffff_8000_0010_1234`, without leading groups of zeros.
pub(super) fn address(address: u64) -> String {
    let groups: Vec<String> =
        [48, 32, 16, 0].iter().map(|shift| format!("{:04x}", address >> shift & 0xffff)).collect();
    let first = groups.iter().position(|group| group != "0000").unwrap_or(3).min(2);
    format!("0x{}", groups[first..].join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_grouped() {
        assert_eq!(address(0x1234), "0x0000_1234");
        assert_eq!(address(0xffff_8000_0010_1234), "0xffff_8000_0010_1234");
        assert_eq!(address(0x1_0000_0000), "0x0001_0000_0000");
    }
}
