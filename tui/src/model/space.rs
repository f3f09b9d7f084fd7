//! Address spaces: which ranges they map, how, and what two of them have different.

use std::collections::BTreeMap;

use trace_format::event::{PagingMode, Walk, WalkFault, WalkOutcome};

use super::entry::{ADDRESS, EXECUTE_DISABLE, GLOBAL, PAGE_SIZE, USER, WRITE};

/// The most pages that are kept of all address spaces together; of more it is said that there are.
const MOST_PAGES: usize = 200_000;
/// The most address spaces that are told apart: more than anybody chooses from.
const MOST_TABLES: usize = 4096;

/// What may be done with a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Rights {
    pub write: bool,
    pub execute: bool,
    pub user: bool,
    pub global: bool,
}

/// Addresses that are mapped alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins, gva.
    pub gva: u64,
    /// Its last byte, gva.
    pub last: u64,
    /// What is behind its beginning, gpa.
    pub gpa: u64,
    /// Bytes of each of its pages.
    pub page_size: u64,
    /// What may be done there.
    pub rights: Rights,
}

impl Stretch {
    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        (self.last - self.gva).saturating_add(1)
    }

    /// The two as one, if `next` goes on where this one ends.
    fn joined(&self, next: &Self) -> Option<Self> {
        let alike = self.rights == next.rights && self.page_size == next.page_size;
        let goes_on = self.last.checked_add(1) == Some(next.gva)
            && self.gpa.checked_add(self.length()) == Some(next.gpa);
        (alike && goes_on).then_some(Self { last: next.last, ..*self })
    }
}

/// What has become of addresses between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are mapped now.
    New(Stretch),
    /// They were mapped.
    Gone(Stretch),
    /// They are mapped otherwise: what was, and what is.
    Other(Stretch, Stretch),
}

/// What walks tell of an address space.
#[derive(Clone, Debug, Default)]
struct Known {
    /// By where they begin, gva; none overlaps another.
    pages: BTreeMap<u64, Stretch>,
    /// How many there were.
    walks: u64,
    /// The same before the range that is looked at.
    before: Vec<Stretch>,
}

/// What walks tell of all address spaces of a trace.
#[derive(Clone, Debug, Default)]
pub struct Spaces {
    /// By gpa of the top table.
    known: BTreeMap<u64, Known>,
    pages: usize,
    /// How many walks told of pages and spaces that were not kept.
    left_out: u64,
}

/// gpa of the top table that `cr3` names, without flags and PCID (SDM vol. 3, 5.5.3).
#[must_use]
pub const fn top_table(mode: PagingMode, cr3: u64) -> u64 {
    match mode {
        PagingMode::Pae => cr3 & 0xffff_ffe0,
        _ => cr3 & ADDRESS,
    }
}

impl Spaces {
    /// Takes a walk in. Walks come in order.
    pub fn add(&mut self, walk: &Walk) {
        if walk.mode == PagingMode::Off {
            return;
        }
        let table = top_table(walk.mode, walk.cr3);
        if self.known.len() >= MOST_TABLES && !self.known.contains_key(&table) {
            self.left_out += 1;
            return;
        }
        let known = self.known.entry(table).or_default();
        known.walks += 1;
        let (first, last, page) = match found(walk) {
            Found::Page(page) => (page.gva, page.last, Some(page)),
            Found::Hole(first, last) => (first, last, None),
            Found::Nothing => return,
        };
        // A page that begins before may reach in.
        let overlapping: Vec<u64> = known
            .pages
            .range(..=last)
            .rev()
            .take_while(|(_, page)| page.last >= first)
            .map(|(gva, _)| *gva)
            .collect();
        for gva in &overlapping {
            known.pages.remove(gva);
        }
        self.pages -= overlapping.len();
        let Some(page) = page else { return };
        if self.pages < MOST_PAGES {
            known.pages.insert(page.gva, page);
            self.pages += 1;
        } else {
            self.left_out += 1;
        }
    }

    /// What comes from now on is the range that is looked at: what there is was before it.
    pub fn begin_range(&mut self) {
        for known in self.known.values_mut() {
            known.before = known.stretches();
        }
    }

    /// The top tables' gpas, each with the number of walks of it, the most frequent first.
    #[must_use]
    pub fn tables(&self) -> Vec<(u64, u64)> {
        let mut tables: Vec<_> = self.known.iter().map(|(table, known)| (*table, known.walks)).collect();
        tables.sort_by_key(|(table, walks)| (std::cmp::Reverse(*walks), *table));
        tables
    }

