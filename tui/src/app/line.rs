//! A line of text that the user edits: the command line, or what an action needs.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use trace_format::filter::Candidate;
use tui_input::{Input, InputRequest};

use super::action::{Action, Command};
use super::table::{Argument, Entry, Scope, TABLE, What};
use super::{App, Mode};

/// The line and what it is for.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// What it is asked for; without, it is a command.
    asked: Option<&'static Entry>,
    input: Input,
    /// What it was before candidates were taken.
    typed: Option<String>,
    candidates: Vec<Candidate>,
    /// The candidate that was taken.
    taken: Option<usize>,
}

impl Line {
    /// A command.
    pub(super) fn command(app: &App) -> Self {
        let mut line = Self::default();
        line.look_for_candidates(app);
        line
    }

    /// What `entry` asks for, with this text in it.
    pub(super) fn ask(app: &App, entry: &'static Entry, text: String) -> Self {
        let mut line = Self { asked: Some(entry), input: Input::new(text), ..Self::default() };
        line.look_for_candidates(app);
        line
    }

    /// What is before the line.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self.asked.map(|entry| &entry.what) {
            Some(What::Ask(argument)) => argument.label,
            Some(What::Do(_)) | None => "",
        }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.input.value()
    }

    /// Characters before its cursor.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.input.cursor()
    }

    /// What could come next.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Which of them is in the line.
    #[must_use]
    pub const fn taken(&self) -> Option<usize> {
        self.taken
    }

    /// What is wrong with the line, if something has been typed.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.text().is_empty() {
            return None;
        }
        self.understood().err()
    }

    /// What the line asks for.
    pub(super) fn understood(&self) -> Result<Understood, String> {
        match self.asked {
            Some(Entry { what: What::Ask(argument), .. }) => {
                (argument.parse)(self.text()).map(Understood::Action)
            }
            Some(Entry { what: What::Do(action), .. }) => Ok(Understood::Action(action.clone())),
            None => command(self.text()),
        }
    }

    /// Takes the next candidate, or the one before.
    pub(super) fn complete(&mut self, back: bool) {
        let count = self.candidates.len();
        if count == 0 {
            return;
        }
        let typed = self.typed.get_or_insert_with(|| self.input.value().to_owned()).clone();
        let taken = match (self.taken, back) {
            (None, false) => 0,
            (None, true) => count - 1,
            (Some(at), false) => (at + 1) % count,
            (Some(at), true) => (at + count - 1) % count,
        };
        let Candidate { text, replaces, .. } = &self.candidates[taken];
        let (Some(before), Some(after)) = (typed.get(..replaces.start), typed.get(replaces.end..)) else {
            return;
        };
        let cursor = before.chars().count() + text.chars().count();
        self.input = Input::new(format!("{before}{text}{after}")).with_cursor(cursor);
        self.taken = Some(taken);
    }

    /// Edits it.
    fn edit(&mut self, app: &App, key: KeyEvent) {
        if let Some(request) = request(key) {
            self.input.handle(request);
            self.look_for_candidates(app);
        }
    }

    fn look_for_candidates(&mut self, app: &App) {
        (self.typed, self.taken) = (None, None);
        let cursor = self.text().char_indices().nth(self.cursor()).map_or(self.text().len(), |(at, _)| at);
        self.candidates = match self.asked.map(|entry| &entry.what) {
            Some(What::Ask(argument)) => (argument.complete)(app, self.text(), cursor),
            Some(What::Do(_)) => Vec::new(),
            None => complete_command(app, self.text(), cursor),
        };
    }
}

/// What a line comes to.
#[derive(Debug)]
pub(super) enum Understood {
    /// This.
    Action(Action),
    /// Another line: what a command needs was not given.
    Ask(&'static Entry),
}

/// Whether `entry` is a command.
pub(super) const fn is_command(entry: &Entry) -> bool {
    matches!(entry.scope, Scope::Panes | Scope::Pane(_))
}

/// Understands `text`: the name of an entry, or enough of its beginning, and what it needs.
fn command(text: &str) -> Result<Understood, String> {
    let text = text.trim();
    let (name, rest) =
        // As in vi, `!` can be written at the name.
        text.find(|c: char| c.is_whitespace() || c == '!').map_or((text, ""), |at| text.split_at(at));
    let rest = rest.trim();
    let commands = || TABLE.iter().filter(|entry| is_command(entry));
    let meant: Vec<&'static Entry> = match commands().find(|entry| entry.name == name) {
        Some(entry) => vec![entry],
        None => commands().filter(|entry| entry.name.starts_with(name)).collect(),
    };
    let entry = match meant.as_slice() {
        [] => return Err(format!("there is no command `{name}`: Tab lists those there are")),
        [entry] => entry,
        [first, second, ..] => return Err(format!("`{name}` could be {} or {}", first.name, second.name)),
    };
    match &entry.what {
        What::Ask(_) if rest.is_empty() => Ok(Understood::Ask(entry)),
        What::Ask(argument) => (argument.parse)(rest).map(Understood::Action),
        What::Do(action) if rest.is_empty() => Ok(Understood::Action(action.clone())),
        What::Do(_) => Err(format!("{} takes no `{rest}`", entry.name)),
    }
}

