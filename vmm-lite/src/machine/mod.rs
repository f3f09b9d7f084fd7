//! What the threads of a running guest share.

mod attachment;
#[cfg(test)]
mod bare;
mod holding;
mod interrupts;
mod reset;
mod run_state;
mod screen;
mod sink;
mod slide;
mod stop;
mod timekeeper;
mod virtio;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use arrayvec::ArrayVec;
use crossbeam_channel::Sender;
use trace_format::Header;
use trace_format::event::{Payload, Slide};

use attachment::Attachment;
pub use run_state::MachineState;
pub(crate) use run_state::{Claim, Order, RunState};
use screen::TextMemory;
pub(crate) use sink::{KernelApics, KernelLines, OwnApics, Sink};
pub use stop::{Stop, StopCause, WatchAccess};
pub(crate) use timekeeper::{Timekeeper, keep_time};

use crate::beginning::Beginning;
use crate::devices::{MmioBus, PortBus};
use crate::error::Error;
use crate::irq::Lapic;
use crate::kernel_ipis;
use crate::kvm::Kick;
use crate::memory::Memory;
use crate::names::Names;
use crate::probe;
use crate::recorder::{Clock, Flusher, Lane};
use crate::vcpu::{Activity, Console, LocalApic, Request};

/// Locks that guard no invariant across a panic: a thread that panics ends the run anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running guest, seen from all of its threads.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What the trace says of the run before its first event, and where its symbols are now.
    pub(crate) names: Arc<Names>,
    pub(crate) memory: Memory,
    /// What it began with, and begins with anew.
    pub(crate) beginning: Beginning,
    /// How often it has begun anew.
    life: AtomicU64,
    pub(crate) clock: Clock,
    pub(crate) run: RunState,
    pub(crate) probes: Arc<probe::Shared>,
    pub(crate) vcpus: Vec<VcpuShared>,
    /// Taken after a virtio device and before a local APIC where both are needed.
    pub(crate) bus: Mutex<PortBus>,
    /// Devices with a lock each.
    pub(crate) mmio: MmioBus,
    /// What plays each vCPU's local APIC.
    pub(crate) local_apic: &'static dyn LocalApic,
    /// Where vCPU threads hand in the IPIs that KVM's local APICs send.
    pub(crate) ipis: Option<kernel_ipis::Source>,
    /// What the guest prints. Taken last.
    pub(crate) console: Console,
    pub(crate) timekeeper: Timekeeper,
    /// For events that no vCPU makes.
    pub(crate) lane: Mutex<Lane>,
    pub(crate) flusher: Option<Flusher>,
    /// Taken before the bus and the lane.
    screen: Mutex<TextMemory>,
    /// Why the run failed, if it is the monitor's or the host's doing.
    pub(crate) failure: Mutex<Option<Error>>,
    /// The debugger that has hold of the guest. Taken before the lane.
    attachment: Mutex<Option<Attachment>>,
    listeners: stop::Listeners,
    /// Where the interrupts of devices go.
    sink: Box<dyn Sink>,
    next_ipi: AtomicU64,
    pic_pending: AtomicBool,
}

/// What other threads need of a vCPU.
#[derive(Debug)]
pub(crate) struct VcpuShared {
    /// The monitor's own; none where KVM plays them.
    lapic: Option<Mutex<Lapic>>,
    pub(crate) kick: Kick,
    pub(crate) requests: Sender<Request>,
    /// INIT and start-up IPIs that it has not seen yet.
    pub(crate) startups: Mutex<ArrayVec<Startup, 8>>,
    pub(crate) activity: Mutex<Activity>,
    /// Something may have changed: the vCPU must look before it enters the guest or goes to sleep.
    pub(crate) attention: AtomicBool,
    pub(crate) in_guest: AtomicBool,
    pub(crate) thread: OnceLock<Thread>,
}

/// An INIT or a start-up IPI on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Startup {
    pub(crate) id: u64,
    pub(crate) sender: u8,
    pub(crate) sent_ns: u64,
    /// The page to start at; `None` for INIT.
    pub(crate) page: Option<u8>,
}

