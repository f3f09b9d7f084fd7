//! The breakpoints that are in guest memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copies::Copies;
use super::owner::Owner;
use super::place::{Offer, Places, Seeker};
use super::site::{INT3, LONGEST, Means, Roles, Site, is_users};
use super::watch::Watch;
use crate::calibration::BreakpointStop;
use crate::error::Result;
use crate::kvm::HardwareBreakpoint;
use crate::memory::Memory;
use crate::walk::{CR0_PG, Paging};

/// All breakpoints by gva; a snapshot that vCPU threads look at without a lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    sites: BTreeMap<u64, Site>,
    /// The bytes under the breakpoints by gpa. Several sites can be at one, under different gvas.
    originals: BTreeMap<u64, u8>,
    /// What breakpoint registers watch beside.
    watches: Vec<Watch>,
    /// Breakpoints whose page is not mapped, gva. A register that is left over stops there without one.
    pending: BTreeSet<u64>,
}

impl Table {
    pub(super) fn get(&self, gva: u64) -> Option<&Site> {
        self.sites.get(&gva)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// A breakpoint that is at `gpa` under another address than `gva`: what the instruction there is.
    pub(super) fn alias(&self, gva: u64, gpa: u64, memory: &Memory, paging: &Paging) -> Option<Site> {
        if !self.originals.contains_key(&gpa) {
            return None;
        }
        let mut code = [0; LONGEST];
        let length = read_code(memory, paging, self, gva, &mut code);
        Some(Site::decode(gva, gpa, code.get(..length)?, Roles::default(), false))
    }

    /// The watchpoint that `register` is set for.
    pub(super) fn watch_of(&self, register: HardwareBreakpoint) -> Option<Watch> {
        self.watches.iter().find(|watch| watch.has(register)).copied()
    }

    /// How breakpoint registers are to be set for the watchpoints.
    pub(super) fn watch_registers(&self) -> impl Iterator<Item = HardwareBreakpoint> {
        self.watches.iter().flat_map(Watch::set)
    }

    /// Whether there is one that user code could come to.
    pub(super) fn has_user_sites(&self) -> bool {
        self.sites.values().any(|site| site.user)
    }

    /// The sites that breakpoint registers hold, gva, on a vCPU whose breakpoints bounce to `handler`, which has one
    /// already; and those that wait for their page, last.
    pub(super) fn registers(&self, handler: Option<u64>) -> impl Iterator<Item = u64> {
        let held = self.sites.iter().filter(|(_, site)| site.means == Means::Register).map(|(gva, _)| *gva);
        held.chain(self.pending.iter().copied()).filter(move |gva| Some(*gva) != handler)
    }

    /// The sites at `gpa`.
    fn at(&self, gpa: u64) -> impl Iterator<Item = &Site> {
        self.sites.values().filter(move |site| site.gpa == gpa)
    }

    fn insert(&mut self, gva: u64, site: Site) {
        if site.means == Means::Instruction {
            self.originals.insert(site.gpa, site.original);
        }
        self.sites.insert(gva, site);
    }

    fn index(&mut self) {
        let in_memory = self.sites.values().filter(|site| site.means == Means::Instruction);
        self.originals = in_memory.map(|site| (site.gpa, site.original)).collect();
    }
}

/// The breakpoints of a machine.
#[derive(Debug)]
pub(crate) struct Breakpoints {
    inner: Mutex<Inner>,
    generation: AtomicU64,
    /// How many breakpoints wait for their page to be mapped.
    pending: AtomicUsize,
    offer: Offer,
}

#[derive(Debug, Default)]
struct Inner {
    wanted: BTreeMap<Owner, BTreeMap<u64, Roles>>,
    watches: BTreeMap<Owner, Vec<Watch>>,
    table: Arc<Table>,
    copies: Copies,
    /// The handler for breakpoints that each vCPU has, gva.
    handlers: BTreeMap<u8, u64>,
    /// Breakpoints that are not in guest memory while vCPUs step over them, gpa: one a vCPU at most.
    taken_out: Vec<u64>,
    /// Where somebody waits for the guest and this host has no means to stop it any more, gva.
    lost: BTreeSet<u64>,
}

impl Breakpoints {
    /// None yet.
    pub(super) fn new(offer: Offer) -> Self {
        Self { inner: Mutex::default(), generation: AtomicU64::new(0), pending: AtomicUsize::new(0), offer }
    }