fn complete_command(app: &App, text: &str, cursor: usize) -> Vec<Candidate> {
    let before = text.get(..cursor).unwrap_or(text);
    if let Some((name, rest)) = before.split_once(char::is_whitespace) {
        let entry = TABLE.iter().find(|entry| is_command(entry) && entry.name == name);
        let Some(Entry { what: What::Ask(Argument { complete, .. }), .. }) = entry else { return Vec::new() };
        let at = before.len() - rest.len();
        let mut candidates = complete(app, rest, rest.len());
        for candidate in &mut candidates {
            candidate.replaces = candidate.replaces.start + at..candidate.replaces.end + at;
        }
        return candidates;
    }
    let mut names: Vec<&Entry> =
        TABLE.iter().filter(|entry| is_command(entry) && entry.name.contains(before)).collect();
    names.sort_by_key(|entry| !entry.name.starts_with(before));
    names
        .into_iter()
        .map(|entry| Candidate {
            text: entry.name.to_owned(),
            about: entry.help.to_owned(),
            replaces: 0..before.len(),
        })
        .collect()
}

impl App {
    /// Opens a line for what `entry` needs, or says why there is nothing to ask.
    pub(super) fn ask(&mut self, entry: &'static Entry) {
        let What::Ask(argument) = &entry.what else { return };
        match (argument.initial)(self) {
            Ok(text) => self.mode = Mode::Line(Line::ask(self, entry, text)),
            Err(why) => self.tell(why),
        }
    }

    /// A key for the line.
    pub(super) fn edit_line(&mut self, key: KeyEvent) {
        if let Mode::Line(mut line) = std::mem::replace(&mut self.mode, Mode::Panes) {
            line.edit(self, key);
            self.mode = Mode::Line(line);
        }
    }

    /// Does what the line says; what cannot be understood stays to be mended.
    pub(super) fn accept_line(&mut self) -> Option<Command> {
        let Mode::Line(line) = &self.mode else { return None };
        if line.asked.is_none() && line.text().trim().is_empty() {
            self.mode = Mode::Panes;
            return None;
        }
        match line.understood() {
            Ok(Understood::Action(action)) => {
                self.mode = Mode::Panes;
                self.act(action)
            }
            Ok(Understood::Ask(entry)) => {
                self.mode = Mode::Panes;
                self.ask(entry);
                None
            }
            Err(why) => {
                self.refuse(why);
                None
            }
        }
    }
}

/// What a key does to a line.
pub(super) fn request(key: KeyEvent) -> Option<InputRequest> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('u') if control => InputRequest::DeleteLine,
        KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
        KeyCode::Char('a') if control => InputRequest::GoToStart,
        KeyCode::Char('e') if control => InputRequest::GoToEnd,
        KeyCode::Char(c) if !control => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::place::Place;

    fn action(text: &str) -> Result<Action, String> {
        match command(text)? {
            Understood::Action(action) => Ok(action),
            Understood::Ask(entry) => Err(format!("asks for {}", entry.name)),
        }
    }

    #[test]
    fn commands_are_names_and_what_they_need() {
        assert_eq!(action("zoom-in"), Ok(Action::ZoomIn));
        assert_eq!(action(" q "), Ok(Action::Quit));
        assert_eq!(action("goto 1.5s"), Ok(Action::Goto(Place::Time(1_500_000_000))));
        assert_eq!(action("goto"), Err("asks for goto".to_owned()));
        assert_eq!(action("zoom"), Err("`zoom` could be zoom-in or zoom-out".to_owned()));
        assert_eq!(action("quit now"), Err("quit takes no `now`".to_owned()));
        assert!(action("frobnicate").unwrap_err().contains("there is no command"));
        assert!(action("goto nowhere").unwrap_err().contains("is no place"));
        assert!(action("line-accept").is_err(), "keys of a line are no commands");
    }

    #[test]
    fn candidates_are_taken_in_turn() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let app = App::new(reader, crate::app::Settings::plain());
        let mut line = Line::command(&app);
        for c in "zoom".chars() {
            line.edit(&app, KeyEvent::from(KeyCode::Char(c)));
        }
        let texts: Vec<&str> = line.candidates().iter().map(|candidate| candidate.text.as_str()).collect();
        assert_eq!(texts, ["zoom-in", "zoom-out"]);
        line.complete(false);
        assert_eq!((line.text(), line.cursor()), ("zoom-in", 7));
        line.complete(false);
        assert_eq!(line.text(), "zoom-out");
        line.complete(false);
        line.complete(true);
        assert_eq!((line.text(), line.taken()), ("zoom-out", Some(1)));
        line.edit(&app, KeyEvent::from(KeyCode::Backspace));
        assert_eq!((line.text(), line.taken()), ("zoom-ou", None));
    }
}
