//! Who plays a vCPU's local APIC, and so decides when the vCPU may run.
//!
//! The monitor keeps a vCPU out of the guest while it is halted or waits for a start-up IPI, and injects interrupts
//! before an entry. Where KVM plays the local APICs it does all that inside `KVM_RUN`. Chosen once, when the machine
//! is made.

use std::fmt::Debug;

use super::{Activity, Next, VcpuThread};
use crate::error::Result;
use crate::irq::{ApicState, MSR_TSC_DEADLINE};
use crate::kvm::{Exit, RunState};
use crate::machine::lock;

/// What the local APIC of a vCPU asks of its thread.
pub(crate) trait LocalApic: Debug + Send + Sync {
    /// Before an entry: whether the vCPU may run, and with which interrupt.
    fn before_entry(&self, thread: &mut VcpuThread) -> Result<Next>;

    /// After `exit`.
    fn after_exit(&self, thread: &mut VcpuThread, exit: &Exit) -> Result<()>;

    /// After a step that ended without an exit of its own.
    fn after_step(&self, thread: &mut VcpuThread) -> Result<()>;

    /// The vCPU has executed `HLT`, which the monitor carried out.
    fn halt(&self, thread: &mut VcpuThread) -> Result<()>;

    /// A debugger has put the halted vCPU elsewhere, where it is to run.
    fn wake(&self, thread: &mut VcpuThread) -> Result<()>;

    /// The local APIC's registers.
    fn state(&self, thread: &mut VcpuThread) -> Result<ApicState>;
}

/// The monitor's.
#[derive(Debug)]
pub(crate) struct OwnApic;

impl LocalApic for OwnApic {
    fn before_entry(&self, thread: &mut VcpuThread) -> Result<Next> {
        if thread.look {
            thread.take_startups()?;
        }
        match thread.activity {
            Activity::Running => {}
            Activity::WaitingForSipi => {
                thread.sleep(true);
                return Ok(Next::LookAgain);
            }
            Activity::Halted => {
                if thread.is_woken() {
                    thread.set_activity(Activity::Running);
                    return Ok(Next::LookAgain);
                }
                let interruptible =
                    thread.vcpu.interrupts_enabled() || lock(&thread.machine.bus).chips.can_send_nmi();
                thread.sleep(!interruptible);
                return Ok(Next::LookAgain);
            }
        }
        if thread.look {
            thread.look = false;
            thread.inject()?;
        }
        Ok(Next::Enter)
    }

    fn after_exit(&self, _thread: &mut VcpuThread, _exit: &Exit) -> Result<()> {
        Ok(())
    }

    fn after_step(&self, _thread: &mut VcpuThread) -> Result<()> {
        Ok(())
    }

    fn halt(&self, thread: &mut VcpuThread) -> Result<()> {
        thread.set_activity(Activity::Halted);
        Ok(())
    }

    fn wake(&self, thread: &mut VcpuThread) -> Result<()> {
        thread.set_activity(Activity::Running);
        Ok(())
    }

    fn state(&self, thread: &mut VcpuThread) -> Result<ApicState> {
        let now = thread.machine.clock.now();
        match thread.with_lapic(|lapic| lapic.state(now)) {
            Some(state) => Ok(state),
            None => kernel_state(thread),
        }
    }
}

/// KVM's, beside the monitor's 8259s.
#[derive(Debug)]
pub(crate) struct KernelApicOwnPics;

impl LocalApic for KernelApicOwnPics {
    fn before_entry(&self, thread: &mut VcpuThread) -> Result<Next> {
        /// The 8259s' output is wired to this vCPU's LINT0, as in a PC.
        const WIRED: u8 = 0;
        if thread.look && thread.number == WIRED {
            thread.inject_extint()?;
        } else {
            thread.look = false;
        }
        Ok(Next::Enter)
    }

    fn after_exit(&self, thread: &mut VcpuThread, exit: &Exit) -> Result<()> {
        note_activity(thread, Some(exit))
    }

    fn after_step(&self, thread: &mut VcpuThread) -> Result<()> {
        note_activity(thread, None)
    }

    fn halt(&self, thread: &mut VcpuThread) -> Result<()> {
        thread.vcpu.halt()?;
        note_activity(thread, None)
    }

    fn wake(&self, thread: &mut VcpuThread) -> Result<()> {
        thread.vcpu.wake()?;
        note_activity(thread, None)
    }

    fn state(&self, thread: &mut VcpuThread) -> Result<ApicState> {
        kernel_state(thread)
    }
}

/// KVM's, and it plays the rest too.
#[derive(Debug)]
pub(crate) struct KernelApic;

impl LocalApic for KernelApic {
    fn before_entry(&self, thread: &mut VcpuThread) -> Result<Next> {
        thread.look = false;
        Ok(Next::Enter)
    }

    fn after_exit(&self, thread: &mut VcpuThread, exit: &Exit) -> Result<()> {
        note_activity(thread, Some(exit))
    }

    fn after_step(&self, thread: &mut VcpuThread) -> Result<()> {
        note_activity(thread, None)
    }

    fn halt(&self, thread: &mut VcpuThread) -> Result<()> {
        thread.vcpu.halt()?;
        note_activity(thread, None)
    }

    fn wake(&self, thread: &mut VcpuThread) -> Result<()> {
        thread.vcpu.wake()?;
        note_activity(thread, None)
    }

    fn state(&self, thread: &mut VcpuThread) -> Result<ApicState> {
        kernel_state(thread)
    }
}

/// What KVM says of the local APIC that it plays.
fn kernel_state(thread: &mut VcpuThread) -> Result<ApicState> {
    let page = thread.vcpu.apic_page()?;
    let base = thread.vcpu.sregs().apic_base;
    let mut state = ApicState::read(thread.number.into(), base, |index| page.register(index));
    state.timer.tsc_deadline = thread.vcpu.msr(MSR_TSC_DEADLINE)?.unwrap_or(0);
    Ok(state)
}

/// Notes what KVM says that the vCPU does. It can be anything but running only when somebody called it out of
/// `KVM_RUN`, or stepped it.
fn note_activity(thread: &mut VcpuThread, exit: Option<&Exit>) -> Result<()> {
    let activity = match exit {
        None | Some(Exit::Interrupted | Exit::Debug { .. }) => match thread.vcpu.run_state()? {
            RunState::Runnable => Activity::Running,
            RunState::Halted => Activity::Halted,
            RunState::WaitingForSipi => Activity::WaitingForSipi,
        },
        Some(_) => Activity::Running,
    };
    if activity != thread.activity {
        if activity == Activity::WaitingForSipi {
            thread.probes.reset();
        }
        thread.set_activity(activity);
    }
    Ok(())
}
