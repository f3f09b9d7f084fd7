//! Finding a text in lines.

/// What is looked for: without capitals it matches those too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    text: String,
    chars: Vec<char>,
    exact: bool,
}

impl Needle {
    /// This, if it is not empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let exact = text.chars().any(char::is_uppercase);
        (!text.is_empty()).then(|| Self { text: text.to_owned(), chars: text.chars().collect(), exact })
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many characters it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chars.len()
    }

    /// It has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// Where it is in `line`, in characters.
    pub fn places(&self, line: &[char]) -> impl Iterator<Item = usize> {
        let windows = line.windows(self.chars.len().max(1)).enumerate();
        windows.filter(|(_, window)| self.is(window)).map(|(at, _)| at)
    }

    /// Whether it is in `line`.
    #[must_use]
    pub fn is_in(&self, line: &str) -> bool {
        self.places(&line.chars().collect::<Vec<_>>()).next().is_some()
    }

    fn is(&self, window: &[char]) -> bool {
        let alike = |(a, b): (&char, &char)| a == b || (!self.exact && a.to_lowercase().eq(b.to_lowercase()));
        window.iter().zip(&self.chars).all(alike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_matter_if_there_are_some() {
        let places = |needle, line: &str| {
            let line: Vec<char> = line.chars().collect();
            Needle::new(needle).unwrap().places(&line).collect::<Vec<_>>()
        };
        assert_eq!(places("err", "Error: err"), [0, 7]);
        assert_eq!(places("Err", "Error: err"), [0]);
        assert_eq!(places("ß", "aß"), [1]);
        assert_eq!(places("aa", "aaa"), [0, 1]);
        assert!(places("longer", "long").is_empty());
        assert!(Needle::new("").is_none());
    }
}
