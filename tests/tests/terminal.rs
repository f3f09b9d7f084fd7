//! What happens to a terminal around the UI: its size, its mouse, Ctrl-Z, a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use portable_pty::CommandBuilder;
use vmscope_tests::program;
use vmscope_tests::terminal::Terminal;

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../replays/tlb-shootdown-4.vmt");

fn replay(arguments: &[&str]) -> Terminal {
    let mut all = vec!["replay", TRACE];
    all.extend(arguments);
    let terminal = Terminal::start(&all);
    terminal.wait("the trace", |screen| screen.contains("exited with 0"));
    terminal
}

/// Column and line of `text`, from 1 as terminals count.
fn find(screen: &str, text: &str) -> (usize, usize) {
    let found = screen.lines().enumerate().find_map(|(y, line)| {
        let at = line.find(text)?;
        Some((line[..at].chars().count() + 1, y + 1))
    });
    found.unwrap_or_else(|| panic!("no {text}:\n{screen}"))
}

/// Presses the left button there and lets it go, as terminals report it (xterm's control sequences, SGR mode).
fn click(terminal: &mut Terminal, (x, y): (usize, usize)) {
    terminal.press(&format!("\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m"));
}

#[test]
fn the_screen_is_drawn_anew_at_every_size() {
    let mut terminal = replay(&[]);
    for (rows, columns) in [(24, 80), (5, 20), (50, 160), (16, 60)] {
        terminal.resize(rows, columns);
        terminal.wait("the panes at another size", |screen| {
            let lines: Vec<&str> = screen.lines().collect();
            let whole = lines.iter().take(usize::from(rows) - 1).skip(2);
            // Below nine lines panes have no border.
            lines.len() == usize::from(rows)
                && (rows < 9 || whole.clone().any(|line| line.chars().count() == usize::from(columns)))
                && lines.iter().all(|line| line.chars().count() <= usize::from(columns))
                && screen.contains("exited with 0")
        });
    }
    terminal.resize(4, 30);
    terminal.wait("what it needs", |screen| screen.contains("needs 20x5") && screen.contains("30x4"));
    terminal.resize(24, 80);
    terminal.wait("the panes again", |screen| screen.contains("events") && screen.contains("detail"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn the_mouse_chooses_views_and_events_and_can_be_left_to_the_terminal() {
    let mut terminal = replay(&[]);
    let tab = find(&terminal.contents(), "3 events");
    click(&mut terminal, tab);
    terminal.wait("the view of events", |screen| !screen.contains("cpu0  "));
    terminal.press("gg");
    terminal.wait("the first event", |screen| screen.contains(" 1 of 1 218"));
    let (x, y) = find(&terminal.contents(), "▸");
    click(&mut terminal, (x, y + 4));
    terminal.wait("the event clicked at", |screen| screen.contains(" 5 of 1 218"));
    // The wheel, down.
    terminal.press(&format!("\x1b[<65;{x};{y}M"));
    terminal.wait("three lines on", |screen| screen.contains(" 8 of 1 218"));
    assert!(takes_mouse(&terminal));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);

    let mut terminal = replay(&["--no-mouse"]);
    terminal.press("q");
    assert!(!takes_mouse(&terminal));
    assert_eq!(terminal.status(), 0);
}

/// Whether the program has asked for the mouse (xterm's mode 1000).
fn takes_mouse(terminal: &Terminal) -> bool {
    terminal.written().windows(8).any(|written| written == b"\x1b[?1000h")
}

#[test]
fn nobody_is_left_stopped() {
    // The only program of its terminal.
    let mut terminal = replay(&[]);
    terminal.press("\x1a");
    terminal.wait("the reason", |screen| screen.contains("it is not suspended"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn it_is_suspended_and_comes_back() {
    let mut shell = CommandBuilder::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]);
    shell.env("PS1", "ready> ");
    shell.env("NO_COLOR", "1");
    shell.env("HISTFILE", "");
    let mut terminal = Terminal::start_command(shell);
    terminal.wait("the shell", |screen| screen.contains("ready>"));
    terminal.press(&format!("{} replay {TRACE}\r", program::path().display()));
    terminal.wait("the trace", |screen| screen.contains("exited with 0"));
    assert!(!terminal.is_restored());
    terminal.press("gg");
    terminal.wait("the first event", |screen| screen.contains(" 1 of 1 218"));
    terminal.press("\x1a");
    terminal.wait("the shell again", |screen| screen.contains("Stopped"));
    assert!(terminal.is_restored(), "the shell has the terminal as it was");
    // Echo and lines are the terminal's again.
    terminal.press("echo $((6 * 7))\r");
    terminal.wait("the shell to answer", |screen| screen.lines().any(|line| line.trim() == "42"));
    terminal.press("fg\r");
    terminal.wait("the UI where it was", |screen| screen.contains(" 1 of 1 218"));
    assert!(!terminal.is_restored());
    terminal.press("q");
    terminal.wait("the shell at the end", |screen| screen.contains("ready>") && !screen.contains("of 1 218"));
    terminal.press("exit\r");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    let program = CommandBuilder::new(env!("CARGO_BIN_EXE_panics_in_a_terminal"));
    let terminal = Terminal::start_command(program);
    terminal.wait("the message", |screen| screen.contains("as if something were wrong"));
    let screen = terminal.contents();
    assert!(terminal.is_restored(), "{screen}");
    assert!(screen.contains("panics_in_a_terminal.rs"), "{screen}");
    assert_ne!(terminal.status(), 0);
}
