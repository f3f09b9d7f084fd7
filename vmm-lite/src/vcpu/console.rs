//! Guest output on its way into the trace.

use arrayvec::ArrayVec;
use trace_format::event::{Output, Payload};

use super::VcpuThread;

/// Bytes that wait for the end of their line, so that a line is one event.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// As in [`Output::port`].
    port: u32,
    bytes: ArrayVec<u8, 64>,
    since_ns: u64,
}

/// How long the beginning of a line waits for its end.
const PATIENCE_NS: u64 = 20_000_000;

impl Console {
    /// Whether the vCPU's next exit at `now` should flush it.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        !self.bytes.is_empty() && now.saturating_sub(self.since_ns) > PATIENCE_NS
    }
}

impl VcpuThread {
    /// The guest wrote `byte` to the console at `port`, or at that gpa.
    pub(super) fn print(&mut self, port: u32, byte: u8, now: u64) {
        if port != self.console.port {
            self.flush_console();
        }
        if self.console.bytes.is_empty() {
            self.console.port = port;
            self.console.since_ns = now;
        }
        self.console.bytes.push(byte);
        if byte == b'\n' || self.console.bytes.is_full() {
            self.flush_console();
        }
    }

    pub(super) fn flush_console(&mut self) {
        if !self.console.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.console.bytes);
            self.record(Payload::Console(Output { port: self.console.port, bytes }));
        }
    }
}
