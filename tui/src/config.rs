//! The user's configuration: a file in TOML, `vmscope/config.toml` in the directory that the XDG Base Directory
//! Specification has for such.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::app::Columns;
use crate::app::keys::Keymap;
use crate::app::press::Press;
use crate::app::table::{self, Scope, TABLE};
use crate::ui::theme::{Depth, Palette, Theme};

/// What can be configured. What is not there is as it would be without a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which colours.
    pub theme: Option<Palette>,
    /// How many there are; otherwise the environment tells.
    pub colors: Option<Depth>,
    /// Draw with nothing but ASCII.
    pub ascii: Option<bool>,
    /// Use the mouse.
    pub mouse: Option<bool>,
    /// The columns of the event list: fields, and `event`.
    pub columns: Vec<String>,
    /// Keys of actions, by the action's name: these and no others.
    pub keys: BTreeMap<String, Vec<String>>,
}

/// What the command line says of it; it comes before the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// Colours of the UI: terminal (its own sixteen), dark, light, or mono
    #[arg(long, value_name = "THEME")]
    pub theme: Option<Palette>,
    /// Draw the UI with nothing but ASCII
    #[arg(long)]
    pub ascii: bool,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
}

/// What the UI is to be like.
#[derive(Clone, Debug)]
pub struct Look {
    /// Colours.
    pub theme: Theme,
    /// Keys.
    pub keymap: Keymap,
    /// The columns of the event list.
    pub columns: Columns,
    /// Nothing but ASCII.
    pub ascii: bool,
    /// Use the mouse.
    pub mouse: bool,
}

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub no_color: bool,
    /// How many colours there are.
    pub depth: Depth,
}

impl Environment {
    /// This process's.
    #[must_use]
    pub fn read() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let (colorterm, term) = (variable("COLORTERM"), variable("TERM"));
        Self {
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            depth: Depth::of_environment(colorterm.as_deref(), term.as_deref()),
        }
    }
}

/// Where the file is: `$XDG_CONFIG_HOME`, or `.config` in the home directory. `None` without either.
#[must_use]
pub fn path() -> Option<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("vmscope").join("config.toml"))
}

impl Config {
    /// Reads the file at `path`; nothing is configured if there is none.
    ///
    /// # Errors
    /// If it cannot be read or understood: where and why.
    pub fn read(path: &Path) -> Result<Self, String> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.keymap()?;
        config.columns()?;
        Ok(config)
    }

    /// The keys, the table's where nothing else is said.
    fn keymap(&self) -> Result<Keymap, String> {
        let mut bound = Vec::new();
        for (name, keys) in &self.keys {
            let entry = table::find(name).ok_or_else(|| {
                format!("keys.{name}: there is no such action; 'vmscope config --default' lists them")
            })?;
            let presses: Result<Vec<Press>, String> = keys.iter().map(|key| key.parse()).collect();
            bound.push((entry, presses.map_err(|error| format!("keys.{name}: {error}"))?));
        }
        let mut keymap = Keymap::default();
        // All are taken away first, so that two actions can change places.
        for (entry, _) in &bound {
            keymap.unbind(entry);
        }
        for (entry, presses) in bound {
            keymap.bind(entry, &presses).map_err(|error| format!("keys.{}: {error}", entry.name))?;
        }
        Ok(keymap)
    }

    fn columns(&self) -> Result<Columns, String> {
        Columns::of(self.columns.iter().map(String::as_str)).map_err(|error| format!("columns: {error}"))
    }

    /// What the UI is to be like: the command line comes first, then `NO_COLOR`, then the file.
    ///
    /// # Errors
    /// If keys are bound twice, or to nothing.
    pub fn look(&self, overrides: &Overrides, environment: &Environment) -> Result<Look, String> {
        let by_environment = environment.no_color.then_some(Palette::Mono);
        let palette = overrides.theme.or(by_environment).or(self.theme).unwrap_or_default();
        Ok(Look {
            theme: Theme { palette, depth: self.colors.unwrap_or(environment.depth) },
            keymap: self.keymap()?,
            columns: self.columns()?,
            ascii: overrides.ascii || self.ascii.unwrap_or(false),
            mouse: !overrides.no_mouse && self.mouse.unwrap_or(true),
        })
    }
}

