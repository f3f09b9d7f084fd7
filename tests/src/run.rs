//! Guests run through the monitor's own interface.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use trace_format::event::{Exit, ExitReason, Payload, StopReason};
use trace_format::{Event, Header, Kind, Reader};
use vmm_lite::{Config, Image, Irqchip, Outcome, TrapSelection, Vm, guests};

use crate::program;

/// A guest to run: what is not set is as `vmscope record` has it.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Everything but where the trace goes.
    pub config: Config,
    /// The image, if it is none of those that come with vmscope.
    image: Option<&'static [u8]>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub outcome: Outcome,
    /// What its trace says of it.
    pub header: Header,
    /// Every event.
    pub events: Vec<Event>,
    /// Where the trace is, as long as this lives.
    pub trace: PathBuf,
    _directory: TempDir,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Started {
    /// The guest.
    pub vm: Vm,
    /// Where its trace is.
    pub trace: PathBuf,
    directory: TempDir,
}

impl Guest {
    /// The built-in guest `name`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(name: &str, vcpus: u8) -> Self {
        let guest = guests::find(name).unwrap_or_else(|| panic!("no guest {name}"));
        Self::with(Image::Builtin(guest), vcpus)
    }

    /// The guest that `image` holds, one of [`crate::images`].
    #[must_use]
    pub fn image(image: &'static [u8], vcpus: u8) -> Self {
        Self { image: Some(image), ..Self::file(PathBuf::new(), vcpus) }
    }

    /// The guest in a file.
    #[must_use]
    pub fn file(path: PathBuf, vcpus: u8) -> Self {
        Self::with(Image::File(path), vcpus)
    }

    fn with(image: Image, vcpus: u8) -> Self {
        Self {
            config: Config {
                vcpus,
                timeout: Some(Duration::from_secs(120)),
                followed: true,
                command: vec!["test".to_owned()],
                ..Config::new(image)
            },
            image: None,
        }
    }

    /// With this command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        words.clone_into(&mut self.config.append);
        self
    }

    /// Recording these traps.
    #[must_use]
    pub fn traps(mut self, traps: TrapSelection) -> Self {
        self.config.traps = traps;
        self
    }

    /// With these interrupt controllers in KVM.
    #[must_use]
    pub fn irqchip(mut self, irqchip: Irqchip) -> Self {
        self.config.irqchip = irqchip;
        self
    }

    /// Paused before its first instruction.
    #[must_use]
    pub fn paused(mut self) -> Self {
        self.config.start_paused = true;
        self
    }

    /// Starts it with a trace.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Started {
        let directory = tempfile::tempdir().unwrap_or_else(|e| panic!("a temporary directory: {e}"));
        let trace = directory.path().join("t.vmt");
        if let Some(image) = self.image {
            let path = directory.path().join("guest");
            std::fs::write(&path, image).unwrap_or_else(|e| panic!("write the image: {e}"));
            self.config.image = Image::File(path);
        }
        self.config.trace = Some(trace.clone());
        let vm = Vm::start(self.config).unwrap_or_else(|e| panic!("start: {e}"));
        Started { vm, trace, directory }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(self) -> Run {
        self.start().finish()
    }
}

impl Started {
    /// Waits for the end and reads the trace.
    ///
    /// # Panics
    /// When the monitor or the trace is broken.
    #[must_use]
    pub fn finish(self) -> Run {
        let Self { vm, trace, directory } = self;
        let outcome = vm.wait().unwrap_or_else(|e| panic!("wait: {e}"));
        let mut reader = Reader::open(&trace).unwrap_or_else(|e| panic!("open: {e}"));
        let header = reader.header().clone();
        let events = reader.forward(0).map(|e| e.unwrap_or_else(|e| panic!("read: {e}")).1).collect();
        Run { outcome, header, events, trace, _directory: directory }
    }
}

impl Run {
    /// The guest found nothing wrong with itself.
    ///
    /// # Panics
    /// When it did: the message has its output.
    pub fn assert_well(&self) {
        assert_eq!(
            self.outcome.why,
            StopReason::GuestExit { status: 0 },
            "{:?}\n{}",
            self.outcome.failure,
            self.console()
        );
    }

    /// The last `count` events as `vmscope events` shows them, for the message of a failed test.
    #[must_use]
    pub fn last_events(&self, count: usize) -> String {
        let shown = program::expect(0, &["events", &self.trace.to_string_lossy()]);
        let lines: Vec<&str> = shown.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// What the guest printed, all devices together.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes: Vec<u8> = self
            .events
            .iter()
            .filter_map(|e| match &e.payload {
                Payload::Console(output) => Some(output.bytes.iter().copied()),
                _ => None,
            })
            .flatten()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the guest counted itself.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.events
            .iter()
            .filter_map(|e| match &e.payload {
                Payload::Counter(counter) => Some((counter.name.to_string(), counter.value)),
                _ => None,
            })
            .collect()
    }

    /// How many events of a kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.count_where(|payload| payload.kind() == kind)
    }

    /// How many events have a payload like this.
    #[must_use]
    pub fn count_where(&self, wanted: impl Fn(&Payload) -> bool) -> u64 {
        self.events.iter().filter(|e| wanted(&e.payload)).count() as u64
    }

    /// How many exits have a reason like this.
    #[must_use]
    pub fn exits(&self, wanted: impl Fn(&ExitReason) -> bool) -> u64 {
        self.count_where(|payload| matches!(payload, Payload::Exit(Exit { reason, .. }) if wanted(reason)))
    }

    /// How many traps have this vector.
    #[must_use]
    pub fn traps(&self, vector: u16) -> u64 {
        self.count_where(|payload| matches!(payload, Payload::Trap(trap) if trap.vector == vector))
    }

    /// gva of a symbol.
    ///
    /// # Panics
    /// When the image has none of this name.
    #[must_use]
    pub fn symbol(&self, name: &str) -> u64 {
        symbol(&self.header, name)
    }
}

/// Whether the KVM of this trace emulates guest kernel code, as far as calibration found.
#[must_use]
pub fn emulates(header: &Header) -> bool {
    header.calibration.iter().any(|fact| fact.value == "stops by an emulation error")
}

/// gva of a symbol in a trace's header.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn symbol(header: &Header, name: &str) -> u64 {
    header.symbols.address_of(name).unwrap_or_else(|| panic!("no symbol {name}"))
}
