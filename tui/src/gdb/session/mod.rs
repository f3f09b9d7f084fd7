//! A session with one client: bytes in, bytes out, and the debuggee between them. It knows no sockets.
//!
//! [`gdbstub`]'s state machine carries the requests out. It gives up on what it does not understand and knows only some
//! of what GDB can be told, so that the session stands between it and the client: it takes packets apart, answers some
//! requests itself, lets only packets pass that come while the debuggee stands still, and when gdbstub gives up the
//! client gets an error and a new state machine.

mod own;
mod report;
#[cfg(test)]
mod tests;

use gdbstub::conn::Connection;
use gdbstub::stub::GdbStub;
use gdbstub::stub::state_machine::GdbStubStateMachine;

use super::debuggee::{Cause, Debuggee, Failure, Progress, Stop};
use super::packet::{Framer, Incoming, LONGEST, framed};
use super::target::{Target, tid_of};

/// What gdbstub writes.
#[derive(Debug, Default)]
struct Written(Vec<u8>);

impl Connection for Written {
    type Error = std::convert::Infallible;

    fn write(&mut self, byte: u8) -> Result<(), Self::Error> {
        self.0.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

type Machine<'d> = GdbStubStateMachine<'static, Target<'d>, Written>;

/// A session.
pub(super) struct Session<'d> {
    target: Target<'d>,
    /// Never running or disconnected but within a call.
    machine: Option<Machine<'d>>,
    framer: Framer,
    /// For the client.
    output: Vec<u8>,
    /// The last packet for the client, in case it is lost.
    last: Vec<u8>,
    state: State,
    /// Packets are acknowledged.
    acknowledges: bool,
    /// The client reads errors in words.
    reads_errors: bool,
    /// The list of threads that the client is reading.
    threads: String,
    /// The machine has ended while it stood still.
    ended: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The debuggee stands still, the client asks.
    Asking,
    /// The debuggee moves, the client waits for a stop.
    Moving,
    /// Nothing more comes.
    Over(End),
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client took leave.
    Detached,
    /// The client has gone without a word, or is to.
    Lost,
    /// The client ended the debuggee.
    Killed,
    /// The debuggee ended.
    DebuggeeEnded,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Poll again at once; input may be given in between.
    Poll,
    /// Wait for input, or for the debuggee.
    Wait,
    /// Nothing more.
    Over(End),
}

impl<'d> Session<'d> {
    /// A session with an attached debuggee that stands still, seen from `vcpu`.
    pub(super) fn new(debuggee: &'d mut dyn Debuggee, vcpu: u8) -> Self {
        Self {
            target: Target::new(debuggee, vcpu),
            machine: None,
            framer: Framer::default(),
            output: Vec::new(),
            last: Vec::new(),
            state: State::Asking,
            acknowledges: true,
            reads_errors: false,
            threads: String::new(),
            ended: None,
        }
    }

    /// Whether the debuggee has ended and the client, which has not asked it to move since, has yet to hear of it.
    pub(super) fn has_news(&self) -> bool {
        self.state == State::Asking && self.ended.is_some()
    }

    /// What it debugs, to wait for it.
    pub(super) fn debuggee(&self) -> &dyn Debuggee {
        self.target.debuggee
    }

