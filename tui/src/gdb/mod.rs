//! GDB on a guest: its remote protocol, over anything that is a `Debuggee`.
//!
//! ```text
//! GDB <--socket--> listener, serve --bytes--> session --requests--> gdbstub --> target --> Debuggee
//!                                                 |                                           |
//!                                                 +----------------- motions, stops ----------+
//! ```

mod address;
mod cursor;
mod debuggee;
mod listener;
#[cfg(all(feature = "live", target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod live;
#[cfg(test)]
mod model;
mod monitor;
mod packet;
pub(crate) mod recorded;
mod registers;
mod serve;
mod session;
mod stream;
mod target;

pub use address::Address;
pub use cursor::Cursor;
pub use listener::{Listener, Server};
