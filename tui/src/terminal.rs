//! The terminal: taken over while the UI runs, and given back whatever happens.

use std::io::{self, Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect, Size};

use crate::app::App;
use crate::{shell, ui};

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether the mouse is ours while the terminal is.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode on its alternate screen, until this is dropped.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal, and its mouse if `mouse`. A panic on any thread gives it back before its message is printed.
    ///
    /// # Errors
    /// If standard output is no terminal, or refuses.
    pub fn take(mouse: bool) -> io::Result<Self> {
        MOUSE.store(mouse, Ordering::SeqCst);
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        enter()?;
        match Terminal::new(CrosstermBackend::new(stdout())) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws `app`.
    ///
    /// # Errors
    /// If the terminal cannot be written to.
    pub fn draw(&mut self, app: &App) -> io::Result<()> {
        self.terminal.draw(|frame| ui::draw(frame, app)).map(|_| ())
    }

    /// Puts `text` into the terminal's clipboard: OSC 52, which not every terminal obeys and none answers.
    ///
    /// # Errors
    /// If the terminal cannot be written to.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// If the terminal does not tell.
    pub fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Stops this job as Ctrl-Z does and takes the terminal again when it is continued. Returns whether there is anybody who
    /// could continue it: otherwise nothing is done.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn suspend(&mut self) -> io::Result<bool> {
        if !shell::waits()? {
            return Ok(false);
        }
        give_back();
        // Whoever has started this is of the same job and stops with it. Linux gives a process's signal to its main thread
        // if it can, which this is: here everything stands still until somebody continues it.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        enter()?;
        // All of it is drawn anew. Not by `clear`: that asks the terminal where its cursor is, and the thread that reads keys
        // would get the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))?;
        Ok(true)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, Hide).inspect_err(|_| give_back())?;
    if MOUSE.load(Ordering::SeqCst) {
        execute!(stdout(), EnableMouseCapture).inspect_err(|_| give_back())?;
    }
    Ok(())
}

/// Nothing can be done here about a terminal that refuses: it is probably gone.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        if MOUSE.load(Ordering::SeqCst) {
            let _ = execute!(stdout(), DisableMouseCapture);
        }
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
