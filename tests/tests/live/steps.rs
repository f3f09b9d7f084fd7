//! Steps over instructions that leave the guest, to the monitor or to KVM: they do what they do without, and nothing of
//! the step is left for the guest.

use trace_format::Header;
use vmm_lite::{Control, Irqchip, MachineState, TrapSelection};
use vmscope_tests::images::{FLAGS, STEPS};
use vmscope_tests::program;
use vmscope_tests::run::{Guest, Started, symbol};
use vmscope_tests::skip::kvm_or_skip;

use crate::control::{BY, header, is_paused, until};

/// The instructions, in their order: what `guests/steps.c` calls them.
const NAMES: [&str; 24] = [
    "step_out",
    "step_in",
    "step_ins",
    "step_outs",
    "step_rep_ins",
    "step_rep_outs",
    "step_mmio_write",
    "step_mmio_read",
    "step_mmio_modify",
    "step_mmio_string",
    "step_pic_in",
    "step_pic_out",
    "step_ioapic_write",
    "step_ioapic_read",
    "step_apic_read",
    "step_apic_write",
    "step_cr8",
    "step_cr8_back",
    "step_rdmsr",
    "step_wrmsr",
    "step_apic_rdmsr",
    "step_apic_wrmsr",
    "step_cpuid",
    "step_cli",
];

/// More instructions than there are from the first of them to the last.
const MANY: usize = 100;

/// What the guest has printed.
fn console(session: &Session) -> String {
    session.control.flush();
    program::expect(0, &["console", &session.started.trace.to_string_lossy()])
}

struct Session {
    started: Started,
    control: Control,
    header: Header,
}

impl Session {
    fn new(irqchip: Irqchip) -> Self {
        Self::of(Guest::image(STEPS, 1).irqchip(irqchip))
    }

    fn of(guest: Guest) -> Self {
        let started = guest.paused().start();
        let (control, header) = (started.vm.control(), header(&started));
        Self { started, control, header }
    }

    fn rip(&self) -> u64 {
        self.control.registers(0).unwrap().general.rip
    }

    /// Resumes the guest until it comes to a breakpoint at `name`.
    fn run_to(&self, name: &str) {
        let address = symbol(&self.header, name);
        self.control.add_breakpoint(0, address).unwrap();
        self.control.resume(BY).unwrap();
        self.wait(name);
        assert_eq!(self.rip(), address, "{name}");
        self.control.remove_breakpoint(0, address).unwrap();
    }

    /// Waits until the guest comes to a breakpoint.
    fn wait(&self, name: &str) {
        until(name, || {
            let ended = matches!(self.control.state(), MachineState::Stopped { .. });
            assert!(!ended, "on the way to {name}: {}", console(self));
            is_paused(&self.control)
        });
    }

    /// Steps; the instruction `name` is there if there is one.
    fn step(&self, name: Option<&str>) {
        let step = self.control.step(0, BY).unwrap();
        assert_eq!(self.rip(), step.to, "{name:?}");
        assert_ne!(step.from, step.to, "{name:?}");
        if let Some(name) = name {
            let end = symbol(&self.header, &format!("{name}_end"));
            assert_eq!(step.to, end, "a step over {name} leads from {:#x} to {:#x}", step.from, step.to);
        }
    }
}

fn step_over_exits(irqchip: Irqchip) {
    let session = Session::new(irqchip);
    // One step at a time, and on: what is left of it would meet the guest at once.
    for name in NAMES {
        session.run_to(name);
        session.step(Some(name));
        // Who plays the local APIC knows at once.
        let cr8 = session.control.registers(0).unwrap().system.cr8;
        assert_eq!(cr8, if name == "step_cr8" { 5 } else { 0 }, "CR8 after {name}");
    }
    // All in a row.
    session.run_to("exiting");
    let end = symbol(&session.header, "exiting_end");
    let mut seen = 0;
    for _ in 0..MANY {
        let at = session.rip();
        if at == end {
            break;
        }
        let name = NAMES.iter().find(|name| symbol(&session.header, name) == at).copied();
        seen += usize::from(name.is_some());
        session.step(name);
    }
    assert_eq!((session.rip(), seen), (end, NAMES.len()));
    // Breakpoints that stay where they are: the engine steps by itself.
    let addresses = NAMES.map(|name| symbol(&session.header, name));
    for address in addresses {
        session.control.add_breakpoint(0, address).unwrap();
    }
    let mut met = Vec::new();
    for _ in 0..MANY {
        if met.len() == NAMES.len() {
            break;
        }
        session.control.resume(BY).unwrap();
        session.wait("the next breakpoint");
        met.push(session.rip());
        // A string instruction comes to its breakpoint once more between two of its elements, or after the last.
        met.dedup();
    }
    assert_eq!(met, addresses);
    session.control.resume(BY).unwrap();
    session.started.finish().assert_well();
}

