//! The breakpoints that are in guest memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iced_x86::{Decoder, DecoderOptions, Instruction};

use super::idt::VectorSet;
use super::returns::Return;
use crate::error::Result;
use crate::memory::Memory;
use crate::walk::Paging;

const INT3: u8 = 0xcc;

/// Why there is a breakpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// It is the first instruction of the handler of these vectors.
    pub(crate) vectors: VectorSet,
    /// It is where `SYSCALL` goes.
    pub(crate) syscall: bool,
    /// It is the page-fault handler, and `SYSCALL` needs repairing there.
    pub(crate) fixup: bool,
    /// A handler returns here.
    pub(crate) returns: Option<Return>,
    /// Somebody wants the guest to stop here.
    pub(crate) stop: bool,
}

impl Roles {
    fn merge(&mut self, other: &Self) {
        self.vectors = self.vectors.union(other.vectors);
        self.syscall |= other.syscall;
        self.fixup |= other.fixup;
        self.returns = self.returns.or(other.returns);
        self.stop |= other.stop;
    }
}

/// One breakpoint.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Where it is in guest physical memory.
    pub(crate) gpa: u64,
    /// The byte that it replaces.
    pub(crate) original: u8,
    /// The instruction that it replaces.
    pub(crate) instruction: Instruction,
    pub(crate) roles: Roles,
}

/// All breakpoints by gva; a snapshot that vCPU threads look at without a lock.
pub(crate) type Table = BTreeMap<u64, Site>;

/// Who wants breakpoints: each vCPU for its own handlers, and `Control` for its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Vcpu(u8),
    Control,
}

/// The breakpoints of a machine.
#[derive(Debug, Default)]
pub(crate) struct Breakpoints {
    inner: Mutex<Inner>,
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    wanted: BTreeMap<Owner, BTreeMap<u64, Roles>>,
    table: Arc<Table>,
}

impl Breakpoints {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the table does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The present table.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.lock().table)
    }

    /// Replaces what `owner` wants, and puts guest memory in agreement. `paging` translates addresses that are new.
    /// Addresses that are not mapped get no breakpoint.
    pub(crate) fn want(&self, owner: Owner, wanted: BTreeMap<u64, Roles>, memory: &Memory, paging: &Paging) {
        let mut inner = self.lock();
        inner.wanted.insert(owner, wanted);
        let mut union: BTreeMap<u64, Roles> = BTreeMap::new();
        for (gva, roles) in inner.wanted.values().flatten() {
            union.entry(*gva).or_default().merge(roles);
        }
        let mut table = Table::clone(&inner.table);
        for (gva, site) in &table {
            if !union.contains_key(gva) {
                remove(memory, site);
            }
        }
        table.retain(|gva, _| union.contains_key(gva));
        for (gva, roles) in union {
            if let Some(site) = table.get_mut(&gva) {
                site.roles = roles;
                insert(memory, site);
                continue;
            }
            // Decoded before any byte of it is replaced, with the breakpoints that are there already hidden.
            let Some((gpa, instruction)) = decode(memory, paging, &table, gva) else { continue };
            let Ok(original) = memory.read_value(gpa) else { continue };
            let site = Site { gpa, original, instruction, roles };
            table.insert(gva, site);
        }
        for site in table.values() {
            insert(memory, site);
        }
        inner.table = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Writes guest memory for a debugger: under a breakpoint the new byte is kept for later.
    pub(crate) fn write(&self, memory: &Memory, gpa: u64, data: &[u8]) -> Result<()> {
        let mut inner = self.lock();
        let mut table = Table::clone(&inner.table);
        for site in table.values() {
            remove(memory, site);
        }
        let written = memory.write(gpa, data);
        for site in table.values_mut() {
            if let Ok(original) = memory.read_value(site.gpa) {
                site.original = original;
            }
            site.instruction = redecode(memory, site);
        }
        for site in table.values() {
            insert(memory, site);
        }
        inner.table = Arc::new(table);
        self.generation.fetch_add(1, Ordering::AcqRel);
        written
    }

    /// What somebody who wants a stop at `gva` has set.
    pub(crate) fn wanted_by(&self, owner: Owner) -> BTreeMap<u64, Roles> {
        self.lock().wanted.get(&owner).cloned().unwrap_or_default()
    }

    /// Takes the breakpoint at `gva` out of guest memory, runs `inside`, and puts it back. The caller sees to it that
    /// no vCPU runs that should stop there.
    pub(crate) fn without<T>(&self, memory: &Memory, gva: u64, inside: impl FnOnce() -> T) -> T {
        let site = self.lock().table.get(&gva).cloned();
        if let Some(site) = &site {
            remove(memory, site);
        }
        let result = inside();
        if self.lock().table.contains_key(&gva)
            && let Some(site) = &site
        {
            insert(memory, site);
        }
        result
    }
}

/// Puts original bytes over `bytes`, which were read from gpa `gpa` on.
pub(crate) fn hide(table: &Table, gpa: u64, bytes: &mut [u8]) {
    for site in table.values() {
        let offset = site.gpa.wrapping_sub(gpa);
        if let Some(byte) = usize::try_from(offset).ok().and_then(|offset| bytes.get_mut(offset)) {
            *byte = site.original;
        }
    }
}

/// Reads guest virtual memory as the guest wrote it; returns how many bytes were mapped.
pub(super) fn read_code(
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

fn decode(memory: &Memory, paging: &Paging, table: &Table, gva: u64) -> Option<(u64, Instruction)> {
    let gpa = paging.translate(memory.map(), gva)?;
    let mut code = [0; 15];
    let length = read_code(memory, paging, table, gva, &mut code);
    Some((gpa, Decoder::with_ip(64, code.get(..length)?, gva, DecoderOptions::NONE).decode()))
}

/// The instruction at a site whose memory has changed. One that goes on in another page is cut off and
/// decodes as invalid: then it is stepped instead of carried out.
fn redecode(memory: &Memory, site: &Site) -> Instruction {
    let mut code = [0; 15];
    let in_page = (4096 - site.gpa % 4096).min(15) as usize;
    let length = if memory.read(site.gpa, &mut code[..in_page]).is_ok() { in_page } else { 0 };
    Decoder::with_ip(64, &code[..length], site.instruction.ip(), DecoderOptions::NONE).decode()
}

/// A byte that the guest has written itself since is the guest's: it is neither replaced nor restored.
fn insert(memory: &Memory, site: &Site) {
    if memory.read_value(site.gpa).is_ok_and(|byte: u8| byte == site.original) {
        // It was memory a moment ago and stays memory.
        drop(memory.write_value(site.gpa, INT3));
    }
}

fn remove(memory: &Memory, site: &Site) {
    if memory.read_value(site.gpa).is_ok_and(|byte: u8| byte == INT3) {
        drop(memory.write_value(site.gpa, site.original));
    }
}
