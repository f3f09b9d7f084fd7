//! Requests that the session answers itself: what gdbstub does not know, knows less of, or must not be asked.

use super::{End, Session, State, report};
use crate::gdb::packet::{self, LONGEST, hex, number};
use crate::gdb::target::{threads_xml, tid_of, transfer};

impl Session<'_> {
    /// Answers a request while the debuggee stands still. False if gdbstub is to.
    pub(super) fn answer(&mut self, body: &[u8]) -> bool {
        if self.leave(body) {
            return true;
        }
        if let Some(features) = body.strip_prefix(b"qSupported") {
            self.introduce(features);
        } else if body == b"QStartNoAckMode" {
            self.send(b"OK");
            self.acknowledges = false;
        } else if body == b"?" {
            let thread = tid_of(self.target.vcpu);
            let ended = self.ended.as_ref().and_then(|stop| report::end(&stop.cause));
            self.send(ended.unwrap_or_else(|| format!("T05thread:{thread:x};")).as_bytes());
        } else if body == b"qC" {
            self.send(format!("QC{:x}", tid_of(self.target.vcpu)).as_bytes());
        } else if let Some(asked) = body.strip_prefix(b"qXfer:threads:read::") {
            // It comes in pieces, which are to be of one.
            if asked.starts_with(b"0,") || self.threads.is_empty() {
                self.threads = threads_xml(self.target.debuggee);
            }
            match transfer(&self.threads, asked) {
                Some(part) => self.send(&part),
                None => self.refuse("this request is malformed"),
            }
        } else if matches!(body, [b'Z' | b'z', b'3', ..]) && !self.target.debuggee.abilities().watches_reads {
            // GDB then watches for any access and tells reads from writes by what has changed.
            self.send(b"");
        } else if let Some(thread) = body.strip_prefix(b"qThreadExtraInfo,") {
            self.describe(thread);
        } else if let Some(thread) = body.strip_prefix(b"Hg") {
            self.choose(thread);
            return false;
        } else if let Some(asked) = body.strip_prefix(b"m") {
            return self.read_less(asked);
        } else {
            return false;
        }
        true
    }

    /// Takes leave, if that is what a packet asks for, in any state.
    pub(super) fn leave(&mut self, body: &[u8]) -> bool {
        if body == b"D" || body.starts_with(b"D;") {
            self.send(b"OK");
            self.end(End::Detached);
        } else if body == b"k" {
            // This one has no reply.
            self.end(End::Killed);
        } else if body.starts_with(b"vKill;") {
            self.send(b"OK");
            self.end(End::Killed);
        } else {
            return false;
        }
        true
    }

    /// Says what the target can do: what gdbstub says, without processes, with what is answered here.
    fn introduce(&mut self, features: &[u8]) {
        self.reads_errors =
            features.split(|byte| matches!(byte, b':' | b';')).any(|f| f == b"error-message+");
        let (machine, written) = self.feed(b"qSupported:swbreak+;hwbreak+");
        self.machine = machine;
        let written = String::from_utf8(written.unwrap_or_default()).unwrap_or_default();
        let said = written.split_once('$').map_or("", |(_, body)| body);
        let said = said.rsplit_once('#').map_or(said, |(body, _)| body);
        let mut features: Vec<String> = vec![format!("PacketSize={LONGEST:x}")];
        let kept = |feature: &&str| !feature.starts_with("PacketSize") && *feature != "multiprocess+";
        features.extend(said.split(';').filter(kept).map(str::to_owned));
        let more = ["QStartNoAckMode+", "qXfer:threads:read+", "error-message+"];
        features.extend(more.map(str::to_owned));
        self.send(features.join(";").as_bytes());
    }

    fn describe(&mut self, thread: &[u8]) {
        let vcpu = number(thread).and_then(|thread| u8::try_from(thread.checked_sub(1)?).ok());
        match vcpu.filter(|vcpu| *vcpu < self.target.debuggee.vcpus()) {
            Some(vcpu) => {
                let about = self.target.debuggee.describe(vcpu);
                self.send(hex(crate::ui::text::escape(&about).as_bytes()).as_bytes());
            }
            None => self.refuse("there is no such thread"),
        }
    }

    /// Notes the thread that later requests are about.
    fn choose(&mut self, thread: &[u8]) {
        let vcpu = number(thread).and_then(|thread| u8::try_from(thread.checked_sub(1)?).ok());
        if let Some(vcpu) = vcpu.filter(|vcpu| *vcpu < self.target.debuggee.vcpus()) {
            self.target.vcpu = vcpu;
        }
    }

    /// Lets gdbstub read no more memory than fits into a reply and lies before the end of the address space, which it
    /// does not look at. The client then asks for the rest.
    fn read_less(&mut self, asked: &[u8]) -> bool {
        let mut parts = asked.splitn(2, |byte| *byte == b',').map(number);
        let (Some(Some(gva)), Some(Some(len))) = (parts.next(), parts.next()) else {
            self.refuse("this request is malformed");
            return true;
        };
        let most = (LONGEST as u64 / 2 - 16).min((u64::MAX - gva).saturating_add(1));
        self.forward(format!("m{gva:x},{:x}", len.min(most)).as_bytes());
        true
    }

    /// Says something on the client's console; only while it waits for a stop.
    pub(super) fn say(&mut self, text: &str) {
        debug_assert_eq!(self.state, State::Moving);
        let line = format!("{}\n", crate::ui::text::escape(text));
        for piece in line.as_bytes().chunks(LONGEST / 4) {
            self.send(format!("O{}", packet::hex(piece)).as_bytes());
        }
    }
}
