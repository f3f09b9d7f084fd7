//! The view of code, over a trace whose image is known and whose registers were recorded, and over a guest.

use std::borrow::Cow;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;
use trace_format::event::{Exit, ExitReason, Payload, Registers, StopReason, VcpuState};
use trace_format::header::{ImageFacts, Stretch, Symbol};
use trace_format::{Event, Header, Reader, Writer};
use vmscope::app::action::Command;
use vmscope::app::{App, Pane, Settings, View};
use vmscope::guest::{Guest, Machine, VcpuNow};

use crate::paused::{Paused, Tells};
use crate::snapshot;

const START: u64 = 0xffff_8000_0010_0000;
const HELPER: u64 = START + 21;

/// main: push rbp; mov rbp, rsp; mov edi, 7; call helper; test eax, eax; jne main; pop rbp; ret
/// helper: lea eax, [rdi+1]; out 0x80, al; ret
const CODE: [u8; 27] = [
    0x55, 0x48, 0x89, 0xe5, 0xbf, 7, 0, 0, 0, 0xe8, 7, 0, 0, 0, 0x85, 0xc0, 0x75, 0xee, 0x5d, 0xc3, 0x90,
    0x8d, 0x47, 0x01, 0xe6, 0x80, 0xc3,
];

fn registers(rip: u64, rax: u64, rsp: u64) -> Registers {
    let mut registers = Registers { rip, cr0: 0x8000_0011, efer: 0x500, cr3: 0x1000, ..Registers::default() };
    (registers.general[0], registers.general[7]) = (rax, rsp);
    registers
}

fn app() -> App {
    let symbol = |address, size, name: &str| Symbol { address, size, name: name.into() };
    let constant = vec![Stretch { gva: START, offset: 0, length: CODE.len() as u64 }];
    let header = Header {
        guest: "made-up".into(),
        vcpus: 2,
        symbols: vec![symbol(START, 21, "main"), symbol(HELPER, 6, "helper")].into(),
        image: Some(ImageFacts::of(&CODE, constant)),
        ..Header::default()
    };
    let mut writer = Writer::new(Vec::new(), &header).expect("a trace in memory");
    let out = |rip| {
        let reason = ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: 8 };
        Payload::Exit(Exit { reason, rip, cpl: 0, guest_ns: 1, handling_ns: 1 })
    };
    for (time, vcpu, payload) in [
        (500, 0, Payload::State(VcpuState::Running)),
        (1_000, 0, Payload::Registers(registers(START + 9, 0, 0x7ff0))),
        (1_000, 0, out(START + 9)),
        (2_000, 1, out(START + 14)),
        (3_000, 0, Payload::Registers(registers(HELPER + 3, 8, 0x7fe8))),
        (3_000, 0, out(HELPER + 3)),
        (4_000, 0, out(START + 0x4000)),
    ] {
        writer.append(&Event { time, vcpu, payload }).expect("it is in order");
    }
    let reader = Reader::from_bytes(writer.finish().expect("a trace in memory")).expect("readable");
    let mut app = App::new(reader, Settings::plain());
    app.set_image(Some(Cow::Borrowed(&CODE)));
    app.resize(Size::new(80, 24));
    app.read_all();
    app.show(View::Code);
    app.select(5);
    app
}

fn press(app: &mut App, code: KeyCode) -> Option<Command> {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// The line of the selected instruction, and where the vCPU is.
fn selected(app: &App) -> Option<u64> {
    let rows = app.code_rows();
    match rows.get(app.code_list().selected(rows.len())?)? {
        vmscope::app::code::Row::Code(line) => Some(line.gva),
        vmscope::app::code::Row::Label(_) | vmscope::app::code::Row::Source(_) => None,
    }
}

#[test]
fn code_and_registers_at_every_size() {
    for (width, height) in [(60, 16), (80, 24), (160, 50)] {
        let mut app = app();
        let size = Size::new(width, height);
        insta::assert_snapshot!(format!("code-listing-{width}x{height}"), snapshot(&mut app, size));
    }
}

#[test]
fn it_goes_along_with_the_cursor() {
    let mut app = app();
    let size = Size::new(80, 24);
    assert!(snapshot(&mut app, size).contains("cpu0 was at helper+0x3"));
    app.select(3);
    let screen = snapshot(&mut app, size);
    assert!(screen.contains("cpu1 was at main+0xe, taken for 64-bit code"), "{screen}");
    assert!(screen.contains("none of this vCPU were"), "{screen}");
    app.select(2);
    assert!(snapshot(&mut app, size).contains("helper"), "calls are named");
    assert_eq!(app.registers_shown().map(|shown| shown.before.is_none()), Some(true), "nothing is before it");
    app.select(6);
    let screen = snapshot(&mut app, size);
    assert!(screen.contains("the trace does not tell what is at"), "{screen}");
    assert_eq!(app.registers_shown().and_then(|shown| shown.stale), Some(4), "they are of an earlier moment");
    app.select(0);
    let screen = snapshot(&mut app, size);
    assert!(screen.contains("cpu0 at #1 is at main+0x9"), "nothing before tells: {screen}");
    assert!(screen.contains("none of this vCPU were"), "{screen}");
    app.set_image(None);
    app.select(5);
    let screen = snapshot(&mut app, size);
    assert!(screen.contains("--image"), "{screen}");
}

#[test]
fn keys_go_through_the_code() {
    let mut app = app();
    app.select(2);
    app.resize(Size::new(80, 24));
    assert_eq!(selected(&app), Some(START + 9));
    press(&mut app, KeyCode::Enter);
    assert_eq!(selected(&app), Some(HELPER), "what it calls");
    press(&mut app, KeyCode::Up);
    assert_eq!(selected(&app), Some(START + 20), "over the label");
    press(&mut app, KeyCode::Down);
    assert_eq!(selected(&app), Some(HELPER));
    press(&mut app, KeyCode::Home);
    assert_eq!(selected(&app), Some(START + 9), "back to where the vCPU is");
    press(&mut app, KeyCode::End);
    assert_eq!(selected(&app), Some(HELPER + 5));
    press(&mut app, KeyCode::Enter);
    assert!(app.message().is_some_and(|message| message.text.contains("names no other code")));
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.focused(), Pane::Registers);
    press(&mut app, KeyCode::Down);
    assert_eq!(app.scroll(Pane::Registers), 1);
}

