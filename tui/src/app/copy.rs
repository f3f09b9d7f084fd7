//! What can be copied to the terminal's clipboard.

use std::str::FromStr;

use trace_format::event::Payload;

use super::App;
use super::action::Command;

/// Something to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The selected event, as `vmscope events` prints it.
    Event,
    /// The filter.
    Filter,
    /// The address that the selected event is about: of a page fault the gva, of an access the gpa, otherwise the
    /// instruction's gva.
    Address,
}

impl Copied {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Event, Self::Filter, Self::Address];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Filter => "filter",
            Self::Address => "address",
        }
    }
}

impl FromStr for Copied {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|copied| copied.name() == text.trim());
        found.ok_or_else(|| format!("`{}` cannot be copied: write event, filter or address", text.trim()))
    }
}

impl App {
    pub(super) fn copy(&mut self, copied: Copied) -> Option<Command> {
        match self.text_of(copied) {
            Ok(text) => {
                self.tell(format!("copied: {text}"));
                Some(Command::Copy(text))
            }
            Err(why) => {
                self.tell(why);
                None
            }
        }
    }

    fn text_of(&self, copied: Copied) -> Result<String, &'static str> {
        let event = self.selected.as_ref().ok_or("there is no event to copy");
        match copied {
            Copied::Event => {
                let event = event?;
                let (kind, description) = (event.payload.kind().label(), event.describe(self.header()));
                Ok(format!(
                    "#{} {} cpu{} {kind} {description}",
                    self.cursor,
                    crate::ui::text::timestamp(event.time),
                    event.vcpu
                ))
            }
            Copied::Filter if self.filter().is_empty() => Err("there is no filter to copy"),
            Copied::Filter => Ok(self.filter().to_owned()),
            Copied::Address => {
                let address = address(&event?.payload).ok_or("this event is about no address")?;
                Ok(format!("{address:#x}"))
            }
        }
    }
}

/// The address that an event is about.
fn address(payload: &Payload) -> Option<u64> {
    use trace_format::event::{Debugger, ExitReason};
    Some(match payload {
        Payload::Exit(exit) => match exit.reason {
            ExitReason::MmioRead { gpa, .. }
            | ExitReason::MmioWrite { gpa, .. }
            | ExitReason::MemoryFault { gpa, .. } => gpa,
            _ => exit.rip,
        },
        Payload::Trap(trap) => trap.cr2.unwrap_or(trap.rip),
        Payload::TrapReturn(back) => back.rip,
        Payload::Walk(walk) => walk.gva,
        Payload::PageTableWrite(write) => write.gva,
        Payload::AddressSpace(switch) => switch.new,
        Payload::Reclaim(reclaim) => reclaim.gpa,
        Payload::Refault(refault) => refault.gpa,
        Payload::Fixup(fixup) => fixup.rip,
        Payload::Debugger(
            Debugger::BreakpointHit { address, .. } | Debugger::WatchpointHit { address, .. },
        ) => *address,
        Payload::Debugger(Debugger::Stepped { to, .. }) => *to,
        Payload::Registers(registers) => registers.rip,
        _ => return None,
    })
}
