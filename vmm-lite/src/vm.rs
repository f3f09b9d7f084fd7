//! A virtual machine from start to end.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, unbounded};
use trace_format::Header;
use trace_format::event::{Actor, StopReason};

use crate::beginning::{Beginning, Hardware, Pieces, level_lines};
use crate::calibration::{self, Calibration, Instructions};
use crate::config::{Config, CpuModel};
use crate::control::Control;
use crate::cpuid::{self, Offer};
use crate::devices::MmioBus;
use crate::devices::virtio::{Block, Console, Device, Disk};
use crate::error::{Error, Result};
use crate::facts;
use crate::firmware::VirtioSlot;
use crate::image::{self, Loaded};
use crate::irqchip::Plan;
use crate::kernel_ipis::{self, Watch};
use crate::kvm::{Host, PowerOn, Vcpu, VmFd};
use crate::machine::{Machine, MachineState, Parts, VcpuShared, keep_time, lock};
use crate::memory::Memory;
use crate::probe;
use crate::recorder::{Clock, Lane, Recorder};
use crate::vcpu::{Activity, Request, VcpuThread};

/// The most vCPUs: IPI targets are a bit each in 16.
const MOST_VCPUS: u8 = 16;
/// Below this there is no room for the boot tables and an image.
const LEAST_MEMORY: u64 = 1 << 20;

/// A guest that has been started.
#[derive(Debug)]
pub struct Vm {
    machine: Arc<Machine>,
    threads: Vec<JoinHandle<()>>,
    timekeeper: JoinHandle<()>,
    /// Reads the IPIs that do not come to the monitor.
    ipis: Option<Watch>,
    recorder: Option<Recorder>,
    // Last: the slots go after the vCPUs that use them.
    _vm: Arc<VmFd>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why.
    pub why: StopReason,
    /// How long it took, ns.
    pub duration_ns: u64,
    /// What the host or the monitor could not do: why the run ended, for [`StopReason::HostError`]; otherwise something
    /// that failed while it ended.
    pub failure: Option<Error>,
}

impl Vm {
    /// Starts a guest.
    ///
    /// # Errors
    /// When the host cannot, the image is not one, or the trace cannot be written.
    pub fn start(config: Config) -> Result<Self> {
        check(&config)?;
        let mmio = mmio_devices(&config)?;
        let slots = mmio.slots();
        let host = Host::open()?;
        let calibration = calibration::calibrate(&host)?;
        let memory = Memory::new(config.memory_bytes)?;
        let plan = Plan::new(&host, config.irqchip, &calibration, config.vcpus, config.trace.is_some())?;
        let (pieces, loaded) = load(&config, &memory)?;
        let vm = Arc::new(host.create_vm(memory.clone())?);
        plan.prepare(&vm, level_lines(&slots))?;
        let made = make_vcpus(&host, &vm, &config, &calibration, &plan)?;
        let beginning = Beginning::new(&config, &pieces, &loaded, made.hardware(&plan, slots));
        let image = pieces.facts(&loaded);
        drop(pieces);
        beginning.furnish(&memory)?;

        let clock = Clock::start();
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let header = Header {
            guest: config.image.name(),
            command: config.command.clone(),
            guest_command_line: config.append.clone(),
            vcpus: config.vcpus,
            memory_bytes: config.memory_bytes,
            start_unix_ns: unix_ns,
            tsc_khz: made.tsc_khz,
            host: facts::host(&host),
            calibration: facts::calibration(&calibration, &made.hidden),
            recorder: format!("vmscope {}", env!("CARGO_PKG_VERSION")),
            not_seen: not_seen(&loaded).chain(plan.not_seen()).collect(),
            symbols: loaded.symbols.clone().into(),
            image,
        };
        let mut recorder = match &config.trace {
            Some(path) => Some(Recorder::start(path, &header, clock, config.on_full, config.followed)?),
            None => None,
        };
        let mut lanes = match &mut recorder {
            Some(recorder) => recorder.lanes(),
            None => (0..=config.vcpus).map(|n| Lane::off(n, clock)).collect(),
        };
        let machine_lane = lanes.pop().unwrap_or_else(|| Lane::off(trace_format::event::MACHINE, clock));

        let (shared, requests) = shared_vcpus(&config, &plan, made.tsc_khz);
        let (source, opened) = plan.tracepoint().map(kernel_ipis::prepare).unzip();
        let machine = Arc::new(Machine::new(Parts {
            header,
            memory,
            clock,
            state: if config.start_paused {
                MachineState::Paused { by: Actor::CommandLine }
            } else {
                MachineState::Running
            },
            probes: Arc::new(probe::Shared::new(
                calibration,
                config.traps,
                config.registers,
                made.physical_bits,
                made.one_gib_pages,
                plan.block_interrupts,
                plan.unseen_interrupts(),
            )),
            vcpus: shared,
            sink: plan.sink(&vm)?,
            local_apic: plan.local_apic(),
            ipis: source,
            bus: beginning.bus(clock.now()),
            beginning,
            mmio,
            lane: machine_lane,
            flusher: recorder.as_ref().map(Recorder::flusher),
            timeout_ns: config.timeout.map(|timeout| timeout.as_nanos() as u64),
        }));
        let mut started = Self {
            timekeeper: spawn("timekeeper", {
                let machine = Arc::clone(&machine);
                move || keep_time(&machine)
            })?,
            machine,
            threads: Vec::new(),
            ipis: None,
            recorder,
            _vm: vm,
        };
        let started_all =
            started.watch_ipis(opened).and_then(|()| started.start_vcpus(made, requests, lanes));
        if let Err(error) = started_all {
            // Those that did start must not go on without the others.
            started.machine.fail(error);
            return Err(started.wait()?.failure.unwrap_or(Error::Panicked { thread: "vCPU" }));
        }
        Ok(started)
    }

