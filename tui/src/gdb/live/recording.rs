//! The trace of a running guest, read while it grows.

use std::path::PathBuf;

use trace_format::Reader;
use trace_format::describe::Line;
use trace_format::event::Kind;
use vmm_lite::Control;

use super::waits::Waits;
use crate::gdb::debuggee::Failure;
use crate::gdb::monitor::trace::unreadable;

/// Among so many events the one that stopped the guest is looked for.
const NEAR: usize = 10_000;

/// The trace.
pub(super) struct Recording {
    /// `None` if nothing is recorded.
    path: Option<PathBuf>,
    /// Once it has been opened.
    reader: Option<Reader>,
}

impl Recording {
    pub(super) const fn new(path: Option<PathBuf>) -> Self {
        Self { path, reader: None }
    }

    /// The trace with everything that was recorded until now, and its last event's number.
    ///
    /// # Errors
    /// If nothing is recorded, or the trace cannot be read.
    pub(super) fn read(&mut self, control: &Control) -> Result<(&mut Reader, u64), Failure> {
        let Some(path) = &self.path else {
            return Err(Failure::new("nothing is recorded: start the guest with -o FILE"));
        };
        control.flush();
        let reader = match self.reader.take() {
            Some(mut reader) => reader.poll().map(|_| reader),
            None => Reader::open(path),
        };
        let reader = self.reader.insert(reader.map_err(|error| unreadable(&error))?);
        let last = reader.len().saturating_sub(1);
        Ok((reader, last))
    }

    /// The line of the event that has stopped `vcpu`, if it is found.
    pub(super) fn stopped_at(
        &mut self,
        control: &Control,
        vcpu: u8,
        kind: Kind,
        waits: &Waits,
    ) -> Option<String> {
        self.newest(control, NEAR, vcpu, kind, waits)
    }

    /// The line of the vCPU's last exit, if it is waited for.
    pub(super) fn last_exit(&mut self, control: &Control, vcpu: u8, waits: &Waits) -> Option<String> {
        waits.filter()?;
        self.newest(control, 1, vcpu, Kind::Exit, waits)
    }

    /// The newest event that is waited for, among the last `most` of this kind on this vCPU.
    fn newest(
        &mut self,
        control: &Control,
        most: usize,
        vcpu: u8,
        kind: Kind,
        waits: &Waits,
    ) -> Option<String> {
        let (reader, last) = self.read(control).ok()?;
        let header = reader.header().clone();
        let found = reader.backward(last.saturating_add(1)).take(NEAR).map_while(Result::ok);
        let of_kind = found.filter(|(_, event)| event.vcpu == vcpu && event.payload.kind() == kind);
        let (number, event) = of_kind.take(most).find(|(_, event)| waits.meets(event, &header))?;
        let line = Line { number, event: &event, header: &header }.to_string();
        Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("path", &self.path).finish_non_exhaustive()
    }
}
