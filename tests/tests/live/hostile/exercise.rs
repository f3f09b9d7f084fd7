//! Everything that `Control` can do, while a guest does its worst.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use trace_format::event::{Access, Actor, StopReason};
use trace_format::{Reader, verify};
use vmm_lite::devices::Key;
use vmm_lite::{Control, Error, MachineState, Outcome};
use vmscope_tests::printed::Printed;
use vmscope_tests::run::{Guest, Run, Started};

const BY: Actor = Actor::User;
/// Nothing takes that long but what hangs.
const HANG: Duration = Duration::from_secs(60);

/// Runs `work`, which must not hang.
pub(super) fn without_hanging<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || drop(sender.send(work())));
    match receiver.recv_timeout(HANG) {
        Ok(result) => {
            drop(thread.join());
            result
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("{what} ended without a result"),
        },
    }
}

/// Starts `guest`, lets `prepare` change it while it is paused, waits until it prints `first`, asks all there is to ask
/// for `length` or until it has ended by itself, and ends it. Its end and its trace must be in order.
pub(super) fn endure(
    what: &str,
    guest: Guest,
    first: &'static str,
    length: Duration,
    prepare: impl FnOnce(&Started) + Send + 'static,
) -> Run {
    // For whoever looks for the guest at which a host stood still: `--nocapture`.
    println!("{what}");
    let run = without_hanging(what, move || {
        let vcpus = guest.config.vcpus;
        let started = guest.paused().start();
        prepare(&started);
        let control = started.vm.control();
        answered(control.resume(BY));
        let mut reader = Reader::open(&started.trace).unwrap();
        let mut printed = Printed::anywhere();
        while !printed.take(first) && !is_over(&control) {
            thread::sleep(Duration::from_millis(10));
            printed.read(&mut reader).unwrap();
        }
        exercise(&control, vcpus, length);
        control.stop(BY);
        started.finish()
    });
    assert!(is_orderly(&run.outcome), "{what}: {:?}", run.outcome);
    let found = verify(&mut Reader::open(&run.trace).unwrap()).unwrap();
    assert!(found.is_sound() && found.finished && found.lost == 0, "{what}: {found:?}");
    run
}

/// Pauses, looks, steps, sets breakpoints and resumes, over and over.
fn exercise(control: &Control, vcpus: u8, length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end && !is_over(control) {
        thread::sleep(Duration::from_millis(20));
        answered(control.pause(BY));
        let mut breakpoints = Vec::new();
        for vcpu in 0..vcpus {
            let Some(registers) = answered(control.registers(vcpu)) else { continue };
            let rip = registers.general.rip;
            for gva in [rip, registers.general.rsp, u64::MAX, 1 << 47, 0xffff_8000_0000_0000] {
                answered(control.walk(vcpu, gva, Access { write: true, ..Access::default() }));
                answered(control.read_virtual(vcpu, gva, &mut [0; 64]));
            }
            answered(control.step(vcpu, BY));
            if answered(control.add_breakpoint(vcpu, rip)).is_some() {
                breakpoints.push((vcpu, rip));
            }
        }
        answered(control.resume(BY));
        let _room = control.console_input(b"typed");
        let _typed = control.type_key(Key::Enter);
        thread::sleep(Duration::from_millis(5));
        for (vcpu, gva) in breakpoints {
            answered(control.registers(vcpu));
            answered(control.remove_breakpoint(vcpu, gva));
        }
        // A breakpoint may have stopped it.
        answered(control.resume(BY));
    }
}

fn is_over(control: &Control) -> bool {
    matches!(control.state(), MachineState::Stopped { .. })
}

/// An answer: a result, or an error that says what this guest is not in a state for.
fn answered<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            Error::NotMapped { .. }
            | Error::NotMemory { .. }
            | Error::WrongState { .. }
            | Error::HostCannot { .. },
        ) => None,
        Err(error) => panic!("no answer: {error:?}"),
    }
}

/// Whether a run ended as a guest or this test can end it, or because this host's KVM cannot run the guest's code; the
/// monitor itself must have failed in nothing.
pub(super) fn is_orderly(outcome: &Outcome) -> bool {
    match (&outcome.why, &outcome.failure) {
        (StopReason::HostError, failure) => {
            matches!(failure, Some(Error::InternalError(_) | Error::HostCannot { .. }))
        }
        (_, failure) => failure.is_none(),
    }
}
