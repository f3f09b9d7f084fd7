//! Guests under KVM: the only place that knows [`vmm_lite`], besides GDB's.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, anyhow};
use trace_format::Filter;
use trace_format::event::Actor;
use vmm_lite::{
    Config, Control, CpuModel, Error, Image, MachineState, Module, Outcome, Placed, Point, RecordRegisters,
    Vm, devices,
};

use super::motion::Motions;
use super::{Diagnosis, Ended, GuestInfo, Request};
use crate::cli::{Code, Cpu, Failure, GuestOptions, Irqchip, OnFull, Registers};
use crate::gdb::{Listener, Server};
use crate::guest::{Guest, Key, Machine, Space, Toggled, VcpuNow};
use crate::model::space::{Rights, Stretch};

/// A running guest.
#[derive(Debug)]
pub struct Live {
    control: Control,
    /// What it was let go for.
    motions: RefCell<Motions>,
    /// What it is recorded into.
    trace: Option<PathBuf>,
    /// Waits for the end, so that the trace is finished as soon as the guest is.
    waiter: JoinHandle<Result<Outcome, Error>>,
}

impl Live {
    /// Starts a guest.
    ///
    /// # Errors
    /// If there is no such guest, or this host cannot run it.
    pub fn start(request: &Request) -> Result<Self, Failure> {
        let vm = Vm::start(config(request)?).map_err(failure)?;
        let control = vm.control();
        let waiter = thread::Builder::new().name("waiter".into()).spawn(move || vm.wait())?;
        let motions = RefCell::new(Motions::new(&control));
        Ok(Self { control, motions, trace: request.trace.clone(), waiter })
    }

    /// Waits for the end of the run; the trace is finished then.
    ///
    /// # Errors
    /// If the run could not be ended properly.
    pub fn wait(self) -> Result<Ended, Failure> {
        let outcome = match self.waiter.join() {
            Ok(outcome) => outcome.map_err(failure)?,
            Err(_) => return Err(anyhow!("the thread that waits for the guest panicked").into()),
        };
        let failure = outcome.failure.map(failure);
        Ok(Ended { why: outcome.why, duration_ns: outcome.duration_ns, failure })
    }

    /// Ends the run because of a signal.
    pub fn interrupt(&self) {
        self.control.stop(Actor::Signal);
    }

    /// Serves GDB until the server is dropped.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn serve_gdb(&self, listener: Listener) -> Result<Server, Failure> {
        Ok(listener.serve(Box::new(crate::gdb::live::Live::new(self.control.clone(), self.trace.clone())))?)
    }
}

impl Guest for Live {
    fn machine(&self) -> Machine {
        match self.control.state() {
            MachineState::Running => Machine::Running,
            MachineState::Paused { by } => Machine::Paused { by },
            MachineState::Stopped { why } => Machine::Stopped { why },
        }
    }

    fn pause(&self) -> anyhow::Result<()> {
        Ok(self.control.pause(Actor::User)?)
    }

    fn resume(&self) -> anyhow::Result<()> {
        Ok(self.control.resume(Actor::User)?)
    }

    fn step(&self, vcpu: u8) -> anyhow::Result<u64> {
        Ok(self.control.step(vcpu, Actor::User)?.to)
    }

    fn step_over(&self, vcpu: u8) -> anyhow::Result<Option<u64>> {
        self.motions.borrow_mut().step_over(&self.control, vcpu)
    }

    fn run_to(&self, filter: &Filter) -> anyhow::Result<()> {
        self.motions.borrow_mut().run_to(&self.control, filter)
    }

    fn stopped(&self) -> anyhow::Result<Option<String>> {
        self.motions.borrow_mut().stopped(&self.control)
    }

    fn is_stepping_over(&self) -> bool {
        self.motions.borrow().is_stepping_over()
    }

    fn toggle_breakpoint(&self, vcpu: u8, gva: u64) -> anyhow::Result<Toggled> {
        let point = Point::breakpoint(gva);
        if self.breakpoints().contains(&gva) {
            self.control.remove(Actor::User, vcpu, &point)?;
            return Ok(Toggled::Gone);
        }
        Ok(match self.control.insert(Actor::User, vcpu, &point)? {
            Placed::Now => Toggled::Set,
            Placed::WhenMapped => Toggled::Waits,
        })
    }

