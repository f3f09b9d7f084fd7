//! A vCPU's thread: enter the guest, handle the exit, again.
//!
//! Between two entries the thread looks at what others want of it: requests, pauses, start-up IPIs, interrupts. It
//! looks only when something may have changed, so that an exit that concerns nobody else costs no lock.

mod console;
mod debug;
mod emulation;
mod exits;
mod inject;
mod local_apic;
mod mmio;
mod request;
mod reset;
mod segments;
mod startup;
mod state;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use crossbeam_channel::Receiver;
use trace_format::event::{self, Actor, AddressSpace, Debugger, ExitReason, Payload, StopReason, VcpuState};

pub(crate) use console::Console;
pub(crate) use local_apic::{KernelApic, KernelApicOwnPics, LocalApic, OwnApic};
pub(crate) use request::Request;
pub use segments::Segment;
pub(crate) use segments::load as load_segments;

use crate::error::Result;
use crate::kvm::{Exit, Left, PowerOn, Vcpu};
use crate::machine::{Machine, Order, StopCause, lock};
use crate::probe::{Context, Probes};
use crate::recorder::{Lane, Met, RecordRegisters, Timing, registers_of};

/// What a vCPU does while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Runs guest code.
    Running,
    /// Has executed `HLT`.
    Halted,
    /// Waits for INIT or a start-up IPI.
    WaitingForSipi,
}

impl Activity {
    /// What vCPU `number` does after power-on.
    pub(crate) const fn first(number: u8) -> Self {
        if number == 0 { Self::Running } else { Self::WaitingForSipi }
    }
}

/// The thread's state.
pub(crate) struct VcpuThread {
    vcpu: Vcpu,
    number: u8,
    machine: Arc<Machine>,
    requests: Receiver<Request>,
    lane: Lane,
    /// Between `leave_guest` and `enter_guest` of the lane.
    recording: bool,
    /// The exit that was handled last, and its time, ns.
    handled: event::Exit,
    handled_ns: u64,
    /// It is to be recorded when it is known how long that took.
    unrecorded: bool,
    probes: Probes,
    activity: Activity,
    /// The run's generation when the thread last looked.
    generation: u64,
    /// Out of the guest, with nothing left to do for its last exit.
    parked: bool,
    /// Interrupts, start-up IPIs or the task priority may have changed.
    look: bool,
    /// The vector that was injected at the last entry.
    injected: Option<u8>,
    cr3: u64,
    cr8: u64,
    /// The local APIC's page.
    apic_page: Option<u64>,
    /// As it was after power-on, for INIT and for when the machine begins anew.
    power_on: PowerOn,
    /// How often the machine had begun anew when this vCPU did.
    life: u64,
}

/// What the end of a vCPU's thread means to the others, even if it ends by a panic.
struct EndOfThread<'m> {
    machine: &'m Machine,
    number: u8,
}

impl Drop for EndOfThread<'_> {
    fn drop(&mut self) {
        // After an orderly end the machine is stopped already.
        self.machine.stop(StopReason::HostError);
        // Others may wait for this vCPU to park: from now on it is out of the guest for good.
        self.machine.run.order(self.number, true);
        // The timekeeper waits for that too.
        self.machine.timekeeper.poke();
    }
}

/// What comes after a look at what others want.
pub(crate) enum Next {
    /// The guest.
    Enter,
    /// Another look.
    LookAgain,
    /// Nothing.
    End,
}

impl VcpuThread {
    pub(crate) fn new(
        mut vcpu: Vcpu,
        power_on: PowerOn,
        machine: Arc<Machine>,
        requests: Receiver<Request>,
        lane: Lane,
    ) -> Self {
        let number = vcpu.number();
        let shared = Arc::clone(&machine.probes);
        let apic_page = machine.vcpus.get(usize::from(number)).and_then(|v| v.lapic()?.mmio_page());
        Self {
            cr3: vcpu.sregs().cr3,
            vcpu,
            number,
            machine,
            requests,
            lane,
            recording: false,
            handled: event::Exit {
                reason: ExitReason::Interrupted,
                rip: 0,
                cpl: 0,
                guest_ns: 0,
                handling_ns: 0,
            },
            handled_ns: 0,
            unrecorded: false,
            probes: Probes::new(shared),
            activity: Activity::first(number),
            generation: 0,
            parked: false,
            look: true,
            injected: None,
            cr8: 0,
            apic_page,
            power_on,
            life: 0,
        }
    }

    /// Runs until the machine stops. An error ends the run.
    pub(crate) fn run(mut self) {
        let machine = Arc::clone(&self.machine);
        let Some(shared) = machine.vcpus.get(usize::from(self.number)) else { return };
        // Set once, here.
        drop(shared.thread.set(thread::current()));
        let _guard = EndOfThread { machine: &machine, number: self.number };
        let attached = machine.ipis.as_ref().map_or(Ok(()), |ipis| ipis.attach(self.number));
        let outcome =
            attached.and_then(|()| self.vcpu.kick_target(&shared.kick)).and_then(|_target| self.run_guest());
        if let Err(error) = outcome {
            machine.fail(error);
        }
        self.flush_own_console();
        self.close_exit();
    }

