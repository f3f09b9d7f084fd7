//! The breakpoints that are in guest memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copies::Copies;
use super::place::{Offer, Places, REGISTERS};
use super::site::{INT3, LONGEST, Means, Roles, Site, is_users};
use crate::calibration::BreakpointStop;
use crate::error::Result;
use crate::memory::Memory;
use crate::walk::Paging;

/// All breakpoints by gva; a snapshot that vCPU threads look at without a lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    sites: BTreeMap<u64, Site>,
    /// The bytes under the breakpoints by gpa. Several sites can be at one, under different gvas.
    originals: BTreeMap<u64, u8>,
}

impl Table {
    pub(super) fn get(&self, gva: u64) -> Option<&Site> {
        self.sites.get(&gva)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Whether there is one that user code could come to.
    pub(super) fn has_user_sites(&self) -> bool {
        self.sites.values().any(|site| site.user)
    }

    /// The sites that breakpoint registers hold, gva, on a vCPU whose breakpoints bounce to `handler`, which has one
    /// already.
    pub(super) fn registers(&self, handler: Option<u64>) -> impl Iterator<Item = u64> {
        let held = self.sites.iter().filter(|(_, site)| site.means == Means::Register).map(|(gva, _)| *gva);
        held.filter(move |gva| Some(*gva) != handler).take(REGISTERS)
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

/// Who wants breakpoints: each vCPU for its own handlers, and `Control` for its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Vcpu(u8),
    Control,
}

/// The breakpoints of a machine.
#[derive(Debug)]
pub(crate) struct Breakpoints {
    inner: Mutex<Inner>,
    generation: AtomicU64,
    offer: Offer,
}

#[derive(Debug, Default)]
struct Inner {
    wanted: BTreeMap<Owner, BTreeMap<u64, Roles>>,
    table: Arc<Table>,
    copies: Copies,
    /// The handler for breakpoints that each vCPU has, gva.
    handlers: BTreeMap<u8, u64>,
    /// Breakpoints that are not in guest memory while vCPUs step over them, gva: one a vCPU at most.
    taken_out: Vec<u64>,
}

impl Breakpoints {
    /// None yet.
    pub(super) fn new(offer: Offer) -> Self {
        Self { inner: Mutex::default(), generation: AtomicU64::new(0), offer }
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
    /// Addresses that are not mapped get no breakpoint. Returns those for which this host has no means.
    pub(crate) fn want(
        &self,
        owner: Owner,
        wanted: BTreeMap<u64, Roles>,
        memory: &Memory,
        paging: &Paging,
    ) -> BTreeSet<u64> {
        let mut inner = self.lock();
        inner.wanted.insert(owner, wanted);
        let mut union: BTreeMap<u64, Roles> = BTreeMap::new();
        for (gva, roles) in inner.wanted.values().flatten() {
            union.entry(*gva).or_default().merge(roles);
        }
        let Places { in_registers, nowhere } = self.offer.places(&union, &inner.handlers);
        union.retain(|gva, _| !nowhere.contains(gva));
        // A handler that the guest has mapped elsewhere. Users' addresses may be of any address space.
        let wanted = inner.wanted.get(&owner).filter(|_| owner != Owner::Control);
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
        for (gva, site) in &table.sites {
            if !keeps(gva, site) {
                site.take_out(memory);
            }
        }
        table.sites.retain(|gva, site| keeps(gva, site));
        table.index();
        for (gva, roles) in union {
            if let Some(site) = table.sites.get_mut(&gva) {
                site.roles = roles;
                continue;
            }
            // Decoded before any byte of it is replaced, with the breakpoints that are there already hidden.
            let Some(gpa) = paging.translate(memory.map(), gva) else { continue };
            let mut code = [0; LONGEST];
            let length = read_code(memory, paging, &table, gva, &mut code);
            if let Some(code) = code.get_mut(..length).filter(|code| !code.is_empty()) {
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
        }
        inner.put_all(memory, &table);
        inner.table = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel);
        nowhere
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
            |gva, site: &Site| inner.taken_out.contains(gva) || site.is_intact(memory, &inner.table);
        for (gva, site) in inner.table.sites.iter().filter(|(gva, site)| !is_intact(gva, site)) {
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

    /// Takes the breakpoint at `gva`, if there is one, out of guest memory until [`Self::put_back`]. The caller sees to
    /// it that no vCPU runs that should stop there.
    pub(super) fn take_out(&self, memory: &Memory, gva: u64) {
        let mut inner = self.lock();
        inner.taken_out.push(gva);
        if let Some(site) = inner.table.get(gva) {
            site.take_out(memory);
        }
    }

    /// Puts the breakpoint at `gva` back into guest memory.
    pub(super) fn put_back(&self, memory: &Memory, gva: u64) {
        let mut inner = self.lock();
        if let Some(at) = inner.taken_out.iter().position(|taken| *taken == gva) {
            inner.taken_out.swap_remove(at);
        }
        if let Some(site) = inner.table.get(gva) {
            site.put(memory);
        }
    }
}

impl Inner {
    /// Puts every breakpoint of `table` into guest memory but those that have been taken out.
    fn put_all(&self, memory: &Memory, table: &Table) {
        let sites = table.sites.iter().filter(|(gva, _)| !self.taken_out.contains(gva));
        sites.for_each(|(_, site)| site.put(memory));
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

#[cfg(test)]
mod tests {
    use iced_x86::Mnemonic;

    use super::*;
    use crate::probe::returns::Return;

    const AT: u64 = 0x1000;
    /// 32-bit paging with gvas 0 and 0x40_0000 on the same page.
    const ALIASED: [u64; 2] = [AT, 0x40_0000 + AT];
    /// A handler for breakpoints.
    const HANDLER: u64 = AT + 7;

    fn wanted(gvas: &[u64]) -> BTreeMap<u64, Roles> {
        gvas.iter().map(|gva| (*gva, Roles { stop: true, ..Roles::default() })).collect()
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
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Direct, has_registers: true });
        breakpoints.want(Owner::Control, wanted(&[AT]), &memory, &Paging::default());
        assert_eq!((byte(&memory), breakpoints.follow_patches(&memory, &Paging::default())), (INT3, false));
        memory.write(AT, &[0x0f, 0x01, 0xca]).unwrap(); // clac
        assert!(breakpoints.follow_patches(&memory, &Paging::default()));
        let site = breakpoints.table().get(AT).unwrap().clone();
        assert_eq!((byte(&memory), site.instruction.mnemonic()), (INT3, Mnemonic::Clac));
        breakpoints.want(Owner::Control, wanted(&[]), &memory, &Paging::default());
        assert_eq!(byte(&memory), 0x0f);
    }

    #[test]
    fn what_the_guest_writes_behind_a_breakpoint_counts() {
        let memory = memory(&[0x6a, 0x00]); // push 0
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Direct, has_registers: true });
        breakpoints.want(Owner::Control, wanted(&[AT]), &memory, &Paging::default());
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
            let breakpoints = Breakpoints::new(Offer { stop, has_registers: true });
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
        let nowhere = breakpoints.want(Owner::Control, wanted(gvas), memory, &Paging::default());
        let in_memory = gvas.iter().filter(|gva| memory.read_value::<u8>(**gva).unwrap() == INT3);
        let in_registers = breakpoints.table().registers(Some(HANDLER)).collect();
        (in_registers, in_memory.copied().collect(), nowhere.into_iter().collect())
    }

    #[test]
    fn where_breakpoints_bounce_memory_is_for_a_guest_with_a_handler() {
        let memory = memory(&[0x90; 8]);
        let all = [AT, AT + 1, AT + 2, AT + 3];
        let held = all[..3].to_vec();
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Bounce, has_registers: true });
        assert_eq!(place(&breakpoints, &memory, &all), (held.clone(), vec![], vec![AT + 3]));
        assert!(breakpoints.note_handler(0, Some(HANDLER)));
        assert_eq!(place(&breakpoints, &memory, &all), (held.clone(), vec![AT + 3], vec![]));
        assert!(!breakpoints.note_handler(0, Some(HANDLER)));
        assert!(breakpoints.note_handler(0, None), "and it is gone");
        assert_eq!(place(&breakpoints, &memory, &all), (held, vec![], vec![AT + 3]));

        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Bounce, has_registers: false });
        assert_eq!(place(&breakpoints, &memory, &all[..1]), (vec![], vec![], vec![AT]));
        breakpoints.note_handler(0, Some(HANDLER));
        assert_eq!(place(&breakpoints, &memory, &all[..1]), (vec![], vec![AT], vec![]));
    }

    #[test]
    fn where_breakpoints_are_not_seen_memory_is_left_alone() {
        let memory = memory(&[0x90; 8]);
        let all = [AT, AT + 1, AT + 2, AT + 3];
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Unseen, has_registers: true });
        breakpoints.note_handler(0, Some(HANDLER));
        assert_eq!(place(&breakpoints, &memory, &all), (all[..3].to_vec(), vec![], vec![AT + 3]));
    }

    #[test]
    fn the_handler_that_breakpoints_bounce_off_is_none_itself() {
        let memory = memory(&[0x90; 8]);
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Bounce, has_registers: false });
        breakpoints.note_handler(0, Some(HANDLER));
        assert_eq!(place(&breakpoints, &memory, &[HANDLER]), (vec![], vec![], vec![]));
        let table = breakpoints.table();
        assert!(table.get(HANDLER).is_some_and(|site| site.roles.stop), "the register on it is enough");
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
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Bounce, has_registers: true });
        breakpoints.note_handler(0, Some(HANDLER));
        breakpoints.note_handler(1, Some(AT));
        let all = [AT, AT + 1, AT + 2, AT + 3];
        assert_eq!(place(&breakpoints, &memory, &all), (all[..3].to_vec(), vec![AT + 3], vec![]));
    }

    #[test]
    fn the_first_breakpoint_is_expected_once() {
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Direct, has_registers: true });
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
        let breakpoints = Breakpoints::new(Offer { stop: BreakpointStop::Direct, has_registers: true });
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
}
