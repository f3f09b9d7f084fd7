//! The least that a monitor can do: `KVM_RUN` again and again. What the exit path costs is measured against it.

use kvm_ioctls::{SyncReg, VcpuExit};

use super::Vcpu;
use crate::devices::PORT_DEBUG_EXIT;
use crate::error::{Error, Result};

impl Vcpu {
    /// Runs until the guest writes to the debug-exit port, answers reads with ones and ignores writes. Registers are
    /// not kept in step. Returns the number of exits.
    ///
    /// # Errors
    /// When `KVM_RUN` fails, or the guest does anything else.
    pub(crate) fn run_bare(&mut self) -> Result<u64> {
        self.fd.clear_sync_valid_reg(SyncReg::Register);
        self.fd.clear_sync_valid_reg(SyncReg::SystemRegister);
        let mut exits = 0;
        loop {
            exits += 1;
            match self.fd.run().map_err(|e| Error::kvm("KVM_RUN", e))? {
                VcpuExit::IoOut(PORT_DEBUG_EXIT, _) => return Ok(exits),
                VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) => {}
                VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(0xff),
                _ => {
                    return Err(Error::HostCannot {
                        operation: "run this guest without a monitor",
                        why: "it does more than port and memory accesses",
                    });
                }
            }
        }
    }
}
