//! A machine to test with.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crossbeam_channel::Select;
use trace_format::event::StopReason;

use super::debuggee::{
    Abilities, Cause, Debuggee, Direction, Failure, Motion, Point, PointKind, Progress, Region, Stop,
};
use super::monitor::Request;
use super::registers::{Register, RegisterFile};

/// So much memory, from address 0.
pub(super) const MEMORY: u64 = 1 << 20;
/// Whoever reads there has it panic.
pub(super) const PANIC: u64 = 0xbad_0000;
/// It exits when a vCPU comes there.
pub(super) const END: u64 = 0x2000;

/// A triple fault is there, at which KVM resets the vCPU.
pub(super) const TRIPLE_FAULT: u64 = 0x3000;

/// vCPUs whose instructions all have one byte and do nothing. A vCPU that runs makes 16 of them at each poll.
#[derive(Debug)]
pub(super) struct Model {
    registers: Vec<RegisterFile>,
    pub(super) memory: Vec<u8>,
    pub(super) points: BTreeSet<Point>,
    motions: Vec<Motion>,
    direction: Direction,
    interrupted: bool,
    /// Somebody has ended it.
    pub(super) ended: bool,
    /// Who came and went.
    pub(super) log: Arc<Mutex<Vec<&'static str>>>,
}

impl Model {
    pub(super) fn new(vcpus: u8) -> Self {
        let mut file = RegisterFile::new(false);
        file.set(Register::Rip, 0x1000_u64);
        file.set(Register::Rax, 0x1234_u64);
        file.set(Register::Cr0, 0x8000_0011_u64);
        Self {
            registers: vec![file; usize::from(vcpus)],
            memory: vec![0; MEMORY as usize],
            points: BTreeSet::new(),
            motions: Vec::new(),
            direction: Direction::Forward,
            interrupted: false,
            ended: false,
            log: Arc::default(),
        }
    }

    fn rip(&self, vcpu: usize) -> u64 {
        self.registers[vcpu].get_u64(Register::Rip).unwrap_or(0)
    }

    /// One instruction.
    fn step(&mut self, vcpu: usize) -> Option<Cause> {
        let by = if self.direction == Direction::Forward { 1 } else { u64::MAX };
        let rip = self.rip(vcpu).wrapping_add(by);
        self.registers[vcpu].set(Register::Rip, rip);
        if rip == END {
            self.ended = true;
            return Some(Cause::Ended { why: StopReason::GuestExit { status: 7 } });
        }
        if rip == TRIPLE_FAULT {
            self.registers[vcpu].set(Register::Rip, 0xfff0_u64);
            self.registers[vcpu].set(Register::CsBase, 0xffff_0000_u64);
            return Some(Cause::Ending { why: StopReason::TripleFault, event: None });
        }
        if rip == 0 {
            return Some(Cause::EndOfTrace(self.direction));
        }
        let here = self.points.iter().find(|point| point.address == rip)?;
        match here.kind {
            PointKind::Software | PointKind::Hardware => {
                Some(Cause::Breakpoint { hardware: here.kind == PointKind::Hardware })
            }
            kind => Some(Cause::Watchpoint { kind, address: rip }),
        }
    }
}

impl Debuggee for Model {
    fn vcpus(&self) -> u8 {
        self.registers.len() as u8
    }

    fn abilities(&self) -> Abilities {
        Abilities { reverse: true, avx: false, watches_reads: false }
    }

    fn memory(&self) -> Vec<Region> {
        vec![Region { range: 0..MEMORY, ram: true }]
    }

    fn attach(&mut self) -> Result<u8, Failure> {
        self.log.lock().unwrap().push("attach");
        Ok(0)
    }

    fn detach(&mut self, _: bool) {
        self.points.clear();
        self.log.lock().unwrap().push("detach");
    }

    fn kill(&mut self) {
        self.ended = true;
        self.log.lock().unwrap().push("kill");
    }

