//! The view of memory, over a trace of two address spaces, and over a paused guest.

use std::cell::Cell;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Size;
use trace_format::event::{
    Access, Exit, ExitReason, Level, MACHINE, PagingMode, Payload, Permissions, Registers, StopReason, Trap,
    TrapClass, VcpuState, Walk, WalkCause, WalkFault, WalkOutcome,
};
use trace_format::{Event, Header, Reader, Writer};
use vmscope::app::memory::{At, SpaceRow};
use vmscope::app::{App, Pane, Settings, View};
use vmscope::guest::{Guest, Machine, Space, VcpuNow};
use vmscope::model::space::{Change, Rights, Stretch};

use crate::paused::{Paused, Tells};
use crate::snapshot;

const SIZES: [Size; 3] = [Size::new(60, 16), Size::new(80, 24), Size::new(160, 50)];
const DATA: u64 = 0xffff_8000_0000_0000;

fn walk(cr3: u64, gva: u64, gpa: Option<u64>) -> Payload {
    let level = |level, entry_gpa, entry| Level { level, entry_gpa, entry };
    let leaf = gpa.map_or(0, |gpa| gpa & !0xfff | 0x8000_0000_0000_0163);
    let levels = [
        level(4, cr3 + 0x800, 0x2063),
        level(3, 0x2000, 0x3063),
        level(2, 0x3000, 0x4063),
        level(1, 0x4000, leaf),
    ];
    let permissions =
        Permissions { write: true, global: true, accessed: true, dirty: true, ..Permissions::default() };
    let outcome = match gpa {
        Some(gpa) => WalkOutcome::Mapped { gpa, page_size: 4096, permissions, host: None },
        None => WalkOutcome::Fault { level: 1, reason: WalkFault::NotPresent, error_code: 2 },
    };
    Payload::Walk(Walk {
        cause: WalkCause::PageFault,
        cr3,
        mode: PagingMode::FourLevel,
        gva,
        access: Access { write: true, ..Access::default() },
        levels: levels.into_iter().collect(),
        outcome,
    })
}

fn fault(id: u64, cr2: u64) -> Payload {
    Payload::Trap(Trap {
        id,
        vector: 14,
        class: TrapClass::Fault,
        rip: 0x1000,
        cpl: 0,
        cs: 8,
        rsp: 0x8000,
        code: Some(2),
        cr2: Some(cr2),
        handler: 0x2000,
        shared_by: 1,
    })
}

fn trace() -> Reader {
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 2, ..Header::default() }).expect("in memory");
    let exit = Exit { reason: ExitReason::Halt, rip: 0x1000, cpl: 0, guest_ns: 1, handling_ns: 1 };
    for (time, vcpu, payload) in [
        (1_000, 0, walk(0x1000, DATA, Some(0x10_0000))),
        (2_000, 0, walk(0x1000, DATA + 0x1000, Some(0x10_1000))),
        (3_000, 1, walk(0x5000, DATA, Some(0x20_0000))),
        (4_000, 0, fault(1, DATA + 0x2008)),
        (4_000, 0, walk(0x1000, DATA + 0x2008, None)),
        (5_000, 0, fault(2, DATA + 0x2010)),
        (6_000, 0, walk(0x1000, DATA + 0x2010, Some(0x10_2010))),
        (7_000, 0, fault(3, DATA + 0x9000)),
        (8_000, 0, walk(0x1000, DATA + 8, None)),
        (9_000, 0, Payload::Exit(exit)),
        (9_500, MACHINE, Payload::State(VcpuState::Stopped { why: StopReason::PowerOff })),
    ] {
        writer.append(&Event { time, vcpu, payload }).expect("in order");
    }
    Reader::from_bytes(writer.finish().expect("in memory")).expect("readable")
}

fn app() -> App {
    let mut app = App::new(trace(), Settings::plain());
    app.resize(SIZES[2]);
    app.show(View::Memory);
    app.read_all();
    app
}

