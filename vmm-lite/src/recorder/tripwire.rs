//! Events that somebody waits for, noticed on their way into the ring.

use std::sync::Arc;

use arrayvec::ArrayVec;
use trace_format::Event;
use trace_format::event::{Actor, Kind, Payload, VECTOR_SYSCALL};
use trace_format::filter::{Filter, Subject};

use crate::names::{Names, Seen};

/// How many system calls that were caught may not have returned yet, before the first is forgotten.
const OPEN: usize = 64;

/// What a vCPU is to stop for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Events that match this, for GDB.
    pub(crate) filter: Option<Filter>,
    /// System calls, for GDB.
    pub(crate) syscalls: Option<Syscalls>,
    /// Events that match this, for the user.
    pub(crate) user: Option<Filter>,
}

/// System calls by RAX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syscalls {
    /// Every one.
    All,
    /// Those with these numbers.
    Numbers(Vec<u64>),
}

/// What was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// An event of this kind that matches the filter of GDB or of the user.
    Event(Kind, Actor),
    /// A system call with this number.
    SyscallEntry(u64),
    /// Its return.
    SyscallReturn(u64),
}

/// One vCPU's.
#[derive(Debug)]
pub(crate) struct Tripwire {
    /// Who wants something else than before.
    by: Actor,
    wanted: Wanted,
    names: Seen,
    /// What was met first and has not been told, and the event.
    met: Option<(Met, Event)>,
    /// The traps that are system calls which were caught, and their numbers.
    open: ArrayVec<(u64, u64), OPEN>,
}

impl Wanted {
    fn is_nothing(&self) -> bool {
        self.filter.is_none() && self.syscalls.is_none() && self.user.is_none()
    }
}

impl Syscalls {
    fn contains(&self, number: u64) -> bool {
        match self {
            Self::All => true,
            Self::Numbers(numbers) => numbers.contains(&number),
        }
    }
}

impl Tripwire {
    /// What `by` wants from now on; of the others nothing.
    pub(crate) fn new(by: Actor, wanted: Wanted, names: Arc<Names>) -> Box<Self> {
        Box::new(Self { by, wanted, names: Seen::of(names), met: None, open: ArrayVec::new() })
    }

    /// The one that follows `before`. Debuggers take away what they wait for at each stop, and set it again before they
    /// go on: system calls may still return, and what was met while another vCPU stopped the guest has not been told.
    /// What others than the new one's owner want stays. None if there is nothing to look for.
    pub(super) fn after(mut self: Box<Self>, before: Option<Box<Self>>) -> Option<Box<Self>> {
        if let Some(before) = before {
            (self.open, self.met) = (before.open, before.met);
            match self.by {
                Actor::Gdb => self.wanted.user = before.wanted.user,
                _ => {
                    (self.wanted.filter, self.wanted.syscalls) =
                        (before.wanted.filter, before.wanted.syscalls);
                }
            }
        }
        let idle = self.wanted.is_nothing() && self.open.is_empty() && self.met.is_none();
        (!idle).then_some(self)
    }

    /// Looks at an event. What is met first stays until it is told.
    pub(super) fn look(&mut self, event: &Event) {
        self.names.look_again();
        let met = self.syscall(&event.payload).or_else(|| self.event(event));
        if let Some(met) = met
            && !self.has_met()
        {
            self.met = Some((met, event.clone()));
        }
    }

    /// Whether something was met that is still waited for.
    pub(super) fn has_met(&self) -> bool {
        self.met.as_ref().is_some_and(|(met, event)| self.wants(*met, event))
    }

    /// What was met, now that the vCPU is about to go on: what is waited for no more is forgotten.
    pub(super) fn met(&mut self) -> Option<Met> {
        if !self.has_met() {
            self.met = None;
        }
        self.met.as_ref().map(|(met, _)| *met)
    }

    /// What was met has been told.
    pub(super) fn forget_met(&mut self) {
        self.met = None;
    }

    fn wants(&self, met: Met, event: &Event) -> bool {
        match met {
            Met::Event(_, by) => self.matches(by, event),
            Met::SyscallEntry(number) | Met::SyscallReturn(number) => {
                self.wanted.syscalls.as_ref().is_some_and(|wanted| wanted.contains(number))
            }
        }
    }

    fn event(&self, event: &Event) -> Option<Met> {
        let by = [Actor::Gdb, Actor::User].into_iter().find(|by| self.matches(*by, event))?;
        Some(Met::Event(event.payload.kind(), by))
    }

    fn matches(&self, by: Actor, event: &Event) -> bool {
        let filter = match by {
            Actor::Gdb => &self.wanted.filter,
            _ => &self.wanted.user,
        };
        let subject = Subject { number: 0, event, header: self.names.header() };
        // That it stopped must not stop it again.
        event.payload.kind() != Kind::Debugger
            && filter.as_ref().is_some_and(|filter| filter.matches(&subject))
    }

