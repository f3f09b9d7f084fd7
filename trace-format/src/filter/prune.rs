//! What a block's head tells about a filter, without its events.

use super::check::{Check, Rule};
use super::field::Field;
use crate::Summary;
use crate::event::{Kind, MACHINE};
use crate::format::summary::kind_bit;

/// Which answers a filter may give for a block's events. At least one is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Possible {
    pub(super) yes: bool,
    pub(super) no: bool,
}

const EITHER: Possible = Possible { yes: true, no: true };
const NEVER: Possible = Possible { yes: false, no: true };

/// Never less than what is possible.
pub(super) fn possible(rule: &Rule, block: &Summary) -> Possible {
    Events { block, last: block.end().saturating_sub(1) }.possible(rule)
}

/// What is possible for events of `kind` anywhere in any trace.
pub(super) fn possible_of_kind(rule: &Rule, kind: Kind) -> Possible {
    let block =
        &Summary { last_time: u64::MAX, kinds: kind_bit(kind), vcpus: u64::MAX, ..Summary::default() };
    Events { block, last: u64::MAX }.possible(rule)
}

/// Some events of which not much is known.
struct Events<'b> {
    block: &'b Summary,
    /// Number of the last one.
    last: u64,
}

impl Events<'_> {
    fn possible(&self, rule: &Rule) -> Possible {
        match rule {
            Rule::Everything => Possible { yes: true, no: false },
            Rule::Not(of) => {
                let Possible { yes, no } = self.possible(of);
                Possible { yes: no, no: yes }
            }
            Rule::And(left, right) => {
                let (left, right) = (self.possible(left), self.possible(right));
                Possible { yes: left.yes && right.yes, no: left.no || right.no }
            }
            Rule::Or(left, right) => {
                let (left, right) = (self.possible(left), self.possible(right));
                Possible { yes: left.yes || right.yes, no: left.no && right.no }
            }
            Rule::Test(field, check) => self.test(field, check),
        }
    }

    fn test(&self, field: &Field, check: &Check) -> Possible {
        let Self { block, last } = *self;
        if !field.kinds.iter().any(|kind| block.has_kind(*kind)) {
            return NEVER;
        }
        match (field.name, check) {
            ("time", Check::Ranges(_)) => within(check, block.first_time, block.last_time),
            ("number", Check::Ranges(_)) => within(check, block.first_event, last),
            ("vcpu", Check::Ranges(ranges)) => {
                let there = (0..=MACHINE).filter(|vcpu| block.has_vcpu(*vcpu));
                of_each(there.map(|vcpu| super::check::contains(ranges, vcpu.into())))
            }
            ("kind", Check::Names { names, negate }) => {
                let there = Kind::ALL.into_iter().filter(|kind| block.has_kind(*kind));
                of_each(there.map(|kind| names.contains(&super::table::kind_name(kind)) != *negate))
            }
            _ => EITHER,
        }
    }
}

/// What is possible when the value is from `first` to `last`.
fn within(check: &Check, first: u64, last: u64) -> Possible {
    let Check::Ranges(ranges) = check else { return EITHER };
    let overlaps = ranges.iter().any(|range| *range.start() <= last && *range.end() >= first);
    let covers = ranges.iter().any(|range| *range.start() <= first && *range.end() >= last);
    Possible { yes: overlaps, no: !covers }
}

/// What is possible when the answer is one of these.
fn of_each(answers: impl Iterator<Item = bool>) -> Possible {
    answers.fold(Possible { yes: false, no: false }, |so_far, answer| Possible {
        yes: so_far.yes || answer,
        no: so_far.no || !answer,
    })
}