    /// What is known to be mapped in the space of `table` at the end.
    #[must_use]
    pub fn after(&self, table: u64) -> Vec<Stretch> {
        self.known.get(&table).map(Known::stretches).unwrap_or_default()
    }

    /// What was known before the range.
    #[must_use]
    pub fn before(&self, table: u64) -> &[Stretch] {
        self.known.get(&table).map_or(&[], |known| &known.before)
    }

    /// How many walks told of pages or of a space that there was no room for.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Known {
    fn stretches(&self) -> Vec<Stretch> {
        merge(self.pages.values().copied())
    }
}

/// Neighbours that are mapped alike as one.
pub fn merge(pages: impl IntoIterator<Item = Stretch>) -> Vec<Stretch> {
    let mut merged: Vec<Stretch> = Vec::new();
    for page in pages {
        match merged.last_mut().and_then(|last| Some((last.joined(&page)?, last))) {
            Some((joined, last)) => *last = joined,
            None => merged.push(page),
        }
    }
    merged
}

/// What a walk tells.
enum Found {
    Page(Stretch),
    /// Nothing from here to there, both included.
    Hole(u64, u64),
    Nothing,
}

fn found(walk: &Walk) -> Found {
    let around = |size: u64| (walk.gva & !(size - 1), walk.gva | (size - 1));
    match walk.outcome {
        WalkOutcome::Fault { level, reason: WalkFault::NotPresent, .. } => match span(walk.mode, level) {
            Some(size) => {
                let (first, last) = around(size);
                Found::Hole(first, last)
            }
            None => Found::Nothing,
        },
        // Reserved bits, no memory, no address: of pages that says nothing.
        WalkOutcome::Fault {
            reason: WalkFault::ReservedBit | WalkFault::NoMemory | WalkFault::NotCanonical,
            ..
        } => Found::Nothing,
        WalkOutcome::Fault { .. } => {
            // The page is mapped and the access was forbidden: its levels tell how it is.
            let leaf = walk.levels.last().filter(|leaf| leaf.level == 1 || leaf.entry & PAGE_SIZE != 0);
            let page = leaf.and_then(|leaf| Some((span(walk.mode, leaf.level)?, leaf.entry)));
            match page {
                Some((size, entry)) => {
                    let (gva, last) = around(size);
                    let gpa = match walk.mode {
                        // PSE-36: bits 39:32 of a large page's address are in bits 20:13 (SDM vol. 3, 5.3).
                        PagingMode::Bits32 if size > 4096 => {
                            (entry & 0xffc0_0000) | (entry & 0x1f_e000) << 19
                        }
                        _ => entry & ADDRESS & !(size - 1),
                    };
                    Found::Page(Stretch { gva, last, gpa, page_size: size, rights: rights(walk) })
                }
                None => Found::Nothing,
            }
        }
        WalkOutcome::Mapped { gpa, page_size, .. } if page_size.is_power_of_two() => {
            let (first, last) = around(page_size);
            let gpa = gpa & !(page_size - 1);
            Found::Page(Stretch { gva: first, last, gpa, page_size, rights: rights(walk) })
        }
        WalkOutcome::Mapped { .. } => Found::Nothing,
    }
}

/// What all levels permit together. The top entries of PAE permit everything.
fn rights(walk: &Walk) -> Rights {
    if let WalkOutcome::Mapped { permissions, .. } = &walk.outcome {
        return Rights {
            write: permissions.write,
            execute: permissions.execute,
            user: permissions.user,
            global: permissions.global,
        };
    }
    let narrows = |level: u8| !(walk.mode == PagingMode::Pae && level == 3);
    let all = |bit: u64| {
        walk.levels.iter().filter(|level| narrows(level.level)).all(|level| level.entry & bit != 0)
    };
    let disabled = walk.mode != PagingMode::Bits32
        && walk.levels.iter().any(|level| narrows(level.level) && level.entry & EXECUTE_DISABLE != 0);
    let global = walk.levels.last().is_some_and(|leaf| leaf.entry & GLOBAL != 0);
    Rights { write: all(WRITE), execute: !disabled, user: all(USER), global }
}

/// How many bytes of addresses an entry of `level` is for; `None` if there is no such level.
const fn span(mode: PagingMode, level: u8) -> Option<u64> {
    let (bits, levels) = match mode {
        PagingMode::Off => return None,
        PagingMode::Bits32 => (10, 2),
        PagingMode::Pae => (9, 3),
        PagingMode::FourLevel => (9, 4),
        PagingMode::FiveLevel => (9, 5),
    };
    if level == 0 || level > levels { None } else { Some(1 << (12 + bits * (level as u32 - 1))) }
}

