//! What events GDB waits for: one filter for `monitor break-on` and one set of system calls for `catch syscall`, which
//! the engine gets together.

use trace_format::Header;
use trace_format::event::Event;
use trace_format::filter::{Filter, Subject};
use vmm_lite::{Control, Syscalls};

use crate::gdb::debuggee::Failure;

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Waits {
    filter: Option<Filter>,
    syscalls: Option<Vec<u64>>,
}

impl Waits {
    /// Waits for events, or no more.
    ///
    /// # Errors
    /// If the engine does not; then nothing has changed.
    pub(super) fn set_filter(&mut self, control: &Control, filter: Option<Filter>) -> Result<(), Failure> {
        tell(control, filter.as_ref(), self.syscalls.as_deref())?;
        self.filter = filter;
        Ok(())
    }

    /// The same for system calls; GDB catches all by naming none.
    ///
    /// # Errors
    /// As [`Self::set_filter`].
    pub(super) fn set_syscalls(
        &mut self,
        control: &Control,
        numbers: Option<Vec<u64>>,
    ) -> Result<(), Failure> {
        tell(control, self.filter.as_ref(), numbers.as_deref())?;
        self.syscalls = numbers;
        Ok(())
    }

    pub(super) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Whether an event is one that is waited for, as the engine saw it: without a number.
    pub(super) fn meets(&self, event: &Event, header: &Header) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.matches(&Subject { number: 0, event, header }))
    }
}

fn tell(control: &Control, filter: Option<&Filter>, syscalls: Option<&[u64]>) -> Result<(), Failure> {
    let syscalls = syscalls.map(|numbers| match numbers {
        [] => Syscalls::All,
        numbers => Syscalls::Numbers(numbers.to_vec()),
    });
    Ok(control.stop_at_events(filter.cloned(), syscalls)?)
}