    fn clear_breakpoints(&self) -> anyhow::Result<()> {
        let gone = self.breakpoints().into_iter();
        Ok(gone.map(|gva| self.control.remove_breakpoint(0, gva)).fold(Ok(()), Result::and)?)
    }

    fn breakpoints(&self) -> Vec<u64> {
        let own = self.motions.borrow().own_breakpoint();
        self.control.breakpoints().into_iter().filter(|gva| Some(*gva) != own).collect()
    }

    fn reset(&self) -> anyhow::Result<()> {
        Ok(self.control.reset(Actor::User)?)
    }

    fn cpu(&self, vcpu: u8) -> anyhow::Result<VcpuNow> {
        let registers = self.control.registers(vcpu)?;
        Ok(VcpuNow {
            registers: registers.as_recorded(),
            next: registers.next_instruction(),
            code_bits: registers.code_bits(),
        })
    }

    fn read(&self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> usize {
        self.control.read_virtual_up_to(vcpu, gva, buffer).unwrap_or(0)
    }

    fn read_physical(&self, gpa: u64, buffer: &mut [u8]) -> usize {
        self.control.read_memory_up_to(gpa, buffer).unwrap_or(0)
    }

    fn space(&self, vcpu: u8, table: Option<u64>) -> anyhow::Result<Space> {
        let found = self.control.space(vcpu, table)?;
        let stretch = |found: &vmm_lite::walk::Stretch| Stretch {
            gva: found.gva,
            last: found.gva.saturating_add(found.length - 1),
            gpa: found.gpa,
            page_size: found.page_size,
            rights: Rights {
                write: found.permissions.write,
                execute: found.permissions.execute,
                user: found.permissions.user,
                global: found.permissions.global,
            },
        };
        Ok(Space {
            table: table.unwrap_or(found.table),
            stretches: found.stretches.iter().map(stretch).collect(),
            paging: found.paging,
            more: found.more,
        })
    }

    fn trace(&self) -> Option<&Path> {
        self.control.flush();
        self.trace.as_deref()
    }

    fn type_key(&self, key: Key) -> bool {
        self.control.type_key(key_of(key))
    }

    fn serial_input(&self, bytes: &[u8]) -> usize {
        self.control.console_input(bytes)
    }

    fn stop(&self) {
        self.control.stop(Actor::User);
    }
}

const fn key_of(key: Key) -> devices::Key {
    match key {
        Key::Character(c) => devices::Key::Character(c),
        Key::Control(c) => devices::Key::Control(c),
        Key::Enter => devices::Key::Enter,
        Key::Escape => devices::Key::Escape,
        Key::Backspace => devices::Key::Backspace,
        Key::Tab => devices::Key::Tab,
        Key::Up => devices::Key::Up,
        Key::Down => devices::Key::Down,
        Key::Left => devices::Key::Left,
        Key::Right => devices::Key::Right,
        Key::Home => devices::Key::Home,
        Key::End => devices::Key::End,
        Key::PageUp => devices::Key::PageUp,
        Key::PageDown => devices::Key::PageDown,
        Key::Insert => devices::Key::Insert,
        Key::Delete => devices::Key::Delete,
        Key::Function(n) => devices::Key::Function(n),
    }
}

/// The built-in guests.
///
/// # Errors
/// None here; a build without guests has one.
pub fn guests() -> Result<Vec<GuestInfo>, Failure> {
    let info = |guest: &vmm_lite::guests::Guest| GuestInfo {
        name: guest.name,
        about: guest.about,
        demonstrates: guest.demonstrates,
        vcpus: guest.default_vcpus,
        options: guest.options.iter().map(|option| (option.key, option.default, option.about)).collect(),
    };
    Ok(vmm_lite::guests::all().iter().map(info).collect())
}

/// What this host's KVM can and cannot do.
///
/// # Errors
/// If it has no usable KVM.
pub fn doctor() -> Result<Diagnosis, Failure> {
    let found = vmm_lite::doctor().map_err(failure)?;
    Ok(Diagnosis { host: found.host, calibration: found.calibration })
}

/// Memory of a guest from a file, in bytes: Linux with an initial RAM disk wants as much.
const FILE_MEMORY: u64 = 256 << 20;

/// The image of the built-in guest `name`.
#[must_use]
pub fn image(name: &str) -> Option<&'static [u8]> {
    vmm_lite::guests::find(name).map(|guest| guest.image)
}

