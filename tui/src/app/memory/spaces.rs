//! What an address space maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use trace_format::filter::Candidate;

use super::flags::Flags;
use super::{App, Motion};
use crate::app::list::List;
use crate::app::view::Pane;
use crate::guest::{Guest, Space};
use crate::model::entry::ADDRESS;
use crate::model::space::{Change, Stretch, changes, top_table};
use crate::ui::text;
use crate::work::Range;

/// The most ranges that are listed: more than somebody looks through.
const MOST_ROWS: usize = 100_000;

/// A row of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceRow {
    /// It is mapped.
    Is(Stretch),
    /// It has changed.
    Changed(Change),
}

/// What is listed, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// gpa of the top table.
    pub table: u64,
    /// If the user has chosen it: its place among all that are known, from 1, and how many these are.
    pub place: Option<(usize, usize)>,
    /// Where it is known from.
    pub source: Source,
    /// How many ranges there are without the flags.
    pub all: usize,
    /// There is more, which was not listed.
    pub more: bool,
    /// Changes are listed, not what is.
    pub changes: bool,
    /// There is a moment before to compare with.
    pub compared: bool,
}

/// Where an address space is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From so many walks.
    Walks(u64),
    /// From the guest's tables, as they are now.
    #[allow(missing_docs)]
    Tables { paging: bool },
}

/// What the pane keeps.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The top table that the user has chosen, gpa.
    chosen: Option<u64>,
    flags: Flags,
    changes: bool,
    list: List,
    rows: Vec<SpaceRow>,
    listed: Option<Listed>,
    made: Option<Made>,
    /// Spaces of a paused guest at this stop, and which of them is listed.
    live: (u64, Spaces),
    shown: Option<(Moment, u64)>,
    /// Those that were looked at when it stood still before.
    before: Spaces,
}

/// A moment of a paused guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Which stop.
    stop: u64,
    /// Through whose tables it is looked at.
    vcpu: u8,
    /// Which are wanted, if not those.
    chosen: Option<u64>,
}

/// Of each top table, gpa, what it maps.
type Spaces = BTreeMap<u64, Arc<Space>>;

/// What rows are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    table: u64,
    flags: Flags,
    changes: bool,
    analysis: Option<(Range, u64)>,
    live: Option<Moment>,
    /// The user has chosen it.
    chosen: bool,
}

/// Understands `text` as a CR3: hexadecimal, with or without 0x.
///
/// # Errors
/// If it is none: a sentence that says what could be.
pub(in crate::app) fn parse_cr3(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text).replace('_', "");
    let digits = Some(digits).filter(|digits| !digits.starts_with('+'));
    digits
        .and_then(|digits| u64::from_str_radix(&digits, 16).ok())
        .ok_or_else(|| format!("`{text}` is no cr3: write its gpa (0x1000); Tab lists those that are known"))
}

impl App {
    /// What an address space maps, or what has changed of that.
    #[must_use]
    pub fn space_rows(&self) -> &[SpaceRow] {
        &self.memory.spaces.rows
    }

    /// The list of it.
    #[must_use]
    pub const fn space_list(&self) -> List {
        self.memory.spaces.list
    }

    /// Which space that is.
    #[must_use]
    pub const fn space_listed(&self) -> Option<&Listed> {
        self.memory.spaces.listed.as_ref()
    }

    /// Which ranges are listed.
    #[must_use]
    pub const fn space_flags(&self) -> &Flags {
        &self.memory.spaces.flags
    }

    pub(super) fn selected_stretch(&self) -> Option<Stretch> {
        let rows = &self.memory.spaces.rows;
        rows.get(self.memory.spaces.list.selected(rows.len())?).map(|row| match row {
            SpaceRow::Is(stretch)
            | SpaceRow::Changed(Change::New(stretch) | Change::Gone(stretch) | Change::Other(_, stretch)) => {
                *stretch
            }
        })
    }

    /// Lists only ranges with these flags.
    pub(in crate::app) fn set_space_flags(&mut self, flags: Flags) {
        self.memory.spaces.flags = flags;
        self.focus(Pane::Space);
    }

    /// Lists what has changed instead of what is, and back.
    pub(in crate::app) fn switch_changes(&mut self) {
        self.memory.spaces.changes = !self.memory.spaces.changes;
    }

