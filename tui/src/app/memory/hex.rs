//! The bytes of guest memory.

use std::collections::BTreeMap;

use trace_format::event::WalkOutcome;

use super::place::MemoryPlace;
use super::{App, Bytes, Pane};
use crate::app::action::Motion;

/// Bytes of a row: as many as there is room for.
const WIDEST: u64 = 16;
const NARROW: u64 = 8;
/// Columns that rows of [`WIDEST`] bytes need: address, two bytes a group, characters.
const WIDE_COLUMNS: u16 = 17 + 8 * 5 + 2 + 16;
/// The size of a page: what cannot be read at one byte of a guest's page cannot at the others.
const PAGE: u64 = 4096;
/// The most bytes that are kept to be compared when the guest stops again: many screens.
const MOST_SEEN: usize = 1 << 18;
/// RSP's place among the registers.
const RSP: usize = 7;

/// Where the first row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A gva.
    Virtual(u64),
    /// A gpa.
    Physical(u64),
}

impl At {
    /// The address itself.
    #[must_use]
    pub const fn address(self) -> u64 {
        match self {
            Self::Virtual(address) | Self::Physical(address) => address,
        }
    }

    const fn with(self, address: u64) -> Self {
        match self {
            Self::Virtual(_) => Self::Virtual(address),
            Self::Physical(_) => Self::Physical(address),
        }
    }
}

/// A row of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexRow {
    /// Where its first byte is, gva or gpa.
    pub address: u64,
    /// Each byte, if it is known, and whether the guest has changed it since it stopped the last time.
    pub bytes: Vec<Option<(u8, bool)>>,
}

/// The bytes on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hex {
    /// Where they begin.
    pub at: At,
    /// They are as they are now; otherwise what is known of the selected event's moment.
    pub now: bool,
    /// The rows.
    pub rows: Vec<HexRow>,
}

/// What the user wants to see.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// What is there.
    At(At),
    /// Where this register points, whatever it has.
    Register(usize),
}

/// Bytes by their address, in the address space of this CR3 or, without, in physical memory.
type Seen = BTreeMap<(Option<u64>, u64), u8>;

/// What the pane keeps.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Where the user wants to look; otherwise where the selected event leads.
    wanted: Option<Wanted>,
    /// How many bytes further.
    bytes_on: i64,
    shown: Option<Hex>,
    /// Bytes that a paused guest has at this stop, as far as they were looked at.
    seen: (u64, Seen),
    /// And those that it had at the stop before.
    before: Seen,
}

impl App {
    /// The bytes on the screen.
    #[must_use]
    pub const fn hex(&self) -> Option<&Hex> {
        self.memory.hex.shown.as_ref()
    }

    /// Shows the bytes at a gva.
    pub(super) fn show_memory_at(&mut self, gva: u64) {
        self.look_at(Wanted::At(At::Virtual(gva)));
    }

    fn look_at(&mut self, wanted: Wanted) {
        (self.memory.hex.wanted, self.memory.hex.bytes_on) = (Some(wanted), 0);
        self.focus(Pane::Memory);
    }

    /// Shows the bytes at a place.
    pub(in crate::app) fn show_memory(&mut self, place: &MemoryPlace) {
        match place {
            MemoryPlace::Physical(gpa) => self.look_at(Wanted::At(At::Physical(*gpa))),
            MemoryPlace::Virtual(location) => match self.locate(location) {
                Ok(gva) => self.show_memory_at(gva),
                Err(why) => self.refuse(why),
            },
            MemoryPlace::Register(n) => self.look_at(Wanted::Register(*n)),
        }
    }

    /// How many bytes a row has.
    fn row_bytes(&self) -> u64 {
        let width = self.panes().and_then(|panes| panes.inside(Pane::Memory)).map_or(0, |area| area.width);
        if width >= WIDE_COLUMNS { WIDEST } else { NARROW }
    }

    /// Where the selected event leads: to what the guest accessed, otherwise to the stack.
    fn natural_place(&self, now: bool) -> Option<At> {
        if let Some(registers) = &self.memory.registers
            && now
            && (self.follow || self.at_stop)
        {
            return Some(At::Virtual(registers.general[RSP]));
        }
        let (number, walk) = self.walk_shown()?;
        // Of a walk to a table entry without memory there is nothing to be seen.
        let known = !matches!(walk.outcome, WalkOutcome::Fault { level: 0, .. });
        known.then_some(if number == self.cursor {
            At::Virtual(walk.gva)
        } else {
            At::Virtual(walk.gva & !(PAGE - 1))
        })
    }

