//! A program in a pseudo-terminal, and what is on its screen.

use std::io::{Read as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::program;

/// How high the terminal is.
pub const ROWS: u16 = 40;
/// How wide.
pub const COLUMNS: u16 = 120;
/// How long something may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// A program in a terminal.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Everything that was written, for what the screen does not keep.
    raw: Arc<Mutex<Vec<u8>>>,
    master: Box<dyn MasterPty + Send>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

/// # Panics
/// All of it, when the system has no terminal to give: a test cannot go on then.
impl Terminal {
    /// vmscope, without colour.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = CommandBuilder::new(program::path());
        command.args(arguments);
        command.env("NO_COLOR", "1");
        Self::start_command(command)
    }

    /// Another program.
    #[must_use]
    pub fn start_command(mut command: CommandBuilder) -> Self {
        let pty =
            native_pty_system().openpty(size(ROWS, COLUMNS)).unwrap_or_else(|e| panic!("a terminal: {e}"));
        command.env("TERM", "xterm-256color");
        let child = pty.slave.spawn_command(command).unwrap_or_else(|e| panic!("its program: {e}"));
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pty.master.try_clone_reader().unwrap_or_else(|e| panic!("its screen: {e}"));
        let (to_screen, to_raw) = (Arc::clone(&screen), Arc::clone(&raw));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                lock(&to_screen).process(&bytes[..n]);
                lock(&to_raw).extend_from_slice(&bytes[..n]);
            }
        });
        let keys = pty.master.take_writer().unwrap_or_else(|e| panic!("its keyboard: {e}"));
        Self { child, keys, screen, raw, master: pty.master }
    }

    /// What is on the screen.
    #[must_use]
    pub fn contents(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    /// The top line.
    #[must_use]
    pub fn header(&self) -> String {
        self.contents().lines().next().unwrap_or_default().to_owned()
    }

    /// What was written since the beginning.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        lock(&self.raw).clone()
    }

    /// The program's process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.process_id().unwrap_or_else(|| panic!("a process has an id"))
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        let typed = self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush());
        typed.unwrap_or_else(|e| panic!("cannot type {keys:?}: {e}\n{}", self.contents()));
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut parser = lock(&self.screen);
        parser.screen_mut().set_size(rows, columns);
        // What is seen from now on was drawn for this size.
        parser.process(b"\x1b[2J");
        drop(parser);
        self.master.resize(size(rows, columns)).unwrap_or_else(|e| panic!("its size: {e}"));
    }

    /// Whether the terminal is as it was before: no alternate screen, a visible cursor.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        let parser = lock(&self.screen);
        !parser.screen().alternate_screen()
            && !parser.screen().hide_cursor()
            && parser.screen().mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }

    /// Waits until the screen is `done`.
    pub fn wait(&self, what: &str, done: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.contents()) {
            assert!(Instant::now() < deadline, "waited in vain for {what}:\n{}", self.contents());
            thread::sleep(POLL);
        }
    }

    /// Waits for the end, and says with which status. The terminal must be as it was before.
    #[must_use]
    pub fn status(mut self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap_or_else(|e| panic!("wait: {e}")) {
                break status;
            }
            if Instant::now() > deadline {
                drop(self.child.kill());
                panic!("it does not end:\n{}", self.contents());
            }
            thread::sleep(POLL);
        };
        // What it wrote last may still be on its way.
        while !self.is_restored() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert!(self.is_restored(), "the terminal was not restored");
        let raw = lock(&self.raw);
        assert!(raw.windows(8).any(|w| w == b"\x1b[?1049h"), "there was an alternate screen");
        status.exit_code()
    }
}
