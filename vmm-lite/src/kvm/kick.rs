//! Getting a vCPU out of `KVM_RUN` from another thread.
//!
//! A signal alone would be lost between the last look at the flags and `KVM_RUN`. So the signal's handler, which runs
//! on the vCPU's own thread, sets `kvm_run.immediate_exit`: whenever it arrives, the next or the present `KVM_RUN`
//! returns `EINTR` (Documentation/virt/kvm/api.rst, `immediate_exit`).

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::{c_int, c_void, pthread_t, siginfo_t};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::error::{Error, Result};

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs; null on every other thread.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    /// `on_its_way` of its [`Kick`]; null likewise.
    static ON_ITS_WAY: Cell<*const AtomicBool> = const { Cell::new(ptr::null()) };
}

extern "C" fn on_kick(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // Constant-initialized and without a destructor, so these are plain loads and safe in a signal handler.
    let (flag, on_its_way) = (IMMEDIATE_EXIT.get(), ON_ITS_WAY.get());
    if !on_its_way.is_null() {
        // SAFETY: the pointer is into the `Kick` that the thread's `KickTarget` borrows, which clears it.
        let on_its_way = unsafe { &*on_its_way };
        // First: who kicks from here on sends another signal, and who found it set is heard by what follows.
        on_its_way.store(false, Ordering::SeqCst);
    }
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
    /// A signal has been sent and not been taken. One is enough, and a thread that gets no time to take them must not
    /// pile them up: real-time signals are queued, and a user may have only so many.
    on_its_way: AtomicBool,
}

impl Kick {
    /// Makes the vCPU leave the guest soon.
    pub(crate) fn kick(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = *thread
            && !self.on_its_way.swap(true, Ordering::SeqCst)
        {
            // SAFETY: the thread is alive: it takes this lock to remove itself before it ends.
            let code = unsafe { libc::pthread_kill(thread, SIGRTMIN()) };
            if code != 0 {
                debug_assert_eq!(code, libc::EAGAIN, "a live thread can be signalled");
                // All that this user may have are queued, by other programs: the next kick tries again.
                self.on_its_way.store(false, Ordering::SeqCst);
            }
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
        ON_ITS_WAY.set(ptr::from_ref(&kick.on_its_way));
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
        ON_ITS_WAY.set(ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// How many signals the system holds for this process's user: `SigQ` of proc(5).
    fn queued() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigQ:")).unwrap();
        line.trim().split('/').next().unwrap().parse().unwrap()
    }

    #[test]
    fn kicks_that_are_not_taken_do_not_pile_up() {
        let kick = Kick::default();
        let (ready, is_ready) = channel();
        let (end, may_end) = channel::<()>();
        std::thread::scope(|scope| {
            let kick = &kick;
            scope.spawn(move || {
                let mut flag = 0;
                let target = KickTarget::new(kick, &mut flag).unwrap();
                vmm_sys_util::signal::block_signal(SIGRTMIN()).unwrap();
                ready.send(()).unwrap();
                may_end.recv().unwrap();
                vmm_sys_util::signal::unblock_signal(SIGRTMIN()).unwrap();
                drop(target);
                assert_eq!(flag, 1, "but one arrives");
            });
            is_ready.recv().unwrap();
            let before = queued();
            (0..10_000).for_each(|_| kick.kick());
            // Other tests and programs send some too.
            assert!(queued() < before + 5000, "{} signals are queued", queued());
            end.send(()).unwrap();
        });
        assert!(!kick.on_its_way.load(Ordering::SeqCst));
    }
}