    /// Takes what is to be sent.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes in what the client sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if matches!(self.state, State::Over(_)) {
                return;
            }
            match self.framer.push(*byte) {
                Some(Incoming::Packet(body)) => {
                    if self.acknowledges {
                        self.output.push(b'+');
                    }
                    self.packet(&body);
                }
                Some(Incoming::Damaged) if self.acknowledges => self.output.push(b'-'),
                Some(Incoming::Nack) => self.output.extend_from_slice(&self.last),
                // A stop that was told already is what the client wants.
                Some(Incoming::Interrupt) if self.state == State::Moving => self.target.debuggee.interrupt(),
                Some(Incoming::Damaged | Incoming::Ack | Incoming::Interrupt) | None => {}
            }
        }
    }

    /// Looks how far the debuggee is and tells the client of a stop.
    pub(super) fn poll(&mut self) -> Next {
        match self.state {
            State::Over(end) => return Next::Over(end),
            // It does not move, but may end all the same: another user can end it.
            State::Asking => match self.target.debuggee.poll() {
                Progress::Stopped(stop) if matches!(stop.cause, Cause::Ended { .. }) => {
                    self.ended = Some(stop);
                }
                Progress::Busy | Progress::Waiting | Progress::Stopped(_) => {}
            },
            State::Moving => match self.target.debuggee.poll() {
                Progress::Busy => return Next::Poll,
                Progress::Waiting => {}
                Progress::Stopped(stop) => self.report(&stop),
            },
        }
        match self.state {
            State::Over(end) => Next::Over(end),
            State::Asking | State::Moving => Next::Wait,
        }
    }

    fn packet(&mut self, body: &[u8]) {
        self.target.begin();
        match self.state {
            State::Asking => {
                if !self.answer(body) {
                    self.forward(body);
                }
            }
            State::Moving => {
                if !self.leave(body) {
                    self.refuse("the guest runs; interrupt it first");
                }
            }
            State::Over(_) => {}
        }
    }

    /// Lets gdbstub carry a request out.
    fn forward(&mut self, body: &[u8]) {
        let (machine, written) = self.feed(body);
        self.machine = machine;
        let Some(written) = written else {
            return self.refuse("this request is malformed, or not one for this target");
        };
        self.pass_on(&written);
        match &self.machine {
            Some(Machine::Running(_)) => self.begin_motion(),
            Some(Machine::Disconnected(_)) => self.end(End::Detached),
            Some(Machine::Idle(_) | Machine::CtrlCInterrupt(_)) | None => {}
        }
    }

    fn begin_motion(&mut self) {
        self.state = State::Moving;
        // That it could not be moved is of no interest then.
        if let Some(end) = self.ended.take() {
            self.report(&end);
        } else if let Some(refused) = self.target.refused.take() {
            let stop = Stop { vcpu: Some(self.target.vcpu), cause: Cause::Failed(refused.0) };
            self.report(&stop);
        }
    }

    /// Feeds a packet to gdbstub. What it wrote is missing if it gave up; then it is a new one afterwards, which knows
    /// the same thread.
    fn feed(&mut self, body: &[u8]) -> (Option<Machine<'d>>, Option<Vec<u8>>) {
        let machine = self.machine.take().or_else(|| self.new_machine());
        match machine.and_then(|machine| pump(machine, &mut self.target, body)) {
            Some((machine, written)) => (Some(machine), Some(written)),
            None => (self.new_machine(), None),
        }
    }

    fn new_machine(&mut self) -> Option<Machine<'d>> {
        let stub = GdbStub::builder(Written::default()).packet_buffer_size(LONGEST).build().ok()?;
        let machine = stub.run_state_machine(&mut self.target).ok()?;
        let thread = format!("Hg{:x}", tid_of(self.target.vcpu));
        Some(pump(machine, &mut self.target, thread.as_bytes())?.0)
    }

    /// Sends the packets in what gdbstub wrote.
    fn pass_on(&mut self, written: &[u8]) {
        let mut framer = Framer::default();
        for byte in written {
            if let Some(Incoming::Packet(body)) = framer.push(*byte) {
                match body.as_slice() {
                    [b'E', digits @ ..] if digits.len() == 2 => match self.target.refused.clone() {
                        Some(refused) => self.refuse(&refused.0),
                        None => self.send(&body),
                    },
                    _ => self.send(&body),
                }
            }
        }
    }

    /// Sends an error, in words if the client reads them.
    fn refuse(&mut self, why: &str) {
        if self.target.refused.is_none() {
            self.target.refused = Some(Failure::new(why));
        }
        if self.reads_errors {
            let text: String =
                why.chars().map(|c| if matches!(c, '#' | '$' | '}' | '*') { '?' } else { c }).collect();
            self.send(format!("E.{}", crate::ui::text::escape(&text)).as_bytes());
        } else {
            self.send(b"E01");
        }
    }

    fn send(&mut self, body: &[u8]) {
        self.last = framed(body);
        self.output.extend_from_slice(&self.last);
    }

    fn end(&mut self, end: End) {
        self.state = State::Over(end);
    }
}

/// Feeds a packet to a machine that waits for one.
fn pump<'d>(
    mut machine: Machine<'d>,
    target: &mut Target<'d>,
    body: &[u8],
) -> Option<(Machine<'d>, Vec<u8>)> {
    for byte in framed(body) {
        machine = match machine {
            Machine::Idle(idle) => idle.incoming_data(target, byte).ok()?,
            other => other,
        };
    }
    let written = match &mut machine {
        Machine::Idle(inner) => inner.borrow_conn(),
        Machine::Running(inner) => inner.borrow_conn(),
        Machine::CtrlCInterrupt(inner) => inner.borrow_conn(),
        Machine::Disconnected(inner) => inner.borrow_conn(),
    };
    let written = std::mem::take(&mut written.0);
    Some((machine, written))
}