/// What is different from `before` to `after`, in the order of addresses. Each is in order and has no overlaps.
#[must_use]
pub fn changes(before: &[Stretch], after: &[Stretch]) -> Vec<Change> {
    let mut edges: Vec<u64> = Vec::new();
    for stretch in before.iter().chain(after) {
        edges.push(stretch.gva);
        edges.extend(stretch.last.checked_add(1));
    }
    edges.sort_unstable();
    edges.dedup();
    let (mut before, mut after) = (Cursor(before), Cursor(after));
    let mut all: Vec<Change> = Vec::new();
    for (n, start) in edges.iter().enumerate() {
        let last = edges.get(n + 1).map_or(u64::MAX, |end| end - 1);
        let change = match (before.part(*start, last), after.part(*start, last)) {
            (None, Some(new)) => Change::New(new),
            (Some(old), None) => Change::Gone(old),
            (Some(old), Some(new)) if old != new => Change::Other(old, new),
            _ => continue,
        };
        let joined = match (all.last(), &change) {
            (Some(Change::New(a)), Change::New(b)) => a.joined(b).map(Change::New),
            (Some(Change::Gone(a)), Change::Gone(b)) => a.joined(b).map(Change::Gone),
            (Some(Change::Other(a, c)), Change::Other(b, d)) => {
                a.joined(b).zip(c.joined(d)).map(|(old, new)| Change::Other(old, new))
            }
            _ => None,
        };
        match joined.zip(all.last_mut()) {
            Some((joined, last)) => *last = joined,
            None => all.push(change),
        }
    }
    all
}

/// Goes through stretches in order.
struct Cursor<'a>(&'a [Stretch]);

impl Cursor<'_> {
    /// The part from `start` to `last`, which no stretch's edge is within, of the one that is there.
    fn part(&mut self, start: u64, last: u64) -> Option<Stretch> {
        while self.0.first().is_some_and(|first| first.last < start) {
            self.0 = &self.0[1..];
        }
        let whole = self.0.first().filter(|first| first.gva <= start)?;
        Some(Stretch { gva: start, last, gpa: whole.gpa.wrapping_add(start - whole.gva), ..*whole })
    }
}

#[cfg(test)]
mod tests {
    use arrayvec::ArrayVec;
    use proptest::prelude::*;
    use trace_format::event::{Access, Level, Permissions, WalkCause};

    use super::*;

    const RW: Permissions =
        Permissions { write: true, user: false, execute: false, accessed: true, dirty: false, global: false };

    fn walk(cr3: u64, gva: u64, outcome: WalkOutcome) -> Walk {
        let (cause, mode) = (WalkCause::PageFault, PagingMode::FourLevel);
        Walk { cause, cr3, mode, gva, access: Access::default(), levels: ArrayVec::new(), outcome }
    }

    fn mapped(cr3: u64, gva: u64, gpa: u64, page_size: u64) -> Walk {
        walk(cr3, gva, WalkOutcome::Mapped { gpa, page_size, permissions: RW, host: None })
    }

    fn hole(cr3: u64, gva: u64, level: u8) -> Walk {
        walk(cr3, gva, WalkOutcome::Fault { level, reason: WalkFault::NotPresent, error_code: 0 })
    }

    fn stretch(gva: u64, last: u64, gpa: u64) -> Stretch {
        Stretch { gva, last, gpa, page_size: 4096, rights: Rights { write: true, ..Rights::default() } }
    }

    #[test]
    fn neighbours_are_one_and_spaces_apart() {
        let mut spaces = Spaces::default();
        // Flags and PCID are no part of the space.
        for walk in [
            mapped(0x1000, 0x5123, 0x9123, 4096),
            mapped(0x1007, 0x6000, 0xa000, 4096),
            mapped(0x1000, 0x7fff, 0x3fff, 4096),
            mapped(0x2000, 0x8000, 0xb000, 4096),
        ] {
            spaces.add(&walk);
        }
        assert_eq!(spaces.after(0x1000), [stretch(0x5000, 0x6fff, 0x9000), stretch(0x7000, 0x7fff, 0x3000)]);
        assert_eq!(spaces.tables(), [(0x1000, 3), (0x2000, 1)]);
    }

