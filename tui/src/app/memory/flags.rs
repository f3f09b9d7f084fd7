//! Which ranges of an address space are to be listed.

use trace_format::filter::Candidate;

use crate::model::space::Stretch;

/// A condition, what it is called, and what it means.
type Flag = (&'static str, &'static str, fn(&Stretch) -> bool);

/// Every condition.
const FLAGS: [Flag; 6] = [
    ("w", "writable", |stretch| stretch.rights.write),
    ("x", "executable", |stretch| stretch.rights.execute),
    ("u", "for user code", |stretch| stretch.rights.user),
    ("s", "for the kernel only", |stretch| !stretch.rights.user),
    ("g", "global", |stretch| stretch.rights.global),
    ("large", "of pages above 4 KiB", |stretch| stretch.page_size > 4096),
];

/// Conditions that all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(Vec<(usize, bool)>);

impl Flags {
    /// Understands `text`: names of conditions, `!` before one that must not hold.
    ///
    /// # Errors
    /// If a word is none: a sentence that says what could be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '+' | ',' | '&'));
        let condition = |word: &str| {
            let (name, wanted) = word.strip_prefix('!').map_or((word, true), |name| (name, false));
            let at = FLAGS.iter().position(|(known, ..)| *known == name);
            at.map(|at| (at, wanted)).ok_or_else(|| {
                let names: Vec<&str> = FLAGS.iter().map(|(name, ..)| *name).collect();
                format!("`{word}` is no flag: write {}, ! before what must not be", names.join(", "))
            })
        };
        words.filter(|word| !word.is_empty()).map(condition).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all of them hold.
    #[must_use]
    pub fn hold(&self, stretch: &Stretch) -> bool {
        self.0.iter().all(|(at, wanted)| FLAGS[*at].2(stretch) == *wanted)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conditions that could come at the end of `text`.
    pub(in crate::app) fn complete(text: &str) -> Vec<Candidate> {
        let start = text.rfind(|c: char| c.is_whitespace() || "+,&!".contains(c)).map_or(0, |at| at + 1);
        let begun = &text[start..];
        let fits = FLAGS.iter().filter(|(name, ..)| name.starts_with(begun));
        let candidate = |(name, about, _): &Flag| Candidate {
            text: (*name).to_owned(),
            about: (*about).to_owned(),
            replaces: start..text.len(),
        };
        fits.map(candidate).collect()
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (at, wanted)) in self.0.iter().enumerate() {
            let (space, not) = (if n == 0 { "" } else { " " }, if *wanted { "" } else { "!" });
            write!(f, "{space}{not}{}", FLAGS[*at].0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::space::Rights;

    #[test]
    fn all_of_them_must_hold() {
        let rights = Rights { write: true, execute: true, user: false, global: false };
        let stretch = Stretch { gva: 0, last: 0xfff, gpa: 0, page_size: 4096, rights };
        for (text, holds) in [
            ("", true),
            ("w+x", true),
            ("w x u", false),
            ("s, !g", true),
            ("large", false),
            ("!large&w", true),
        ] {
            assert_eq!(Flags::parse(text).map(|flags| flags.hold(&stretch)), Ok(holds), "{text}");
        }
        assert_eq!(Flags::parse(" w+!u ").unwrap().to_string(), "w !u");
        assert!(Flags::parse("w z").unwrap_err().starts_with("`z` is no flag: write w, x, u, s, g, large"));
    }

    #[test]
    fn the_last_word_is_completed() {
        let texts = |text| Flags::complete(text).into_iter().map(|found| found.text).collect::<Vec<_>>();
        assert_eq!(texts("w+!l"), ["large"]);
        assert_eq!(Flags::complete("w+!l")[0].replaces, 3..4);
        assert_eq!(texts("w ").len(), FLAGS.len());
    }
}
