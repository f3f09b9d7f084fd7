//! Recordings of a host's `kvm:*` tracepoints as traces: the text of `perf script`, `trace-cmd report` and tracefs.
//!
//! A pair of `kvm_exit` and `kvm_entry` is an exit, with the time in the guest before it and the time until the next
//! entry. The events between them say more of it: a port, an address, an MSR. Where a monitor knows an exit by the same
//! name it becomes that one (`kvm_exit` for `IO_INSTRUCTION` with `kvm_pio` is an `io-out`); what KVM deals with itself is
//! an [`ExitReason::Hardware`](crate::event::ExitReason::Hardware). IPIs and interrupts are followed from their
//! raising over their injection to their EOI.
//!
//! Not every host has `kvm_exit` and `kvm_entry`. Without them `kvm_userspace_exit` is the exit, with the access before it.

mod event;
mod interrupts;
mod lanes;
mod line;
mod lines;
mod machine;
mod order;
mod reason;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, Write};

use self::event::{Event, Recognized};
use self::line::{Kind, Name, Thread};
use self::machine::Machine;
use self::order::Order;
use crate::header::Fact;
use crate::{Error, Header, Reader, Writer};

/// Which events are taken, for `vmscope import --help`.
pub const DOCUMENTATION: &str = event::DOCUMENTATION;

/// How many lines are read ahead: a line may be so many lines late.
const AHEAD: usize = 1 << 14;
/// How many unknown lines are kept to be shown, and how much of each.
const EXAMPLES: usize = 5;
const EXAMPLE: usize = 120;
/// How many names of events without a place are counted apart.
const NAMES: usize = 64;

/// The text of which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `perf script`.
    PerfScript,
    /// `trace-cmd report`, and `trace` or `trace_pipe` of tracefs.
    TraceCmd,
}

impl Format {
    /// The program's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerfScript => "perf script",
            Self::TraceCmd => "trace-cmd report",
        }
    }
}

/// What a recording is, as far as its text does not say.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its format; found out from its lines if that is not told.
    pub format: Option<Format>,
    /// Its name, for the header.
    pub name: String,
    /// The command that imports it, for the header.
    pub command: Vec<String>,
    /// The program that imports it and its version, for the header.
    pub program: String,
}

/// What became of a recording. Each line is counted once: [`lines`](Self::lines) is the sum of
/// [`imported`](Self::imported), [`ignored`](Self::ignored), [`late`](Self::late) and [`unknown`](Self::unknown).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The format that the first event had.
    pub format: Option<Format>,
    /// Lines of the text.
    pub lines: u64,
    /// Lines that are an event of the trace, or a part of one.
    pub imported: u64,
    /// Lines for which a trace has no place, by the name of their event or by what they are.
    pub ignored: BTreeMap<String, u64>,
    /// Lines whose time is long before that of the lines before.
    pub late: u64,
    /// Lines that are not understood.
    pub unknown: u64,
    /// The first of them.
    pub examples: Vec<Example>,
    /// Events of the trace.
    pub events: u64,
    /// vCPUs found.
    pub vcpus: u8,
}

/// A line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its number, from 1.
    pub line: u64,
    /// How it begins. It may hold anything: see [`crate::describe::Escaped`].
    pub text: Vec<u8>,
}

/// Why a recording could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The text cannot be read.
    #[error("cannot read line {line} of the recording")]
    #[allow(missing_docs)]
    Read { line: u64, source: io::Error },
    /// The trace cannot be written.
    #[error(transparent)]
    Trace(#[from] Error),
}

/// Reads the text of a recording and writes a trace of it to `out`. Memory is bounded whatever the text is. `scratch` is an
/// empty file of the caller's: the trace's header says what was found, so events are kept there until the end.
///
/// Times count from the first event that is imported; the header says when that was by the recording's clock.
///
/// # Errors
///
/// If the text cannot be read or a trace not be written. A text without a single event is no error: there are no
/// [`events`](Imported::events) in the trace then.
pub fn import<W: Write>(
    mut input: impl BufRead,
    source: &Source,
    scratch: File,
    out: W,
) -> Result<(W, Imported), ImportError> {
    let mut import = Import::new(source.format, &scratch)?;
    let mut line = Vec::new();
    loop {
        let number = import.found.lines + 1;
        match lines::next(&mut input, &mut line) {
            Ok(None) => break,
            Ok(Some(whole)) => import.line(&line, whole)?,
            Err(source) => return Err(ImportError::Read { line: number, source }),
        }
    }
    let (header, mut found) = import.end(source)?;
    let mut reader = Reader::from_file(scratch)?;
    let mut writer = Writer::new(out, &header)?;
    reader.copy_to(&mut writer)?;
    found.events = writer.events();
    Ok((writer.finish()?, found))
}