    /// Takes note of the guest's handler for breakpoints. True if that is news: what is wanted must be placed anew.
    pub(super) fn note_handler(&self, vcpu: u8, handler: Option<u64>) -> bool {
        let mut inner = self.lock();
        let before = match handler {
            Some(handler) => inner.handlers.insert(vcpu, handler),
            None => inner.handlers.remove(&vcpu),
        };
        self.offer.stop == BreakpointStop::Bounce && before != handler
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the table does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Says that there are going to be breakpoints. True if that is news, which KVM must be told for each vCPU.
    pub(crate) fn expect(&self) -> bool {
        self.generation.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The present table.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.lock().table)
    }

    /// Replaces what `owner` wants, and puts guest memory in agreement. `paging` translates addresses that are new.
    /// Addresses that are not mapped get no breakpoint for now. Returns those for which this host has no means.
    pub(crate) fn want(
        &self,
        owner: Owner,
        wanted: BTreeMap<u64, Roles>,
        memory: &Memory,
        paging: &Paging,
    ) -> BTreeSet<u64> {
        let mut inner = self.lock();
        inner.wanted.insert(owner, wanted);
        self.place(&mut inner, owner, memory, paging)
    }

    /// The same, if the guest can be stopped at all of it, and still wherever it could before; otherwise nothing has
    /// changed, and it returns false.
    pub(crate) fn want_all(
        &self,
        owner: Owner,
        wanted: BTreeMap<u64, Roles>,
        memory: &Memory,
        paging: &Paging,
    ) -> bool {
        let mut inner = self.lock();
        let lost = inner.lost.clone();
        let before = inner.wanted.insert(owner, wanted.clone()).unwrap_or_default();
        drop(self.place(&mut inner, owner, memory, paging));
        let is_news = |gva: &u64| !lost.contains(gva) || before.get(gva) != wanted.get(gva);
        if !inner.lost.iter().any(is_news) {
            return true;
        }
        inner.wanted.insert(owner, before);
        drop(self.place(&mut inner, owner, memory, paging));
        false
    }

    /// Replaces what `owner` watches. False, and nothing changed, if this host cannot, or has not enough registers.
    pub(crate) fn watch(&self, owner: Owner, watches: Vec<Watch>, memory: &Memory, paging: &Paging) -> bool {
        let mut inner = self.lock();
        let others =
            inner.watches.iter().filter(|(other, _)| **other != owner).flat_map(|(_, theirs)| theirs);
        let registers: Option<usize> = others.chain(&watches).map(Watch::registers).sum();
        let forced = inner.wanted.values().flatten().filter(|(_, roles)| roles.register).count();
        let fits = registers.is_some_and(|count| count + forced <= self.offer.registers);
        if !(watches.is_empty() || fits && self.offer.for_data) {
            return false;
        }
        inner.watches.insert(owner, watches);
        // What had a register before may find another place or none, as if it came now.
        drop(self.place(&mut inner, owner, memory, paging));
        true
    }

    /// What `owner` watches.
    pub(crate) fn watched_by(&self, owner: Owner) -> Vec<Watch> {
        self.lock().watches.get(&owner).cloned().unwrap_or_default()
    }

    /// Whether anybody watches that.
    pub(crate) fn is_watched(&self, watch: &Watch) -> bool {
        self.lock().watches.values().flatten().any(|other| other == watch)
    }

    /// Whether breakpoints wait for their page to be mapped.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed) != 0
    }

    /// Whether somebody waits for the guest at `gva`, and its page is not mapped.
    pub(crate) fn is_pending(&self, gva: u64) -> bool {
        self.lock().table.pending.contains(&gva)
    }

    /// Puts breakpoints into memory whose page has been mapped meanwhile.
    pub(super) fn place_pending(&self, memory: &Memory, paging: &Paging) {
        let mut inner = self.lock();
        let is_mapped = |gva: &u64| {
            let mut roles = inner.wanted.values().filter_map(|wanted| wanted.get(gva));
            roles.any(|roles| read_code(memory, &within(paging, roles), &inner.table, *gva, &mut [0]) == 1)
        };
        if inner.table.pending.iter().any(is_mapped) {
            drop(self.place(&mut inner, Owner::User, memory, paging));
        }
    }

