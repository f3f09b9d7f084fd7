//! A Linux guest, by its console: what it prints is followed in the growing trace, and commands are typed into it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trace_format::describe::Line;
use trace_format::{Header, Reader};
use vmm_lite::{Control, MachineState, Module, SymbolFile};

use crate::images::SHOOTDOWN;
use crate::initramfs::Initramfs;
use crate::printed::Printed;
use crate::run::{Guest, Run, Started};

/// What the shell of [`Initramfs`] prints when it waits for a command.
pub const PROMPT: &str = "guest# ";
/// The first serial port, where the console is.
const COM1: u32 = 0x3f8;

/// A Linux guest that runs.
#[derive(Debug)]
pub struct Linux {
    started: Started,
    reader: Reader,
    console: Printed,
    /// How long the run may take.
    deadline: Instant,
    _files: TempDir,
}

impl Linux {
    /// Starts `kernel`, a bzImage or vmlinux, on `vcpus` vCPUs with busybox and the program `shootdown`, whose symbols
    /// the trace gets. Every trap is recorded. `words` are more of the kernel's command line.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(kernel: &Path, busybox: &Path, vcpus: u8, words: &str) -> Self {
        const TIMEOUT: Duration = Duration::from_secs(420);
        let files = tempfile::tempdir().unwrap_or_else(|e| panic!("a temporary directory: {e}"));
        let archive = files.path().join("initramfs.cpio");
        let program = files.path().join("shootdown");
        Initramfs::new().write(busybox, &archive).unwrap_or_else(|e| panic!("{}: {e}", archive.display()));
        std::fs::write(&program, SHOOTDOWN).unwrap_or_else(|e| panic!("{}: {e}", program.display()));

        let mut guest =
            Guest::file(kernel.to_owned(), vcpus).append(&format!("console=ttyS0 panic=-1 {words}"));
        guest.config.modules = vec![Module { path: archive, command_line: String::new() }];
        guest.config.symbols = vec![SymbolFile { path: program, offset: 0 }];
        guest.config.memory_bytes = 512 << 20;
        guest.config.timeout = Some(TIMEOUT);
        let deadline = Instant::now() + TIMEOUT;
        let started = guest.start();
        let reader = Reader::open(&started.trace).unwrap_or_else(|e| panic!("open: {e}"));
        Self { started, reader, console: Printed::at(COM1), deadline, _files: files }
    }

    /// What its trace says of it.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.reader.header()
    }

    /// Waits until it prints `text`, and forgets what it printed until then.
    ///
    /// # Panics
    /// When it does not, or its run ends before: the message has what it printed.
    pub fn wait_for(&mut self, text: &str) {
        loop {
            let ended = matches!(self.control().state(), MachineState::Stopped { .. });
            self.control().flush();
            self.console.read(&mut self.reader).unwrap_or_else(|e| panic!("read: {e}"));
            if self.console.take(text) {
                return;
            }
            if ended || Instant::now() >= self.deadline {
                let events = self.last_events();
                panic!("waited in vain for {text:?}:\n{}\n{events}", self.console.text());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types a line, as fast as the guest has room for it.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn type_line(&self, line: &str) {
        let control = self.control();
        let line = format!("{line}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let accepted = control.console_input(rest);
            rest = &rest[accepted..];
            assert!(rest.is_empty() || Instant::now() < self.deadline, "{} bytes are not taken", rest.len());
            if accepted == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// A handle to it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.started.vm.control()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When the monitor or the trace is broken.
    #[must_use]
    pub fn finish(self) -> Run {
        self.started.finish()
    }

    /// What was recorded last, for the message of a failed test.
    fn last_events(&mut self) -> String {
        const MANY: u64 = 80;
        let header = self.reader.header().clone();
        let first = self.reader.len().saturating_sub(MANY);
        let events = self.reader.forward(first).filter_map(Result::ok);
        events
            .map(|(number, event)| format!("{}\n", Line { number, event: &event, header: &header }))
            .collect()
    }
}

/// What the program `shootdown` counted itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shootdown {
    /// Its region while it counted, gva.
    pub region: Range<u64>,
    numbers: BTreeMap<String, u64>,
}

impl Shootdown {
    /// Its last line, out of what a guest printed.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn find(console: &str) -> Self {
        let line = console.lines().rev().find_map(|line| line.trim().strip_prefix("shootdown: "));
        let line = line.unwrap_or_else(|| panic!("no line of shootdown's:\n{console}"));
        let numbers: BTreeMap<String, u64> = line
            .split_whitespace()
            .map(|word| {
                let pair = word.split_once('=').and_then(|(name, value)| {
                    let number = match value.strip_prefix("0x") {
                        Some(hex) => u64::from_str_radix(hex, 16),
                        None => value.parse(),
                    };
                    Some((name.to_owned(), number.ok()?))
                });
                pair.unwrap_or_else(|| panic!("what is {word:?} in {line:?}?"))
            })
            .collect();
        let start = numbers["region"];
        Self { region: start..start + numbers["bytes"], numbers }
    }

    /// The number that the line calls `name`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.numbers[name]
    }
}
