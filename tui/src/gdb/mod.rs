//! GDB on a guest: its remote protocol, over anything that is a [`debuggee::Debuggee`].

mod debuggee;
mod registers;