/// The file with everything as it would be without it.
#[must_use]
pub fn default_text() -> String {
    let mut text = String::from(
        "# The configuration of vmscope's UI, with its defaults.\n\
         # It is read from $XDG_CONFIG_HOME/vmscope/config.toml, or ~/.config/vmscope/config.toml.\n\
         # The command line (--theme, --ascii, --no-mouse) comes before NO_COLOR, and that before this file.\n\n\
         # terminal (the sixteen colours of the terminal's own palette), dark, light, mono\n\
         theme = \"terminal\"\n\
         # How many colours dark and light may use: \"16\", \"256\", \"true\". By default COLORTERM and TERM tell.\n\
         # colors = \"256\"\n\
         # Draw with nothing but ASCII.\n\
         ascii = false\n\
         # Use the mouse; otherwise it is the terminal's, to select text with.\n\
         mouse = true\n\
         # The columns of the event list: fields of 'vmscope help filter', and \"event\", what it says.\n\
         columns = [\"time\", \"vcpu\", \"kind\", \"event\"]\n\n\
         # The keys of each action, instead of those here: a character, Ctrl-X, F1 to F12, or Space, Enter, Esc, Tab,\n\
         # Shift-Tab, up, PgUp, Home and the like; a key twice is written gg or \"Esc Esc\".\n\
         [keys]\n",
    );
    let mut scope = None;
    for entry in TABLE {
        if scope != Some(entry.scope) {
            let place = match entry.scope {
                Scope::Panes => "everywhere".to_owned(),
                Scope::Pane(pane) => format!("in the pane `{}`", pane.name()),
                Scope::Help => "in the help".to_owned(),
                Scope::Line => "in a line of text".to_owned(),
                Scope::Typing => "while typing to the guest".to_owned(),
            };
            text.push_str(&format!("\n# {place}\n"));
            scope = Some(entry.scope);
        }
        let keys: Vec<String> =
            entry.keys.iter().map(|key| toml::Value::from(key.to_string()).to_string()).collect();
        text.push_str(&format!("{} = [{}] # {}\n", entry.name, keys.join(", "), entry.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, overrides: &Overrides, environment: &Environment) -> Look {
        Config::parse(text).unwrap().look(overrides, environment).unwrap()
    }

    #[test]
    fn the_default_file_changes_nothing() {
        let (written, none) = (default_text(), Environment::default());
        let (with, without) =
            (look(&written, &Overrides::default(), &none), look("", &Overrides::default(), &none));
        assert_eq!((with.theme, with.ascii, with.mouse), (without.theme, without.ascii, without.mouse));
        for entry in TABLE {
            let keys = |look: &Look| look.keymap.keys(entry).collect::<Vec<_>>();
            assert_eq!(keys(&with), keys(&without), "{}", entry.name);
        }
    }

    #[test]
    fn the_command_line_comes_first_then_no_color_then_the_file() {
        let text = "theme = \"light\"\nascii = true\nmouse = true\ncolors = \"true\"";
        let dark = Overrides { theme: Some(Palette::Dark), no_mouse: true, ..Overrides::default() };
        let plain = Environment { no_color: true, ..Environment::default() };
        let palette = |overrides: &Overrides, environment: &Environment| {
            look(text, overrides, environment).theme.palette
        };
        assert_eq!(palette(&Overrides::default(), &Environment::default()), Palette::Light);
        assert_eq!(palette(&Overrides::default(), &plain), Palette::Mono);
        assert_eq!(palette(&dark, &plain), Palette::Dark);
        let look = look(text, &dark, &plain);
        assert_eq!((look.ascii, look.mouse, look.theme.depth), (true, false, Depth::True));
    }

    #[test]
    fn actions_can_change_keys() {
        let text = "[keys]\nquit = [\"?\"]\nhelp = [\"q\", \"F1\"]";
        let look = look(text, &Overrides::default(), &Environment::default());
        let keys = |name| {
            let keys = look.keymap.keys(table::find(name).unwrap());
            keys.map(|key| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (keys("quit"), keys("help")),
            (vec!["?".to_owned()], vec!["q".to_owned(), "F1".to_owned()])
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("thme = \"dark\"", "thme"),
            ("theme = \"pink\"", "pink"),
            ("[keys]\nfly = [\"f\"]", "there is no such action"),
            ("[keys]\nquit = [\"Hyper-q\"]", "is no key"),
            ("[keys]\nquit = [\"?\"]", "? is for `help` already"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