    fn describe(&mut self, vcpu: u8) -> String {
        format!("running at {:#x} in <main>&\x1b", self.rip(vcpu.into()))
    }

    fn registers(&mut self, vcpu: u8) -> Result<RegisterFile, Failure> {
        Ok(self.registers[usize::from(vcpu)].clone())
    }

    fn set_registers(&mut self, vcpu: u8, changed: &RegisterFile) -> Result<(), Failure> {
        if changed.get(Register::Pat).is_some() {
            return Err(Failure::new("pat cannot be set"));
        }
        for (register, value) in changed.known() {
            self.registers[usize::from(vcpu)].set(register, value);
        }
        Ok(())
    }

    fn read(&mut self, _: u8, gva: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        assert_ne!(gva, PANIC, "a fault for a test");
        let rest = usize::try_from(gva).ok().and_then(|at| self.memory.get(at..)).unwrap_or_default();
        if rest.is_empty() && !buffer.is_empty() {
            return Err(Failure(format!("{gva:#x} is not mapped")));
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write(&mut self, _: u8, gva: u64, data: &[u8]) -> Result<(), Failure> {
        let place = usize::try_from(gva).ok().and_then(|at| self.memory.get_mut(at..)?.get_mut(..data.len()));
        place.ok_or_else(|| Failure(format!("{gva:#x} is not mapped")))?.copy_from_slice(data);
        Ok(())
    }

    fn insert(&mut self, _: u8, point: Point) -> Result<(), Failure> {
        self.points.insert(point);
        Ok(())
    }

    fn remove(&mut self, _: u8, point: Point) -> Result<(), Failure> {
        self.points.remove(&point);
        Ok(())
    }

    fn catch_syscalls(&mut self, _: Option<Vec<u64>>) -> Result<(), Failure> {
        Err(Failure::new("there are no system calls"))
    }

    fn resume(&mut self, direction: Direction, motions: &[Motion]) -> Result<(), Failure> {
        assert_eq!(motions.len(), self.registers.len());
        if self.ended {
            return Err(Failure::new("cannot resume: the run has ended"));
        }
        if motions.iter().all(|motion| *motion == Motion::Hold) {
            return Err(Failure::new("nothing moves"));
        }
        self.interrupted = false;
        self.direction = direction;
        self.motions = motions.to_vec();
        Ok(())
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
    }

    fn wait_on<'a>(&'a self, _: &mut Select<'a>) {}

    fn poll(&mut self) -> Progress {
        if self.ended {
            let cause = Cause::Ended { why: StopReason::GuestExit { status: 7 } };
            return Progress::Stopped(Stop { vcpu: None, cause });
        }
        if self.motions.is_empty() {
            return Progress::Waiting;
        }
        if self.interrupted {
            self.motions.clear();
            return Progress::Stopped(Stop { vcpu: Some(0), cause: Cause::Interrupted });
        }
        for vcpu in 0..self.registers.len() {
            for _ in 0..16 {
                let motion = self.motions[vcpu].clone();
                if motion == Motion::Hold {
                    break;
                }
                let cause = self.step(vcpu).or_else(|| match motion {
                    Motion::Step => Some(Cause::Stepped),
                    Motion::StepRange(range) if !range.contains(&self.rip(vcpu)) => Some(Cause::Stepped),
                    _ => None,
                });
                if let Some(cause) = cause {
                    self.motions.clear();
                    return Progress::Stopped(Stop { vcpu: Some(vcpu as u8), cause });
                }
            }
        }
        Progress::Busy
    }

    fn monitor(&mut self, vcpu: u8, request: Request) -> Result<String, Failure> {
        match request {
            Request::TraceAt => Ok(format!("vCPU {vcpu}")),
            Request::Events(count) => Ok("0123456789\x1b\n".repeat(count as usize)),
            other => Err(Failure(format!("not here: {other:?}"))),
        }
    }
}
