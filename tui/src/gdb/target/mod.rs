//! What [`gdbstub`] sees: a target whose threads are the vCPUs of a [`Debuggee`].

mod memory_map;
mod points;
mod resume;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use gdbstub::common::Tid;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{MultiThreadBase, MultiThreadResumeOps};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::BreakpointsOps;
use gdbstub::target::ext::catch_syscalls::CatchSyscallsOps;
use gdbstub::target::ext::memory_map::MemoryMapOps;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::{TargetError, TargetResult};

use super::debuggee::{Debuggee, Direction, Failure, Motion, Point};
use super::packet::LONGEST;
use super::registers::{Register, RegisterFile, X86, description, le_value};
use super::{monitor, packet};
use crate::ui::text::escape;

/// The number in the error replies of all that fails; what it was is said in words where GDB lets us.
const FAILED: u8 = 1;
/// Output of a command goes in pieces that GDB takes.
const PIECE: usize = LONGEST / 2 - 16;

/// The target.
pub(super) struct Target<'d> {
    pub(super) debuggee: &'d mut dyn Debuggee,
    /// The vCPU that GDB's requests without a thread are about.
    pub(super) vcpu: u8,
    /// Why the packet that is looked at is refused.
    pub(super) refused: Option<Failure>,
    /// Why the last one was that was refused before.
    why: Option<Failure>,
    /// What the client has set and not taken away.
    points: BTreeSet<Point>,
    description: String,
    map: String,
    /// What each vCPU is told to do by the packet that is looked at.
    motions: Vec<Option<Motion>>,
    /// Those that are told nothing stay where they are.
    locked: bool,
}

impl<'d> Target<'d> {
    pub(super) fn new(debuggee: &'d mut dyn Debuggee, vcpu: u8) -> Self {
        Self {
            vcpu,
            refused: None,
            why: None,
            points: BTreeSet::new(),
            description: description(debuggee.abilities().avx),
            map: memory_map::xml(&debuggee.memory()),
            motions: Vec::new(),
            locked: false,
            debuggee,
        }
    }

    /// A new packet is looked at.
    pub(super) fn begin(&mut self) {
        self.why = self.refused.take().or_else(|| self.why.take());
    }

    /// The vCPU behind a thread's number.
    pub(super) fn vcpu_of(&self, tid: Tid) -> Option<u8> {
        u8::try_from(tid.get() - 1).ok().filter(|vcpu| *vcpu < self.debuggee.vcpus())
    }

    /// Notes why something failed, for whoever can be told.
    fn note<T>(&mut self, result: Result<T, Failure>) -> Result<T, TargetError<Failure>> {
        result.map_err(|failure| {
            self.refused = Some(failure);
            TargetError::Errno(FAILED)
        })
    }

    fn known(&mut self, tid: Tid) -> Result<u8, TargetError<Failure>> {
        let vcpu = self.vcpu_of(tid).ok_or_else(|| no_such(tid, self.debuggee.vcpus()));
        self.note(vcpu)
    }
}

/// A vCPU's thread number.
pub(super) fn tid_of(vcpu: u8) -> Tid {
    NonZeroUsize::MIN.saturating_add(usize::from(vcpu))
}

fn no_such(tid: Tid, vcpus: u8) -> Failure {
    Failure(format!("there is no thread {tid}: vCPUs are the threads 1 to {vcpus}"))
}

/// Copies what a client asks for of a document, and tells how much that is.
fn part(document: &str, offset: u64, length: usize, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| document.as_bytes().get(offset..));
    let rest = rest.unwrap_or_default();
    let count = rest.len().min(length).min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(&rest[..count]) {
        *to = *from;
    }
    count
}

