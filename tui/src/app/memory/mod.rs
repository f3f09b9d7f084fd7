//! The view of memory: the walk behind the selected event, the pages that fault most, what an address space maps, and the
//! bytes themselves.

pub mod flags;
mod hex;
pub mod place;
mod spaces;

use std::collections::BTreeMap;

use trace_format::analysis::GroupReport;
use trace_format::event::{Event, Payload, Registers, Walk};
use trace_format::{Kind, Summary};

use super::App;
use super::action::Motion;
use super::bytes::Bytes;
use super::list::List;
use super::nearest::nearest;
use super::view::{Pane, View};
use crate::gdb::recorded::Moment;
use crate::guest::Guest;
pub use hex::{At, Hex, HexRow};
pub(super) use spaces::parse_cr3;
pub use spaces::{Listed, Source, SpaceRow};

/// What the view shows.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The walk, with the number of its event.
    walk: Option<(u64, Walk)>,
    /// For which event it was looked for, and of how many.
    sought: Option<(u64, u64)>,
    pub(super) walk_scroll: u16,
    pages: List,
    /// Those of the selected event's vCPU, as they are or were.
    registers: Option<Registers>,
    /// Counts the moments at which a guest stood still: pauses and steps.
    stop: u64,
    /// The registers of each vCPU that was looked at, and at which stop.
    last: BTreeMap<u8, (u64, Registers)>,
    spaces: spaces::View,
    hex: hex::View,
}

impl App {
    /// The walk that the selected event is, or the last one of its vCPU before it, or the next one if there is none
    /// before, with the number of its event.
    #[must_use]
    pub fn walk_shown(&self) -> Option<(u64, &Walk)> {
        self.memory.walk.as_ref().map(|(number, walk)| (*number, walk))
    }

    /// The pages that fault most, the most frequent first.
    #[must_use]
    pub fn faulting_pages(&self) -> &[GroupReport] {
        self.report().map_or(&[], |report| &report.details.pages)
    }

    /// The list of them.
    #[must_use]
    pub const fn page_list(&self) -> List {
        self.memory.pages
    }

    /// Brings the view up to date with the trace; with a paused guest [`Self::look_at_memory_of`] does.
    pub(super) fn load_memory(&mut self) {
        if self.focus.view() != View::Memory {
            return;
        }
        self.load_walk();
        if !self.shows_live_code() {
            self.load_space();
            let vcpu = self.vcpu_shown();
            self.memory.registers = self.recorded_place(vcpu).1.map(|shown| shown.now);
            match Moment::of(&mut self.reader, self.cursor, vcpu) {
                Ok(moment) => self.load_hex(&Bytes::Recorded(Box::new(moment)), false),
                Err(error) => self.complain(&error),
            }
        }
        self.scroll_memory();
    }

    /// Brings the view up to date with a guest, if it is shown and the guest is paused. Returns whether it has changed.
    ///
    /// # Errors
    /// Those of the guest.
    pub fn look_at_memory_of(&mut self, guest: &dyn Guest) -> anyhow::Result<bool> {
        if self.focus.view() != View::Memory || !self.shows_live_code() {
            return Ok(false);
        }
        let vcpu = self.vcpu_shown();
        let registers = guest.cpu(vcpu)?.registers;
        let stop = self.memory.stop;
        let last = self.memory.last.insert(vcpu, (stop, registers.clone()));
        if last.is_some_and(|(at, last)| at == stop && last != registers) {
            // It was stepped.
            self.memory.stop += 1;
            self.memory.last.insert(vcpu, (stop + 1, registers.clone()));
        }
        self.memory.registers = Some(registers);
        let space = self.look_at_space_of(guest, vcpu)?;
        let before = self.hex().cloned();
        self.load_hex(&Bytes::Guest(guest, vcpu), true);
        self.scroll_memory();
        Ok(space || self.hex() != before.as_ref())
    }

    /// The guest stands still, perhaps after it has run.
    pub(super) fn stands_still(&mut self) {
        self.memory.stop += 1;
    }

    fn load_walk(&mut self) {
        let sought = Some((self.cursor, self.known));
        if self.memory.sought == sought {
            return;
        }
        self.memory.sought = sought;
        let before = self.memory.walk.take();
        let vcpu = self.vcpu_shown();
        let wanted = |block: &Summary| block.has_vcpu(vcpu) && block.has_kind(Kind::Walk);
        let tells = |event: &Event| match &event.payload {
            Payload::Walk(walk) if event.vcpu == vcpu => Some(walk.clone()),
            _ => None,
        };
        match nearest(&mut self.reader, self.cursor, wanted, tells) {
            Ok(walk) => self.memory.walk = walk,
            Err(error) => self.complain(&error),
        }
        if self.memory.walk != before {
            self.memory.walk_scroll = 0;
        }
    }

    pub(super) fn move_in_memory(&mut self, pane: Pane, motion: Motion, page: u16) {
        match pane {
            Pane::Pages => {
                let count = self.faulting_pages().len();
                self.memory.pages.move_by(motion, count, page);
            }
            Pane::Space => self.move_in_space(motion, page),
            Pane::Memory => self.move_in_hex(motion, page),
            _ => {}
        }
    }

    /// Of a page exactly its faults; of a range its bytes.
    pub(super) fn open_in_memory(&mut self, pane: Pane) {
        match pane {
            Pane::Walk => {
                if let Some(number) = self.walk_shown().map(|(number, _)| number) {
                    self.select(number);
                }
            }
            Pane::Pages => {
                let pages = self.faulting_pages();
                let page = self.memory.pages.selected(pages.len()).and_then(|n| pages.get(n));
                match page.map(|page| page.value.clone()) {
                    Some(Some(page)) => self.list_only(&format!("trap.page == {page}")),
                    Some(None) => self.tell("these are pages too rare to be told apart"),
                    None => {}
                }
            }
            Pane::Space => {
                if let Some(gva) = self.selected_stretch().map(|stretch| stretch.gva) {
                    self.show_memory_at(gva);
                }
            }
            _ => {}
        }
    }

    fn scroll_memory(&mut self) {
        let Some(panes) = self.panes() else { return };
        let rows = panes.rows(Pane::Pages).saturating_sub(1);
        let pages = self.faulting_pages().len();
        self.memory.pages.show(pages, rows);
        self.scroll_space(panes.rows(Pane::Space).saturating_sub(1));
    }
}
