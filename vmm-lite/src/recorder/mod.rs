//! From the vCPU threads to the trace.
//!
//! Each vCPU thread pushes its events into a ring of its own ([`Lane`]); one thread merges the rings into one time
//! order ([`merge`]) and writes the trace. A vCPU thread does nothing for an event but read the clock and push: no
//! lock, no allocation, no system call.
//! What the host's tracepoints tell comes through one more ring, by a thread of its own ([`LateLane`]).
//!
//! # Why the order is exact
//!
//! An exit's event is pushed when it has been handled but has the time at which it happened, and events of other
//! vCPUs come in between. So each lane publishes a floor: nothing that it will push is older. While the vCPU is in the
//! guest the floor is [`IDLE`], "not older than the moment you look": the vCPU sets a real floor *before* it reads the
//! clock after an exit, and the recorder reads the clock *before* it looks at the floors. The recorder first takes the
//! lowest floor, then drains the rings, and then everything older than that floor is there and can be written.
//!
//! A lane's floor stays as long as it handles an exit, which may be as long as a disk takes. When too much waits for
//! that, the oldest is written all the same, and what the lane pushes in the end gets a later time than it had. The
//! others are not made to wait instead: they may hold locks that the first needs, or be what it waits for.

mod clock;
mod lane;
mod late;
mod merge;
mod registers;
mod ring;
mod thread;
mod ticks;
mod tripwire;

pub(crate) use clock::Clock;
pub use lane::OnFull;
pub(crate) use lane::{Lane, Timing};
pub(crate) use late::LateLane;
pub use registers::RecordRegisters;
pub(crate) use registers::{recorded, registers_of};
pub(crate) use thread::{Flusher, Recorder};
pub use tripwire::Syscalls;
pub(crate) use tripwire::{Met, Tripwire, Wanted};
