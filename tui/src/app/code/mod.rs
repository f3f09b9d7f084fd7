//! The view of code: the instructions around where a vCPU was, and its registers.
//!
//! Of a live guest that is paused both are as they are now. Otherwise they are what the trace tells of the selected
//! event's moment, as a debugger on the trace would get them.

mod lines;
mod recorded;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use trace_format::event::Registers;

use super::App;
use super::action::Motion;
use super::bytes::Bytes;
use super::list::List;
use super::view::{Pane, View};
use crate::gdb::recorded::Moment;
use crate::guest::{Guest, Machine, VcpuNow};
use crate::model::code::{Line, beginning, disassemble};
use crate::model::sources::SourceLine;

/// How much code is read before a place, bytes.
const BEFORE: u64 = 1024;
/// And from it on.
const BEHIND: usize = 1536;
/// How far before a place the function that it is in may begin, bytes.
const FUNCTION: u64 = 4096;
/// How many bytes may fill up to the beginning of a function: they are aligned to that.
const FILL: u64 = 16;
/// The size of a page: what is not readable as a whole may be from its beginning on.
const PAGE: u64 = 4096;

/// What the view shows.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// The image that the trace is of, if it is here.
    image: Option<Arc<[u8]>>,
    /// The source lines that it tells.
    lines: lines::Known,
    /// Where a vCPU is, of which everything is shown.
    at: Option<At>,
    /// What the lines are around, gva: RIP until somebody goes elsewhere.
    around: u64,
    rows: Vec<Row>,
    list: List,
    /// Why there are no lines.
    why: String,
    registers: Option<Shown>,
    /// Of a live guest: what each vCPU's registers are, and what they were before they changed.
    live: BTreeMap<u8, (Registers, Option<Registers>)>,
    pub(super) registers_scroll: u16,
}

/// Where a vCPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The vCPU.
    pub vcpu: u8,
    /// Its next instruction, or what its event is about, gva.
    pub rip: u64,
    /// When it is there.
    pub when: When,
    /// How wide its code is, in bits; `None` if that is not known, and 64 is taken for it.
    pub bits: Option<u32>,
}

/// When a vCPU is somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now: the guest is paused.
    Now,
    /// At the selected event, or at its last one before that tells.
    Then,
    /// Only at this later event: none before tells.
    Later(u64),
}

/// A row of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A symbol begins.
    Label(String),
    /// The source line that the instructions below come from, where it is another than before.
    Source(SourceLine),
    /// An instruction.
    Code(Line),
}

/// Registers, and those before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As they are or were.
    pub now: Registers,
    /// As the same vCPU had them at its event before, or stop before.
    pub before: Option<Registers>,
    /// The event that they are of, if it is not of the selected one's moment: they may have changed since.
    pub stale: Option<u64>,
}

impl App {
    /// Gives the image that the trace is of, to show code of it.
    pub fn set_image(&mut self, image: Option<Cow<'static, [u8]>>) {
        self.code.image = image.map(|image| Arc::from(&*image));
    }

    /// The image that the trace is of, if it is here.
    pub(super) fn image(&self) -> Option<&[u8]> {
        self.code.image.as_deref()
    }

    /// Where the vCPU is whose code is shown.
    #[must_use]
    pub const fn code_at(&self) -> Option<At> {
        self.code.at
    }

    /// The listing.
    #[must_use]
    pub fn code_rows(&self) -> &[Row] {
        &self.code.rows
    }

    /// Which of its rows are on the screen.
    #[must_use]
    pub const fn code_list(&self) -> List {
        self.code.list
    }

    /// Why there is no listing.
    #[must_use]
    pub fn no_code(&self) -> &str {
        &self.code.why
    }

    /// The registers of that vCPU, where they are known.
    #[must_use]
    pub const fn registers_shown(&self) -> Option<&Shown> {
        self.code.registers.as_ref()
    }

    /// The instruction that is chosen in the view of code, gva, if its pane is focused.
    pub(super) fn chosen_instruction(&self) -> Option<u64> {
        if self.focus.pane() != Pane::Code { None } else { self.selected_line().map(|line| line.gva) }
    }

    fn selected_line(&self) -> Option<&Line> {
        let at = self.code.list.selected(self.code.rows.len())?;
        self.code.rows.get(at..)?.iter().find_map(|row| match row {
            Row::Code(line) => Some(line),
            Row::Label(_) | Row::Source(_) => None,
        })
    }