/// A guest that is paused somewhere else than the trace tells.
struct Elsewhere(Registers);

impl Tells for Elsewhere {
    fn cpu(&self, _: u8) -> VcpuNow {
        VcpuNow { registers: self.0.clone(), next: self.0.rip, code_bits: 64 }
    }

    fn read(&self, gva: u64, buffer: &mut [u8]) -> usize {
        let bytes = (0..).zip(CODE).filter(|(n, _)| START + n >= gva).map(|(_, byte)| byte);
        if gva < START { 0 } else { buffer.iter_mut().zip(bytes).map(|(place, byte)| *place = byte).count() }
    }

    fn breakpoints(&self) -> Vec<u64> {
        vec![START + 14]
    }
}

#[test]
fn of_a_paused_guest_it_is_what_is_there_now() {
    let mut app = app();
    app.set_image(None);
    let guest = Paused(Elsewhere(registers(START + 4, 1, 0x7ff0)));
    app.set_machine(Some(guest.machine()));
    app.set_breakpoints(guest.breakpoints());
    press(&mut app, KeyCode::Char('3'));
    press(&mut app, KeyCode::End);
    press(&mut app, KeyCode::Char('9'));
    assert!(app.look_at_code_of(&guest).expect("it can be looked at"));
    assert!(!app.look_at_code_of(&guest).expect("it can be looked at"), "nothing is new");
    assert_eq!(selected(&app), Some(START + 4));
    let stepped = Paused(Elsewhere(registers(START + 9, 1, 0x7ff0)));
    assert!(app.look_at_code_of(&stepped).expect("it can be looked at"));
    insta::assert_snapshot!("code-listing-live", snapshot(&mut app, Size::new(80, 24)));
    press(&mut app, KeyCode::Down);
    app.look_at_code_of(&stepped).expect("it can be looked at");
    assert_eq!(selected(&app), Some(START + 14), "it stays where it was moved to");
    let command = press(&mut app, KeyCode::Char('b'));
    assert_eq!(command, Some(Command::ToggleBreakpoint { vcpu: 0, gva: START + 14 }));
    app.set_machine(Some(Machine::Stopped { why: StopReason::PowerOff }));
    assert_eq!(press(&mut app, KeyCode::Char('b')), None);
}

/// The built-in guests have debug information. Which instructions a compiler makes is its own affair.
#[cfg(feature = "live")]
#[test]
fn source_lines_stand_before_their_instructions() {
    use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};
    use vmscope::app::code::Row;

    let image = vmscope::live::image("tlb-shootdown").expect("it is built in");
    let file = object::File::parse(image).expect("it is an ELF file");
    let main = file.symbol_by_name("main").expect("it has one");
    let text = file
        .segments()
        .find(|segment| (segment.address()..segment.address() + segment.size()).contains(&main.address()))
        .expect("it is in one");
    let (offset, length) = text.file_range();
    let constant = vec![Stretch { gva: text.address(), offset, length }];
    let symbol = Symbol { address: main.address(), size: main.size(), name: "main".into() };
    let image_facts = Some(ImageFacts::of(image, constant));
    let header = Header { vcpus: 1, symbols: vec![symbol].into(), image: image_facts, ..Header::default() };
    let mut writer = Writer::new(Vec::new(), &header).expect("a trace in memory");
    let exit = Exit { reason: ExitReason::Halt, rip: main.address(), cpl: 0, guest_ns: 1, handling_ns: 1 };
    writer.append(&Event { time: 1, vcpu: 0, payload: Payload::Exit(exit) }).expect("in order");
    let reader = Reader::from_bytes(writer.finish().expect("in memory")).expect("readable");
    let mut app = App::new(reader, Settings::plain());
    app.set_image(Some(Cow::Borrowed(image)));
    app.resize(Size::new(160, 50));
    app.show(View::Code);
    app.read_all();
    let rows = app.code_rows();
    let at = rows
        .iter()
        .position(|row| matches!(row, Row::Code(line) if line.gva == main.address()))
        .expect("its instructions are shown");
    assert_eq!(rows[at - 2], Row::Label("main".into()));
    let Row::Source(source) = &rows[at - 1] else { panic!("{:?}", rows[at - 1]) };
    assert!(source.file.ends_with("guests/tlb-shootdown.c") && source.line > 1, "{source:?}");
    let place = format!("tlb-shootdown.c:{}", source.line);
    assert!(snapshot(&mut app, Size::new(160, 50)).contains(&place));
    assert_eq!(selected(&app), Some(main.address()));
    press(&mut app, KeyCode::Up);
    let above = selected(&app).expect("an instruction, not a line or a label, is selected");
    assert!(above < main.address());
    press(&mut app, KeyCode::Down);
    assert_eq!(selected(&app), Some(main.address()));
}
