//! Linux, as Debian built it: to its shell, and through a program that makes page faults, system calls and TLB
//! shootdowns, whose own counts the trace must agree with.

use std::collections::BTreeMap;
use std::fs;

use trace_format::event::{Actor, DeliveryMode, Payload, StopReason, VECTOR_SYSCALL};
use trace_format::{Reader, verify};
use vmscope_tests::linux::{Linux, PROMPT, Shootdown};
use vmscope_tests::real::file_or_skip;
use vmscope_tests::run::{Run, emulates};
use vmscope_tests::skip::{kvm_or_skip, skip};

use crate::control::until;

const ROUNDS: u64 = 50;
/// Rounds that the program does before it counts, `WARM_UP` in `shootdown.c`.
const WARM_UP: u64 = 2;
const PAGE: u64 = 4096;

const PAGE_FAULT: u16 = 14;
const SYS_MADVISE: u64 = libc::SYS_madvise as u64;
/// Vectors of Linux's function calls to other CPUs, one or several; TLB shootdowns are such calls
/// (`arch/x86/include/asm/irq_vectors.h`).
const CALL_FUNCTION_SINGLE: u8 = 0xfb;
const CALL_FUNCTION: u8 = 0xfc;

/// Linux's entries for what happens while the program runs (`arch/x86/include/asm/idtentry.h`).
const HANDLERS: &[(u16, &str)] = &[
    (PAGE_FAULT, "asm_exc_page_fault"),
    (0xec, "asm_sysvec_apic_timer_interrupt"),
    (CALL_FUNCTION_SINGLE as u16, "asm_sysvec_call_function_single"),
    (CALL_FUNCTION as u16, "asm_sysvec_call_function"),
    (0xfd, "asm_sysvec_reschedule_ipi"),
    (VECTOR_SYSCALL, "entry_SYSCALL_64"),
];

/// Boots `image`, has the program run by a shell, and compares.
fn shootdowns(test: &str, image: &str, vcpus: u8, words: &str) {
    if !kvm_or_skip(test) {
        return;
    }
    let files = ["busybox", "release", image].map(|name| file_or_skip(test, name));
    let [Some(busybox), Some(release), Some(kernel)] = files else { return };
    if vmscope_tests::images::SHOOTDOWN.is_empty() {
        skip(test, "there is no static C library: shootdown could not be linked");
        return;
    }
    let release = fs::read_to_string(release).unwrap();

    let mut guest = Linux::start(&kernel, &busybox, vcpus, words);
    if emulates(guest.header()) {
        begins(guest);
        return;
    }
    guest.wait_for(PROMPT);
    guest.type_line(&format!("uname -r; nproc; shootdown {vcpus} {ROUNDS}; poweroff -f"));
    // What is typed comes back before it is done.
    guest.wait_for("poweroff -f");
    guest.wait_for(&format!("\r\n{}\r\n{vcpus}\r\n", release.trim()));
    guest.wait_for("shootdown: ");
    let run = guest.finish();

    if run.outcome.why != StopReason::PowerOff {
        panic!("{:?}\n{}\n{}", run.outcome, run.console(), run.last_events(100));
    }
    let found = verify(&mut Reader::open(&run.trace).unwrap()).unwrap();
    assert!(found.is_sound() && found.finished && found.lost == 0, "{found:?}");

    let program = Program::of(&run);
    program.handlers_are_linuxs();
    program.page_faults_agree();
    program.system_calls_agree();
    program.shootdowns_agree();
    program.every_ipi_is_answered();
}

/// A KVM that emulates guest kernel code takes minutes for a boot and does not come to its end, for there are
/// instructions that it lacks; how it ends there is tested in `instructions.rs`. This is what the first moment shows:
/// the kernel is there, begins, and has its names and the program's.
fn begins(guest: Linux) {
    let names = ["asm_exc_page_fault", "entry_SYSCALL_64", "touch_pages", "drop_pages"];
    for name in names {
        assert!(guest.header().symbols.address_of(name).is_some(), "{name}");
    }
    let control = guest.control();
    // It begins with 0 there, and counts with it soon.
    until("it executes something", || control.registers(0).unwrap().general.rcx != 0);
    control.stop(Actor::User);
    let run = guest.finish();
    assert_eq!(run.outcome.why, StopReason::Ended { by: Actor::User }, "{:?}", run.outcome.failure);
}

/// A run, and the part of it in which the program ran.
struct Program<'r> {
    run: &'r Run,
    /// What it counted.
    counts: Shootdown,
    /// The calls of `madvise` that it counted: which vCPU, and the events from the handler's entry to its return.
    calls: Vec<Call>,
}

/// A system call.
struct Call {
    vcpu: u8,
    /// Index of the trap among the run's events, and of its return.
    first: usize,
    last: usize,
}

