//! Which vCPU a thread is.

use std::collections::HashMap;

use super::line::{Name, Thread};
use crate::describe::Escaped;
use crate::event::{ExitReason, Isa};
use crate::format::MAX_VCPU;

/// A vCPU and what it does.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its number in the trace.
    pub(super) number: u8,
    /// The number that KVM gave it, if the recording tells.
    pub(super) vcpu: Option<u32>,
    pub(super) thread: Thread,
    name: Name,
    /// When it last entered the guest, if it is there.
    pub(super) entered: Option<u64>,
    /// The exit that is being handled.
    pub(super) exit: Option<Pending>,
    /// Whether exits and entries of the hardware are in the recording.
    pub(super) hardware: bool,
    pub(super) isa: Isa,
    /// The last access that may be the reason of an exit to user space, where there are no exits of the hardware.
    pub(super) access: Option<ExitReason>,
    /// Where the guest last was, as far as is known.
    pub(super) rip: u64,
    /// CR3, if it was written.
    pub(super) cr3: Option<u64>,
}

/// An exit whose end has not come.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) time: u64,
    pub(super) guest_ns: u64,
    pub(super) reason: ExitReason,
    pub(super) rip: u64,
    /// How long the vCPU was halted meanwhile.
    pub(super) halted_ns: u64,
    /// When `KVM_RUN` was called again, if it was: of an exit to user space, whose value may come after that.
    pub(super) end: Option<u64>,
}

/// All vCPUs of a recording.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The lane that a thread is in at present.
    current: HashMap<Thread, usize>,
    /// What a thread will turn out to be, from lines that were read ahead.
    claims: HashMap<Thread, u32>,
}

/// More threads than this are not told apart.
const MAX_THREADS: usize = 1 << 12;

impl Lanes {
    /// Takes note that `thread` is vCPU `vcpu`, before what it did is looked at.
    pub(super) fn claim(&mut self, thread: Thread, name: &Name, vcpu: u32) {
        if self.claims.len() >= MAX_THREADS || self.claims.contains_key(&thread) {
            return;
        }
        self.claims.insert(thread, vcpu);
        // So that an IPI finds who has not run yet.
        if matches!(thread, Thread::Number(_)) && !self.current.contains_key(&thread) {
            let _ = self.of(thread, name, Some(vcpu));
        }
    }

    /// The lane of a thread that did something only vCPUs do, `vcpu` being the number that the event has. `None` if a
    /// trace has no room for another.
    pub(super) fn of(&mut self, thread: Thread, name: &Name, vcpu: Option<u32>) -> Option<&mut Lane> {
        let current = self.current.get(&thread).copied();
        if let Some(at) = current
            && (vcpu.is_none() || self.lanes.get(at).is_some_and(|lane| lane.vcpu == vcpu))
        {
            return self.lanes.get_mut(at);
        }
        // A thread may run several vCPUs, and one that only a CPU is known of is any that runs there.
        let same = |lane: &Lane| match thread {
            Thread::Number(_) => lane.thread == thread,
            Thread::OnCpu(_) | Thread::Unknown => true,
        };
        let at = match self.lanes.iter().position(|lane| vcpu.is_some() && lane.vcpu == vcpu && same(lane)) {
            Some(at) => at,
            None => self.add(thread, name, vcpu)?,
        };
        if self.current.len() >= MAX_THREADS {
            self.current.clear();
        }
        self.current.insert(thread, at);
        self.lanes.get_mut(at)
    }

    fn add(&mut self, thread: Thread, name: &Name, vcpu: Option<u32>) -> Option<usize> {
        let claimed = self.claims.get(&thread).copied();
        let vcpu = vcpu.or(claimed).or_else(|| number_in(name));
        let is_free = |number: u8| self.lanes.iter().all(|lane| lane.number != number);
        let wanted = vcpu.and_then(|vcpu| u8::try_from(vcpu).ok()).filter(|&n| n <= MAX_VCPU && is_free(n));
        let number = wanted.or_else(|| (0..=MAX_VCPU).find(|&number| is_free(number)))?;
        self.lanes.push(Lane {
            number,
            vcpu,
            thread,
            name: name.clone(),
            entered: None,
            exit: None,
            hardware: false,
            isa: Isa::Vmx,
            cr3: None,
            access: None,
            rip: 0,
        });
        Some(self.lanes.len() - 1)
    }