    #[test]
    fn what_is_not_present_has_gone_with_all_of_its_entry() {
        let mut spaces = Spaces::default();
        for page in [0x1f_f000, 0x20_0000, 0x3f_f000, 0x40_0000] {
            spaces.add(&mapped(0x1000, page, page, 4096));
        }
        spaces.begin_range();
        // The entry of level 2 is for 2 MiB.
        spaces.add(&hole(0x1000, 0x2f_0000, 2));
        assert_eq!(
            spaces.after(0x1000),
            [stretch(0x1f_f000, 0x1f_ffff, 0x1f_f000), stretch(0x40_0000, 0x40_0fff, 0x40_0000)]
        );
        let gone = [stretch(0x20_0000, 0x20_0fff, 0x20_0000), stretch(0x3f_f000, 0x3f_ffff, 0x3f_f000)];
        assert_eq!(changes(spaces.before(0x1000), &spaces.after(0x1000)), gone.map(Change::Gone));
        // A large page takes the place of small ones, and a small one of a large one.
        spaces.add(&mapped(0x1000, 0x40_1234, 0x80_1234, 2 << 20));
        spaces.add(&mapped(0x1000, 0x50_0000, 0x1000, 4096));
        let after = spaces.after(0x1000);
        assert_eq!(after.last(), Some(&stretch(0x50_0000, 0x50_0fff, 0x1000)), "{after:x?}");
    }

    #[test]
    fn a_forbidden_access_tells_what_is_permitted() {
        let entry = |level, entry| Level { level, entry_gpa: 0, entry };
        let mut forbidden =
            walk(0x1000, 0x5678, WalkOutcome::Fault { level: 1, reason: WalkFault::Write, error_code: 3 });
        forbidden.levels = [entry(4, 0x2007), entry(3, 0x3007), entry(2, 0x4007), entry(1, 1 << 63 | 0xb105)]
            .into_iter()
            .collect();
        let mut spaces = Spaces::default();
        spaces.add(&forbidden);
        let rights = Rights { write: false, execute: false, user: true, global: true };
        assert_eq!(
            spaces.after(0x1000),
            [Stretch { gva: 0x5000, last: 0x5fff, gpa: 0xb000, page_size: 4096, rights }]
        );
    }

    #[test]
    fn too_many_pages_are_said() {
        let mut spaces = Spaces::default();
        for page in 0..MOST_PAGES as u64 + 3 {
            spaces.add(&mapped(0x1000, page << 12, page << 13, 4096));
        }
        assert_eq!((spaces.after(0x1000).len(), spaces.left_out()), (MOST_PAGES, 3));
    }

    #[test]
    fn too_many_spaces_are_said() {
        let mut spaces = Spaces::default();
        for n in 1..=MOST_TABLES as u64 + 2 {
            spaces.add(&mapped(n << 12, 0x5000, 0x9000, 4096));
        }
        // Those that are known go on.
        spaces.add(&mapped(0x1000, 0x6000, 0xa000, 4096));
        assert_eq!((spaces.tables().len(), spaces.left_out()), (MOST_TABLES, 2));
        assert_eq!(spaces.after(0x1000), [stretch(0x5000, 0x6fff, 0x9000)]);
    }

    fn any_stretches() -> impl Strategy<Value = Vec<Stretch>> {
        prop::collection::vec((0_u64..4, 1_u64..4, 0_u64..3, any::<bool>()), 0..12).prop_map(|parts| {
            let mut at = 0;
            let pages = parts.into_iter().map(|(gap, pages, gpa, write)| {
                let gva = at + gap * 4096;
                at = gva + pages * 4096;
                let rights = Rights { write, ..Rights::default() };
                Stretch { gva, last: at - 1, gpa: gva + gpa * 4096, page_size: 4096, rights }
            });
            merge(pages)
        })
    }

    fn at(stretches: &[Stretch], gva: u64) -> Option<(u64, Rights)> {
        let found = stretches.iter().find(|stretch| (stretch.gva..=stretch.last).contains(&gva))?;
        Some((found.gpa + (gva - found.gva), found.rights))
    }

    /// What was and what is.
    type Sides = (Option<Stretch>, Option<Stretch>);

    proptest! {
        #[test]
        fn changes_are_what_is_different(before in any_stretches(), after in any_stretches()) {
            let changes = changes(&before, &after);
            let both = |change: &Change| match change {
                Change::New(new) => (None, Some(*new)),
                Change::Gone(old) => (Some(*old), None),
                Change::Other(old, new) => (Some(*old), Some(*new)),
            };
            for page in 0..100 {
                let gva = page * 4096;
                let of = |side: fn(Sides) -> Option<Stretch>| {
                    changes.iter().filter_map(|change| side(both(change))).filter(|s| (s.gva..=s.last).contains(&gva)).count()
                };
                let (was, is) = (at(&before, gva), at(&after, gva));
                let differs = was != is;
                prop_assert_eq!(of(|(old, _)| old), usize::from(differs && was.is_some()), "{:x}", gva);
                prop_assert_eq!(of(|(_, new)| new), usize::from(differs && is.is_some()), "{:x}", gva);
            }
        }
    }
}
