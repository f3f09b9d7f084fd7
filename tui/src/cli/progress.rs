//! How far a command is, on standard error if that is a terminal.

use std::io::{IsTerminal as _, Read, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trace_format::Reader;

/// What is over sooner needs no bar.
const UNNOTICED: Duration = Duration::from_millis(500);
/// How often the bar is drawn.
const EVERY: Duration = Duration::from_millis(100);
/// A trace may be gone through more than once.
const EVENTS: &str = "{msg} {percent:>3} % {bar:30} {human_pos} of {human_len} events, {elapsed}";
const BYTES: &str = "{msg} {percent:>3} % {bar:30} {binary_bytes} of {binary_total_bytes}, {elapsed}";

/// A bar that is there from half a second on until this is dropped. On no terminal it is nothing.
#[derive(Default)]
pub(super) struct Bar {
    _drawn: Option<Drawn>,
}

struct Drawn {
    ends: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// How far `readers` are read, one after the other.
    pub(super) fn of_events(what: &'static str, readers: &mut [&mut Reader]) -> Self {
        let reached = Arc::new(AtomicU64::new(0));
        let mut most = 0;
        for reader in readers {
            most = most.max(reader.len());
            reader.tell_in(Arc::clone(&reached));
        }
        Self::start(what, EVENTS, most, reached)
    }

    /// How far `input` of `length` bytes is read.
    pub(super) fn of_bytes<R: Read>(what: &'static str, length: u64, input: R) -> (Self, Counted<R>) {
        let reached = Arc::new(AtomicU64::new(0));
        let counted = Counted { input, reached: Arc::clone(&reached) };
        (Self::start(what, BYTES, length, reached), counted)
    }

    fn start(what: &'static str, template: &'static str, length: u64, reached: Arc<AtomicU64>) -> Self {
        if !stderr().is_terminal() {
            return Self::default();
        }
        let (ends, ended) = channel::<()>();
        let draw = move || {
            if ended.recv_timeout(UNNOTICED) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar =
                ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_message(what);
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            loop {
                bar.set_position(reached.load(Ordering::Relaxed));
                if ended.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return bar.finish_and_clear();
                }
            }
        };
        // Without a thread there is no bar: the command does as well.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Self { _drawn: thread.map(|thread| Drawn { ends, thread: Some(thread) }) }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        // It may have ended already, and a bar that could not be drawn is no loss.
        let _ = self.ends.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Counts what is read.
pub(super) struct Counted<R> {
    input: R,
    reached: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.reached.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