struct Import<W: Write> {
    format: Option<Format>,
    /// Lines in their order, as far as they have been read ahead.
    ahead: Order<(Thread, Name, Event, &'static str)>,
    machine: Machine,
    writer: Writer<W>,
    found: Imported,
    /// The first event's time.
    origin: Option<u64>,
    /// Time of the last event's line.
    last: Option<u64>,
    /// Lines about lost events before the first event, and how many those were.
    early: (u64, u64),
}

impl<W: Write> Import<W> {
    fn new(format: Option<Format>, scratch: W) -> Result<Self, Error> {
        Ok(Self {
            format,
            ahead: Order::new(),
            machine: Machine::new(),
            writer: Writer::new(scratch, &Header::default())?,
            found: Imported::default(),
            origin: None,
            last: None,
            early: (0, 0),
        })
    }

    fn line(&mut self, line: &[u8], whole: bool) -> Result<(), Error> {
        self.found.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (kind, format) = if whole { line::parse(line, self.format) } else { (Kind::Unknown, None) };
        // A recording is of one program.
        self.format = self.format.or(format);
        self.found.format = self.found.format.or(format);
        match kind {
            Kind::Unknown => self.unknown(line),
            Kind::Other(what) => self.ignore(what.as_bytes()),
            Kind::Lost(count) => match self.last {
                Some(time) => self.lost(time, count)?,
                None => self.early = (self.early.0 + 1, self.early.1.saturating_add(count)),
            },
            Kind::Event(parsed) => match event::parse(parsed.event, parsed.body) {
                Recognized::Malformed => self.unknown(line),
                Recognized::NoPlace => self.ignore(parsed.event),
                Recognized::Event(event) => {
                    if self.last.is_none() && self.early.0 > 0 {
                        self.found.imported += self.early.0 - 1;
                        self.lost(parsed.time, self.early.1)?;
                    }
                    self.last = Some(parsed.time);
                    self.put(parsed.time, parsed.thread, parsed.name, event, name_of(&event))?;
                }
            },
        }
        Ok(())
    }

    fn lost(&mut self, time: u64, count: u64) -> Result<(), Error> {
        self.put(time, Thread::Unknown, Name::new(), Event::Lost { count }, "lost events")
    }

    /// Takes in an event, and what was read so long ago that nothing earlier comes any more.
    fn put(
        &mut self,
        time: u64,
        thread: Thread,
        name: Name,
        event: Event,
        what: &'static str,
    ) -> Result<(), Error> {
        if let Event::Entry { vcpu }
        | Event::Exit { vcpu: Some(vcpu), .. }
        | Event::PageFault { vcpu: Some(vcpu), .. } = event
        {
            self.machine.lanes.claim(thread, &name, vcpu);
        }
        if self.ahead.put(time, (thread, name, event, what)).is_err() {
            self.found.late += 1;
        }
        while self.ahead.len() > AHEAD {
            self.take()?;
        }
        Ok(())
    }

    /// Takes the earliest line that was read ahead; false if there is none.
    fn take(&mut self) -> Result<bool, Error> {
        let Some((time, (thread, name, event, what))) = self.ahead.take() else { return Ok(false) };
        let origin = *self.origin.get_or_insert(time);
        let time = time.saturating_sub(origin);
        if self.machine.take(time, thread, &name, &event) {
            self.found.imported += 1;
        } else {
            self.ignore(what.as_bytes());
        }
        while let Some(event) = self.machine.next(time) {
            self.writer.append(&event)?;
        }
        Ok(true)
    }

    /// The rest, and the header for all of it.
    fn end(mut self, source: &Source) -> Result<(Header, Imported), Error> {
        while self.take()? {}
        if self.last.is_none() {
            (0..self.early.0).for_each(|_| self.ignore(b"lost events"));
        }
        while let Some(event) = self.machine.last() {
            self.writer.append(&event)?;
        }
        self.writer.flush()?;
        self.found.vcpus = self.machine.lanes.iter().map(|lane| lane.number + 1).max().unwrap_or(0);
        let header = self.header(source);
        Ok((header, self.found))
    }

