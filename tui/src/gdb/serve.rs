//! Sessions over connections: one client at a time is served, others are told that they are too many.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, TryRecvError, bounded};

use super::debuggee::Debuggee;
use super::packet::{Framer, Incoming, framed};
use super::session::{End, Next, Session};
use super::stream::Stream;

/// A client that does not read for so long is gone, and so is a connection that says nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long a client that stands still at the end of everything may take to ask, so that it hears why.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often a connection that keeps silent is looked after.
const LOOK: Duration = Duration::from_millis(100);
/// A client that is refused has so long to hear why.
const REFUSAL: Duration = Duration::from_secs(2);
/// Bytes that are read at once; more than GDB says at first.
const CHUNK: usize = 4 << 10;
/// Chunks that wait to be looked at.
const CHUNKS: usize = 4;

/// A client that has said something that GDB could have said. Whoever only looks whether the port is open, or keeps
/// silent, becomes none: neither the guest nor other clients notice it.
pub(super) struct Client {
    stream: Stream,
    /// Its first request, and what it has said since.
    said: Vec<u8>,
}

impl Client {
    /// Waits for a connection's first request. `None` if it does not come in time, the connection ends, or it is `over`.
    pub(super) fn hear(mut stream: Stream, over: impl Fn() -> bool) -> Option<Self> {
        let until = Instant::now() + PATIENCE;
        let mut framer = Framer::default();
        let mut buffer = [0; CHUNK];
        while Instant::now() < until && !over() {
            stream.prepare(Some(LOOK), PATIENCE).ok()?;
            let count = match stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) if is_passing(&error) => continue,
                Err(_) => return None,
            };
            for (at, byte) in buffer[..count].iter().enumerate() {
                if let Some(Incoming::Packet(body)) = framer.push(*byte) {
                    let said = [&framed(&body), &buffer[at + 1..count]].concat();
                    return Some(Self { stream, said });
                }
            }
        }
        None
    }

    /// Tells it why it is not served: GDB shows the reply to the one request that has none.
    pub(super) fn refuse(mut self, why: &str) -> io::Result<()> {
        let until = Instant::now() + REFUSAL;
        let reply = error(why);
        let mut framer = Framer::default();
        let mut said = self.said;
        let mut buffer = [0; 256];
        loop {
            for byte in &said {
                if let Some(Incoming::Packet(_)) = framer.push(*byte) {
                    self.stream.write_all(&reply)?;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.stream.prepare(Some(left), left)?;
            said = match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => buffer[..count].to_vec(),
                Err(error) if is_passing(&error) => Vec::new(),
                Err(error) => return Err(error),
            };
        }
        self.stream.close();
        Ok(())
    }
}

/// Whether nothing has come yet, and may.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Serves one client. Calls `over` as soon as another may come, before this one hears that it has left.
///
/// Returns when the client is gone, the debuggee has ended, or `closing` is disconnected.
pub(super) fn serve(
    client: Client,
    debuggee: &mut dyn Debuggee,
    closing: &Receiver<()>,
    over: impl FnOnce(),
) -> io::Result<()> {
    let Client { mut stream, said } = client;
    stream.prepare(None, PATIENCE)?;
    let closing_stream = Closing(stream.try_clone()?);
    let (sender, input) = bounded(CHUNKS);
    let mut reading = stream.try_clone()?;
    let reader = thread::Builder::new().name("gdb-reader".into()).spawn(move || {
        let mut buffer = [0; CHUNK];
        while let Ok(count) = reading.read(&mut buffer) {
            if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    })?;
    let served = debug(&mut stream, debuggee, &said, &input, closing, over);
    drop(closing_stream);
    // Nothing more can come, and the reader is about to notice that nobody listens.
    drop(input);
    let _ = reader.join();
    served
}

fn debug(
    stream: &mut Stream,
    debuggee: &mut dyn Debuggee,
    first: &[u8],
    input: &Receiver<Vec<u8>>,
    closing: &Receiver<()>,
    over: impl FnOnce(),
) -> io::Result<()> {
    let vcpu = match debuggee.attach() {
        Ok(vcpu) => vcpu,
        Err(failure) => {
            over();
            return stream.write_all(&error(&failure.0));
        }
    };
    let mut attached = Attached { debuggee, took_leave: false, over: Some(over) };
    let mut session = Session::new(attached.debuggee, vcpu);
    session.receive(first);
    let mut written = Ok(());
    let end = talk(&mut session, stream, input, closing, &mut written);
    let farewell = session.take_output();
    drop(session);
    if end == End::Killed {
        attached.debuggee.kill();
    }
    attached.took_leave = end == End::Detached;
    drop(attached);
    written.and_then(|()| stream.write_all(&farewell))
}

/// A debuggee that has a debugger, until this is dropped: however a session ends, and be it by a fault of ours, the
/// guest goes on without breakpoints.
struct Attached<'d, F: FnOnce()> {
    debuggee: &'d mut dyn Debuggee,
    took_leave: bool,
    /// Lets the next client come.
    over: Option<F>,
}

impl<F: FnOnce()> Drop for Attached<'_, F> {
    fn drop(&mut self) {
        self.debuggee.detach(self.took_leave);
        if let Some(over) = self.over.take() {
            over();
        }
    }
}

/// Ends a connection when it is dropped: the client of a session that broke down is not left waiting.
struct Closing(Stream);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Goes on until the end; the last output is left for after it.
fn talk(
    session: &mut Session<'_>,
    stream: &mut Stream,
    input: &Receiver<Vec<u8>>,
    closing: &Receiver<()>,
    written: &mut io::Result<()>,
) -> End {
    // When it is too late for news of the end.
    let mut until: Option<Instant> = None;
    loop {
        let next = session.poll();
        if let Next::Over(end) = next {
            return end;
        }
        *written = stream.write_all(&session.take_output());
        if written.is_err() {
            return End::Lost;
        }
        if until.is_none() && closing.try_recv() == Err(TryRecvError::Disconnected) {
            // The end may have come a moment ago.
            if let Next::Over(end) = session.poll() {
                return end;
            }
            until = Some(Instant::now() + if session.has_news() { LAST_WORDS } else { Duration::ZERO });
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return End::Lost;
        }
        if next == Next::Wait {
            let mut select = Select::new();
            select.recv(input);
            match until {
                Some(until) => {
                    // That it is too late is seen above.
                    let _ = select.ready_deadline(until);
                }
                None => {
                    select.recv(closing);
                    session.debuggee().wait_on(&mut select);
                    select.ready();
                }
            }
        }
        match input.try_recv() {
            Ok(bytes) => session.receive(&bytes),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return End::Lost,
        }
    }
}

/// An answer to any request.
fn error(why: &str) -> Vec<u8> {
    [b"+".to_vec(), framed(format!("E.{why}").as_bytes())].concat()
}
