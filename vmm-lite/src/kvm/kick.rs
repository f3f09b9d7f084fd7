//! Getting a vCPU out of `KVM_RUN` from another thread.
//!
//! A signal alone would be lost between the last look at the flags and `KVM_RUN`. So the signal's handler, which runs
//! on the vCPU's own thread, sets `kvm_run.immediate_exit`: whenever it arrives, the next or the present `KVM_RUN`
//! returns `EINTR` (Documentation/virt/kvm/api.rst, `immediate_exit`).

use std::cell::Cell;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::{c_int, c_void, pthread_t, siginfo_t};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::error::{Error, Result};

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs; null on every other thread.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

extern "C" fn on_kick(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // Constant-initialized and without a destructor, so this is a plain load and safe in a signal handler.
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        // SAFETY: the pointer is into the `kvm_run` mapping of the vCPU that this very thread owns; `KickTarget`
        // clears it before the mapping goes.
        unsafe { flag.write_volatile(1) };
    }
}

/// A handle to interrupt a vCPU thread; does nothing while no thread has registered.
#[derive(Debug, Default)]
pub(crate) struct Kick {
    thread: Mutex<Option<pthread_t>>,
}

impl Kick {
    /// Makes the vCPU leave the guest soon.
    pub(crate) fn kick(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = *thread {
            // SAFETY: the thread is alive: it takes this lock to remove itself before it ends.
            let code = unsafe { libc::pthread_kill(thread, SIGRTMIN()) };
            debug_assert_eq!(code, 0, "a live thread can be signalled");
        }
    }
}

/// The present thread as the target of a [`Kick`], until dropped. Made by [`super::Vcpu::kick_target`].
#[derive(Debug)]
pub(crate) struct KickTarget<'k> {
    kick: &'k Kick,
}

impl<'k> KickTarget<'k> {
    /// Registers the present thread; `flag` is its vCPU's `immediate_exit`.
    ///
    /// # Errors
    /// When the signal handler cannot be installed.
    pub(super) fn new(kick: &'k Kick, flag: *mut u8) -> Result<Self> {
        static INSTALLED: OnceLock<c_int> = OnceLock::new();
        let errno = *INSTALLED.get_or_init(|| {
            register_signal_handler(SIGRTMIN(), on_kick)
                .map_or_else(vmm_sys_util::errno::Error::errno, |()| 0)
        });
        if errno != 0 {
            return Err(Error::os("install the handler that interrupts vCPUs", errno));
        }
        IMMEDIATE_EXIT.set(flag);
        // SAFETY: always succeeds.
        let thread = unsafe { libc::pthread_self() };
        *kick.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Self { kick })
    }
}

impl Drop for KickTarget<'_> {
    fn drop(&mut self) {
        *self.kick.thread.lock().unwrap_or_else(PoisonError::into_inner) = None;
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}
