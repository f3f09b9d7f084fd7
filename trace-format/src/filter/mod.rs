//! The filter grammar: which events somebody wants to see.
//!
//! One grammar for the command line, the user interface, assertions and exports. `vmscope help filter` prints
//! [`documentation`], which is made from the same table that the parser uses.
//!
//! ```
//! use trace_format::filter::{Filter, Subject};
//! # use trace_format::{Event, Header, Payload, event::VcpuState};
//! # let header = Header::default();
//! # let event = Event { time: 1_500, vcpu: 2, payload: Payload::State(VcpuState::Halted) };
//! let filter = Filter::parse("vcpu in {1, 2} and state == halted and time < 2us")?;
//! assert!(filter.matches(&Subject { number: 0, event: &event, header: &header }));
//!
//! let error = Filter::parse("trap.vector == page-falt").unwrap_err();
//! assert_eq!(error.column(), 16);
//! # Ok::<(), trace_format::filter::FilterError>(())
//! ```
//!
//! # What a field that an event does not have means
//!
//! Every comparison with it is false, `!=` too; `not` of that is true. So `io.port != 0x80` is true of port accesses
//! only, and `not io.port == 0x80` of everything else besides.

pub(crate) mod check;
mod complete;
pub(crate) mod error;
mod field;
mod help;
pub(crate) mod lexer;
mod prune;
mod selection;
pub(crate) mod syntax;
pub(crate) mod table;
mod value;

use std::fmt;
use std::str::FromStr;

pub use complete::{Candidate, complete};
pub use error::FilterError;
pub use field::{Field, field, fields};
pub use help::documentation;
pub use selection::Selection;
pub use value::{Type, Value};

use self::check::Rule;
use crate::event::{Event, Kind};
use crate::{Header, Summary};

/// The longest filter, in bytes. A filter may come from elsewhere than its user, a client or a file.
pub const MAX_LENGTH: usize = 4096;

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The event's number in its trace.
    pub number: u64,
    /// The event.
    pub event: &'a Event,
    /// For symbols.
    pub header: &'a Header,
}

/// A filter that has been understood.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) text: String,
    pub(crate) rule: Rule,
}

impl Filter {
    /// Understands `text`. An empty text matches everything.
    ///
    /// # Errors
    /// If it is no filter: where, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let rule = match syntax::parse(text)? {
            Some(expression) => check::rule(text, &expression)?,
            None => Rule::Everything,
        };
        Ok(Self { text: text.to_owned(), rule })
    }

    /// Whether an event is wanted.
    #[must_use]
    #[inline]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.rule.matches(subject)
    }

    /// Whether an event of a block with this head can be wanted. False is certain.
    #[must_use]
    pub fn may_match(&self, block: &Summary) -> bool {
        prune::possible(&self.rule, block).yes
    }

    /// Whether an event of one of these kinds can match. False is certain.
    pub(crate) fn is_possible(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| prune::possible_of_kind(&self.rule, *kind).yes)
    }

    /// Whether every event matches, because it says nothing.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        matches!(self.rule, Rule::Everything)
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Default for Filter {
    /// Everything.
    fn default() -> Self {
        Self { text: String::new(), rule: Rule::Everything }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
