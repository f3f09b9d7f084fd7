//! When events of the largest groups happened.

use std::collections::HashMap;

use serde::Serialize;

use super::GroupReport;
use super::group::shortened;
use super::window::Windows;
use crate::filter::{Field, Selection, Subject};
use crate::{Error, Reader};

/// Windows of all groups together: 8 MiB.
pub const MOST_CELLS: usize = 1 << 20;

/// The windows that the groups of a table have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimeLine {
    /// Length of a window, ns.
    pub window_ns: u64,
    /// When the first begins, ns.
    pub from_ns: u64,
}

/// Reads what is selected of a trace once more and gives each of `groups`, which are by `field`, its counts in windows of
/// `window_ns`. `None` if that makes too many: more than [`MOST_WINDOWS`](super::MOST_WINDOWS) or [`MOST_CELLS`].
///
/// # Errors
///
/// If the file cannot be read.
pub fn over_time(
    reader: &mut Reader,
    selection: &Selection,
    field: &'static Field,
    window_ns: u64,
    groups: &mut [GroupReport],
) -> Result<Option<TimeLine>, Error> {
    let (first, last) = reader.time_range().unwrap_or_default();
    let (from_ns, to) = (first.max(selection.from), last.min(selection.to));
    let windows = Windows::count(window_ns, from_ns, to);
    let Some(windows) = windows.filter(|windows| windows.saturating_mul(groups.len()) <= MOST_CELLS) else {
        return Ok(None);
    };
    let rows = groups.iter().enumerate().filter_map(|(n, group)| Some((group.value.clone()?, n)));
    let rows: HashMap<String, usize> = rows.collect();
    let mut counts = vec![vec![0_u64; windows]; groups.len()];
    reader.for_each_of(
        |block| selection.may_have(block) && field.kinds.iter().any(|kind| block.has_kind(*kind)),
        |header, number, event| {
            let subject = Subject { number, event, header };
            if !selection.has(&subject) {
                return;
            }
            let Some(value) = field.value(&subject) else { return };
            let row = rows.get(shortened(&field.show(value))).copied();
            let at = usize::try_from(event.time.saturating_sub(from_ns) / window_ns).ok();
            let cell = row.and_then(|row| counts.get_mut(row)).zip(at).and_then(|(row, at)| row.get_mut(at));
            if let Some(count) = cell {
                *count += 1;
            }
        },
    )?;
    for (group, counts) in groups.iter_mut().zip(counts) {
        group.windows = group.value.is_some().then_some(counts);
    }
    Ok(Some(TimeLine { window_ns, from_ns }))
}