#[test]
fn core_steps_over_exits() {
    if kvm_or_skip("core_steps_over_exits") {
        step_over_exits(Irqchip::User);
    }
}

#[test]
fn core_steps_over_exits_with_split_irqchip() {
    if kvm_or_skip("core_steps_over_exits_with_split_irqchip") {
        step_over_exits(Irqchip::Split);
    }
}

#[test]
fn core_steps_over_exits_with_irqchip_in_kvm() {
    if kvm_or_skip("core_steps_over_exits_with_irqchip_in_kvm") {
        step_over_exits(Irqchip::Kernel);
    }
}

/// Instructions that save RFLAGS or load them, in their order: what `guests/flags.c` calls them.
const SAVERS: [(&str, Leads); 24] = [
    ("kernel_pushf", Leads::On),
    ("kernel_pushfw", Leads::On),
    ("kernel_ud2", Leads::Away),
    ("kernel_mov_ss", Leads::On),
    ("kernel_after_mov_ss", Leads::On),
    ("kernel_int3", Leads::Somewhere),
    ("kernel_int", Leads::Somewhere),
    ("kernel_sti", Leads::On),
    ("kernel_after_sti", Leads::On),
    ("kernel_popf_on", Leads::On),
    ("kernel_own_nop", Leads::On),
    ("kernel_own_pushf", Leads::On),
    ("kernel_popf_off", Leads::On),
    ("kernel_iret", Leads::On),
    ("kernel_popf_off_2", Leads::On),
    ("user_pushf", Leads::On),
    ("user_pushfw", Leads::On),
    ("user_ud2", Leads::Away),
    ("user_mov_ss", Leads::Somewhere),
    ("user_syscall", Leads::Away),
    ("user_popf_on", Leads::On),
    ("user_own_pushf", Leads::On),
    ("user_iret", Leads::Somewhere),
    ("user_popf_off_2", Leads::On),
];
/// More instructions than there are in the guest's round in one ring, its handlers included.
const MANY_MORE: usize = 5000;

/// Where an instruction leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To the next.
    On,
    /// To a handler.
    Away,
    /// To a handler, or to the next instruction with the handler still to be entered.
    Somewhere,
}

fn step_over_savers(traps: TrapSelection) {
    let session = Session::of(Guest::image(FLAGS, 1).traps(traps));
    session.run_to("stepped");
    for (name, leads) in SAVERS {
        session.run_to(name);
        session.step((leads == Leads::On).then_some(name));
        let end = symbol(&session.header, &format!("{name}_end"));
        assert!(session.rip() != end || leads != Leads::Away, "{name}");
    }
    for ring in ["kernel", "user"] {
        session.run_to(&format!("{ring}_flags"));
        let end = symbol(&session.header, &format!("{ring}_flags_end"));
        let steps = (0..MANY_MORE).find(|_| {
            session.step(None);
            session.rip() == end
        });
        assert!(steps.is_some(), "{ring}: {}", console(&session));
    }
    // Where breakpoints bounce, one on the guest's own INT3 is not told from it, and user code has those in registers:
    // the guest's gate is not for ring 3.
    let savers = SAVERS.iter().filter(|(name, _)| name.starts_with("kernel_") && *name != "kernel_int3");
    let addresses: Vec<u64> = savers.map(|(name, _)| symbol(&session.header, name)).collect();
    for &address in &addresses {
        session.control.add_breakpoint(0, address).unwrap();
    }
    for address in addresses {
        session.control.resume(BY).unwrap();
        session.wait("the next breakpoint");
        assert_eq!(session.rip(), address);
    }
    session.control.resume(BY).unwrap();
    session.started.finish().assert_well();
}

#[test]
fn core_a_steps_trap_flag_is_hidden_and_the_guests_own_is_kept() {
    if kvm_or_skip("core_a_steps_trap_flag_is_hidden_and_the_guests_own_is_kept") {
        step_over_savers(TrapSelection::ALL);
    }
}