fn press(app: &mut App, keys: &str) {
    for c in keys.chars() {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        app.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    app.read_all();
}

fn ranges(app: &App) -> Vec<(u64, u64)> {
    let range = |row: &SpaceRow| match row {
        SpaceRow::Is(stretch) => (stretch.gva, stretch.length()),
        SpaceRow::Changed(_) => panic!("changes are not asked for"),
    };
    app.space_rows().iter().map(range).collect()
}

#[test]
fn every_size_shows_the_walk_pages_ranges_and_bytes() {
    let mut app = app();
    app.select(6);
    for size in SIZES {
        app.resize(size);
        app.read_all();
        insta::assert_snapshot!(format!("memory-{}x{}", size.width, size.height), snapshot(&mut app, size));
    }
    for pane in View::Memory.panes() {
        app.focus(*pane);
        let name: String = pane.name().replace(' ', "-");
        insta::assert_snapshot!(format!("memory-60x16-{name}"), snapshot(&mut app, SIZES[0]));
    }
}

#[test]
fn the_walk_is_the_selected_one_or_the_last_of_the_vcpu_before() {
    let mut app = app();
    for (event, walk) in [(0, 0), (2, 2), (3, 1), (5, 4), (9, 8), (10, 8)] {
        app.select(event);
        app.read_all();
        press(&mut app, "");
        app.resize(SIZES[2]);
        assert_eq!(app.walk_shown().map(|(number, _)| number), Some(walk), "at event {event}");
    }
    app.focus(Pane::Walk);
    press(&mut app, "\n");
    assert_eq!(app.cursor(), 8, "Enter goes to the walk itself");
}

#[test]
fn spaces_are_told_apart_and_each_is_shown() {
    let mut app = app();
    app.select(6);
    app.focus(Pane::Space);
    press(&mut app, "");
    assert_eq!(ranges(&app), [(DATA + 0x1000, 0x2000)], "the first page has gone");
    let listed = |app: &App| app.space_listed().map(|listed| (listed.table, listed.place));
    assert_eq!(listed(&app), Some((0x1000, None)), "that of the selected walk");
    press(&mut app, "c");
    assert_eq!(listed(&app), Some((0x1000, Some((1, 2)))));
    press(&mut app, "c");
    assert_eq!(listed(&app), Some((0x5000, Some((2, 2)))));
    assert_eq!(ranges(&app), [(DATA, 0x1000)]);
    press(&mut app, "t0x1000\n");
    assert_eq!(ranges(&app), [(DATA + 0x1000, 0x2000)]);
    // With its flags; and one that was never walked.
    for (typed, table) in [("t5018\n", 0x5000), ("t9000\n", 0x5000), ("t0x1000\n", 0x1000)] {
        press(&mut app, typed);
        assert_eq!(app.space_listed().map(|listed| listed.table), Some(table), "{typed}");
    }
    press(&mut app, "cc");
    assert_eq!(listed(&app), Some((0x1000, None)), "it goes along with the cursor again");
    app.select(2);
    press(&mut app, "");
    app.resize(SIZES[2]);
    assert_eq!(listed(&app), Some((0x5000, None)));
    app.select(6);
    press(&mut app, "");
    app.resize(SIZES[2]);
    press(&mut app, "fx\n");
    assert!(app.space_rows().is_empty());
    assert!(snapshot(&mut app, SIZES[2]).contains("no range has these flags"));
    press(&mut app, "f");
    // What was set is there to be changed.
    for _ in 0..2 {
        app.key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    }
    press(&mut app, "w !u\n");
    assert_eq!(ranges(&app).len(), 1);
}

#[test]
fn a_click_selects_a_range() {
    let mut app = app();
    app.select(3);
    app.focus(Pane::Space);
    press(&mut app, "");
    let area = app.panes().and_then(|panes| panes.inside(Pane::Space)).expect("it is shown");
    assert_eq!(ranges(&app), [(DATA + 0x1000, 0x2000)]);
    press(&mut app, "t5000\n");
    for row in [1, 2] {
        // Below the last there is none to be selected.
        app.mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column: area.x,
            row: area.y + row,
            modifiers: KeyModifiers::NONE,
        });
        assert_eq!(app.space_list().selected(1), Some(0));
    }
    press(&mut app, "\n");
    assert_eq!(app.hex().map(|hex| hex.at), Some(At::Virtual(DATA)));
}

