//! Sessions over connections: one client at a time is served, others are told that they are too many.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, TryRecvError, bounded};

use super::debuggee::Debuggee;
use super::packet::{Framer, Incoming, framed};
use super::session::{End, Next, Session};
use super::stream::Stream;

/// A client that does not read for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client that is refused has so long to hear why.
const REFUSAL: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const CHUNK: usize = 4 << 10;
/// Chunks that wait to be looked at.
const CHUNKS: usize = 4;

/// Serves one client. Calls `over` as soon as another may come, before this one hears that it has left.
///
/// Returns when the client is gone, the debuggee has ended, or `closing` is disconnected.
pub(super) fn serve(
    stream: &mut Stream,
    debuggee: &mut dyn Debuggee,
    closing: &Receiver<()>,
    over: impl FnOnce(),
) -> io::Result<()> {
    stream.prepare(None, PATIENCE)?;
    let vcpu = match debuggee.attach() {
        Ok(vcpu) => vcpu,
        Err(failure) => {
            over();
            return refuse(stream, &failure.0);
        }
    };
    let (sender, input) = bounded(CHUNKS);
    let mut reading = stream.try_clone()?;
    let reader = thread::Builder::new().name("gdb-reader".into()).spawn(move || {
        let mut buffer = [0; CHUNK];
        while let Ok(count) = reading.read(&mut buffer) {
            if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut session = Session::new(debuggee, vcpu);
    let mut written = Ok(());
    let end = match reader {
        Ok(_) => talk(&mut session, stream, &input, closing, &mut written),
        Err(_) => End::Detached,
    };
    let farewell = session.take_output();
    match end {
        End::Killed => debuggee.kill(),
        End::Detached | End::DebuggeeEnded => {}
    }
    debuggee.detach();
    over();
    let written = written.and_then(|()| send(stream, &farewell));
    stream.close();
    // The reader has its end of the connection closed, or is about to notice that nobody listens.
    drop(input);
    if let Ok(reader) = reader {
        let _ = reader.join();
    }
    written
}

/// Goes on until the end; the last output is left for after it.
fn talk(
    session: &mut Session<'_>,
    stream: &mut Stream,
    input: &Receiver<Vec<u8>>,
    closing: &Receiver<()>,
    written: &mut io::Result<()>,
) -> End {
    loop {
        let next = session.poll();
        if let Next::Over(end) = next {
            return end;
        }
        *written = send(stream, &session.take_output());
        if written.is_err() {
            return End::Detached;
        }
        if next == Next::Wait {
            let mut select = Select::new();
            select.recv(input);
            select.recv(closing);
            session.debuggee().wait_on(&mut select);
            select.ready();
        }
        match input.try_recv() {
            Ok(bytes) => session.receive(&bytes),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return End::Detached,
        }
        if closing.try_recv() == Err(TryRecvError::Disconnected) {
            return match session.poll() {
                Next::Over(end) => end,
                Next::Poll | Next::Wait => End::Detached,
            };
        }
    }
}

fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)
}

/// Tells a client why it is not served: GDB shows the reply to the one request that has none.
pub(super) fn refuse(stream: &mut Stream, why: &str) -> io::Result<()> {
    let until = Instant::now() + REFUSAL;
    let reply = [b"+".to_vec(), framed(format!("E.{why}").as_bytes())].concat();
    let mut framer = Framer::default();
    let mut buffer = [0; 256];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        stream.prepare(Some(left), left)?;
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for byte in &buffer[..count] {
            if let Some(Incoming::Packet(_)) = framer.push(*byte) {
                stream.write_all(&reply)?;
            }
        }
    }
    stream.close();
    Ok(())
}
