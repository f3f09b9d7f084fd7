//! Guest memory, by physical and by virtual addresses.

use trace_format::event::{Access, HostMapping, Walk, WalkCause, WalkOutcome};

use super::{Control, unmapped};
use crate::error::Result;
use crate::probe::hide;
use crate::walk::{PAGE_SIZE, Space};

impl Control {
    /// Reads guest physical memory as the guest wrote it: breakpoints do not show.
    ///
    /// # Errors
    /// When not all of it is memory.
    pub fn read_memory(&self, gpa: u64, buffer: &mut [u8]) -> Result<()> {
        self.machine.memory.read(gpa, buffer)?;
        hide(&self.machine.probes.breakpoints.table(), gpa, buffer);
        Ok(())
    }

    /// The same, up to the first page that is none: how many bytes were read, at least one.
    ///
    /// # Errors
    /// As [`Self::read_memory`], if that is the first.
    pub fn read_memory_up_to(&self, gpa: u64, buffer: &mut [u8]) -> Result<usize> {
        up_to(gpa, buffer, |at, part| self.read_memory(at, part))
    }

    /// Writes guest physical memory; breakpoints stay.
    ///
    /// # Errors
    /// When not all of it is memory; what is has been written.
    pub fn write_memory(&self, gpa: u64, data: &[u8]) -> Result<()> {
        self.machine.probes.breakpoints.write(&self.machine.memory, gpa, data)
    }

    /// Reads guest virtual memory through a vCPU's page tables, whatever their permissions.
    ///
    /// # Errors
    /// When a page on the way is not mapped: the error names the first address.
    pub fn read_virtual(&self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> Result<()> {
        for (at, gpa, range) in self.ranges(vcpu, gva, buffer.len())? {
            match buffer.get_mut(range) {
                Some(part) => self.read_memory(gpa, part)?,
                None => return Err(unmapped(vcpu, at)),
            }
        }
        Ok(())
    }

    /// The same, up to the first page that cannot be read: how many bytes were, at least one.
    ///
    /// # Errors
    /// As [`Self::read_virtual`], if that is the first.
    pub fn read_virtual_up_to(&self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> Result<usize> {
        up_to(gva, buffer, |at, part| self.read_virtual(vcpu, at, part))
    }

    /// Writes guest virtual memory through a vCPU's page tables, whatever their permissions.
    ///
    /// # Errors
    /// When a page on the way is not mapped; nothing has been written then.
    pub fn write_virtual(&self, vcpu: u8, gva: u64, data: &[u8]) -> Result<()> {
        for (at, gpa, range) in self.ranges(vcpu, gva, data.len())? {
            match data.get(range) {
                Some(part) => self.write_memory(gpa, part)?,
                None => return Err(unmapped(vcpu, at)),
            }
        }
        Ok(())
    }

    /// Walks a vCPU's page tables for an access to `gva`, with the host's mapping of the result.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn walk(&self, vcpu: u8, gva: u64, access: Access) -> Result<Walk> {
        let paging = self.machine.probes.paging(&self.registers(vcpu)?.system);
        let mut walk = paging.walk(self.machine.memory.map(), gva, access, WalkCause::User);
        if let WalkOutcome::Mapped { gpa, host, .. } = &mut walk.outcome {
            *host = self.host_mapping(*gpa);
        }
        Ok(walk)
    }

    /// What a vCPU's page tables map, or those at another `cr3` as this vCPU would read them.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn space(&self, vcpu: u8, cr3: Option<u64>) -> Result<Space> {
        /// As many as 2048 tables have: enough for a kernel that maps gigabytes, two milliseconds.
        const MOST: usize = 1 << 20;
        let mut paging = self.machine.probes.paging(&self.registers(vcpu)?.system);
        paging.cr3 = cr3.unwrap_or(paging.cr3);
        Ok(paging.space(self.machine.memory.map(), MOST))
    }

    /// Where guest physical memory is on the host.
    #[must_use]
    pub fn host_mapping(&self, gpa: u64) -> Option<HostMapping> {
        let hva = self.machine.memory.host_address(gpa)?;
        let (resident, frame) = crate::pagemap::look_up(hva).unzip();
        Some(HostMapping { hva, resident, frame: frame.flatten() })
    }

    /// The stretches of guest physical memory behind a stretch of guest virtual memory: gva, gpa, and which part of
    /// the whole it is.
    fn ranges(&self, vcpu: u8, gva: u64, len: usize) -> Result<Vec<(u64, u64, std::ops::Range<usize>)>> {
        let paging = self.machine.probes.paging(&self.registers(vcpu)?.system);
        let mut ranges = Vec::new();
        let mut done = 0;
        for (gpa, length) in paging.runs(self.machine.memory.map(), gva, len) {
            ranges.push((gva.wrapping_add(done as u64), gpa, done..done + length));
            done += length;
        }
        if done < len {
            return Err(unmapped(vcpu, gva.wrapping_add(done as u64)));
        }
        Ok(ranges)
    }
}

/// Has `read` fill `buffer` from `start` on, as a whole or else page by page up to the first one that it cannot.
fn up_to(start: u64, buffer: &mut [u8], mut read: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<usize> {
    let Err(error) = read(start, buffer) else { return Ok(buffer.len()) };
    let mut done = 0;
    while done < buffer.len() {
        let at = start.wrapping_add(done as u64);
        let page = usize::try_from(PAGE_SIZE - at % PAGE_SIZE).unwrap_or(1);
        let end = buffer.len().min(done + page);
        if read(at, &mut buffer[done..end]).is_err() {
            break;
        }
        done = end;
    }
    if done == 0 { Err(error) } else { Ok(done) }
}