impl gdbstub::target::Target for Target<'_> {
    type Arch = X86;
    type Error = Failure;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Failure> {
        BaseOps::MultiThread(self)
    }

    // The session deals with acknowledgements and with everything that GDB can be told more of than gdbstub knows.
    fn use_no_ack_mode(&self) -> bool {
        false
    }

    // Replies are looked at before they are sent.
    fn use_rle(&self) -> bool {
        false
    }

    fn use_lldb_register_info(&self) -> bool {
        false
    }

    fn use_fork_stop_reason(&self) -> bool {
        false
    }

    fn use_vfork_stop_reason(&self) -> bool {
        false
    }

    fn use_vforkdone_stop_reason(&self) -> bool {
        false
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_catch_syscalls(&mut self) -> Option<CatchSyscallsOps<'_, Self>> {
        Some(self)
    }

    fn support_memory_map(&mut self) -> Option<MemoryMapOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Target<'_> {
    fn read_registers(&mut self, registers: &mut RegisterFile, tid: Tid) -> TargetResult<(), Self> {
        let vcpu = self.known(tid)?;
        let read = self.debuggee.registers(vcpu);
        *registers = self.note(read)?;
        Ok(())
    }

    fn write_registers(&mut self, registers: &RegisterFile, tid: Tid) -> TargetResult<(), Self> {
        let vcpu = self.known(tid)?;
        let old = self.debuggee.registers(vcpu);
        let changed = registers.changed_from(&self.note(old)?);
        let written = self.debuggee.set_registers(vcpu, &changed);
        self.note(written)
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, gva: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        let vcpu = self.known(tid)?;
        let read = self.debuggee.read(vcpu, gva, data);
        self.note(read)
    }

    fn write_addrs(&mut self, gva: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let vcpu = self.known(tid)?;
        // GDB finds out by this whether we take binary data.
        if data.is_empty() {
            return Ok(());
        }
        let written = self.debuggee.write(vcpu, gva, data);
        self.note(written)
    }

    fn list_active_threads(&mut self, thread: &mut dyn FnMut(Tid)) -> Result<(), Failure> {
        (0..self.debuggee.vcpus()).map(tid_of).for_each(thread);
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Target<'_> {
    fn read_register(
        &mut self,
        tid: Tid,
        register: Register,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let vcpu = self.known(tid)?;
        let read = self.debuggee.registers(vcpu);
        let Some(value) = self.note(read)?.get(register) else { return Ok(0) };
        let mut count = 0;
        for (to, from) in buffer.iter_mut().zip(value.to_le_bytes()).take(register.bytes()) {
            *to = from;
            count += 1;
        }
        Ok(count)
    }

    fn write_register(&mut self, tid: Tid, register: Register, bytes: &[u8]) -> TargetResult<(), Self> {
        let vcpu = self.known(tid)?;
        let value = le_value(bytes).filter(|_| bytes.len() == register.bytes());
        let value = value.ok_or_else(|| {
            let (name, size) = (register.spec().name, register.bytes());
            Failure(format!("{name} has {size} bytes, not {}", bytes.len()))
        });
        let value = self.note(value)?;
        // GDB writes it with every new value of RIP: "not in a system call".
        if register == Register::OrigRax {
            return Ok(());
        }
        // After a call of a guest's function GDB puts everything back, whatever it was.
        let old = self.debuggee.registers(vcpu);
        if self.note(old)?.get(register) == Some(value) {
            return Ok(());
        }
        let mut changed = RegisterFile::default();
        changed.set(register, value);
        let written = self.debuggee.set_registers(vcpu, &changed);
        self.note(written)
    }
}

impl TargetDescriptionXmlOverride for Target<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        Ok(part(&self.description, offset, length.min(PIECE), buffer))
    }
}

impl MonitorCmd for Target<'_> {
    fn handle_monitor_cmd(&mut self, line: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(line);
        let text = monitor::run(self.debuggee, self.vcpu, &line, self.why.as_ref());
        for piece in text.as_bytes().chunks(PIECE) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
    }
}

/// The target's threads for `info threads`, with names.
pub(super) fn threads_xml(debuggee: &mut dyn Debuggee) -> String {
    let mut xml = String::from("<?xml version=\"1.0\"?>\n<threads>\n");
    for vcpu in 0..debuggee.vcpus() {
        let about = escaped(&debuggee.describe(vcpu));
        xml.push_str(&format!(
            "<thread id=\"{:x}\" core=\"{vcpu}\" name=\"cpu{vcpu}\">{about}</thread>\n",
            tid_of(vcpu)
        ));
    }
    xml.push_str("</threads>\n");
    xml
}

/// Text for XML and for terminals: the names of a guest's functions can be anything.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in escape(text).chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A `qXfer` reply with a part of `document`, `offset,length` as the client wrote it.
pub(super) fn transfer(document: &str, asked: &[u8]) -> Option<Vec<u8>> {
    let (offset, length) = asked.split_at(asked.iter().position(|byte| *byte == b',')?);
    let offset = packet::number(offset)?;
    let length = usize::try_from(packet::number(length.get(1..)?)?).ok()?;
    let mut buffer = vec![0; length.min(PIECE)];
    let count = part(document, offset, length, &mut buffer);
    buffer.truncate(count);
    let kind = if count == 0 { b'l' } else { b'm' };
    Some([vec![kind], packet::binary(&buffer)].concat())
}

/// The motions for the debuggee: a vCPU that was told nothing goes on, or stays where it is if others are locked out.
fn complete(motions: &mut Vec<Option<Motion>>, locked: bool) -> Vec<Motion> {
    let rest = if locked { Motion::Hold } else { Motion::Continue };
    motions.drain(..).map(|motion| motion.unwrap_or_else(|| rest.clone())).collect()
}

impl Target<'_> {
    /// Moves the debuggee. The reply is a stop, even if it did not move.
    fn go(&mut self, direction: Direction, motions: &[Motion]) {
        // A thread that does not exist cannot move.
        if self.refused.is_some() {
            return;
        }
        if let Err(failure) = self.debuggee.resume(direction, motions) {
            self.refused = Some(failure);
        }
    }
}
