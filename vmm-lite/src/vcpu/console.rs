//! Guest output on its way into the trace.
//!
//! A guest prints one line from several vCPUs: Linux sends what is left of it wherever the serial port's interrupt
//! comes. So the bytes that wait for the end of their line are the machine's, and recorded under its lock, as their
//! order is that of the events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrayvec::ArrayVec;
use trace_format::event::{Output, Payload};

use super::VcpuThread;
use crate::machine::lock;

/// Guest output that is not in the trace yet.
#[derive(Debug, Default)]
pub(crate) struct Console {
    line: Mutex<Line>,
    /// When the line began, ns, for a look without the lock; 0 if there is none.
    since_ns: AtomicU64,
}

/// Bytes that wait for the end of their line, so that a line is one event.
#[derive(Debug, Default)]
struct Line {
    /// As in [`Output::port`].
    port: u32,
    /// The vCPU that wrote last.
    vcpu: u8,
    bytes: ArrayVec<u8, 64>,
}

/// How long the beginning of a line waits for its end.
const PATIENCE_NS: u64 = 20_000_000;

impl VcpuThread {
    /// The guest wrote `byte` to the console at `port`, or at that gpa.
    pub(super) fn print(&mut self, port: u32, byte: u8, now: u64) {
        let machine = Arc::clone(&self.machine);
        let mut line = lock(&machine.console.line);
        if port != line.port {
            self.record_line(&mut line);
        }
        if line.bytes.is_empty() {
            line.port = port;
            machine.console.since_ns.store(now.max(1), Ordering::Relaxed);
        }
        line.vcpu = self.number;
        line.bytes.push(byte);
        if byte == b'\n' || line.bytes.is_full() {
            self.record_line(&mut line);
        }
    }

    /// Records what has waited too long at `now`, whoever wrote it.
    pub(super) fn flush_old_console(&mut self, now: u64) {
        let since = self.machine.console.since_ns.load(Ordering::Relaxed);
        if since != 0 && now.saturating_sub(since) > PATIENCE_NS {
            self.flush_console();
        }
    }

    /// Records what waits, if this vCPU wrote the last of it: it goes to sleep, and others may not look.
    pub(super) fn flush_own_console(&mut self) {
        let machine = Arc::clone(&self.machine);
        let mut line = lock(&machine.console.line);
        if line.vcpu == self.number {
            self.record_line(&mut line);
        }
    }

    /// Records what waits, whoever wrote it.
    pub(super) fn flush_console(&mut self) {
        let machine = Arc::clone(&self.machine);
        self.record_line(&mut lock(&machine.console.line));
    }

    fn record_line(&mut self, line: &mut Line) {
        if !line.bytes.is_empty() {
            self.machine.console.since_ns.store(0, Ordering::Relaxed);
            let bytes = std::mem::take(&mut line.bytes);
            self.record(Payload::Console(Output { port: line.port, bytes }));
        }
    }
}
