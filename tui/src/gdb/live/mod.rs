//! A running guest, through the one way to it: [`vmm_lite::Control`].

mod convert;
mod irqs;
mod monitor;
mod motion;
mod recording;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crossbeam_channel::{Receiver, Select, never};
use trace_format::event::Actor;
use vmm_lite::{Activity, Control, MachineState, WatchAccess};

use super::debuggee::{
    Abilities, Debuggee, Direction, Failure, Motion, Point, PointKind, Progress, Region, Stop,
};
use super::monitor::Request;
use super::registers::{Feature, Register, RegisterFile};
use convert::Changes;
use motion::Moving;
use recording::Recording;
use waits::Waits;

/// In whose name everything is done.
const BY: Actor = Actor::Gdb;
/// Where the devices are that the guest sees in physical memory: IOAPIC and local APICs.
const DEVICES: [std::ops::Range<u64>; 2] = [0xfec0_0000..0xfec0_1000, 0xfee0_0000..0xfee0_1000];
/// The end of the memory below the devices; the rest is above 4 GiB.
const LOW_END: u64 = 0xc000_0000;

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Live {
    control: Control,
    /// Since the debugger came.
    stops: Receiver<vmm_lite::Stop>,
    points: BTreeSet<Point>,
    /// Breakpoints at these addresses, gva, count only with that CR3.
    scopes: BTreeMap<u64, u64>,
    /// Events and system calls.
    waits: Waits,
    /// Steps take interrupts that are due.
    step_interrupts: bool,
    recording: Recording,
    /// The guest's CPUs have AVX.
    avx: bool,
    moving: Option<Moving>,
    /// A stop that came while nothing moved for GDB, of which it hears when it wants to go on.
    untold: Option<Stop>,
    interrupted: bool,
    /// Nobody but a debugger can have been meant to resume the guest when this one came: `--wait`.
    waited: bool,
    /// This debugger has resumed the guest.
    resumed: bool,
}

impl Live {
    /// The guest behind `control`, recorded into `trace`.
    pub(crate) fn new(control: Control, trace: Option<PathBuf>) -> Self {
        // A run that has ended already has no registers at all.
        let avx = control.floating_point(0).is_ok_and(|state| state.ymm_upper.is_some());
        Self {
            control,
            avx,
            stops: never(),
            points: BTreeSet::new(),
            scopes: BTreeMap::new(),
            waits: Waits::default(),
            step_interrupts: false,
            recording: Recording::new(trace),
            moving: None,
            untold: None,
            interrupted: false,
            waited: false,
            resumed: false,
        }
    }

    fn activity(&self, vcpu: u8) -> Option<Activity> {
        self.control.activities().get(usize::from(vcpu)).copied()
    }

    fn rip(&self, vcpu: u8) -> Result<u64, Failure> {
        Ok(self.control.registers(vcpu)?.general.rip)
    }

    /// A point as the engine has it.
    fn engine_point(&self, point: Point) -> Result<vmm_lite::Point, Failure> {
        let address_space = match point.kind {
            PointKind::Software | PointKind::Hardware => self.scopes.get(&point.address).copied(),
            PointKind::Write | PointKind::Read | PointKind::Access => None,
        };
        Ok(vmm_lite::Point { address_space, ..engine_point(point)? })
    }

    fn stops_at(&self, address: u64) -> Option<bool> {
        let here = self.points.iter().find(|point| is_breakpoint(point, address));
        here.map(|point| point.kind == PointKind::Hardware)
    }
}

/// Whether a point is a breakpoint, of any kind, at `address`.
fn is_breakpoint(point: &Point, address: u64) -> bool {
    point.address == address && matches!(point.kind, PointKind::Software | PointKind::Hardware)
}

/// A point as the engine has it, that counts in every address space.
fn engine_point(point: Point) -> Result<vmm_lite::Point, Failure> {
    let Point { kind, address, len } = point;
    Ok(match kind {
        PointKind::Software => vmm_lite::Point::breakpoint(address),
        PointKind::Hardware => vmm_lite::Point {
            kind: vmm_lite::PointKind::HardwareBreakpoint,
            ..vmm_lite::Point::breakpoint(address)
        },
        PointKind::Write => vmm_lite::Point::watch(address, len, WatchAccess::Write),
        PointKind::Access => vmm_lite::Point::watch(address, len, WatchAccess::Any),
        PointKind::Read => {
            return Err(Failure::new("x86 does not stop at reads alone; 'awatch' stops at any access"));
        }
    })
}

impl From<vmm_lite::Error> for Failure {
    fn from(error: vmm_lite::Error) -> Self {
        Self(format!("{:#}", anyhow::Error::from(error)))
    }
}

impl Debuggee for Live {
    fn vcpus(&self) -> u8 {
        self.control.activities().len() as u8
    }

    fn abilities(&self) -> Abilities {
        Abilities { reverse: false, avx: self.avx, watches_reads: false }
    }

    fn memory(&self) -> Vec<Region> {
        let bytes = self.control.memory_bytes();
        let low = Region { range: 0..bytes.min(LOW_END), ram: true };
        let devices = DEVICES.map(|range| Region { range, ram: false });
        let high = (1 << 32)..(1 << 32) + bytes.saturating_sub(LOW_END);
        let high = Region { range: high, ram: true };
        std::iter::once(low).chain(devices).chain(Some(high).filter(|high| !high.range.is_empty())).collect()
    }