    /// Whether what is shown comes from the guest itself.
    pub(super) fn shows_live_code(&self) -> bool {
        matches!(self.machine, Some(Machine::Paused { .. }))
    }

    /// Brings the view up to date with a guest, if it is shown and the guest is paused. Returns whether it has changed.
    ///
    /// # Errors
    /// Those of the guest.
    pub fn look_at_code_of(&mut self, guest: &dyn Guest) -> anyhow::Result<bool> {
        if self.focus.view() != View::Code || !self.shows_live_code() {
            return Ok(false);
        }
        let vcpu = self.vcpu_shown();
        let VcpuNow { registers, next, code_bits } = guest.cpu(vcpu)?;
        let known = self.code.live.entry(vcpu).or_insert_with(|| (registers.clone(), None));
        if known.0 != registers {
            known.1 = Some(std::mem::replace(&mut known.0, registers.clone()));
        }
        let shown = Shown { now: known.0.clone(), before: known.1.clone(), stale: None };
        let before = (self.code.at, self.code.rows.clone(), self.code.registers.clone());
        let bits = Some(code_bits);
        if self.follow || self.at_stop {
            self.code.registers = Some(shown);
            self.take_code(Some(At { vcpu, rip: next, when: When::Now, bits }), &Bytes::Guest(guest, vcpu));
        } else {
            let (at, registers) = self.recorded_place(vcpu);
            self.code.registers = registers;
            let at = at.map(|at| At { bits: at.bits.or(bits), ..at });
            self.take_code(at, &Bytes::Guest(guest, vcpu));
        }
        Ok(before != (self.code.at, self.code.rows.clone(), self.code.registers.clone()))
    }

    /// Brings the view up to date with the trace. Of a paused guest [`Self::look_at_code_of`] does.
    pub(super) fn load_code(&mut self) {
        if self.focus.view() != View::Code || self.shows_live_code() {
            return self.scroll_code();
        }
        let vcpu = self.vcpu_shown();
        let (at, registers) = self.recorded_place(vcpu);
        self.code.registers = registers;
        match Moment::of(&mut self.reader, self.cursor, vcpu) {
            Ok(moment) => self.take_code(at, &Bytes::Recorded(Box::new(moment))),
            Err(error) => self.complain(&error),
        }
    }

    /// Makes the listing anew, around where the vCPU is if that is somewhere else now.
    fn take_code(&mut self, at: Option<At>, memory: &Bytes<'_>) {
        if at != self.code.at {
            self.code.at = at;
            if let Some(at) = at {
                self.code.around = at.rip;
            }
        }
        let Some(At { rip, bits, .. }) = at else {
            self.code.rows.clear();
            self.code.why = "neither this event nor one around it tells where its vCPU was".to_owned();
            return;
        };
        let around = self.code.around;
        let bits = bits.unwrap_or(64);
        let lines = self.read_lines(memory, bits, around, if around == rip { None } else { Some(rip) });
        let rows = self.rows_of(lines);
        let row = rows.iter().position(|row| matches!(row, Row::Code(line) if line.gva == around));
        if rows.is_empty() {
            self.code.why = self.unknown_code(around);
        }
        // The row stays where it is on the screen; another place is shown with some lines above it.
        let (old, list) = (self.code.rows.len(), self.code.list);
        let was =
            list.selected(old).filter(|at| self.code.rows.get(*at) == row.and_then(|row| rows.get(row)));
        let page = self.panes().map_or(0, |panes| usize::from(panes.rows(Pane::Code)));
        let below = was.map_or(page / 3, |at| at.saturating_sub(list.first()));
        self.code.rows = rows;
        if let Some(row) = row {
            self.code.list.place(row, below);
        }
        self.scroll_code();
    }

    fn unknown_code(&self, gva: u64) -> String {
        let place = self.name_of(gva);
        if self.shows_live_code() {
            format!("{place} is not mapped")
        } else if self.machine == Some(Machine::Running) {
            format!("the trace does not tell what is at {place}: pause the guest to see")
        } else if self.header().image.is_some() && self.code.image.is_none() {
            format!("the trace alone does not tell what is at {place}: give the guest's image with --image")
        } else {
            format!("the trace does not tell what is at {place} then")
        }
    }