fn config(request: &Request) -> Result<Config, Failure> {
    let options = &request.options;
    let standard = Config::new(image_of(&request.guest)?);
    let (default_vcpus, default_memory) = match standard.image {
        Image::Builtin(guest) => (guest.default_vcpus, standard.memory_bytes),
        Image::File(_) => (1, FILE_MEMORY),
    };
    let traps = options.traps.parse().map_err(|error: String| anyhow!(error));
    Ok(Config {
        vcpus: options.cpus.unwrap_or(default_vcpus),
        memory_bytes: options.memory.unwrap_or(default_memory),
        modules: modules(options),
        symbols: options.symbols.iter().map(symbol_file).collect(),
        cpu: match options.cpu {
            Cpu::Safe => CpuModel::Safe,
            Cpu::Host => CpuModel::Host,
        },
        irqchip: match options.irqchip {
            Irqchip::User => vmm_lite::Irqchip::User,
            Irqchip::Split => vmm_lite::Irqchip::Split,
            Irqchip::Kernel => vmm_lite::Irqchip::Kernel,
        },
        disk: options.disk.clone(),
        append: options.append.clone(),
        traps: traps.context("--traps").map_err(|error| Failure::new(Code::Usage, error))?,
        registers: match options.registers {
            Registers::None => RecordRegisters::Never,
            Registers::Traps => RecordRegisters::Traps,
            Registers::All => RecordRegisters::All,
        },
        on_full: match options.on_full {
            OnFull::Wait => vmm_lite::OnFull::Wait,
            OnFull::Drop => vmm_lite::OnFull::Drop,
        },
        timeout: options.timeout,
        start_paused: options.wait,
        trace: request.trace.clone(),
        followed: request.followed,
        command: command_line(),
        ..standard
    })
}

/// To the monitor an initial RAM disk is a module without a command line.
fn modules(options: &GuestOptions) -> Vec<Module> {
    let initrd = options.initrd.iter().map(|path| Module { path: path.clone(), command_line: String::new() });
    let modules = options
        .module
        .iter()
        .map(|module| Module { path: module.path.clone(), command_line: module.command_line.clone() });
    initrd.chain(modules).collect()
}

fn symbol_file(file: &crate::cli::SymbolFile) -> vmm_lite::SymbolFile {
    vmm_lite::SymbolFile { path: file.path.clone(), offset: file.offset }
}

/// A built-in guest's name comes before a file's.
fn image_of(guest: &str) -> Result<Image, Failure> {
    if let Some(guest) = vmm_lite::guests::find(guest) {
        return Ok(Image::Builtin(guest));
    }
    let path = Path::new(guest);
    if path.exists() {
        return Ok(Image::File(path.to_owned()));
    }
    let names: Vec<&str> = vmm_lite::guests::all().iter().map(|guest| guest.name).collect();
    let names = names.join(", ");
    let error = anyhow!("{guest} is neither a built-in guest ({names}) nor a file nor a command");
    Err(Failure::new(Code::Usage, error))
}

fn failure(error: Error) -> Failure {
    let code = match error {
        _ if error.is_host() => Code::Host,
        Error::Setting { .. }
        | Error::ReadImage { .. }
        | Error::UnknownImage { .. }
        | Error::DamagedImage { .. }
        | Error::UnpackKernel { .. }
        | Error::NoKallsyms { .. }
        | Error::ImageTooLarge { .. }
        | Error::ImagePlace { .. }
        | Error::ModuleTooLarge { .. }
        | Error::NotTaken { .. }
        | Error::TextTooLong { .. }
        | Error::NoSymbols { .. }
        | Error::TooManySymbols { .. }
        | Error::CreateTrace { .. } => Code::Usage,
        _ => Code::Failed,
    };
    Failure::new(code, error)
}

/// As it would be typed: the trace is for others, who have the program somewhere else.
fn command_line() -> Vec<String> {
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("vmscope".to_owned()).chain(arguments).collect()
}
