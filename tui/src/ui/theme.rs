//! Colours, or none: every distinction that matters is also made by a letter or an attribute.

use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

use crate::model::class::Class;

/// Which colours things have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Palette {
    /// The sixteen of the terminal's own palette, which suits light and dark ones.
    #[default]
    Terminal,
    /// Of our own, for a dark background.
    Dark,
    /// Of our own, for a light background.
    Light,
    /// None.
    Mono,
}

impl Palette {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Terminal, Self::Dark, Self::Light, Self::Mono];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Mono => "mono",
        }
    }
}

impl FromStr for Palette {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|palette| palette.name() == text.trim());
        found.ok_or_else(|| format!("`{}` is no theme: write terminal, dark, light or mono", text.trim()))
    }
}

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Depth {
    /// Those of its palette.
    #[default]
    #[serde(rename = "16")]
    Sixteen,
    /// Those and a cube of 216.
    #[serde(rename = "256")]
    Indexed,
    /// Any.
    #[serde(rename = "true")]
    True,
}

impl Depth {
    /// As the environment has it: `COLORTERM`, and `TERM`.
    #[must_use]
    pub fn of_environment(colorterm: Option<&str>, term: Option<&str>) -> Self {
        match (colorterm, term) {
            (Some("truecolor" | "24bit"), _) => Self::True,
            (_, Some(term)) if term.contains("256color") => Self::Indexed,
            (_, Some(term)) if term.contains("direct") => Self::True,
            _ => Self::Sixteen,
        }
    }
}

/// How things look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// Which colours.
    pub palette: Palette,
    /// How many there are.
    pub depth: Depth,
}

/// A colour in each palette: of the terminal's own, on dark and on light.
struct Shade(Color, u32, u32);

const GRAY: Shade = Shade(Color::DarkGray, 0x6c_7a_89, 0x8a_8f_98);
const CYAN: Shade = Shade(Color::Cyan, 0x56_c8_d8, 0x00_7a_8a);
const BLUE: Shade = Shade(Color::Blue, 0x61_a8_f0, 0x1e_5a_b4);
const GREEN: Shade = Shade(Color::Green, 0x7e_c8_72, 0x2a_7a_2a);
const YELLOW: Shade = Shade(Color::Yellow, 0xe5_c0_5a, 0x8f_66_00);
const RED: Shade = Shade(Color::Red, 0xf0_6a_6a, 0xb8_20_20);
const MAGENTA: Shade = Shade(Color::Magenta, 0xc6_86_e0, 0x86_30_a8);
const LIGHT_GREEN: Shade = Shade(Color::LightGreen, 0xa8_e0_8a, 0x3c_8a_10);
const LIGHT_BLUE: Shade = Shade(Color::LightBlue, 0x8f_b8_ff, 0x3a_48_c8);
const LIGHT_GRAY: Shade = Shade(Color::Gray, 0xa8_b0_b8, 0x5a_60_68);
const LIGHT_YELLOW: Shade = Shade(Color::LightYellow, 0xf0_d8_90, 0xa0_50_00);
const LIGHT_MAGENTA: Shade = Shade(Color::LightMagenta, 0xf0_90_c8, 0xb0_20_80);
const LIGHT_CYAN: Shade = Shade(Color::LightCyan, 0x90_e0_d8, 0x10_80_70);

impl Theme {
    /// Without colours.
    pub const MONO: Self = Self { palette: Palette::Mono, depth: Depth::Sixteen };

    /// Whether there are colours at all.
    #[must_use]
    pub fn has_color(self) -> bool {
        self.palette != Palette::Mono
    }

    fn color(self, shade: &Shade) -> Color {
        let rgb = match self.palette {
            Palette::Terminal | Palette::Mono => return shade.0,
            Palette::Dark => shade.1,
            Palette::Light => shade.2,
        };
        let [_, r, g, b] = rgb.to_be_bytes();
        match self.depth {
            Depth::Sixteen => shade.0,
            Depth::Indexed => Color::Indexed(nearest(r, g, b)),
            Depth::True => Color::Rgb(r, g, b),
        }
    }

    fn fg(self, shade: &Shade) -> Style {
        if self.has_color() { Style::new().fg(self.color(shade)) } else { Style::new() }
    }

