//! The commands after `monitor`, carried out on a running guest.

use trace_format::analysis::Table;
use trace_format::event::Access;

use super::{BY, Live, irqs, is_breakpoint};
use crate::gdb::debuggee::{Failure, Point};
use crate::gdb::monitor::{Change, Request, trace, walk};

/// Bytes on a line.
const LINE: usize = 16;
/// So many addresses may have breakpoints that count in one address space.
const MOST_SCOPES: usize = 4096;
/// CR4.SMAP.
const SMAP: u64 = 1 << 21;

impl Live {
    pub(super) fn answer(&mut self, vcpu: u8, request: Request) -> Result<String, Failure> {
        match request {
            Request::Exits => self.table(Table::Exits),
            Request::Traps => self.table(Table::Traps),
            Request::Ipis => self.table(Table::Interrupts),
            Request::Shootdowns => self.table(Table::Shootdowns),
            Request::Events(count) => {
                let (reader, last) = self.recording.read(&self.control)?;
                trace::events(reader, last, count)
            }
            Request::TraceAt => {
                let (reader, last) = self.recording.read(&self.control)?;
                trace::events(reader, last, 1)
            }
            Request::Mark(text) => {
                self.recording.read(&self.control)?;
                self.control.mark(&text);
                Ok("marked".to_owned())
            }
            Request::Walk(gva) => self.walk(vcpu, gva),
            Request::Phys { gpa, count } => self.dump(gpa, count),
            Request::Irqs => self.irqs(),
            Request::BreakOn(change) => self.break_on(change),
            Request::Scope { gva, on } => self.scope(vcpu, gva, on),
            Request::Scopes => Ok(self.scopes()),
            Request::StepIrqs(change) => {
                match change {
                    Change::Show => {}
                    Change::Off => self.step_interrupts = false,
                    Change::On(()) => self.step_interrupts = true,
                }
                let takes = if self.step_interrupts { "take" } else { "do not take" };
                Ok(format!("steps {takes} interrupts that are due"))
            }
            Request::Reset => {
                self.control.reset(BY)?;
                // It has not come to its end any more.
                self.look_while_idle();
                self.untold = None;
                Ok("the guest begins anew; what GDB remembers is old: 'maintenance flush register-cache' and \
                    'maintenance flush dcache'"
                    .to_owned())
            }
            // The front end's own.
            Request::Help(_) | Request::Why | Request::Vcpus => Err(Failure::new("there is no such command")),
        }
    }

    fn table(&mut self, table: Table) -> Result<String, Failure> {
        let (reader, last) = self.recording.read(&self.control)?;
        trace::table(reader, last, table)
    }

    fn walk(&self, vcpu: u8, gva: u64) -> Result<String, Failure> {
        let system = self.control.registers(vcpu)?.system;
        let user = system.cs.selector & 3 == 3;
        // A debugger reads where SMAP stops the kernel.
        let smap_exempt = !user && system.cr4 & SMAP != 0;
        let access = Access { user, smap_exempt, ..Access::default() };
        Ok(walk::text(&self.control.walk(vcpu, gva, access)?))
    }

    /// Lines up to the first that is not memory.
    fn dump(&self, gpa: u64, count: usize) -> Result<String, Failure> {
        let mut text = String::new();
        for start in (0..count).step_by(LINE) {
            let mut bytes = vec![0; LINE.min(count - start)];
            let at = gpa.checked_add(start as u64);
            let read = at.map(|at| self.control.read_memory(at, &mut bytes));
            match (at, read) {
                (Some(at), Some(Ok(()))) => text.push_str(&line(at, &bytes)),
                (_, Some(Err(error))) if text.is_empty() => return Err(error.into()),
                _ => {
                    text.push_str("there is no memory behind this\n");
                    break;
                }
            }
        }
        Ok(text)
    }

    fn irqs(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for vcpu in (0_u8..).take(self.control.activities().len()) {
            text.push_str(&irqs::apic(vcpu, &self.control.apic(vcpu)?));
        }
        Ok(text + &irqs::controllers(&self.control.controllers()?))
    }

    fn break_on(&mut self, change: Change<trace_format::filter::Filter>) -> Result<String, Failure> {
        match change {
            Change::Show => {}
            Change::Off => self.waits.set_filter(&self.control, None)?,
            Change::On(filter) => self.waits.set_filter(&self.control, Some(filter))?,
        }
        Ok(match self.waits.filter() {
            Some(filter) => format!("stops at events with {filter}"),
            None => "stops at no events".to_owned(),
        })
    }

    fn scope(&mut self, vcpu: u8, gva: u64, on: bool) -> Result<String, Failure> {
        let cr3 = self.control.registers(vcpu)?.system.cr3;
        if on && self.scopes.len() >= MOST_SCOPES && !self.scopes.contains_key(&gva) {
            return Err(Failure(format!("there are {MOST_SCOPES} such addresses already")));
        }
        let before = if on { self.scopes.insert(gva, cr3) } else { self.scopes.remove(&gva) };
        // GDB takes its breakpoints away at stops, unless it is told to leave them.
        let here: Vec<Point> =
            self.points.iter().copied().filter(|point| is_breakpoint(point, gva)).collect();
        for point in here {
            self.control.insert(BY, vcpu, &self.engine_point(point)?)?;
        }
        Ok(match (on, before) {
            (true, _) => format!("a breakpoint at {gva:#x} counts only with cr3 {cr3:#x}, that of cpu{vcpu}"),
            (false, Some(_)) => format!("a breakpoint at {gva:#x} counts in every address space"),
            (false, None) => format!("a breakpoint at {gva:#x} counted in every address space already"),
        })
    }

    fn scopes(&self) -> String {
        if self.scopes.is_empty() {
            return "every breakpoint counts in every address space".to_owned();
        }
        let line = |(gva, cr3): (&u64, &u64)| match self.control.symbolize(*gva) {
            Some(symbol) => format!("{gva:#x} {symbol}: only with cr3 {cr3:#x}\n"),
            None => format!("{gva:#x}: only with cr3 {cr3:#x}\n"),
        };
        self.scopes.iter().map(line).collect()
    }
}

/// A line of a dump: address, bytes, and the characters that they are.
fn line(at: u64, bytes: &[u8]) -> String {
    let mut hex = String::new();
    for (n, byte) in bytes.iter().enumerate() {
        let gap = if n == LINE / 2 { "  " } else { " " };
        hex.push_str(&format!("{gap}{byte:02x}"));
    }
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    let characters: String = bytes.iter().map(shown).collect();
    format!("{at:#012x} {hex:<50} {characters}\n")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn dumps_have_columns_and_nothing_that_a_terminal_obeys() {
        assert_eq!(
            line(0x1000, b"\x1b[31mred\x00\xff 0123"),
            "0x0000001000  1b 5b 33 31 6d 72 65 64  00 ff 20 30 31 32 33     .[31mred.. 0123\n"
        );
        assert!(line(0, &[0x41]).ends_with(" A\n"));
    }
}