    /// Puts everything where it belongs after what `owner` wants has changed. Returns those for which this host has no
    /// means.
    fn place(&self, inner: &mut Inner, owner: Owner, memory: &Memory, paging: &Paging) -> BTreeSet<u64> {
        let mut union: BTreeMap<u64, Roles> = BTreeMap::new();
        for (gva, roles) in inner.wanted.values().flatten() {
            union.entry(*gva).or_default().merge(roles);
        }
        let seekers = union
            .iter()
            .map(|(gva, roles)| (*gva, Seeker { roles: *roles, user: is_users(*gva, memory, paging) }))
            .collect();
        let watches: Vec<Watch> = inner.watches.values().flatten().copied().collect();
        let taken = watches.iter().filter_map(Watch::registers).sum();
        let Places { in_registers, nowhere } = self.offer.places(&seekers, &inner.handlers, taken);
        let is_lost = |(gva, roles): &(&u64, &Roles)| nowhere.contains(gva) && !roles.stops.is_none();
        inner.lost = union.iter().filter(is_lost).map(|(gva, _)| *gva).collect();
        union.retain(|gva, _| !nowhere.contains(gva));
        // A handler that the guest has mapped elsewhere. Others' addresses may be of any address space.
        let wanted = inner.wanted.get(&owner).filter(|_| matches!(owner, Owner::Vcpu(_)));
        let moved = |gva: &u64, site: &Site| {
            wanted.is_some_and(|wanted| wanted.contains_key(gva))
                && paging.translate(memory.map(), *gva).is_some_and(|gpa| gpa != site.gpa)
        };
        let keeps = |gva: &u64, site: &Site| {
            union.contains_key(gva)
                && (site.means == Means::Register) == in_registers.contains(gva)
                && !moved(gva, site)
        };
        let mut table = Table::clone(&inner.table);
        table.watches = watches;
        for (gva, site) in &table.sites {
            if !keeps(gva, site) {
                site.take_out(memory);
            }
        }
        table.sites.retain(|gva, site| keeps(gva, site));
        table.index();
        table.pending.clear();
        for (gva, roles) in union {
            if let Some(site) = table.sites.get_mut(&gva) {
                site.roles = roles;
                continue;
            }
            let paging = &within(paging, &roles);
            // Decoded before any byte of it is replaced, with the breakpoints that are there already hidden.
            let mut code = [0; LONGEST];
            let length = read_code(memory, paging, &table, gva, &mut code);
            let gpa = paging.translate(memory.map(), gva).filter(|_| length > 0);
            let Some((gpa, code)) = gpa.zip(code.get_mut(..length)) else {
                if !roles.stops.is_none() {
                    table.pending.insert(gva);
                }
                continue;
            };
            if let Some(original) = inner.copies.original(gva, code) {
                code[0] = original;
                // It is memory, or it could not have been read.
                drop(memory.write(gpa, &[original]));
            }
            if roles.is_probe() {
                inner.copies.remember(gva, code);
            }
            let in_register = in_registers.contains(&gva);
            let means = if in_register { Means::Register } else { Means::Instruction };
            let user = is_users(gva, memory, paging);
            table.insert(gva, Site::decode(gva, gpa, code, roles, user).by(means));
        }
        inner.put_all(memory, &table);
        self.pending.store(table.pending.len(), Ordering::Relaxed);
        inner.table = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel);
        nowhere
    }

    /// Forgets every breakpoint without a look at guest memory, which is about to be cleared, and what vCPUs want. What
    /// others want is placed by [`Self::place_again`].
    pub(super) fn begin_anew(&self) {
        let mut inner = self.lock();
        let Inner { mut wanted, watches, .. } = std::mem::take(&mut *inner);
        wanted.retain(|owner, _| !matches!(owner, Owner::Vcpu(_)));
        (inner.wanted, inner.watches) = (wanted, watches);
        self.pending.store(0, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Puts everything where it belongs in the memory of a guest that has begun anew; what is not mapped yet waits.
    /// False if there is nothing.
    pub(crate) fn place_again(&self, memory: &Memory, paging: &Paging) -> bool {
        let mut inner = self.lock();
        let any = inner.wanted.values().any(|wanted| !wanted.is_empty())
            || inner.watches.values().any(|watches| !watches.is_empty());
        if any {
            drop(self.place(&mut inner, Owner::User, memory, paging));
        }
        any
    }

    /// Writes guest memory for a debugger: under a breakpoint the new byte is kept for later.
    pub(crate) fn write(&self, memory: &Memory, gpa: u64, data: &[u8]) -> Result<()> {
        let mut inner = self.lock();
        let mut table = Table::clone(&inner.table);
        let touched = |site: &Site| site.is_in(gpa, data.len() as u64);
        for site in table.sites.values().filter(|site| touched(site)) {
            site.take_out(memory);
        }
        let written = memory.write(gpa, data);
        let there = table.clone();
        for (gva, site) in table.sites.iter_mut().filter(|(_, site)| touched(site)) {
            // It was memory a moment ago and stays memory.
            if let Some(again) = site.read_again(*gva, memory, &there) {
                *site = again;
            }
        }
        table.index();
        inner.put_all(memory, &table);
        inner.table = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel);
        written
    }

    /// Looks for breakpoints and instructions under them that the guest has overwritten, as kernels do that patch
    /// themselves: what is there now counts, and gets its breakpoint again, if it is still code where `paging` leads.
    /// True if there was any.
    pub(super) fn follow_patches(&self, memory: &Memory, paging: &Paging) -> bool {
        let mut inner = self.lock();
        let mut table = Table::clone(&inner.table);
        let mut found = false;
        let is_intact =
            |site: &Site| inner.taken_out.contains(&site.gpa) || site.is_intact(memory, &inner.table);
        for (gva, site) in inner.table.sites.iter().filter(|(_, site)| !is_intact(site)) {
            let is_code = site.is_code_at(*gva, memory, paging);
            let now = match site.means {
                Means::Instruction | Means::Register if is_code => {
                    site.read_again(*gva, memory, &inner.table)
                }
                Means::Instruction => Some(site.clone().by(Means::Nothing)),
                Means::Nothing if is_code => {
                    site.read_again(*gva, memory, &inner.table).map(|now| now.by(Means::Instruction))
                }
                Means::Register | Means::Nothing => None,
            };
            if let Some(now) = now {
                found = true;
                table.insert(*gva, now);
            }
        }
        if !found {
            return false;
        }
        table.index();
        inner.put_all(memory, &table);
        inner.table = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Takes out the `INT3` at `gva` if it is a copy of a breakpoint. False if it is the guest's own.
    pub(super) fn take_out_copy(&self, memory: &Memory, paging: &Paging, gva: u64) -> bool {
        let inner = self.lock();
        if inner.table.get(gva).is_some() {
            return true; // it has become a breakpoint meanwhile
        }
        let mut code = [0; LONGEST];
        let length = read_code(memory, paging, &inner.table, gva, &mut code);
        let original = code.get(..length).and_then(|code| inner.copies.original(gva, code));
        match (original, paging.translate(memory.map(), gva)) {
            (Some(original), Some(gpa)) => memory.write(gpa, &[original]).is_ok(),
            _ => false,
        }
    }

    /// What somebody who wants a stop at `gva` has set.
    pub(crate) fn wanted_by(&self, owner: Owner) -> BTreeMap<u64, Roles> {
        self.lock().wanted.get(&owner).cloned().unwrap_or_default()
    }

    /// Takes the breakpoint at `gpa`, if there is one, out of guest memory until [`Self::put_back`]. The caller sees to
    /// it that no vCPU runs that should stop there.
    pub(super) fn take_out(&self, memory: &Memory, gpa: u64) {
        let mut inner = self.lock();
        inner.taken_out.push(gpa);
        inner.table.at(gpa).for_each(|site| site.take_out(memory));
    }

    /// Puts the breakpoint at `gpa` back into guest memory.
    pub(super) fn put_back(&self, memory: &Memory, gpa: u64) {
        let mut inner = self.lock();
        if let Some(at) = inner.taken_out.iter().position(|taken| *taken == gpa) {
            inner.taken_out.swap_remove(at);
        }
        inner.table.at(gpa).for_each(|site| site.put(memory));
    }
}

impl Inner {
    /// Puts every breakpoint of `table` into guest memory but those that have been taken out.
    fn put_all(&self, memory: &Memory, table: &Table) {
        let sites = table.sites.values().filter(|site| !self.taken_out.contains(&site.gpa));
        sites.for_each(|site| site.put(memory));
    }
}

/// Puts original bytes over `bytes`, which were read from gpa `gpa` on.
pub(crate) fn hide(table: &Table, gpa: u64, bytes: &mut [u8]) {
    let end = gpa.saturating_add(bytes.len() as u64);
    for (at, original) in table.originals.range(gpa..end) {
        if let Some(byte) = usize::try_from(at - gpa).ok().and_then(|offset| bytes.get_mut(offset)) {
            // Another byte is the guest's, written since.
            if *byte == INT3 {
                *byte = *original;
            }
        }
    }
}

/// Reads guest virtual memory as the guest wrote it; returns how many bytes were mapped.
pub(crate) fn read_code(
    memory: &Memory,
    paging: &Paging,
    table: &Table,
    gva: u64,
    buffer: &mut [u8],
) -> usize {
    let mut done = 0;
    for (gpa, length) in paging.runs(memory.map(), gva, buffer.len()) {
        let Some(part) = buffer.get_mut(done..done + length) else { break };
        if memory.read(gpa, part).is_err() {
            break;
        }
        hide(table, gpa, part);
        done += length;
    }
    done
}

/// How the address of a breakpoint translates that counts in one address space only.
fn within(paging: &Paging, roles: &Roles) -> Paging {
    let tables = roles.stops.tables().filter(|_| paging.cr0 & CR0_PG != 0);
    Paging { cr3: tables.unwrap_or(paging.cr3), ..*paging }
}

#[cfg(test)]
mod tests {
    use iced_x86::Mnemonic;
    use trace_format::event::Actor;

    use super::super::stops::{Scope, Stops};
    use super::*;
    use crate::machine::WatchAccess;
    use crate::probe::returns::Return;

    const AT: u64 = 0x1000;
    /// 32-bit paging with gvas 0 and 0x40_0000 on the same page.
    const ALIASED: [u64; 2] = [AT, 0x40_0000 + AT];
    /// A handler for breakpoints.
    const HANDLER: u64 = AT + 7;

    fn offer(stop: BreakpointStop, registers: usize) -> Offer {
        Offer { stop, in_kernel: true, in_user: true, for_data: true, registers }
    }

    fn wanted(gvas: &[u64]) -> BTreeMap<u64, Roles> {
        let stops = Stops::of(Actor::User, Scope::Everywhere);
        gvas.iter().map(|gva| (*gva, Roles { stops, ..Roles::default() })).collect()
    }

    fn memory(code: &[u8]) -> Memory {
        let memory = Memory::new(1 << 20).unwrap();
        memory.write(AT, code).unwrap();
        memory
    }

    fn byte(memory: &Memory) -> u8 {
        memory.read_value(AT).unwrap()
    }

    #[test]
    fn what_the_guest_writes_over_a_breakpoint_counts() {
        let memory = memory(&[0x0f, 0x1f, 0x00]); // nop [rax]
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 3));
        breakpoints.want(Owner::User, wanted(&[AT]), &memory, &Paging::default());
        assert_eq!((byte(&memory), breakpoints.follow_patches(&memory, &Paging::default())), (INT3, false));
        memory.write(AT, &[0x0f, 0x01, 0xca]).unwrap(); // clac
        assert!(breakpoints.follow_patches(&memory, &Paging::default()));
        let site = breakpoints.table().get(AT).unwrap().clone();
        assert_eq!((byte(&memory), site.instruction.mnemonic()), (INT3, Mnemonic::Clac));
        breakpoints.want(Owner::User, wanted(&[]), &memory, &Paging::default());
        assert_eq!(byte(&memory), 0x0f);
    }

    #[test]
    fn breakpoints_of_both_kinds_at_one_address_are_two() {
        let memory = memory(&[0x90; 16]);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 2));
        let in_register = |gvas: &[u64]| {
            let wanted = wanted(gvas).into_iter();
            wanted.map(|(gva, roles)| (gva, Roles { register: true, ..roles })).collect::<BTreeMap<_, _>>()
        };
        let want = |owner, wanted| breakpoints.want_all(owner, wanted, &memory, &Paging::default());
        let means = || breakpoints.table().get(AT).map(|site| site.means);
        assert!(want(Owner::Gdb, wanted(&[AT])) && want(Owner::GdbInRegisters, in_register(&[AT])));
        assert_eq!((means(), byte(&memory)), (Some(Means::Register), 0x90));
        assert!(want(Owner::GdbInRegisters, in_register(&[])));
        assert_eq!((means(), byte(&memory)), (Some(Means::Instruction), INT3), "the other stays");
        assert!(want(Owner::GdbInRegisters, in_register(&[AT + 1, AT + 2])));
        assert!(!want(Owner::GdbInRegisters, in_register(&[AT, AT + 1, AT + 2])), "there are two registers");
        assert_eq!((means(), byte(&memory)), (Some(Means::Instruction), INT3), "and one refused costs none");
        assert_eq!(
            breakpoints.wanted_by(Owner::GdbInRegisters).into_keys().collect::<Vec<_>>(),
            [AT + 1, AT + 2]
        );
    }

    /// Where breakpoint instructions are not seen, every breakpoint has a register.
    #[test]
    fn a_breakpoint_that_must_have_a_register_takes_none_from_another() {
        let memory = memory(&[0x90; 16]);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Unseen, 1));
        let want = |owner, wanted| breakpoints.want_all(owner, wanted, &memory, &Paging::default());
        assert!(want(Owner::User, wanted(&[AT])));
        let other =
            wanted(&[AT + 1]).into_iter().map(|(gva, roles)| (gva, Roles { register: true, ..roles }));
        let other: BTreeMap<_, _> = other.collect();
        assert!(!want(Owner::GdbInRegisters, other.clone()));
        assert!(breakpoints.table().get(AT).is_some(), "the user's is still there");
        assert!(want(Owner::User, wanted(&[])) && want(Owner::GdbInRegisters, other));
    }

    #[test]
    fn what_the_guest_writes_behind_a_breakpoint_counts() {
        let memory = memory(&[0x6a, 0x00]); // push 0
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 3));
        breakpoints.want(Owner::User, wanted(&[AT]), &memory, &Paging::default());
        memory.write(AT + 1, &[0x07]).unwrap();
        assert!(!breakpoints.table().get(AT).unwrap().is_intact(&memory, &breakpoints.table()));
        assert!(breakpoints.follow_patches(&memory, &Paging::default()));
        let site = breakpoints.table().get(AT).unwrap().clone();
        assert_eq!((site.original, site.instruction.immediate8to64()), (0x6a, 7));
        assert!(site.is_intact(&memory, &breakpoints.table()));
    }

    #[test]
    fn registers_hold_what_is_on_the_users_stack_where_breakpoints_bounce() {
        let memory = memory(&[0x90; 8]);
        let syscall = Roles { syscall: true, ..Roles::default() };
        let sysret = Roles { returns: Some(Return::Sysret), ..Roles::default() };
        let iret = Roles { returns: Some(Return::Iret), ..Roles::default() };
        let all: BTreeMap<u64, Roles> =
            [(AT, sysret), (AT + 1, sysret), (AT + 2, sysret), (AT + 3, syscall), (AT + 4, iret)].into();
        for (stop, in_registers, in_memory) in
            [(BreakpointStop::Bounce, vec![AT, AT + 1, AT + 3], 1), (BreakpointStop::Error, vec![], 5)]
        {
            let breakpoints = Breakpoints::new(offer(stop, 3));
            breakpoints.note_handler(0, Some(HANDLER));
            breakpoints.want(Owner::Vcpu(0), all.clone(), &memory, &Paging::default());
            let table = breakpoints.table();
            assert_eq!(table.registers(Some(HANDLER)).collect::<Vec<_>>(), in_registers);
            let mut code = [0; 8];
            memory.read(AT, &mut code).unwrap();
            assert_eq!(code.iter().filter(|byte| **byte == INT3).count(), in_memory);
            assert!(!breakpoints.follow_patches(&memory, &Paging::default()), "nothing was patched");
            breakpoints.want(Owner::Vcpu(0), BTreeMap::new(), &memory, &Paging::default());
            memory.read(AT, &mut code).unwrap();
            assert_eq!(code, [0x90; 8]);
        }
    }

    fn place(breakpoints: &Breakpoints, memory: &Memory, gvas: &[u64]) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
        let nowhere = breakpoints.want(Owner::User, wanted(gvas), memory, &Paging::default());
        let in_memory = gvas.iter().filter(|gva| memory.read_value::<u8>(**gva).unwrap() == INT3);
        let in_registers = breakpoints.table().registers(Some(HANDLER)).collect();
        (in_registers, in_memory.copied().collect(), nowhere.into_iter().collect())
    }

    #[test]
    fn where_breakpoints_bounce_memory_is_for_a_guest_with_a_handler() {
        let memory = memory(&[0x90; 8]);
        let all = [AT, AT + 1, AT + 2, AT + 3];
        let held = all[..3].to_vec();
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Bounce, 3));
        assert_eq!(place(&breakpoints, &memory, &all), (held.clone(), vec![], vec![AT + 3]));
        assert!(breakpoints.note_handler(0, Some(HANDLER)));
        assert_eq!(place(&breakpoints, &memory, &all), (held.clone(), vec![AT + 3], vec![]));
        assert!(!breakpoints.note_handler(0, Some(HANDLER)));
        assert!(breakpoints.note_handler(0, None), "and it is gone");
        assert_eq!(place(&breakpoints, &memory, &all), (held, vec![], vec![AT + 3]));

        let breakpoints = Breakpoints::new(offer(BreakpointStop::Bounce, 0));
        assert_eq!(place(&breakpoints, &memory, &all[..1]), (vec![], vec![], vec![AT]));
        breakpoints.note_handler(0, Some(HANDLER));
        assert_eq!(place(&breakpoints, &memory, &all[..1]), (vec![], vec![AT], vec![]));
    }

    #[test]
    fn where_breakpoints_are_not_seen_memory_is_left_alone() {
        let memory = memory(&[0x90; 8]);
        let all = [AT, AT + 1, AT + 2, AT + 3];
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Unseen, 3));
        breakpoints.note_handler(0, Some(HANDLER));
        assert_eq!(place(&breakpoints, &memory, &all), (all[..3].to_vec(), vec![], vec![AT + 3]));
    }

    #[test]
    fn the_handler_that_breakpoints_bounce_off_is_none_itself() {
        let memory = memory(&[0x90; 8]);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Bounce, 0));
        breakpoints.note_handler(0, Some(HANDLER));
        assert_eq!(place(&breakpoints, &memory, &[HANDLER]), (vec![], vec![], vec![]));
        let table = breakpoints.table();
        assert!(
            table.get(HANDLER).is_some_and(|site| !site.roles.stops.is_none()),
            "the register on it is enough"
        );
        assert_eq!(
            table.registers(None).collect::<Vec<_>>(),
            [HANDLER],
            "a vCPU with another needs one more"
        );
        // Another vCPU's table has moved there.
        assert_eq!(place(&breakpoints, &memory, &[AT]).1, vec![AT]);
        assert!(breakpoints.note_handler(1, Some(AT)));
        assert!(place(&breakpoints, &memory, &[AT]).1.is_empty());
    }

    #[test]
    fn a_handler_of_another_vcpu_takes_a_register() {
        let memory = memory(&[0x90; 8]);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Bounce, 3));
        breakpoints.note_handler(0, Some(HANDLER));
        breakpoints.note_handler(1, Some(AT));
        let all = [AT, AT + 1, AT + 2, AT + 3];
        assert_eq!(place(&breakpoints, &memory, &all), (all[..3].to_vec(), vec![AT + 3], vec![]));
    }

    #[test]
    fn the_first_breakpoint_is_expected_once() {
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 3));
        assert_eq!([breakpoints.expect(), breakpoints.expect()], [true, false]);
        assert_ne!(breakpoints.generation(), 0);
    }

    #[test]
    fn two_addresses_of_one_byte_share_its_breakpoint() {
        let memory = memory(&[0x90]);
        for (gpa, entry) in [(0x2000, 0x3003_u32), (0x2004, 0x3003), (0x3004, 0x1003)] {
            memory.write_value(gpa, entry).unwrap();
        }
        let paging = Paging { cr0: crate::walk::CR0_PG, cr3: 0x2000, ..Paging::default() };
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 3));
        breakpoints.want(Owner::Vcpu(0), wanted(&ALIASED[..1]), &memory, &paging);
        breakpoints.want(Owner::Vcpu(1), wanted(&ALIASED[1..]), &memory, &paging);
        let mut code = [INT3];
        hide(&breakpoints.table(), AT, &mut code);
        assert_eq!(code, [0x90]);
        breakpoints.want(Owner::Vcpu(0), wanted(&[]), &memory, &paging);
        assert_eq!(byte(&memory), INT3, "the other is still wanted");
        breakpoints.want(Owner::Vcpu(1), wanted(&[]), &memory, &paging);
        assert_eq!(byte(&memory), 0x90);
    }

    /// Tables at 0x2000 that map nothing, and at 0x4000 that map the page at 0 where it is: 32-bit paging.
    fn two_spaces(memory: &Memory) -> [Paging; 2] {
        for (gpa, entry) in [(0x4000, 0x5003_u32), (0x5000, 0x0003), (0x5004, 0x1003)] {
            memory.write_value(gpa, entry).unwrap();
        }
        [0x2000, 0x4000].map(|cr3| Paging { cr0: CR0_PG, cr3, ..Paging::default() })
    }

    #[test]
    fn a_breakpoint_waits_for_its_page() {
        let memory = memory(&[0x90]);
        let [nothing, mapped] = two_spaces(&memory);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 4));
        assert!(breakpoints.want(Owner::Gdb, wanted(&[AT]), &memory, &nothing).is_empty());
        assert!(breakpoints.has_pending() && breakpoints.is_pending(AT));
        breakpoints.place_pending(&memory, &nothing);
        assert_eq!(byte(&memory), 0x90, "it is still not mapped");
        let generation = breakpoints.generation();
        breakpoints.place_pending(&memory, &mapped);
        assert_eq!((byte(&memory), breakpoints.has_pending()), (INT3, false));
        assert_ne!(breakpoints.generation(), generation, "vCPUs must look at the new table");
    }

    #[test]
    fn a_breakpoint_of_one_address_space_is_where_its_tables_lead() {
        let memory = memory(&[0x90]);
        let [nothing, mapped] = two_spaces(&memory);
        let stops = Stops::of(Actor::Gdb, Scope::of(mapped.cr3));
        let roles = Roles { stops, ..Roles::default() };
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 4));
        breakpoints.want(Owner::Gdb, [(AT, roles)].into(), &memory, &nothing);
        assert_eq!((byte(&memory), breakpoints.has_pending()), (INT3, false));
    }

    #[test]
    fn another_address_of_the_same_byte_is_known() {
        let memory = memory(&[0x90, 0x90]);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 4));
        breakpoints.want(Owner::User, wanted(&[AT]), &memory, &Paging::default());
        let table = breakpoints.table();
        let alias = |gpa| table.alias(ALIASED[1], gpa, &memory, &Paging::default());
        assert!(alias(AT + 1).is_none());
        assert!(alias(AT).is_some_and(|site| site.gpa == AT && site.roles == Roles::default()));
        breakpoints.take_out(&memory, AT);
        assert_eq!(byte(&memory), 0x90);
        breakpoints.put_back(&memory, AT);
        assert_eq!(byte(&memory), INT3);
    }

    fn watch(address: u64) -> Watch {
        Watch { address, len: 8, access: WatchAccess::Write }
    }

    #[test]
    fn watchpoints_take_registers_from_breakpoints_that_have_another_place() {
        let memory = memory(&[0x90; 8]);
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Bounce, 3));
        breakpoints.note_handler(0, Some(HANDLER));
        let set = |owner, watches| breakpoints.watch(owner, watches, &memory, &Paging::default());
        assert_eq!(place(&breakpoints, &memory, &[AT]).0, [AT]);
        assert!(set(Owner::Gdb, vec![watch(0x1000), watch(0x2000), watch(0x3000)]));
        assert_eq!(breakpoints.table().registers(None).count(), 0);
        assert_eq!((byte(&memory), breakpoints.table().watch_registers().count()), (INT3, 3));
        assert!(!set(Owner::User, vec![watch(0x4000)]), "there are three");
        assert_eq!(breakpoints.watched_by(Owner::User), []);
        assert!(set(Owner::Gdb, vec![]));
        assert_eq!((byte(&memory), breakpoints.table().registers(None).count()), (0x90, 1));
        let blind = Offer { for_data: false, ..offer(BreakpointStop::Direct, 4) };
        assert!(!Breakpoints::new(blind).watch(Owner::Gdb, vec![watch(0)], &memory, &Paging::default()));
    }

    #[test]
    fn a_hardware_breakpoint_is_in_a_register_or_nowhere() {
        let memory = memory(&[0x90; 8]);
        let stops = Stops::of(Actor::Gdb, Scope::Everywhere);
        let roles = Roles { stops, register: true, ..Roles::default() };
        let all: BTreeMap<u64, Roles> = (AT..AT + 5).map(|gva| (gva, roles)).collect();
        let breakpoints = Breakpoints::new(offer(BreakpointStop::Direct, 4));
        let nowhere = breakpoints.want(Owner::Gdb, all, &memory, &Paging::default());
        assert_eq!((nowhere.len(), breakpoints.table().registers(None).count()), (1, 4));
        assert_eq!(byte(&memory), 0x90, "memory is left alone");
        let set = |watches| breakpoints.watch(Owner::Gdb, watches, &memory, &Paging::default());
        assert!(!set(vec![watch(0x1000)]), "they have all registers");
    }
}
