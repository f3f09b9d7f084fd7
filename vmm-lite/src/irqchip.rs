//! What the choice of who plays the interrupt controllers means for the parts of a machine.

use std::sync::Arc;

use crate::calibration::Calibration;
use crate::config::Irqchip;
use crate::error::Result;
use crate::irq::{Lapic, LapicConfig};
use crate::kernel_ipis::Tracepoint;
use crate::kvm::{Host, VmFd};
use crate::machine::{KernelApics, KernelLines, OwnApics, Sink};
use crate::vcpu::{KernelApic, KernelApicOwnPics, LocalApic, OwnApic};

/// The choice, made once before the machine is.
#[derive(Debug)]
pub(crate) struct Plan {
    irqchip: Irqchip,
    /// Whether local APICs have an x2APIC mode.
    pub(crate) x2apic: bool,
    /// Whether the timers of KVM's local APICs have a TSC-deadline mode.
    kernel_tsc_deadline: bool,
    /// Whether KVM holds back interrupts of its own while a vCPU is stepped.
    pub(crate) block_interrupts: bool,
    /// How IPIs are seen that do not come to the monitor, or why they are not.
    tracepoint: Result<Tracepoint, String>,
}

impl Plan {
    /// What `irqchip` means on this host, for a machine of `vcpus` vCPUs whose trace is `recorded`.
    ///
    /// # Errors
    /// When this host's KVM cannot play what it is asked to.
    pub(crate) fn new(
        host: &Host,
        irqchip: Irqchip,
        calibration: &Calibration,
        vcpus: u8,
        recorded: bool,
    ) -> Result<Self> {
        host.require_irqchip(irqchip)?;
        let kernel = irqchip != Irqchip::User;
        Ok(Self {
            irqchip,
            // KVM's own always have it.
            x2apic: kernel || calibration.x2apic,
            kernel_tsc_deadline: kernel && host.has_tsc_deadline(),
            block_interrupts: kernel && host.can_block_interrupts(),
            tracepoint: if kernel && recorded {
                Tracepoint::find(vcpus)
            } else {
                Err("nothing is recorded".to_owned())
            },
        })
    }

    /// Makes KVM play what it is to play; the ISA lines `levels`, a bit each, are level-triggered at its 8259s. Before
    /// the first vCPU.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) fn prepare(&self, vm: &VmFd, levels: u16) -> Result<()> {
        vm.create_irqchip(self.irqchip, levels)
    }

    /// Whether vCPUs take interrupts that the monitor did not inject.
    pub(crate) fn unseen_interrupts(&self) -> bool {
        self.irqchip != Irqchip::User
    }

    /// Whether a local APIC's timer has a TSC-deadline mode, with a TSC of this frequency.
    pub(crate) fn tsc_deadline(&self, tsc_khz: u64) -> bool {
        match self.irqchip {
            Irqchip::User => tsc_khz != 0,
            Irqchip::Split | Irqchip::Kernel => self.kernel_tsc_deadline,
        }
    }

    /// The monitor's local APIC of vCPU `id`, if it plays them.
    pub(crate) fn lapic(&self, id: u8, tsc_khz: u64) -> Option<Lapic> {
        (self.irqchip == Irqchip::User).then(|| {
            Lapic::new(LapicConfig {
                id,
                bsp: id == 0,
                x2apic: self.x2apic,
                tsc_khz: u32::try_from(tsc_khz).unwrap_or(0),
            })
        })
    }

    /// Where the interrupts of devices go.
    ///
    /// # Errors
    /// When KVM does not tell what state its own are in.
    pub(crate) fn sink(&self, vm: &Arc<VmFd>) -> Result<Box<dyn Sink>> {
        Ok(match self.irqchip {
            Irqchip::User => Box::new(OwnApics),
            Irqchip::Split => Box::new(KernelApics { vm: Arc::clone(vm) }),
            Irqchip::Kernel => Box::new(KernelLines { vm: Arc::clone(vm), power_on: vm.power_on_chips()? }),
        })
    }

    /// What plays the vCPUs' local APICs.
    pub(crate) fn local_apic(&self) -> &'static dyn LocalApic {
        match self.irqchip {
            Irqchip::User => &OwnApic,
            Irqchip::Split => &KernelApicOwnPics,
            Irqchip::Kernel => &KernelApic,
        }
    }

    /// The tracepoint by which IPIs are seen that do not come to the monitor.
    pub(crate) fn tracepoint(&self) -> Option<Tracepoint> {
        self.tracepoint.as_ref().ok().copied()
    }

    /// What the trace cannot show, a sentence each.
    pub(crate) fn not_seen(&self) -> Vec<String> {
        let (name, others) = match self.irqchip {
            Irqchip::User => return Vec::new(),
            Irqchip::Split => ("split", None),
            Irqchip::Kernel => (
                "kernel",
                Some(
                    "interrupts of the 8259s, the IOAPIC and the 8254, and accesses to them: KVM plays them",
                ),
            ),
        };
        let ipis = match &self.tracepoint {
            Ok(_) => "when targets take IPIs and acknowledge them: the host's tracepoint kvm:kvm_apic_ipi tells of \
                      their sending only"
                .to_owned(),
            Err(why) => format!("IPIs: the host's tracepoint kvm:kvm_apic_ipi cannot be used ({why})"),
        };
        [
            format!(
                "accesses to local APICs, their timers' interrupts, EOIs, and when a vCPU takes an interrupt: KVM \
                 plays the local APICs (--irqchip {name})"
            ),
            ipis,
            "HLT and what ends it: KVM halts vCPUs itself, and time in the guest includes the time halted".to_owned(),
        ]
        .into_iter()
        .chain(others.map(str::to_owned))
        .chain(self.tracepoint().and_then(|_| sent_by_the_cpu()))
        .collect()
    }
}

/// IPIs that not even KVM sees, on hosts whose CPU sends them itself.
fn sent_by_the_cpu() -> Option<String> {
    // AMD APM vol. 2, 15.29; SDM vol. 3, 30.1.6.
    let features = [("kvm_amd", "avic"), ("kvm_intel", "enable_ipiv")];
    features.iter().find_map(|(module, parameter)| {
        let value = std::fs::read_to_string(format!("/sys/module/{module}/parameters/{parameter}")).ok()?;
        matches!(value.trim(), "Y" | "1").then(|| {
            format!(
                "IPIs that the CPU sends without KVM: {module} has {parameter}={} (load it with {parameter}=0 to see \
                 them)",
                value.trim()
            )
        })
    })
}