    /// The vCPU with the local APIC `apic`: KVM gives both the same number.
    pub(super) fn with_apic(&self, apic: u32) -> Option<u8> {
        self.lanes.iter().find(|lane| lane.vcpu == Some(apic)).map(|lane| lane.number)
    }

    /// Whether `thread` has done something that only vCPUs do.
    pub(super) fn knows(&self, thread: Thread) -> bool {
        self.current.contains_key(&thread)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut()
    }
}

impl Lane {
    /// The guest is left at `time`. Returns the exit before if its end has not been seen.
    pub(super) fn leave(&mut self, time: u64, reason: ExitReason) -> Option<Pending> {
        let guest_ns = self.entered.take().map_or(0, |entered| time.saturating_sub(entered));
        self.exit.replace(Pending { time, guest_ns, reason, rip: self.rip, halted_ns: 0, end: None })
    }

    /// Who this is, for people: `vCPU 1, thread 4321 (CPU 1/KVM)`.
    pub(super) fn describe(&self) -> String {
        let vcpu = self.vcpu.map_or_else(|| "a vCPU without a number".to_owned(), |n| format!("vCPU {n}"));
        let thread = match self.thread {
            Thread::Number(tid) => format!(", thread {tid}"),
            Thread::OnCpu(_) | Thread::Unknown => String::new(),
        };
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", Escaped(&self.name)) };
        vcpu + &thread + &name
    }
}

/// The number in the name of a vCPU's thread: `CPU 3/KVM` of QEMU, `fc_vcpu 3` of Firecracker, `vcpu3` of others.
fn number_in(name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    let lower = name.to_ascii_lowercase();
    let (_, behind) = lower.split_once("cpu")?;
    let behind = behind.trim_start_matches([' ', '_', '-', '#', ':']);
    let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.bytes().collect()
    }

    #[test]
    fn names_of_threads_tell_vcpus() {
        for (text, number) in [
            ("CPU 3/KVM", Some(3)),
            ("fc_vcpu 12", Some(12)),
            ("vcpu0", Some(0)),
            ("vcpu", None),
            ("qemu-7", None),
        ] {
            assert_eq!(number_in(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn a_thread_is_the_vcpu_that_it_says() {
        let mut lanes = Lanes::default();
        let mut number =
            |tid, text, vcpu| lanes.of(Thread::Number(tid), &name(text), vcpu).map(|lane| lane.number);
        assert_eq!(number(10, "qemu", Some(1)), Some(1));
        assert_eq!(number(11, "CPU 0/KVM", None), Some(0));
        assert_eq!(number(10, "qemu", None), Some(1));
        assert_eq!(number(20, "qemu", Some(1)), Some(2), "one of another VM");
        assert_eq!(number(21, "qemu", None), Some(3), "the lowest number that is free");
        lanes.claim(Thread::Number(30), &name("x"), 7);
        assert_eq!(lanes.of(Thread::Number(30), &name("x"), None).unwrap().number, 7);
        assert_eq!(lanes.with_apic(1), Some(1));
        assert_eq!(lanes.with_apic(5), None);
    }

    #[test]
    fn without_threads_a_cpu_is_the_vcpu_that_was_there_last() {
        let mut lanes = Lanes::default();
        let mut number = |cpu, vcpu| lanes.of(Thread::OnCpu(cpu), &name(""), vcpu).map(|lane| lane.number);
        assert_eq!(number(4, Some(0)), Some(0));
        assert_eq!(number(5, Some(1)), Some(1));
        assert_eq!(number(5, Some(0)), Some(0), "it moved");
        assert_eq!(number(5, None), Some(0));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut lanes = Lanes::default();
        for n in 0..=u64::from(MAX_VCPU) {
            assert!(lanes.of(Thread::Number(n), &name(""), Some(9)).is_some());
        }
        assert!(lanes.of(Thread::Number(1000), &name(""), Some(9)).is_none());
    }
}