    /// Borders of panes that are not focused, gridlines, units.
    #[must_use]
    pub fn dim(self) -> Style {
        if self.has_color() { self.fg(&GRAY) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    /// The border of the focused pane.
    #[must_use]
    pub fn focused(self) -> Style {
        self.fg(&CYAN).add_modifier(Modifier::BOLD)
    }

    /// The selected line.
    #[must_use]
    pub const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Names of fields and columns.
    #[must_use]
    pub fn name(self) -> Style {
        self.fg(&BLUE)
    }

    /// Keys in footer and help.
    #[must_use]
    pub fn key(self) -> Style {
        self.fg(&CYAN).add_modifier(Modifier::BOLD)
    }

    /// What a search has found.
    #[must_use]
    pub fn found(self) -> Style {
        self.fg(&YELLOW).add_modifier(Modifier::UNDERLINED)
    }

    /// What is as it should be.
    #[must_use]
    pub fn good(self) -> Style {
        self.fg(&GREEN)
    }

    /// What needs attention.
    #[must_use]
    pub fn warning(self) -> Style {
        self.fg(&YELLOW).add_modifier(Modifier::BOLD)
    }

    /// What went wrong.
    #[must_use]
    pub fn bad(self) -> Style {
        self.fg(&RED).add_modifier(Modifier::BOLD)
    }

    /// Events of a class.
    #[must_use]
    pub fn class(self, class: Class) -> Style {
        self.fg(match class {
            Class::Io => &YELLOW,
            Class::Mmio => &MAGENTA,
            Class::Msr => &CYAN,
            Class::Halt => &BLUE,
            Class::Hypercall => &LIGHT_GREEN,
            Class::Debug => &LIGHT_BLUE,
            Class::Interrupted => &LIGHT_GRAY,
            Class::Memory => &LIGHT_YELLOW,
            Class::OtherExit => &RED,
            Class::Trap => &GREEN,
            Class::Ipi => &LIGHT_MAGENTA,
            Class::Irq => &LIGHT_CYAN,
            Class::Note => return Style::new(),
        })
    }
}

/// The nearest colour of the cube of 216, which has 0, 95, 135, 175, 215 and 255 of each primary (xterm's 256 colours).
fn nearest(r: u8, g: u8, b: u8) -> u8 {
    let step = |value: u8| if value < 48 { 0 } else { (value.max(75) - 35) / 40 };
    16 + 36 * step(r) + 6 * step(g) + step(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_nothing_is_coloured() {
        let theme = Theme::MONO;
        let styles =
            [theme.dim(), theme.focused(), theme.selected(), theme.name(), theme.good(), theme.bad()];
        let classes = Class::ALL.map(|class| theme.class(class));
        for style in styles.iter().chain(&classes) {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert_ne!(theme.selected(), Style::new());
    }

    #[test]
    fn a_theme_has_the_colours_that_the_terminal_has() {
        let good = |palette, depth| Theme { palette, depth }.good().fg;
        assert_eq!(good(Palette::Terminal, Depth::True), Some(Color::Green));
        assert_eq!(good(Palette::Dark, Depth::Sixteen), Some(Color::Green));
        assert_eq!(good(Palette::Dark, Depth::Indexed), Some(Color::Indexed(113)));
        assert_eq!(good(Palette::Light, Depth::True), Some(Color::Rgb(0x2a, 0x7a, 0x2a)));
    }

    #[test]
    fn the_cube_has_six_steps_of_each_primary() {
        assert_eq!((nearest(0, 0, 0), nearest(255, 255, 255)), (16, 231));
        for (value, step) in [(47, 0), (48, 1), (95, 1), (135, 2), (175, 3), (215, 4), (255, 5)] {
            assert_eq!(nearest(0, 0, value), 16 + step, "{value}");
        }
    }

    #[test]
    fn the_environment_tells_how_many_colours() {
        assert_eq!(Depth::of_environment(Some("truecolor"), Some("xterm")), Depth::True);
        assert_eq!(Depth::of_environment(None, Some("xterm-256color")), Depth::Indexed);
        assert_eq!(Depth::of_environment(Some(""), Some("linux")), Depth::Sixteen);
    }
}