    /// Why there are no bytes.
    #[must_use]
    pub const fn no_hex(&self) -> &'static str {
        match self.memory.hex.wanted {
            Some(Wanted::Register(_)) => {
                "no registers are known here: pause the guest, or record with --registers"
            }
            Some(Wanted::At(_)) | None => {
                "nowhere to look yet: a asks for an address, Enter on a range shows its bytes"
            }
        }
    }

    /// Reads what is on the screen: as it is now, or as it was.
    pub(super) fn load_hex(&mut self, bytes: &Bytes<'_>, now: bool) {
        let Some(rows) = self.panes().map(|panes| panes.rows(Pane::Memory)).filter(|rows| *rows > 0) else {
            return;
        };
        let start = match self.memory.hex.wanted {
            Some(Wanted::At(at)) => Some(at),
            Some(Wanted::Register(n)) => {
                let registers = self.memory.registers.as_ref();
                registers.map(|registers| At::Virtual(registers.values()[n]))
            }
            None => self.natural_place(now),
        };
        let Some(start) = start else {
            self.memory.hex.shown = None;
            return;
        };
        let row_bytes = self.row_bytes();
        let at = start.with(start.address().wrapping_add_signed(self.memory.hex.bytes_on) & !(row_bytes - 1));
        let space = match at {
            At::Virtual(_) => Some(self.memory.registers.as_ref().map_or(0, |registers| registers.cr3)),
            At::Physical(_) => None,
        };
        let stop = self.memory.stop;
        if now && self.memory.hex.seen.0 != stop {
            let seen = std::mem::take(&mut self.memory.hex.seen.1);
            (self.memory.hex.before, self.memory.hex.seen.0) = (seen, stop);
        }
        let mut shown = Vec::with_capacity(usize::from(rows));
        for row in 0..u64::from(rows) {
            let Some(address) = at.address().checked_add(row * row_bytes) else { break };
            let read = self.read_row(bytes, at.with(address), row_bytes, now);
            let mut marked = Vec::with_capacity(read.len());
            for (n, byte) in (0..).zip(read) {
                // A row does not go around the end of addresses.
                let place = (space, address + n);
                let before = self.memory.hex.before.get(&place);
                marked.push(byte.map(|byte| (byte, now && before.is_some_and(|before| *before != byte))));
                let kept = &mut self.memory.hex.seen.1;
                if let Some(byte) = byte.filter(|_| now && kept.len() < MOST_SEEN) {
                    kept.insert(place, byte);
                }
            }
            shown.push(HexRow { address, bytes: marked });
        }
        self.memory.hex.shown = Some(Hex { at, now, rows: shown });
    }

    fn read_row(&self, bytes: &Bytes<'_>, at: At, count: u64, now: bool) -> Vec<Option<u8>> {
        let mut row = Vec::new();
        while (row.len() as u64) < count {
            let address = at.address() + row.len() as u64;
            let left = count - row.len() as u64;
            let mut buffer = vec![0; usize::try_from(left).unwrap_or(0)];
            let read = match at {
                At::Virtual(_) => self.read_bytes(bytes, address, &mut buffer),
                At::Physical(_) => Self::read_physical(bytes, address, &mut buffer),
            };
            row.extend(buffer.iter().take(read).copied().map(Some));
            if read == 0 {
                let unknown = if now { left.min(PAGE - address % PAGE) } else { 1 };
                row.extend((0..unknown).map(|_| None));
            }
        }
        row
    }

    pub(super) fn move_in_hex(&mut self, motion: Motion, page: u16) {
        let row_bytes = self.row_bytes();
        let page = i64::from(page.max(1));
        let by = match motion {
            Motion::Up => -1,
            Motion::Down => 1,
            Motion::PageUp => -page,
            Motion::PageDown => page,
            Motion::HalfPageUp => -(page / 2).max(1),
            Motion::HalfPageDown => (page / 2).max(1),
            // Back to where the selected event leads.
            Motion::First => {
                (self.memory.hex.wanted, self.memory.hex.bytes_on) = (None, 0);
                return;
            }
            Motion::Last => {
                let Some(at) = self.memory.hex.shown.as_ref().map(|hex| hex.at) else { return };
                let last = at.address() | (PAGE - 1);
                let rows = (last - at.address()) / row_bytes + 1;
                i64::try_from(rows).unwrap_or(0) - page
            }
        };
        let by = by.saturating_mul(row_bytes.cast_signed());
        self.memory.hex.bytes_on = self.memory.hex.bytes_on.saturating_add(by);
    }
}