    /// Goes to the next address space that is known, behind the last back to the one of the selected event or vCPU.
    pub(in crate::app) fn next_space(&mut self) {
        let tables = self.tables();
        let chosen = self.memory.spaces.chosen;
        let next = match chosen.map(|chosen| tables.iter().position(|table| *table == chosen)) {
            None => 0,
            Some(at) => at.map_or(tables.len(), |at| at + 1),
        };
        if tables.is_empty() {
            self.tell("no address space is known: none was walked, and no guest is paused");
        }
        self.memory.spaces.chosen = tables.get(next).copied();
    }

    /// Goes to the address space of `cr3`. A paused guest has one at any table.
    pub(in crate::app) fn show_space(&mut self, cr3: u64) {
        let tables = self.tables();
        // A user may write flags and PCID with it; where PAE has tables between pages, they are none.
        let known = tables.iter().find(|table| **table == cr3);
        let table = known.or_else(|| tables.iter().find(|table| **table == cr3 & ADDRESS)).copied();
        match table {
            None if !self.shows_live_code() => {
                self.refuse(format!("no walk of cr3 {cr3:#x} was recorded in what is analysed"));
            }
            _ => self.memory.spaces.chosen = Some(table.unwrap_or(cr3)),
        }
    }

    /// Those whose digits have `text` in them, with what is known of each.
    pub(in crate::app) fn complete_cr3(&self, text: &str) -> Vec<Candidate> {
        let walks: Vec<(u64, u64)> =
            self.analysis().map(|analysis| analysis.spaces.tables()).unwrap_or_default();
        let about = |table: u64| match walks.iter().find(|(known, _)| *known == table) {
            Some((_, 1)) => "1 walk".to_owned(),
            Some((_, walks)) => format!("{} walks", text::count(*walks)),
            None => "the paused guest's".to_owned(),
        };
        let named = self.tables().into_iter().map(|table| (table, format!("{table:#x}")));
        let fits = named.filter(|(_, name)| name.contains(text.trim()));
        let candidate =
            |(table, name)| Candidate { text: name, about: about(table), replaces: 0..text.len() };
        fits.map(candidate).collect()
    }

    /// The top tables that walks tell of, the most frequent first, and those of the paused guest.
    fn tables(&self) -> Vec<u64> {
        let mut tables: Vec<u64> = self
            .analysis()
            .map(|analysis| analysis.spaces.tables().into_iter().map(|(table, _)| table).collect())
            .unwrap_or_default();
        if self.shows_live_code() {
            let live = self.memory.spaces.live.1.keys();
            let others: Vec<u64> = live.copied().filter(|table| !tables.contains(table)).collect();
            tables.extend(others);
        }
        tables
    }

    /// Lists what walks have told.
    pub(super) fn load_space(&mut self) {
        let Some(analysis) = self.analysis() else {
            self.memory.spaces.listed = None;
            return;
        };
        let tables = analysis.spaces.tables();
        let of_walk = self.walk_shown().map(|(_, walk)| top_table(walk.mode, walk.cr3));
        let known = |table: &u64| tables.iter().any(|(known, _)| known == table);
        let chosen = self.memory.spaces.chosen.filter(known).or_else(|| of_walk.filter(known));
        let Some(table) = chosen.or_else(|| tables.first().map(|(table, _)| *table)) else {
            (self.memory.spaces.listed, self.memory.spaces.rows) = (None, Vec::new());
            return;
        };
        let made = self.made(table, None);
        if self.memory.spaces.made.as_ref() == Some(&made) {
            return;
        }
        let walks = tables.iter().find(|(known, _)| *known == table).map(|(_, walks)| *walks);
        let (before, after) = (analysis.spaces.before(table).to_vec(), analysis.spaces.after(table));
        let more = analysis.spaces.left_out() > 0;
        // Before the whole run there is nothing to compare with.
        let before = (analysis.range != Range::ALL).then_some(&before[..]);
        self.list_space(made, Source::Walks(walks.unwrap_or(0)), before, &after, more);
    }

