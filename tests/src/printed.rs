//! What a guest has printed so far, out of a trace that grows.

use std::borrow::Cow;

use trace_format::event::{Output, Payload};
use trace_format::{Error, Reader};

/// The output of a guest, read on each time from where it was read to. One line may be several events: whoever waits for
/// words must not look for them in one.
#[derive(Debug, Default)]
pub struct Printed {
    /// Only this port's, if there is one.
    port: Option<u32>,
    /// The number of the first event that has not been looked at.
    next: u64,
    bytes: Vec<u8>,
}

impl Printed {
    /// What all devices print together.
    #[must_use]
    pub fn anywhere() -> Self {
        Self::default()
    }

    /// What is printed at `port`.
    #[must_use]
    pub fn at(port: u32) -> Self {
        Self { port: Some(port), ..Self::default() }
    }

    /// Reads what has been recorded since the last time.
    ///
    /// # Errors
    /// If the trace cannot be read or is damaged.
    pub fn read(&mut self, reader: &mut Reader) -> Result<(), Error> {
        reader.poll()?;
        let from = self.next;
        self.next = reader.len();
        for event in reader.forward(from) {
            if let Payload::Console(Output { port, bytes }) = &event?.1.payload
                && self.port.is_none_or(|wanted| wanted == *port)
            {
                self.bytes.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    /// Whether it has `words`; if so, what it printed until behind them is forgotten.
    pub fn take(&mut self, words: &str) -> bool {
        if words.is_empty() {
            return true;
        }
        let found = self.bytes.windows(words.len()).position(|window| window == words.as_bytes());
        if let Some(at) = found {
            self.bytes.drain(..at + words.len());
        }
        found.is_some()
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}