    /// The instructions around `around`; at `other` one begins, too.
    fn read_lines(&self, memory: &Bytes<'_>, bits: u32, around: u64, other: Option<u64>) -> Vec<Line> {
        let mut behind = vec![0; BEHIND];
        let length = self.read_bytes(memory, around, &mut behind);
        behind.truncate(length);
        if behind.is_empty() {
            return Vec::new();
        }
        let known = self.functions_before(around);
        let page = around % PAGE;
        let wanted = [known, Some(BEFORE.min(around)), Some(page.min(BEFORE))];
        let before = wanted.into_iter().flatten().find_map(|length| {
            let mut bytes = vec![0; usize::try_from(length).ok()?];
            let start = around.checked_sub(length)?;
            (self.read_bytes(memory, start, &mut bytes) == bytes.len()).then_some(bytes)
        });
        let before = before.unwrap_or_default();
        let exact = known.is_some_and(|length| length == before.len() as u64);
        let start = around - before.len() as u64;
        let start = if exact { start } else { beginning(bits, &before, around) };
        let skipped = before.len() - usize::try_from(around - start).unwrap_or(0);
        let mut bytes = before[skipped..].to_vec();
        // Where an instruction may begin before `around`.
        let boundary = other.filter(|other| (start..around).contains(other));
        let mut lines = disassemble(bits, start, &bytes, boundary.unwrap_or(around));
        lines.retain(|line| line.gva.wrapping_add(line.bytes.len() as u64) <= around);
        bytes.clear();
        let boundary = other.filter(|other| *other > around).unwrap_or(around);
        lines.extend(disassemble(bits, around, &behind, boundary));
        lines
    }

    /// How far before `gva` the function begins that is before it, or as many of them as there is room for.
    fn functions_before(&self, gva: u64) -> Option<u64> {
        let mut start = gva;
        let mut most = FUNCTION;
        // The symbol of a function need not have the bytes that fill up to the next.
        let beginning = |before: u64| {
            (1..=FILL).find_map(|by| {
                let end = before.checked_sub(by)?;
                let (_, offset) = self.header().symbolize(end)?;
                end.checked_sub(offset)
            })
        };
        while let Some(next) = beginning(start).filter(|next| gva - next <= most) {
            start = next;
            most = BEFORE;
        }
        Some(gva - start).filter(|before| *before > 0)
    }

    pub(super) fn move_in_code(&mut self, motion: Motion, page: u16) {
        let Some(at) = self.code.at else { return };
        if motion == Motion::First {
            // Back to where the vCPU is.
            self.code.around = at.rip;
        } else {
            let count = self.code.rows.len();
            let from = self.code.list.selected(count).unwrap_or(0);
            self.code.list.move_by(motion, count, page);
            let to = self.code.list.selected(count).unwrap_or(0);
            let is_code = |at: &usize| matches!(self.code.rows.get(*at), Some(Row::Code(_)));
            // Only instructions are selected: the next one that way, or the last one there is.
            let near = if to < from {
                (0..=to).rev().find(is_code).or_else(|| (to..count).find(is_code))
            } else {
                (to..count).find(is_code).or_else(|| (0..=to).rev().find(is_code))
            };
            if let Some(near) = near {
                self.code.list.select(near);
            }
            if let Some(line) = self.selected_line() {
                self.code.around = line.gva;
            }
        }
        self.reload_code();
    }

    /// Selects the instruction at `row` of the listing, or the next one below it.
    pub(super) fn select_code(&mut self, row: usize) {
        let below = self.code.rows.iter().enumerate().skip(row);
        let line = below.into_iter().find_map(|(at, row)| match row {
            Row::Code(line) => Some((at, line.gva)),
            Row::Label(_) | Row::Source(_) => None,
        });
        if let Some((at, gva)) = line {
            self.code.list.select(at);
            self.code.around = gva;
            self.reload_code();
        }
    }

    /// Goes to what the selected instruction calls or jumps to.
    pub(super) fn open_code(&mut self) {
        let target = self.selected_line().filter(|line| line.branches).and_then(|line| line.target);
        match target {
            Some(target) => {
                self.code.around = target;
                self.reload_code();
            }
            None => self.tell("this instruction names no other code"),
        }
    }

    /// The lines are to be around somewhere else. A guest's are made the next time that it is looked at.
    fn reload_code(&mut self) {
        if !self.shows_live_code() {
            self.load_code();
        }
    }

    fn scroll_code(&mut self) {
        let Some(panes) = self.panes() else { return };
        let rows = panes.rows(Pane::Code);
        if rows > 0 {
            self.code.list.show(self.code.rows.len(), rows);
        }
    }
}
