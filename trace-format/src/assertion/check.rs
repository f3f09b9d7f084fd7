//! Whether claims hold of a trace.

use std::ops::ControlFlow;

use super::Assertion;
use super::aggregate::{Aggregate, Amount, Sum};
use crate::filter::{Selection, Subject};
use crate::reader::BlockEvents;
use crate::{Error, Reader, Summary};

/// What became of an assertion.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether it holds. It does not if an amount is missing.
    pub holds: bool,
    /// The amounts, in the order of [`Assertion::aggregates`]; `None` where no event had a value.
    pub values: Vec<Option<Amount>>,
}

/// What one block adds to an aggregate.
struct Part {
    count: u64,
    values: Vec<u64>,
}

/// Reads the trace once and says which assertions hold. Memory is bounded: for each amount what its quantiles take, half a
/// MiB at most, and the values of a few blocks.
///
/// # Errors
/// If the trace cannot be read.
pub fn check(reader: &mut Reader, assertions: &[Assertion]) -> Result<Vec<Verdict>, Error> {
    let aggregates: Vec<&Aggregate> = assertions.iter().flat_map(Assertion::aggregates).collect();
    let mut amounts = amounts(reader, &aggregates, &Selection::default())?.into_iter();
    let verdict = |assertion: &Assertion| {
        let values: Vec<_> = amounts.by_ref().take(assertion.aggregates().len()).collect();
        Verdict { holds: assertion.holds(&values), values }
    };
    Ok(assertions.iter().map(verdict).collect())
}

/// What each comes to in the selected part of a trace, which is read once.
pub(crate) fn amounts(
    reader: &mut Reader,
    aggregates: &[&Aggregate],
    selection: &Selection,
) -> Result<Vec<Option<Amount>>, Error> {
    let mut sums: Vec<Sum> = aggregates.iter().map(|_| Sum::default()).collect();
    let read = |block: BlockEvents<'_>| {
        aggregates.iter().map(|aggregate| part(aggregate, block, selection)).collect::<Vec<_>>()
    };
    let needed = |block: &Summary| {
        selection.may_have(block) && aggregates.iter().any(|aggregate| aggregate.filter.may_match(block))
    };
    let ended = reader.read_blocks(needed, read, |parts| {
        for (sum, part) in sums.iter_mut().zip(parts) {
            sum.count += part.count;
            part.values.into_iter().for_each(|value| sum.add(value));
        }
        ControlFlow::<()>::Continue(())
    })?;
    debug_assert!(ended.is_continue());
    let (first, last) = reader.time_range().unwrap_or_default();
    let duration_ns = last.min(selection.to).saturating_sub(first.max(selection.from));
    let amounts = aggregates.iter().zip(&sums);
    Ok(amounts.map(|(aggregate, sum)| sum.amount(aggregate.function, duration_ns)).collect())
}

fn part(aggregate: &Aggregate, block: BlockEvents<'_>, selection: &Selection) -> Part {
    let mut part = Part { count: 0, values: Vec::new() };
    if !aggregate.filter.may_match(block.summary) {
        return part;
    }
    for (number, event) in block.iter() {
        let subject = Subject { number, event, header: block.header };
        if !selection.has(&subject) {
            continue;
        }
        if aggregate.function.is_of_events() {
            part.count += u64::from(aggregate.filter.matches(&subject));
        } else {
            part.values.extend(aggregate.value(&subject));
        }
    }
    part
}