#[test]
fn a_range_of_time_has_changes() {
    let mut app = app();
    app.focus(Pane::Space);
    press(&mut app, "d");
    assert!(app.space_rows().is_empty(), "before the whole run there was nothing to compare with");
    assert!(snapshot(&mut app, SIZES[2]).contains("a range of time has changes"));
    press(&mut app, "d");
    app.select(3);
    press(&mut app, "x");
    app.select(8);
    press(&mut app, "x");
    app.focus(Pane::Space);
    press(&mut app, "d");
    let changes: Vec<&str> = app
        .space_rows()
        .iter()
        .map(|row| match row {
            SpaceRow::Changed(Change::Gone(gone)) if gone.gva == DATA => "the first has gone",
            SpaceRow::Changed(Change::New(new)) if new.gva == DATA + 0x2000 => "the third is new",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(changes, ["the first has gone", "the third is new"]);
    insta::assert_snapshot!("memory-changes", snapshot(&mut app, SIZES[2]));
    press(&mut app, "d");
    assert_eq!(ranges(&app), [(DATA + 0x1000, 0x2000)]);
}

#[test]
fn a_page_lists_exactly_its_faults() {
    let mut app = app();
    app.focus(Pane::Pages);
    assert_eq!(app.faulting_pages().first().map(|page| page.count), Some(2));
    press(&mut app, "\n");
    assert_eq!((app.filter(), app.listed().count), ("trap.page == 0xffff800000002000", 2));
}

/// A guest that writes a byte between two looks.
struct Writes {
    byte: Cell<u8>,
    more: Cell<bool>,
}

impl Tells for Writes {
    fn cpu(&self, _: u8) -> VcpuNow {
        let mut registers = Registers { rip: 0x1000, cr3: 0x7000, efer: 0x500, ..Registers::default() };
        (registers.general[0], registers.general[7]) = (DATA + 0x20, DATA);
        VcpuNow { registers, next: 0x1000, code_bits: 64 }
    }

    fn read(&self, gva: u64, buffer: &mut [u8]) -> usize {
        // One page, of which everything else is the address.
        let bytes = (gva..DATA + 0x1000).map(|at| if at == DATA + 5 { self.byte.get() } else { at as u8 });
        if gva < DATA { 0 } else { buffer.iter_mut().zip(bytes).map(|(place, byte)| *place = byte).count() }
    }

    fn read_physical(&self, gpa: u64, buffer: &mut [u8]) -> usize {
        if gpa >= 0x1000 {
            return 0;
        }
        buffer.fill(0xee);
        buffer.len()
    }

    fn space(&self, vcpu: u8, table: Option<u64>) -> Space {
        if table == Some(0x6000) {
            return Space { table: 0x6000, paging: true, ..Space::default() };
        }
        let rights = Rights { write: true, ..Rights::default() };
        let last = DATA + if self.more.get() { 0x1fff } else { 0xfff };
        let stretch = Stretch { gva: DATA, last, gpa: 0x9000, page_size: 4096, rights };
        Space {
            table: table.unwrap_or(0x7000 + 0x1000 * u64::from(vcpu)),
            stretches: vec![stretch],
            paging: true,
            more: false,
        }
    }
}

/// A trace that is being written, as a monitor does.
struct Growing {
    path: tempfile::TempPath,
    writer: Writer<std::fs::File>,
}

impl Growing {
    fn start() -> Self {
        let (file, path) = tempfile::NamedTempFile::new().expect("a file").into_parts();
        let writer = Writer::new(file, &Header { vcpus: 2, ..Header::default() }).expect("a header");
        let mut growing = Self { path, writer };
        growing.add(0, 0);
        growing
    }

    fn add(&mut self, time: u64, vcpu: u8) {
        let exit = Exit { reason: ExitReason::Halt, rip: 0x1000, cpl: 0, guest_ns: 1, handling_ns: 1 };
        self.writer.append(&Event { time, vcpu, payload: Payload::Exit(exit) }).expect("in order");
        self.writer.flush().expect("written");
    }
}

#[test]
fn a_paused_guest_shows_its_own_memory_and_what_has_changed() {
    let guest = Paused(Writes { byte: Cell::new(1), more: Cell::new(false) });
    let mut trace = Growing::start();
    let reader = Reader::open(&trace.path).expect("readable");
    let mut app = App::new(reader, Settings { follow: true, ..Settings::plain() });
    app.set_machine(Some(guest.machine()));
    app.resize(SIZES[2]);
    app.show(View::Memory);
    app.read_all();
    assert!(app.look_at_memory_of(&guest).expect("it tells"));
    assert!(!app.look_at_memory_of(&guest).expect("it tells"), "nothing is new");
    let hex = app.hex().expect("the stack");
    assert_eq!((hex.at, hex.now), (At::Virtual(DATA), true));
    assert_eq!(hex.rows[0].bytes[4..7], [Some((4, false)), Some((1, false)), Some((6, false))]);
    assert_eq!(ranges(&app), [(DATA, 0x1000)]);
    assert!(snapshot(&mut app, SIZES[2]).contains("the guest's tables"));
    // Something is recorded while it stands still.
    trace.add(1, 0);
    while app.known() < 2 {
        app.tick();
    }
    assert!(!app.look_at_memory_of(&guest).expect("it tells"), "that is no other stop");
    // It runs on for a moment.
    app.set_machine(Some(Machine::Running));
    app.set_machine(Some(guest.machine()));
    guest.0.byte.set(2);
    guest.0.more.set(true);
    assert!(app.look_at_memory_of(&guest).expect("it tells"));
    let hex = app.hex().expect("the stack");
    assert_eq!(hex.rows[0].bytes[4..7], [Some((4, false)), Some((2, true)), Some((6, false))]);
    assert_eq!(ranges(&app), [(DATA, 0x2000)]);
    app.focus(Pane::Space);
    press(&mut app, "d");
    app.look_at_memory_of(&guest).expect("it tells");
    let rights = Rights { write: true, ..Rights::default() };
    let new = Stretch { gva: DATA + 0x1000, last: DATA + 0x1fff, gpa: 0xa000, page_size: 4096, rights };
    assert_eq!(app.space_rows(), [SpaceRow::Changed(Change::New(new))]);
    insta::assert_snapshot!("memory-changed", snapshot(&mut app, SIZES[2]));
    // Another space in between does not make it forget what it had before.
    for typed in ["t8000\n", "t7000\n"] {
        press(&mut app, typed);
        app.look_at_memory_of(&guest).expect("it tells");
    }
    assert_eq!(app.space_rows(), [SpaceRow::Changed(Change::New(new))]);
    press(&mut app, "dt6000\n");
    app.look_at_memory_of(&guest).expect("it tells");
    assert!(snapshot(&mut app, SIZES[2]).contains("these tables map nothing"));
    press(&mut app, "t7000\n");
    app.look_at_memory_of(&guest).expect("it tells");
    for (typed, at) in [("arax\n", At::Virtual(DATA + 0x20)), ("agpa 0xff8\n", At::Physical(0xff0))] {
        press(&mut app, typed);
        app.look_at_memory_of(&guest).expect("it tells");
        assert_eq!(app.hex().map(|hex| hex.at), Some(at), "{typed}");
    }
    let rows = &app.hex().expect("bytes").rows;
    assert_eq!(rows[0].bytes[0], Some((0xee, false)));
    assert_eq!(rows[1].bytes[0], None, "there is no memory");
    app.focus(Pane::Memory);
    press(&mut app, "gg");
    app.look_at_memory_of(&guest).expect("it tells");
    assert_eq!(app.hex().map(|hex| hex.at), Some(At::Virtual(DATA)), "back to the stack");
    press(&mut app, "k");
    app.look_at_memory_of(&guest).expect("it tells");
    assert_eq!(app.hex().map(|hex| hex.rows[0].bytes[0]), Some(None), "below it nothing is mapped");
    press(&mut app, "a0xffff_ffff_ffff_fff8\n");
    app.look_at_memory_of(&guest).expect("it tells");
    assert_eq!(app.hex().map(|hex| hex.rows.len()), Some(1), "there is nothing behind the last byte");
    app.focus(Pane::Memory);
    press(&mut app, "ggk");
    app.look_at_memory_of(&guest).expect("it tells");
    insta::assert_snapshot!("memory-paused", snapshot(&mut app, SIZES[2]));
    // Another vCPU has tables of its own.
    app.focus(Pane::Space);
    for _ in 0..4 {
        if app.space_listed().is_some_and(|listed| listed.place.is_some()) {
            press(&mut app, "c");
            app.look_at_memory_of(&guest).expect("it tells");
        }
    }
    trace.add(2, 1);
    while app.known() < 3 {
        app.tick();
    }
    for (event, table) in [(2, 0x8000), (1, 0x7000)] {
        app.select(event);
        app.look_at_memory_of(&guest).expect("it tells");
        assert_eq!(app.space_listed().map(|listed| listed.table), Some(table));
    }
}