    fn header(&self, source: &Source) -> Header {
        let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
        let found = &self.found;
        let program = found.format.map_or("no known format", Format::name);
        let mut host = vec![fact("imported from", format!("text of {program}: {}", source.name))];
        if let Some(origin) = self.origin {
            let (seconds, ns) = (origin / 1_000_000_000, origin % 1_000_000_000);
            host.push(fact("time 0", format!("{seconds}.{ns:09} s by the recording's clock")));
        }
        let ignored: u64 = found.ignored.values().sum();
        let lines = format!(
            "{}: {} imported, {ignored} without a place in a trace, {} not understood, {} too late",
            found.lines, found.imported, found.unknown, found.late
        );
        host.push(fact("lines", lines));
        host.extend(
            self.machine.lanes.iter().map(|lane| fact(&format!("cpu{}", lane.number), lane.describe())),
        );
        Header {
            guest: source.name.clone(),
            command: source.command.clone(),
            vcpus: found.vcpus,
            host,
            recorder: source.program.clone(),
            not_seen: self.not_seen(),
            ..Header::default()
        }
    }

    /// What such a recording cannot tell, or this one does not.
    fn not_seen(&self) -> Vec<String> {
        let seen = self.machine.seen;
        let address_spaces = if seen.cr3 { "" } else { "address spaces, " };
        let mut sentences = vec![format!(
            "privilege levels, {address_spaces}traps and page-table walks of the guest: a host's tracepoints do not tell"
        )];
        let mut say = |when: bool, what: &str| {
            if when {
                sentences.push(what.to_owned());
            }
        };
        say(seen.cr3, "address spaces that the guest changed without an exit, as it does with EPT or NPT");
        say(
            seen.user_exits && !seen.hardware_exits,
            "exits that KVM deals with: the recording has no kvm_exit and kvm_entry, so time in the guest has theirs in it",
        );
        say(seen.ipis > 0 && !seen.injections, "when vCPUs take IPIs: the recording has no kvm_inj_virq");
        say(seen.ipis > 0 && !seen.eois, "when vCPUs acknowledge IPIs: the recording has no kvm_eoi");
        if seen.unnamed > 0 {
            sentences.push(format!(
                "what {} accesses were to: the recording has no kvm_pio, kvm_mmio or kvm_msr of them (MSR 0xffffffff, unlisted 2 \
                 or 6)",
                seen.unnamed
            ));
        }
        if seen.cut > 0 {
            sentences.push(format!("how long {} exits took: their end is not in the recording", seen.cut));
        }
        if self.found.late > 0 {
            sentences.push(format!(
                "{} lines whose time is long before that of those before them",
                self.found.late
            ));
        }
        sentences
    }

    fn ignore(&mut self, what: &[u8]) {
        // Cut before it is looked up, so that names that begin alike are counted as one.
        let name: String = String::from_utf8_lossy(what).chars().take(EXAMPLE).collect();
        let ignored = &mut self.found.ignored;
        let room = ignored.len() < NAMES;
        match ignored.get_mut(&name) {
            Some(count) => *count += 1,
            None if room => drop(ignored.insert(name, 1)),
            None => *ignored.entry("others".to_owned()).or_default() += 1,
        }
    }

    fn unknown(&mut self, line: &[u8]) {
        self.found.unknown += 1;
        if self.found.examples.len() < EXAMPLES {
            let text = line.iter().copied().take(EXAMPLE).collect();
            self.found.examples.push(Example { line: self.found.lines, text });
        }
    }
}

/// The tracepoint that an event is of.
const fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Entry { .. } => "kvm_entry",
        Event::Exit { .. } => "kvm_exit",
        Event::UserspaceExit { .. } => "kvm_userspace_exit",
        Event::Pio { .. } => "kvm_pio",
        Event::Mmio { .. } => "kvm_mmio",
        Event::FastMmio { .. } => "kvm_fast_mmio",
        Event::Msr { .. } => "kvm_msr",
        Event::Cr3 { .. } => "kvm_cr",
        Event::Hypercall { .. } => "kvm_hypercall",
        Event::PageFault { .. } => "kvm_page_fault",
        Event::Instruction { .. } => "kvm_emulate_insn",
        Event::Wakeup { .. } => "kvm_vcpu_wakeup",
        Event::Run => "kvm_fpu",
        Event::Ipi(_) => "kvm_apic_ipi",
        Event::Accept { .. } => "kvm_apic_accept_irq",
        Event::Inject { .. } => "kvm_inj_virq",
        Event::Eoi { .. } => "kvm_eoi",
        Event::IoApic { .. } => "kvm_ioapic_set_irq",
        Event::Msi { .. } => "kvm_msi_set_irq",
        Event::Lost { .. } => "lost events",
    }
}