    fn attach(&mut self) -> Result<u8, Failure> {
        (self.moving, self.untold) = (None, None);
        self.resumed = false;
        self.waited = self.control.state() == MachineState::Paused { by: Actor::CommandLine };
        self.stops = self.control.stops();
        self.control.attach(BY)?;
        // The first that does something is more interesting than one that sleeps.
        let activities = self.control.activities();
        let running = activities.iter().position(|activity| *activity == Activity::Running);
        Ok(running.and_then(|vcpu| u8::try_from(vcpu).ok()).unwrap_or(0))
    }

    fn detach(&mut self, took_leave: bool) {
        (self.moving, self.untold) = (None, None);
        self.points.clear();
        self.scopes.clear();
        // The engine forgets it by itself.
        self.waits = Waits::default();
        self.step_interrupts = false;
        self.stops = never();
        self.control.detach(BY);
        if self.resumed || took_leave && self.waited {
            // What has ended cannot be resumed, and need not.
            let _ = self.control.resume(BY);
        }
    }

    fn kill(&mut self) {
        self.control.stop(BY);
    }

    fn describe(&mut self, vcpu: u8) -> String {
        let state = match self.activity(vcpu) {
            Some(Activity::Running) => "running",
            Some(Activity::Halted) => "halted",
            Some(Activity::WaitingForSipi) => return "waiting for SIPI".to_owned(),
            None => return "none".to_owned(),
        };
        let Ok(registers) = self.control.registers(vcpu) else { return "ended".to_owned() };
        let ring = registers.system.cs.selector & 3;
        let ring =
            if registers.system.cr0 & 1 == 0 { "real mode".to_owned() } else { format!("ring {ring}") };
        let rip = registers.general.rip;
        let place = self.control.symbolize(rip).unwrap_or_else(|| format!("{rip:#x}"));
        format!("{state}, {ring}, {place}")
    }

    fn registers(&mut self, vcpu: u8) -> Result<RegisterFile, Failure> {
        let mut file = convert::registers(&self.control.registers(vcpu)?, self.avx);
        convert::floating_point(&self.control.floating_point(vcpu)?, &mut file);
        convert::special(&self.control.debug_registers(vcpu)?, &self.control.msrs(vcpu)?, &mut file);
        Ok(file)
    }

    fn set_registers(&mut self, vcpu: u8, changed: &RegisterFile) -> Result<(), Failure> {
        let changes = Changes::of(changed);
        // What cannot be is found out before anything is changed.
        let mut registers = self.control.registers(vcpu)?;
        convert::apply(&changes.general, &mut registers)?;
        let mut floating_point = self.control.floating_point(vcpu)?;
        convert::apply_floating_point(&changes.floating_point, &mut floating_point)?;
        let mut debug = self.control.debug_registers(vcpu)?;
        convert::apply_debug(&changes.debug, &mut debug)?;
        if !changes.general.is_empty() {
            self.control.set_registers(vcpu, &registers)?;
        }
        if !changes.segments.is_empty() {
            self.control.load_segments(vcpu, &changes.segments)?;
        }
        if !changes.floating_point.is_empty() {
            self.control.set_floating_point(vcpu, &floating_point)?;
        }
        if !changes.debug.is_empty() {
            self.control.set_debug_registers(vcpu, &debug)?;
        }
        for (index, value) in changes.msrs {
            self.control.set_msr(vcpu, index, value)?;
        }
        Ok(())
    }

    fn read(&mut self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        Ok(self.control.read_virtual_up_to(vcpu, gva, buffer)?)
    }

    fn write(&mut self, vcpu: u8, gva: u64, data: &[u8]) -> Result<(), Failure> {
        Ok(self.control.write_virtual(vcpu, gva, data)?)
    }

    fn insert(&mut self, vcpu: u8, point: Point) -> Result<(), Failure> {
        self.control.insert(BY, vcpu, &self.engine_point(point)?)?;
        self.points.insert(point);
        Ok(())
    }

    fn remove(&mut self, vcpu: u8, point: Point) -> Result<(), Failure> {
        self.control.remove(BY, vcpu, &engine_point(point)?)?;
        self.points.remove(&point);
        Ok(())
    }

    fn catch_syscalls(&mut self, numbers: Option<Vec<u64>>) -> Result<(), Failure> {
        self.waits.set_syscalls(&self.control, numbers)
    }

    fn resume(&mut self, direction: Direction, motions: &[Motion]) -> Result<(), Failure> {
        if direction == Direction::Backward {
            return Err(Failure::new(
                "a running guest does not go back; a recorded one does: vmscope replay --gdb",
            ));
        }
        self.interrupted = false;
        self.look_while_idle();
        match self.untold.take() {
            Some(stop) => self.moving = Some(Moving::Over(stop)),
            None => self.begin(motions)?,
        }
        self.resumed = true;
        Ok(())
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
        if matches!(self.moving, Some(Moving::Running | Moving::Waking { .. })) {
            // What has ended need not be paused.
            let _ = self.control.pause(BY);
        }
    }

    fn wait_on<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.stops);
    }

    fn poll(&mut self) -> Progress {
        self.advance()
    }

    fn monitor(&mut self, vcpu: u8, request: Request) -> Result<String, Failure> {
        self.answer(vcpu, request)
    }
}

#[cfg(test)]
mod tests;
