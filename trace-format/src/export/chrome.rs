//! Chrome's Trace Event Format: JSON, an event a line.
//!
//! The machine is a process and each track a thread. Arrows are flow events (`s` and `f`) beside the slices that they lead
//! from and to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use super::picture::{Canvas, Flow, Mark, Seen, Track};
use crate::Header;
use crate::describe::{Details, Lane};
use crate::filter::Subject;

/// The process that the machine is.
const PID: u32 = 1;

/// Draws into a JSON document.
pub(super) struct Chrome<W> {
    out: W,
    /// Names of counters, which have no thread.
    counters: BTreeMap<Track, String>,
    line: Vec<u8>,
}

/// An event of Chrome's format.
#[derive(Serialize)]
struct Line<'a, A> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    ph: &'static str,
    /// In µs.
    ts: f64,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Binding point of an arrow's end, scope of an instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<A>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Sorted {
    sort_index: u32,
}

#[derive(Serialize)]
struct Counted {
    value: u64,
}

#[derive(Serialize)]
struct Ended<'a> {
    end: &'a str,
}

/// What comes before the events.
#[derive(Serialize)]
struct About<'a> {
    guest: &'a str,
    command: &'a [String],
    recorder: &'a str,
    start_unix_ns: u64,
    vcpus: u8,
    not_seen: &'a [String],
}

impl<W: Write> Chrome<W> {
    pub(super) fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let about = About {
            guest: &header.guest,
            command: &header.command,
            recorder: &header.recorder,
            start_unix_ns: header.start_unix_ns,
            vcpus: header.vcpus,
            not_seen: &header.not_seen,
        };
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"otherData\":")?;
        serde_json::to_writer(&mut out, &about)?;
        out.write_all(b",\"traceEvents\":[\n")?;
        let mut chrome = Self { out, counters: BTreeMap::new(), line: Vec::new() };
        let name = if header.guest.is_empty() { "guest" } else { &header.guest };
        // The first one, so that the others can begin with a comma.
        let first = Line { args: Some(Named { name }), ..line("process_name", "M", 0, 0) };
        serde_json::to_writer(&mut chrome.out, &first)?;
        Ok(chrome)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, line: &Line<'_, impl Serialize>) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(b",\n");
        serde_json::to_writer(&mut self.line, line)?;
        self.out.write_all(&self.line)
    }

    fn mark(&mut self, ph: &'static str, mark: &Mark<'_>) -> io::Result<()> {
        let Seen { subject, said, .. } = mark.seen;
        let event = subject.event;
        let tid = mark.track.number();
        let line = Line::<()> {
            cat: Some(event.payload.kind().name()),
            s: (ph == "i").then_some("t"),
            ..self::line(&mark.name, ph, event.time, tid)
        };
        self.line.clear();
        self.line.extend_from_slice(b",\n");
        serde_json::to_writer(&mut self.line, &line)?;
        // What the event says is JSON already, and goes before the brace that ends the line.
        self.line.pop();
        self.line.extend_from_slice(b",\"args\":");
        self.line.extend_from_slice(said);
        self.line.push(b'}');
        self.out.write_all(&self.line)?;
        let (ph, bp) = match mark.flow {
            Flow::To { .. } => ("f", Some("e")),
            Flow::From { .. } | Flow::None => ("s", None),
        };
        for id in mark.flow.ids() {
            let id = Some(format!("{id:#x}"));
            self.write(&Line::<()> { cat: Some("ipi"), id, bp, ..self::line("ipi", ph, event.time, tid) })?;
        }
        Ok(())
    }
}

impl<W: Write> Canvas for Chrome<W> {
    const SAY: Option<fn(&Subject<'_>, &mut Vec<u8>)> = Some(|subject, out| {
        let Subject { number, event, header } = *subject;
        // What events say has text for names; writing to memory does not fail.
        let _ = serde_json::to_writer(out, &Details { number, event, header });
    });

    fn track(&mut self, track: Track, name: &str) -> io::Result<()> {
        let mut full = track.vcpu().map(|vcpu| Lane(vcpu).to_string()).unwrap_or_default();
        full.push_str(match track {
            Track::Machine => "machine",
            Track::Counter(_) => name,
            Track::Vcpu(_) => "",
            Track::State(_) => " state",
            Track::Rate(_) => " exits per second",
            Track::Sent(..) => " IPIs sent",
            Track::Taken(..) => " interrupts taken",
        });
        if track.is_counter() {
            self.counters.insert(track, full);
            return Ok(());
        }
        if let Track::Sent(_, lane @ 1..) | Track::Taken(_, lane @ 1..) = track {
            // Writing to a string does not fail.
            let _ = write!(full, " {}", lane + 1);
        }
        let tid = track.number();
        self.write(&Line { args: Some(Named { name: &full }), ..line("thread_name", "M", 0, tid) })?;
        self.write(&Line { args: Some(Sorted { sort_index: tid }), ..line("thread_sort_index", "M", 0, tid) })
    }

    fn begin(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        self.mark("B", mark)
    }

    fn end(&mut self, track: Track, time: u64, note: Option<&str>) -> io::Result<()> {
        self.write(&Line { args: note.map(|end| Ended { end }), ..line("", "E", time, track.number()) })
    }

    fn instant(&mut self, mark: &Mark<'_>) -> io::Result<()> {
        self.mark("i", mark)
    }

    fn count(&mut self, track: Track, time: u64, value: u64) -> io::Result<()> {
        // As it is without a thread, it is told apart by its name.
        let name = self.counters.get(&track).cloned().unwrap_or_default();
        self.write(&Line { args: Some(Counted { value }), ..line(&name, "C", time, 0) })
    }
}

/// An event of which nothing else is told.
fn line<'a, A>(name: &'a str, ph: &'static str, time: u64, tid: u32) -> Line<'a, A> {
    let ts = time as f64 / 1000.0;
    Line { name: name.into(), cat: None, ph, ts, pid: PID, tid, id: None, bp: None, s: None, args: None }
}