/// What a machine is made of.
pub(crate) struct Parts {
    pub(crate) header: Header,
    pub(crate) memory: Memory,
    pub(crate) beginning: Beginning,
    pub(crate) clock: Clock,
    pub(crate) state: MachineState,
    pub(crate) probes: Arc<probe::Shared>,
    pub(crate) vcpus: Vec<VcpuShared>,
    pub(crate) bus: PortBus,
    pub(crate) mmio: MmioBus,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) local_apic: &'static dyn LocalApic,
    pub(crate) ipis: Option<kernel_ipis::Source>,
    pub(crate) lane: Lane,
    pub(crate) flusher: Option<Flusher>,
    pub(crate) timeout_ns: Option<u64>,
}

impl VcpuShared {
    pub(crate) fn new(lapic: Option<Lapic>, requests: Sender<Request>, activity: Activity) -> Self {
        Self {
            lapic: lapic.map(Mutex::new),
            kick: Kick::default(),
            requests,
            startups: Mutex::new(ArrayVec::new()),
            activity: Mutex::new(activity),
            attention: AtomicBool::new(false),
            in_guest: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    /// Its local APIC, unless KVM plays it.
    pub(crate) fn lapic(&self) -> Option<MutexGuard<'_, Lapic>> {
        self.lapic.as_ref().map(lock)
    }

    /// Makes the vCPU look at what has changed: out of the guest, or out of its sleep.
    pub(crate) fn notify(&self) {
        self.attention.store(true, Ordering::SeqCst);
        // The vCPU says that it is in the guest before it looks at `attention` for the last time.
        if self.in_guest.load(Ordering::SeqCst) {
            self.kick.kick();
        }
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// The same, and out of a step too, which interrupts leave alone: they would come again before it is done.
    pub(crate) fn insist(&self) {
        self.notify();
        self.kick.kick();
    }
}

impl Machine {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            header,
            memory,
            beginning,
            clock,
            state,
            probes,
            vcpus,
            bus,
            mmio,
            sink,
            local_apic,
            ipis,
            lane,
            flusher,
            timeout_ns,
        } = parts;
        Self {
            names: Names::new(header),
            memory,
            beginning,
            life: AtomicU64::new(0),
            clock,
            run: RunState::new(vcpus.len() as u8, state),
            probes,
            vcpus,
            bus: Mutex::new(bus),
            mmio,
            local_apic,
            ipis,
            console: Console::default(),
            timekeeper: Timekeeper::new(timeout_ns),
            lane: Mutex::new(lane),
            flusher,
            screen: Mutex::new(TextMemory::new()),
            failure: Mutex::new(None),
            attachment: Mutex::new(None),
            listeners: stop::Listeners::default(),
            sink,
            next_ipi: AtomicU64::new(1),
            pic_pending: AtomicBool::new(false),
        }
    }

    /// What the guest calls the code or data at gva `address`, for people.
    pub(crate) fn name_of(&self, address: u64) -> Option<String> {
        self.names.header().symbolize(address).map(|(name, offset)| format!("{name}+{offset:#x}"))
    }

    /// What a write of `lstar` into `IA32_LSTAR` tells of where the guest's kernel runs, if it is new.
    pub(crate) fn slide_by(&self, lstar: u64) -> Option<Slide> {
        self.names.slide(|header| slide::find(header, lstar))
    }

    /// Records something that no vCPU did.
    pub(crate) fn record(&self, payload: Payload) {
        let mut lane = lock(&self.lane);
        lane.leave_guest();
        lane.record(payload);
        lane.enter_guest(None);
    }

    /// Records what has changed on the text screen.
    pub(crate) fn record_screen(&self) {
        if self.flusher.is_none() {
            return;
        }
        let mut screen = lock(&self.screen);
        // A graphics mode is not shown.
        let Some(mode) = lock(&self.bus).vga.text_mode() else { return };
        screen.look(&mode, &self.memory, |change| self.record(Payload::Screen(change)));
    }

    /// Makes every vCPU look at the run's state.
    pub(crate) fn notify_all(&self) {
        self.vcpus.iter().for_each(VcpuShared::notify);
    }

    /// Whether a vCPU has been notified of something that it has not looked at.
    pub(crate) fn anybody_notified(&self) -> bool {
        self.vcpus.iter().any(|vcpu| vcpu.attention.load(Ordering::SeqCst))
    }
}
