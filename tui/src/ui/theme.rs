//! Colours, or none: every distinction that matters is also made by a letter or an attribute.

use ratatui::style::{Color, Modifier, Style};

use crate::model::class::Class;

/// How things look. Only the sixteen colours of the terminal's own palette, so that it suits light and dark ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether to use colour.
    pub color: bool,
}

impl Theme {
    /// With colour unless `NO_COLOR` is set and not empty (<https://no-color.org>).
    #[must_use]
    pub fn from_environment() -> Self {
        Self { color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn fg(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// Borders of panes that are not focused, gridlines, units.
    #[must_use]
    pub fn dim(self) -> Style {
        if self.color { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    /// The border of the focused pane.
    #[must_use]
    pub fn focused(self) -> Style {
        self.fg(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// The selected line.
    #[must_use]
    pub const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Names of fields and columns.
    #[must_use]
    pub fn name(self) -> Style {
        self.fg(Color::Blue)
    }

    /// Keys in footer and help.
    #[must_use]
    pub fn key(self) -> Style {
        self.fg(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What is as it should be.
    #[must_use]
    pub fn good(self) -> Style {
        self.fg(Color::Green)
    }

    /// What needs attention.
    #[must_use]
    pub fn warning(self) -> Style {
        self.fg(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// What went wrong.
    #[must_use]
    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Events of a class.
    #[must_use]
    pub fn class(self, class: Class) -> Style {
        self.fg(match class {
            Class::Io => Color::Yellow,
            Class::Mmio => Color::Magenta,
            Class::Msr => Color::Cyan,
            Class::Halt => Color::Blue,
            Class::Hypercall => Color::LightGreen,
            Class::Debug => Color::LightBlue,
            Class::Interrupted => Color::Gray,
            Class::Memory => Color::LightYellow,
            Class::OtherExit => Color::Red,
            Class::Trap => Color::Green,
            Class::Ipi => Color::LightMagenta,
            Class::Irq => Color::LightCyan,
            Class::Note => return Style::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_nothing_is_coloured() {
        let theme = Theme { color: false };
        let styles =
            [theme.dim(), theme.focused(), theme.selected(), theme.name(), theme.good(), theme.bad()];
        let classes = Class::ALL.map(|class| theme.class(class));
        for style in styles.iter().chain(&classes) {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert_ne!(theme.selected(), Style::new());
    }
}
