//! What is wrong with a filter, and where.

use std::fmt;
use std::ops::Range;

use crate::describe::Escaped;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// What is wrong, in words.
    pub message: String,
    text: String,
    /// In bytes of the text.
    at: Range<usize>,
}

impl FilterError {
    pub(crate) fn new(text: &str, at: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), text: text.to_owned(), at }
    }

    /// Where, in characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.before().chars().count() + 1
    }

    /// Where, in bytes of the text.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.at.clone()
    }

    fn before(&self) -> &str {
        self.text.get(..self.at.start).unwrap_or(&self.text)
    }
}

/// The message, the text if there is one, and a mark below the place.
impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both as they are printed, so that the mark is where it belongs whatever was escaped.
        let shown = |text: &str| Escaped(text.as_bytes()).to_string();
        let indent = shown(self.before()).chars().count();
        let marked = self.text.get(self.at.clone()).map_or(0, |part| shown(part).chars().count()).max(1);
        // The message may repeat a part of the text.
        if self.text.is_empty() {
            return f.write_str(&shown(&self.message)); // nothing to point at
        }
        writeln!(f, "column {}: {}", self.column(), shown(&self.message))?;
        writeln!(f, "  {}", shown(&self.text))?;
        write!(f, "  {:indent$}{:^<marked$}", "", "")
    }
}

impl std::error::Error for FilterError {}

/// The one of `known` that `name` was most likely meant to be.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Half of it may be wrong, or it may be the beginning or end of a longer name.
    let likely = |known: &str| {
        let part = known.split(['.', '-']).any(|part| part == name) || known.starts_with(name);
        strsim::damerau_levenshtein(name, known).min(if part { 1 } else { usize::MAX })
    };
    let most = 1 + name.chars().count() / 3;
    known
        .into_iter()
        .map(|known| (likely(known), known))
        // Something of it must be right.
        .filter(|(d, _)| *d <= most && *d < name.chars().count())
        .min()
        .map(|(_, known)| known)
}

/// `known` as the end of a message: a suggestion, or all of them if they are few.
pub(crate) fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.len() <= 16 && !known.is_empty() => format!("; there are {}", known.join(", ")),
        None => String::new(),
    }
}