    /// Lists what a paused guest's tables map. Returns whether that is new.
    pub(super) fn look_at_space_of(&mut self, guest: &dyn Guest, vcpu: u8) -> anyhow::Result<bool> {
        let spaces = &mut self.memory.spaces;
        let now = Moment { stop: self.memory.stop, vcpu, chosen: spaces.chosen };
        if spaces.live.0 != now.stop {
            let seen = std::mem::take(&mut spaces.live.1);
            // One of each address space is kept, and not of all that there ever were.
            const MOST_KEPT: usize = 16;
            spaces.before.extend(seen);
            while spaces.before.len() > MOST_KEPT {
                spaces.before.pop_first();
            }
            spaces.live.0 = now.stop;
        }
        let shown = spaces.shown.filter(|(at, table)| *at == now && spaces.live.1.contains_key(table));
        let table = match shown {
            Some((_, table)) => table,
            None => {
                let space = guest.space(vcpu, now.chosen)?;
                let table = space.table;
                spaces.live.1.insert(table, Arc::new(space));
                spaces.shown = Some((now, table));
                table
            }
        };
        let made = self.made(table, Some(now));
        if self.memory.spaces.made.as_ref() == Some(&made) {
            return Ok(false);
        }
        let Some(space) = self.memory.spaces.live.1.get(&table).map(Arc::clone) else { return Ok(false) };
        let before = self.memory.spaces.before.get(&table).map(Arc::clone);
        let before = before.as_ref().map(|before| &before.stretches[..]);
        self.list_space(made, Source::Tables { paging: space.paging }, before, &space.stretches, space.more);
        Ok(true)
    }

    fn made(&self, table: u64, live: Option<Moment>) -> Made {
        let View { flags, changes, chosen, .. } = &self.memory.spaces;
        Made {
            table,
            flags: flags.clone(),
            changes: *changes,
            analysis: self.analysed(),
            live,
            chosen: chosen.is_some(),
        }
    }

    fn list_space(
        &mut self,
        made: Made,
        source: Source,
        before: Option<&[Stretch]>,
        after: &[Stretch],
        more: bool,
    ) {
        let rows: Vec<SpaceRow> = if made.changes {
            let changes = before.map(|before| changes(before, after)).unwrap_or_default();
            changes.into_iter().map(SpaceRow::Changed).collect()
        } else {
            after.iter().copied().map(SpaceRow::Is).collect()
        };
        let all = rows.len();
        let wanted = |row: &SpaceRow| match row {
            SpaceRow::Is(stretch) | SpaceRow::Changed(Change::New(stretch) | Change::Gone(stretch)) => {
                made.flags.hold(stretch)
            }
            SpaceRow::Changed(Change::Other(old, new)) => made.flags.hold(old) || made.flags.hold(new),
        };
        let rows: Vec<SpaceRow> = rows.into_iter().filter(wanted).take(MOST_ROWS).collect();
        let tables = self.tables();
        let chosen = self.memory.spaces.chosen.is_some();
        let place = tables.iter().position(|table| *table == made.table).filter(|_| chosen);
        let place = place.map(|at| (at + 1, tables.len()));
        if self.memory.spaces.listed.as_ref().is_none_or(|listed| listed.table != made.table) {
            self.memory.spaces.list = List::default();
        }
        self.memory.spaces.listed = Some(Listed {
            table: made.table,
            place,
            source,
            all,
            more,
            changes: made.changes,
            compared: before.is_some(),
        });
        self.memory.spaces.rows = rows;
        self.memory.spaces.made = Some(made);
    }

    pub(super) fn move_in_space(&mut self, motion: Motion, page: u16) {
        let count = self.memory.spaces.rows.len();
        self.memory.spaces.list.move_by(motion, count, page);
    }

    pub(super) fn scroll_space(&mut self, rows: u16) {
        let count = self.memory.spaces.rows.len();
        self.memory.spaces.list.show(count, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::parse_cr3;

    #[test]
    fn a_cr3_is_hexadecimal() {
        for (text, cr3) in [("0x1000", 0x1000), (" 25b0000 ", 0x25b_0000), ("0x1_000", 0x1000)] {
            assert_eq!(parse_cr3(text), Ok(cr3), "{text}");
        }
        for wrong in ["", "0x", "+1", "0x+1", "cr3", "0x1_0000_0000_0000_0000"] {
            assert!(parse_cr3(wrong).is_err_and(|error| error.contains("is no cr3")), "{wrong}");
        }
    }
}