    fn run_guest(&mut self) -> Result<()> {
        self.record(Payload::State(VcpuState::Created));
        self.record(Payload::State(match self.activity {
            Activity::WaitingForSipi => VcpuState::WaitingForSipi,
            Activity::Running | Activity::Halted => VcpuState::Running,
        }));
        loop {
            match self.look_around()? {
                Next::Enter => self.enter()?,
                Next::LookAgain => {}
                Next::End => return Ok(()),
            }
        }
    }

    /// Everything that can keep the vCPU out of the guest.
    fn look_around(&mut self) -> Result<Next> {
        self.keep_up_with_resets()?;
        // Whoever sends a request notifies the vCPU of it.
        while self.look
            && let Ok(request) = self.requests.try_recv()
        {
            request(self);
        }
        let generation = self.machine.run.generation();
        if generation != self.generation || self.parked {
            match self.machine.run.order(self.number, self.parked) {
                Order::End => return Ok(Next::End),
                Order::Park => {
                    self.park()?;
                    return Ok(Next::LookAgain);
                }
                // While it was parked, and after the look at the beginning.
                Order::Run if self.is_of_another_life() => return Ok(Next::LookAgain),
                Order::Run => {
                    self.generation = generation;
                    self.parked = false;
                    self.look = true;
                    if let Some(watch) = self.probes.take_watched()
                        && self.report_watch(&watch)
                    {
                        return Ok(Next::LookAgain);
                    }
                }
            }
        }
        self.machine.local_apic.before_entry(self)
    }

    /// Enters the guest and handles the exit.
    fn enter(&mut self) -> Result<()> {
        let (probes, mut cx) = self.probing(0);
        probes.keep_up(&mut cx)?;
        self.close_exit();
        if self.stops_for_what_was_met() {
            return Ok(());
        }
        let Some(shared) = self.machine.vcpus.get(usize::from(self.number)) else { return Ok(()) };
        shared.in_guest.store(true, Ordering::SeqCst);
        if shared.attention.load(Ordering::SeqCst) {
            // Not a mere store: it must see what was done before the last notification.
            shared.attention.swap(false, Ordering::SeqCst);
            shared.in_guest.store(false, Ordering::Release);
            self.look = true;
            return Ok(());
        }
        let left = self.vcpu.enter();
        // Who sees this late kicks once too often.
        shared.in_guest.store(false, Ordering::Release);
        let timing = self.lane.leave_guest();
        self.recording = true;
        let exit = match left? {
            Left::Exit => self.vcpu.exit(),
            Left::Interrupted => Exit::Interrupted,
        };
        self.handle(&exit, timing)
    }

    /// Handles an exit and leaves its event to be recorded when the handling is over.
    fn handle(&mut self, exit: &Exit, timing: Timing) -> Result<()> {
        if matches!(exit, Exit::Interrupted | Exit::InterruptWindow) {
            let (probes, mut cx) = self.probing(timing.time);
            probes.undo_bounce(&mut cx)?;
        }
        // Where a breakpoint bounces, those at the breakpoint are recorded.
        let (probes, mut cx) = self.probing(timing.time);
        if !matches!(exit, Exit::Debug { .. }) || !probes.is_at_bounce_handler(&mut cx) {
            self.record_registers(timing.time);
        }
        let (rip, cpl) = (self.vcpu.rip(), self.vcpu.cpl());
        self.notice_changes(timing)?;
        self.machine.local_apic.after_exit(self, exit)?;
        let interrupted = *exit == Exit::Interrupted;
        self.dispatch(exit, timing)?;
        if !interrupted {
            self.injected = None;
        }
        // Where a breakpoint bounces, the exit is in the guest's handler for it.
        self.handled.rip = if let ExitReason::Probe { pc } = self.handled.reason { pc } else { rip };
        self.handled.cpl = cpl;
        self.handled.guest_ns = timing.guest_ns;
        self.handled_ns = timing.time;
        self.unrecorded = true;
        Ok(())
    }

    /// What may have changed in the guest without an exit of its own.
    fn notice_changes(&mut self, timing: Timing) -> Result<()> {
        let cr3 = self.vcpu.cr3();
        if cr3 != self.cr3 {
            let old = std::mem::replace(&mut self.cr3, cr3);
            self.lane.record_at(timing.time, Payload::AddressSpace(AddressSpace { old, new: cr3 }));
        }
        let cr8 = self.vcpu.cr8();
        if cr8 != self.cr8 {
            self.cr8 = cr8;
            self.with_lapic(|lapic| lapic.set_cr8(cr8 as u8));
            self.look = true;
        }
        let (probes, mut cx) = self.probing(timing.time);
        probes.notice(&mut cx)
    }

    /// The engine, and what it works with.
    fn probing(&mut self, time: u64) -> (&mut Probes, Context<'_>) {
        let cx = Context {
            vcpu: &mut self.vcpu,
            memory: &self.machine.memory,
            lane: &mut self.lane,
            injected: self.injected,
            time,
        };
        (&mut self.probes, cx)
    }