    /// Starts to read the IPIs that do not come to the monitor, if there is a way.
    fn watch_ipis(&mut self, opened: Option<kernel_ipis::Opened>) -> Result<()> {
        let lane = self.recorder.as_mut().and_then(Recorder::late_lane);
        if let Some((opened, lane)) = opened.zip(lane) {
            self.ipis = Some(Watch::start(opened, lane, Arc::clone(&self.machine))?);
        }
        Ok(())
    }

    fn start_vcpus(&mut self, made: Made, requests: Vec<Receiver<Request>>, lanes: Vec<Lane>) -> Result<()> {
        let parts = made.vcpus.into_iter().zip(made.power_on).zip(requests).zip(lanes);
        for (((mut vcpu, power_on), requests), lane) in parts {
            if vcpu.number() == 0 {
                self.machine.beginning.entry.enter(&mut vcpu);
            }
            let machine = Arc::clone(&self.machine);
            let thread = VcpuThread::new(vcpu, power_on, machine, requests, lane);
            self.threads.push(spawn("vcpu", move || thread.run())?);
        }
        Ok(())
    }

    /// A handle to control the guest from any thread.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.machine))
    }

    /// Waits for the end of the run and finishes the trace.
    ///
    /// # Errors
    /// When a thread of the monitor panicked, or the trace could not be written.
    pub fn wait(self) -> Result<Outcome> {
        let Self { machine, threads, timekeeper, ipis, recorder, _vm } = self;
        let mut panicked = None;
        for thread in threads {
            // A thread that panicked cannot have stopped the others.
            if thread.join().is_err() {
                panicked = Some("vCPU");
                machine.stop(StopReason::HostError);
            }
        }
        machine.stop(StopReason::HostError); // none but if all threads ended by themselves, which they do not
        if timekeeper.join().is_err() {
            panicked = panicked.or(Some("timekeeper"));
        }
        if ipis.is_some_and(Watch::finish) {
            panicked = panicked.or(Some("IPI"));
        }
        machine.record_screen();
        let duration_ns = machine.clock.now();
        *lock(&machine.lane) = Lane::off(trace_format::event::MACHINE, machine.clock);
        if let Some(recorder) = recorder {
            recorder.finish()?;
        }
        if let Some(thread) = panicked {
            return Err(Error::Panicked { thread });
        }
        let MachineState::Stopped { why } = machine.run.state() else {
            return Err(Error::WrongState { operation: "end the run", state: "goes on" });
        };
        let failure = lock(&machine.failure).take().filter(|failure| is_why_it_ended(failure, &why));
        Ok(Outcome { why, duration_ns, failure })
    }
}

/// Whether a run that ended like that ended because of `failure`. A vCPU may come to an instruction that KVM cannot do in
/// the moment in which another ends the run otherwise; that is in the trace as its last exit, and nothing has failed.
fn is_why_it_ended(failure: &Error, why: &StopReason) -> bool {
    *why == StopReason::HostError || !matches!(failure, Error::InternalError(_))
}

fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| Error::Os { operation: "start a thread", source })
}

fn check(config: &Config) -> Result<()> {
    if !(1..=MOST_VCPUS).contains(&config.vcpus) {
        return Err(Error::Setting {
            what: "the number of vCPUs",
            allowed: "1 to 16",
            value: config.vcpus.to_string(),
        });
    }
    if config.memory_bytes < LEAST_MEMORY {
        return Err(Error::Setting {
            what: "guest memory",
            allowed: "at least 1 MiB",
            value: format!("{} bytes", config.memory_bytes),
        });
    }
    Ok(())
}

/// Puts the image and what goes with it into memory.
pub(crate) fn load(config: &Config, memory: &Memory) -> Result<(Pieces, Loaded)> {
    let pieces = Pieces::read(&config.image, &config.modules, memory.len())?;
    let mut loaded = pieces.load(&config.append, memory)?;
    loaded.symbols = image::read_symbols(std::mem::take(&mut loaded.symbols), &config.symbols)?;
    Ok((pieces, loaded))
}

/// What the trace will not show of the image, for its header.
fn not_seen(loaded: &Loaded) -> impl Iterator<Item = String> {
    let symbols = (loaded.no_symbols.iter()).filter(|_| loaded.symbols.is_empty());
    symbols.map(|why| format!("names of the guest's code: {why}"))
}

/// A console always, and a block device if there is a disk.
fn mmio_devices(config: &Config) -> Result<MmioBus> {
    let disk = config.disk.as_deref().map(Disk::open).transpose()?;
    let block = disk.map(|disk| Device::Block(Block::new(disk)));
    Ok(MmioBus::new([Device::Console(Console::new())].into_iter().chain(block)))
}

/// vCPUs that have been made and not started.
pub(crate) struct Made {
    pub(crate) vcpus: Vec<Vcpu>,
    power_on: Vec<PowerOn>,
    tsc_khz: u64,
    physical_bits: u8,
    one_gib_pages: bool,
    /// What `CPUID` says of the CPU: its signature and features.
    signature: (u32, u32),
    /// Features that `CPUID` does not offer though the host does.
    hidden: Vec<&'static str>,
}

pub(crate) fn make_vcpus(
    host: &Host,
    vm: &VmFd,
    config: &Config,
    calibration: &Calibration,
    plan: &Plan,
) -> Result<Made> {
    let supported = host.supported_cpuid()?;
    let (physical_bits, one_gib_pages) = cpuid::paging_features(&supported);
    let hides = match config.cpu {
        CpuModel::Safe => calibration.kernel_lacks,
        CpuModel::Host => Instructions::default(),
    };
    let mut made = Made {
        vcpus: Vec::new(),
        power_on: Vec::new(),
        tsc_khz: 0,
        physical_bits,
        one_gib_pages,
        signature: cpuid::signature(&supported),
        hidden: cpuid::hidden(&supported, hides),
    };
    let msrs = host.msrs()?;
    for number in 0..config.vcpus {
        let mut vcpu = vm.create_vcpu(number)?;
        made.tsc_khz = vcpu.tsc_khz();
        let offer = Offer {
            vcpus: config.vcpus,
            x2apic: plan.x2apic,
            tsc_deadline: plan.tsc_deadline(made.tsc_khz),
            hides,
        };
        vcpu.set_cpuid(&cpuid::for_vcpu(&supported, number, offer)?)?;
        made.power_on.push(vcpu.power_on(&msrs)?);
        made.vcpus.push(vcpu);
    }
    Ok(made)
}

impl Made {
    /// What of a machine's beginning these vCPUs decide.
    pub(crate) fn hardware(&self, plan: &Plan, slots: Vec<VirtioSlot>) -> Hardware {
        Hardware { signature: self.signature, slots, x2apic: plan.x2apic, tsc_khz: self.tsc_khz }
    }
}

fn shared_vcpus(config: &Config, plan: &Plan, tsc_khz: u64) -> (Vec<VcpuShared>, Vec<Receiver<Request>>) {
    (0..config.vcpus)
        .map(|id| {
            let (sender, receiver) = unbounded();
            (VcpuShared::new(plan.lapic(id, tsc_khz), sender, Activity::first(id)), receiver)
        })
        .unzip()
}
