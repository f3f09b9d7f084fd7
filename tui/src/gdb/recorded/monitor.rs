//! The commands after `monitor` that a trace can answer, as of the event under the cursor.

use trace_format::analysis::Table;
use trace_format::event::Payload;

use super::{Failure, Recorded, Request, place::Look};
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
            Request::Phys { .. } => Err(no("guest physical memory")),
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

    /// The vCPU's last walk for the page of `gva`.
    fn walk(&mut self, vcpu: u8, gva: u64) -> Result<String, Failure> {
        let mut last = None;
        self.back_through(vcpu, |number, event| match &event.payload {
            Payload::Walk(found) if found.gva >> 12 == gva >> 12 => {
                last = Some(format!("recorded as event {number}: {}", walk::text(found)));
                Look::Done
            }
            _ => Look::Further,
        })?;
        last.ok_or_else(|| {
            Failure(format!("cpu{vcpu} has no recorded walk for the page of {gva:#x} before this event"))
        })
    }
}

fn no(what: &str) -> Failure {
    Failure(format!("a recorded trace has no {what}"))
}
