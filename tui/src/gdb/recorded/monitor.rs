//! The commands after `monitor` that a trace can answer, as of the event under the cursor.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use trace_format::Summary;
use trace_format::analysis::Table;
use trace_format::event::{Kind, Payload};

use super::memory::entries;
use super::{FAR, Failure, Recorded, Request, place::Look};
use crate::gdb::monitor::{trace, walk};

impl Recorded {
    pub(super) fn answer(&mut self, vcpu: u8, request: Request) -> Result<String, Failure> {
        let at = self.cursor;
        let reader = &mut self.reader;
        match request {
            Request::Exits => trace::table(reader, at, Table::Exits),
            Request::Traps => trace::table(reader, at, Table::Traps),
            Request::Ipis => trace::table(reader, at, Table::Interrupts),
            Request::Shootdowns => trace::table(reader, at, Table::Shootdowns),
            Request::Events(count) => trace::events(reader, at, count),
            Request::TraceAt => trace::events(reader, at, 1),
            Request::Walk(gva) => self.walk(vcpu, gva),
            Request::Phys { gpa, count } => self.phys(gpa, count),
            Request::Irqs => Err(no("state of interrupt controllers")),
            Request::Mark(_) | Request::Reset => Err(super::unchangeable()),
            Request::BreakOn(_) => Err(Failure::new(
                "a recorded trace does not stop at events: find them with 'vmscope events', and go there",
            )),
            Request::Scope { .. } | Request::Scopes => {
                Err(Failure::new("breakpoints of a recorded trace count in every address space"))
            }
            Request::StepIrqs(_) => Err(Failure::new("steps of a recorded trace are as they were recorded")),
            Request::Help(_) | Request::Why | Request::Vcpus => Err(no("such command")),
        }
    }

    /// Page-table entries in this stretch that were recorded until now, each with the event that told it last.
    fn phys(&mut self, gpa: u64, count: usize) -> Result<String, Failure> {
        let end = gpa.saturating_add(count as u64);
        let until = self.end_of_moment()?;
        let mut last = BTreeMap::new();
        let mut looked = 0;
        let wanted = |block: &Summary| block.has_kind(Kind::Walk) || block.has_kind(Kind::PageTableWrite);
        let flow = self.reader.back_through(until.saturating_add(1), wanted, |number, event| {
            for (at, value, length) in entries(event).into_iter().filter(|(at, ..)| (gpa..end).contains(at)) {
                last.entry(at).or_insert((number, value, length));
            }
            looked += 1;
            if looked == FAR { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let _ = flow.map_err(|error| trace::unreadable(&error))?;
        if last.is_empty() {
            return Err(Failure(format!(
                "the trace tells of no page-table entry from {gpa:#x} to {end:#x} before this event, and of no other \
                 physical memory"
            )));
        }
        let line = |(at, (number, value, length)): (&u64, &(u64, [u8; 8], usize))| {
            let value = u64::from_le_bytes(*value);
            format!("{at:#012x}: {value:#0width$x} as of event {number}\n", width = 2 + 2 * length)
        };
        let lines: String = last.iter().map(line).collect();
        Ok(lines + "page-table entries alone; the guest may have written them since")
    }

    /// The vCPU's last walk for the page of `gva`.
    fn walk(&mut self, vcpu: u8, gva: u64) -> Result<String, Failure> {
        let mut last = None;
        // A fault's walk comes after its trap, in the same moment.
        let until = self.end_of_moment()?;
        self.back_from(
            until,
            vcpu,
            |block| block.has_kind(Kind::Walk),
            |number, event| match &event.payload {
                Payload::Walk(found) if found.gva >> 12 == gva >> 12 => {
                    last = Some(format!("recorded as event {number}: {}", walk::text(found)));
                    Look::Done
                }
                _ => Look::Further,
            },
        )?;
        last.ok_or_else(|| {
            Failure(format!("cpu{vcpu} has no recorded walk for the page of {gva:#x} before this event"))
        })
    }
}

fn no(what: &str) -> Failure {
    Failure(format!("a recorded trace has no {what}"))
}