    fn syscall(&mut self, payload: &Payload) -> Option<Met> {
        let wanted = self.wanted.syscalls.as_ref();
        match payload {
            Payload::Trap(trap) if trap.vector == VECTOR_SYSCALL => {
                let number = trap.code.filter(|number| wanted.is_some_and(|all| all.contains(*number)))?;
                if self.open.is_full() {
                    self.open.remove(0);
                }
                self.open.push((trap.id, number));
                Some(Met::SyscallEntry(number))
            }
            Payload::TrapReturn(back) => {
                let at = self.open.iter().position(|(id, _)| *id == back.id)?;
                let (_, number) = self.open.remove(at);
                wanted.is_some().then_some(Met::SyscallReturn(number))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use trace_format::Header;
    use trace_format::event::{Actor, Debugger, KERNEL_BASE, Slide, Trap, TrapClass, TrapReturn, VcpuState};
    use trace_format::header::Symbol;

    use super::*;

    fn wire(filter: Option<&str>, syscalls: Option<Syscalls>) -> Box<Tripwire> {
        wire_with(Header::default(), filter, syscalls).1
    }

    fn wire_with(
        header: Header,
        filter: Option<&str>,
        syscalls: Option<Syscalls>,
    ) -> (Arc<Names>, Box<Tripwire>) {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let names = Names::new(header);
        (Arc::clone(&names), Tripwire::new(Actor::Gdb, Wanted { filter, syscalls, user: None }, names))
    }

    fn met(wire: &mut Tripwire, payload: Payload) -> Option<Met> {
        wire.look(&Event { time: 1, vcpu: 2, payload });
        told(wire)
    }

    fn told(wire: &mut Tripwire) -> Option<Met> {
        let met = wire.met();
        wire.forget_met();
        met
    }

    fn syscall(id: u64, number: u64) -> Payload {
        Payload::Trap(Trap {
            id,
            vector: VECTOR_SYSCALL,
            shared_by: 1,
            class: TrapClass::SystemCall,
            code: Some(number),
            rip: 0,
            cs: 0,
            cpl: 3,
            rsp: 0,
            handler: 0,
            cr2: None,
        })
    }

    fn back(id: u64) -> Payload {
        Payload::TrapReturn(TrapReturn { id, vector: VECTOR_SYSCALL, duration_ns: 1, rip: 0 })
    }

    #[test]
    fn what_is_wanted_may_change_while_system_calls_are_under_way() {
        assert!(wire(None, None).after(None).is_none(), "there is nothing to look for");
        let mut first = wire(None, Some(Syscalls::All));
        assert!(met(&mut first, syscall(7, 28)).is_some() && met(&mut first, syscall(8, 29)).is_some());
        let mut none = wire(None, None).after(Some(first)).unwrap();
        assert_eq!((met(&mut none, back(8)), met(&mut none, syscall(9, 1))), (None, None));
        let mut again = wire(None, Some(Syscalls::All)).after(Some(none)).unwrap();
        assert_eq!(met(&mut again, back(7)), Some(Met::SyscallReturn(28)));
        assert!(wire(None, None).after(Some(again)).is_none());
    }

    #[test]
    fn an_event_that_matches_is_met_and_stays_until_it_is_taken() {
        let mut wire = wire(Some("vcpu == 2"), None);
        let halted = || Payload::State(VcpuState::Halted);
        assert_eq!(met(&mut wire, Payload::Debugger(Debugger::Matched { by: Actor::Gdb })), None);
        wire.look(&Event { time: 1, vcpu: 2, payload: halted() });
        wire.look(&Event { time: 2, vcpu: 2, payload: back(1) });
        assert!(wire.has_met());
        assert_eq!(wire.met(), Some(Met::Event(Kind::State, Actor::Gdb)), "the first counts");
        assert_eq!((told(&mut wire), told(&mut wire)), (Some(Met::Event(Kind::State, Actor::Gdb)), None));
        wire.look(&Event { time: 1, vcpu: 1, payload: halted() });
        assert!(!wire.has_met());
    }

    /// Another vCPU has been faster to stop the guest, and the debugger takes away what it waits for and sets it again.
    #[test]
    fn what_could_not_be_told_is_told_next_if_it_is_still_waited_for() {
        let filter = Some("vcpu == 2");
        let waiting = |filter| {
            let mut first = wire(filter, Some(Syscalls::All));
            let payload = if filter.is_some() { Payload::State(VcpuState::Halted) } else { syscall(7, 28) };
            first.look(&Event { time: 1, vcpu: 2, payload });
            let between = wire(None, None).after(Some(first)).unwrap();
            assert!(!between.has_met(), "nobody waits at the moment");
            between
        };
        let mut again = wire(filter, None).after(Some(waiting(filter))).unwrap();
        assert_eq!((told(&mut again), told(&mut again)), (Some(Met::Event(Kind::State, Actor::Gdb)), None));
        let mut again = wire(None, Some(Syscalls::Numbers(vec![28]))).after(Some(waiting(None))).unwrap();
        assert_eq!((told(&mut again), told(&mut again)), (Some(Met::SyscallEntry(28)), None));
        let mut other = wire(Some("vcpu == 1"), None).after(Some(waiting(filter))).unwrap();
        assert_eq!(other.met(), None, "nobody waits for it any more");
        let mut other = wire(filter, None).after(Some(other)).unwrap();
        assert_eq!(other.met(), None, "and the vCPU has gone on since");
        assert_eq!(
            met(&mut other, Payload::State(VcpuState::Halted)),
            Some(Met::Event(Kind::State, Actor::Gdb))
        );
        let mut other = wire(Some("vcpu == 1"), None).after(Some(waiting(filter))).unwrap();
        other.look(&Event { time: 3, vcpu: 1, payload: back(1) });
        assert_eq!(
            other.met(),
            Some(Met::Event(Kind::TrapReturn, Actor::Gdb)),
            "what is waited for takes its place"
        );
    }

    #[test]
    fn what_gdb_and_the_user_wait_for_are_two_things() {
        let user = |filter: Option<&str>| {
            let user = filter.map(|text| Filter::parse(text).unwrap());
            let wanted = Wanted { user, ..Wanted::default() };
            Tripwire::new(Actor::User, wanted, Names::new(Header::default()))
        };
        let halted = || Payload::State(VcpuState::Halted);
        let mut both = user(Some("kind == state")).after(Some(wire(Some("vcpu == 1"), None))).unwrap();
        assert_eq!(met(&mut both, halted()), Some(Met::Event(Kind::State, Actor::User)));
        let mut gdbs = user(None).after(Some(both)).unwrap();
        assert_eq!(met(&mut gdbs, halted()), None, "the user waits no more");
        gdbs.look(&Event { time: 1, vcpu: 1, payload: halted() });
        assert_eq!(told(&mut gdbs), Some(Met::Event(Kind::State, Actor::Gdb)), "but GDB does");
        let both = user(Some("kind == state")).after(Some(gdbs)).unwrap();
        let mut users = wire(None, None).after(Some(both)).unwrap();
        users.look(&Event { time: 1, vcpu: 1, payload: halted() });
        assert_eq!(told(&mut users), Some(Met::Event(Kind::State, Actor::User)));
        assert!(user(None).after(Some(users)).is_none());
    }

    /// Linux moves while it boots, and who waits for one of its functions may have said so before.
    #[test]
    fn a_function_that_is_waited_for_is_where_the_kernel_has_moved_it() {
        let symbol = Symbol { address: KERNEL_BASE, size: 16, name: "do_madvise".to_owned() };
        let header = Header { symbols: vec![symbol].into(), ..Header::default() };
        let (names, mut wire) = wire_with(header, Some("trap.handler.symbol == do_madvise"), None);
        let moved = KERNEL_BASE + (34 << 20);
        let at = |handler| {
            let Payload::Trap(trap) = syscall(1, 28) else { unreachable!() };
            Payload::Trap(Trap { handler, ..trap })
        };
        assert_eq!(met(&mut wire, at(moved)), None);
        names.slide(|_| Some(Slide { slide: 34 << 20 }));
        assert_eq!(met(&mut wire, at(moved)), Some(Met::Event(Kind::Trap, Actor::Gdb)));
        assert_eq!(met(&mut wire, at(KERNEL_BASE)), None);
    }

    #[test]
    fn system_calls_are_caught_on_both_ways() {
        let mut wire = wire(None, Some(Syscalls::Numbers(vec![28, 1])));
        assert_eq!(met(&mut wire, syscall(7, 28)), Some(Met::SyscallEntry(28)));
        assert_eq!(met(&mut wire, syscall(8, 29)), None);
        assert_eq!(met(&mut wire, back(8)), None);
        assert_eq!(met(&mut wire, back(7)), Some(Met::SyscallReturn(28)));
        assert_eq!(met(&mut wire, back(7)), None);
        for id in 0..100 {
            assert!(met(&mut wire, syscall(id, 1)).is_some(), "many may be under way");
        }
        assert_eq!((met(&mut wire, back(0)), met(&mut wire, back(99))), (None, Some(Met::SyscallReturn(1))));
    }
}
