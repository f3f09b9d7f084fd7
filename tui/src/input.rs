//! What comes from the terminal, read on a thread of its own.
//!
//! Input never waits behind a frame. And a terminal that goes away ends the session: crossterm's reader does not come
//! back from one (it takes the end of its input for a short read), but the session, which waits here, sees the signal
//! that comes with it, or cannot draw.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event};

/// Events of the terminal in their order.
#[derive(Debug)]
pub(crate) struct Input(Receiver<io::Result<Event>>);

impl Input {
    /// Begins to read. The thread lives as long as the program.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name("input".to_owned()).spawn(move || {
            loop {
                let event = event::read();
                let failed = event.is_err();
                if sender.send(event).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self(receiver))
    }

    /// The next event, if one comes within `wait`.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub(crate) fn next(&self, wait: Duration) -> io::Result<Option<Event>> {
        match self.0.recv_timeout(wait) {
            Ok(event) => event.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