impl<'r> Program<'r> {
    fn of(run: &'r Run) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut open = BTreeMap::new();
        for (index, event) in run.events.iter().enumerate() {
            match &event.payload {
                Payload::Trap(trap)
                    if (trap.vector, trap.code) == (VECTOR_SYSCALL, Some(SYS_MADVISE))
                        && function(run, trap.rip) == Some("drop_pages") =>
                {
                    open.insert(trap.id, index);
                }
                Payload::TrapReturn(returned) => {
                    if let Some(first) = open.remove(&returned.id) {
                        calls.push(Call { vcpu: event.vcpu, first, last: index });
                    }
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "every system call returns: {open:?}");
        Self { run, counts: Shootdown::find(&run.console()), calls }
    }

    /// From the first system call on, when boot is over.
    fn handlers_are_linuxs(&self) {
        let traps = self.run.events.iter().filter_map(|event| match &event.payload {
            Payload::Trap(trap) => Some(trap),
            _ => None,
        });
        let mut missing: BTreeMap<u16, &str> = HANDLERS.iter().copied().collect();
        let names = missing.clone();
        for trap in traps.skip_while(|trap| trap.vector != VECTOR_SYSCALL) {
            if let Some(&name) = names.get(&trap.vector) {
                let found = self.run.header.symbolize(trap.handler);
                assert_eq!(found, Some((name, 0)), "{trap:?}");
                missing.remove(&trap.vector);
            }
        }
        // Two vCPUs call one other at most, more call several at once.
        let several = self.run.header.vcpus > 2;
        let unused = if several { CALL_FUNCTION_SINGLE } else { CALL_FUNCTION };
        missing.remove(&u16::from(unused));
        assert!(missing.is_empty(), "never seen: {missing:?}");
    }

    /// Linux counts a fault when it has handled it, and so for each that the trace has; in the region only
    /// `touch_pages` faults. Each round every page is touched, and by several threads at once.
    fn page_faults_agree(&self) {
        let region = &self.counts.region;
        let traps = self.run.events.iter().filter_map(|event| match &event.payload {
            Payload::Trap(trap) if trap.vector == PAGE_FAULT => Some(trap),
            _ => None,
        });
        let mut faults = 0;
        for trap in traps.filter(|trap| trap.cr2.is_some_and(|cr2| region.contains(&cr2))) {
            assert_eq!(function(self.run, trap.rip), Some("touch_pages"), "{trap:?}");
            faults += 1;
        }
        assert_eq!(faults, self.counts.count("faults"));
        assert!(faults >= ROUNDS * (region.end - region.start) / PAGE, "{faults}");
    }

    fn system_calls_agree(&self) {
        assert_eq!(self.counts.count("madvise"), ROUNDS);
        assert_eq!(self.calls.len() as u64, ROUNDS + WARM_UP);
    }

    /// The calls of `madvise` interrupt the other vCPUs as often as Linux says that it flushed their TLBs.
    ///
    /// Two things make a difference. A call may be interrupted itself by a timer, whose handler calls functions on other
    /// vCPUs for other reasons: Linux counts those among its function calls (`CAL`). And a vCPU that has not begun with
    /// an earlier function call gets a flush with it, without an interrupt of its own. Nor does Linux interrupt a vCPU
    /// on which a kernel thread is in the way, but then it counts nothing either.
    fn shootdowns_agree(&self) {
        let calls = &self.calls[WARM_UP as usize..];
        let within = |call: &Call, index| (call.first..call.last).contains(&index);
        let (mut taken, mut others) = (0, 0);
        for index in calls[0].first..calls[calls.len() - 1].last {
            let Payload::IpiAccepted(ipi) = &self.run.events[index].payload else { continue };
            if matches!(ipi.vector, CALL_FUNCTION | CALL_FUNCTION_SINGLE) {
                let by_call = calls.iter().any(|call| within(call, index) && ipi.sender == call.vcpu);
                *(if by_call { &mut taken } else { &mut others }) += 1;
            }
        }
        let (flushes, function_calls) = (self.counts.count("TLB"), self.counts.count("CAL"));
        let counts = format!("{taken} in calls, {others} besides; Linux: {flushes} of {function_calls}");
        println!("interrupts taken for function calls: {counts}");
        assert!(flushes <= taken + others, "{counts}");
        assert!(taken <= function_calls.max(flushes), "{counts}");
        // Every thread is on a vCPU of its own and waits there, so that kernel threads are the exception.
        let most = ROUNDS * u64::from(self.run.header.vcpus - 1);
        assert!(taken > most / 2, "{counts}, and {most} threads to interrupt");
    }

    /// Until the program's end: the kernel's, at which a vCPU stops the others, leaves some without an answer.
    fn every_ipi_is_answered(&self) {
        let mut accepted = BTreeMap::new();
        let mut acknowledged = BTreeMap::new();
        for event in &self.run.events {
            match &event.payload {
                Payload::IpiAccepted(ipi) => *accepted.entry(ipi.id).or_insert(0_u16) |= 1 << event.vcpu,
                Payload::IpiEoi(ipi) => *acknowledged.entry(ipi.id).or_insert(0_u16) |= 1 << event.vcpu,
                _ => {}
            }
        }
        let end = self.calls.last().unwrap().last;
        let sent = self.run.events[..end].iter().filter_map(|event| match &event.payload {
            Payload::Ipi(ipi) if ipi.mode == DeliveryMode::Fixed => Some(ipi),
            _ => None,
        });
        for ipi in sent {
            let answers = (accepted.get(&ipi.id), acknowledged.get(&ipi.id));
            assert_eq!(answers, (Some(&ipi.targets), Some(&ipi.targets)), "{ipi:?}");
        }
    }
}

/// The function that holds `address`.
fn function(run: &Run, address: u64) -> Option<&str> {
    run.header.symbolize(address).map(|(name, _)| name)
}

#[test]
fn linux_bzimage_with_four_vcpus() {
    shootdowns("linux_bzimage_with_four_vcpus", "vmlinuz", 4, "quiet");
}

#[test]
fn linux_vmlinux_with_two_vcpus() {
    shootdowns("linux_vmlinux_with_two_vcpus", "vmlinux", 2, "quiet");
}