    fn with_lapic<T>(&self, f: impl FnOnce(&mut crate::irq::Lapic) -> T) -> Option<T> {
        self.machine
            .vcpus
            .get(usize::from(self.number))
            .and_then(|vcpu| vcpu.lapic().map(|mut lapic| f(&mut lapic)))
    }

    fn set_activity(&mut self, activity: Activity) {
        self.activity = activity;
        if let Some(vcpu) = self.machine.vcpus.get(usize::from(self.number)) {
            *lock(&vcpu.activity) = activity;
        }
        self.record(Payload::State(match activity {
            Activity::Running => VcpuState::Running,
            Activity::Halted => VcpuState::Halted,
            Activity::WaitingForSipi => VcpuState::WaitingForSipi,
        }));
    }

    /// Records what happens now.
    fn record(&mut self, payload: Payload) {
        if !self.recording {
            self.lane.leave_guest();
            self.recording = true;
        }
        self.lane.record(payload);
    }

    /// Records the registers, if those of every exit are: before anything else of that time.
    fn record_registers(&mut self, time: u64) {
        if self.machine.probes.registers == RecordRegisters::All && self.lane.is_on() {
            let registers = registers_of(&mut self.vcpu);
            self.lane.record_at(time, Payload::Registers(registers));
        }
    }

    /// Ends the handling of the last exit.
    fn close_exit(&mut self) {
        if self.recording {
            let exit = self.unrecorded.then_some((self.handled_ns, &mut self.handled));
            self.lane.enter_guest(exit);
            self.unrecorded = false;
            self.recording = false;
        }
    }

    /// Brings the instruction whose exit was handled last to its end, so that the registers are what they should be.
    fn settle(&mut self) -> Result<()> {
        while let Some(exit) = self.complete()? {
            let timing = self.begin();
            self.handle(&exit, timing)?;
        }
        Ok(())
    }

    /// Has KVM complete an instruction. Returns the instruction's next exit, if it has another.
    fn complete(&mut self) -> Result<Option<Exit>> {
        let exit = self.vcpu.complete_pending()?;
        Ok(exit.filter(|exit| !self.probes.is_end_of_step(exit, &self.vcpu)))
    }

    /// Starts to record outside an exit.
    fn begin(&mut self) -> Timing {
        self.close_exit();
        self.recording = true;
        self.lane.leave_guest()
    }

    /// Stops everything if an event has been recorded that somebody waits for.
    fn stops_for_what_was_met(&mut self) -> bool {
        let Some(met) = self.lane.met() else { return false };
        // If something else was first this is reported when the guest goes on.
        let by = waited_for(met);
        if self.report(by, Debugger::Matched { by }, cause_of(met)) {
            self.lane.forget_met();
        }
        self.close_exit();
        true
    }

    /// Gets ready to park, or stays out of the guest until somebody wants something.
    fn park(&mut self) -> Result<()> {
        if self.parked {
            self.close_exit();
            self.park_thread(false);
            return Ok(());
        }
        // Before the vCPU counts as parked: an answer to a port or MMIO read goes into the registers only now, and
        // what may come of it is recorded. Whoever waits for vCPUs to park relies on both.
        self.settle()?;
        self.flush_console();
        self.close_exit();
        self.parked = true;
        Ok(())
    }

    /// Sleeps until an interrupt; `dead` when no interrupt could end it. The run ends when all vCPUs sleep like that.
    fn sleep(&mut self, dead: bool) {
        self.flush_own_console();
        if dead && self.machine.run.sleeps_for_ever(self.number, || self.machine.anybody_notified()) {
            self.machine.end(None, StopReason::Deadlock);
        }
        self.close_exit();
        if !self.stops_for_what_was_met() {
            self.park_thread(dead);
        }
    }

    /// Parks the thread until it is notified.
    fn park_thread(&mut self, dead: bool) {
        let Some(shared) = self.machine.vcpus.get(usize::from(self.number)) else { return };
        if !shared.attention.load(Ordering::SeqCst) {
            thread::park();
        }
        if dead {
            // Before `attention` is cleared: one of the two must tell others that this vCPU is on its way.
            self.machine.run.has_woken(self.number);
        }
        // Not a mere store: it must see what was done before the last notification.
        shared.attention.swap(false, Ordering::SeqCst);
        self.look = true;
    }
}

/// Who waited for `met`.
const fn waited_for(met: Met) -> Actor {
    match met {
        Met::Event(_, by) => by,
        Met::SyscallEntry(_) | Met::SyscallReturn(_) => Actor::Gdb,
    }
}

/// What a stop is called that came of `met`.
const fn cause_of(met: Met) -> StopCause {
    match met {
        Met::Event(kind, _) => StopCause::Matched { kind },
        Met::SyscallEntry(number) => StopCause::SyscallEntry { number },
        Met::SyscallReturn(number) => StopCause::SyscallReturn { number },
    }
}
