//! What stops a guest, and who is told.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use trace_format::event::{Actor, Kind, StopReason};

/// That the guest has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The vCPU that met what it stopped for; none for what concerns the whole machine.
    pub vcpu: Option<u8>,
    /// Why.
    pub cause: StopCause,
}

/// Why a guest has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// Somebody paused it.
    Paused {
        /// Who.
        by: Actor,
    },
    /// The vCPU is about to execute an instruction with a breakpoint.
    Breakpoint {
        /// Where, gva.
        address: u64,
    },
    /// The vCPU has accessed what is watched.
    Watchpoint {
        /// The address that was given for the watchpoint, gva.
        address: u64,
        /// What is watched for.
        access: WatchAccess,
    },
    /// The vCPU has made an event that was waited for.
    Matched {
        /// The kind of the event.
        kind: Kind,
    },
    /// The vCPU is at the first instruction of the handler for system calls.
    SyscallEntry {
        /// RAX, the number of the system call.
        number: u64,
    },
    /// The vCPU is about to return from a system call.
    SyscallReturn {
        /// Its number.
        number: u64,
    },
    /// The guest has come to its end. As long as it is paused it can be looked at.
    Ending {
        /// How.
        why: StopReason,
    },
    /// The run has ended.
    Ended {
        /// How.
        why: StopReason,
    },
}

/// The accesses that a watchpoint stops for. x86 has none for reads alone (SDM vol. 3, 18.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchAccess {
    /// Writes.
    Write,
    /// Reads and writes.
    Any,
}

/// Those who want to know of stops.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Sender<Stop>>>);

impl Listeners {
    /// Every stop from now on.
    pub(super) fn add(&self) -> Receiver<Stop> {
        let (sender, receiver) = unbounded();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells everybody, and forgets those who have gone.
    pub(super) fn tell(&self, stop: &Stop) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(stop.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_who_listens() {
        let listeners = Listeners::default();
        let (first, second) = (listeners.add(), listeners.add());
        drop(second);
        let stop = Stop { vcpu: Some(1), cause: StopCause::Breakpoint { address: 0x1000 } };
        listeners.tell(&stop);
        assert_eq!(first.try_recv(), Ok(stop));
        assert_eq!(listeners.0.lock().unwrap().len(), 1);
    }
}
