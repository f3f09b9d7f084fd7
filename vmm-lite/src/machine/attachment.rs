//! The debugger that has hold of the guest.

use trace_format::event::StopReason;

/// A debugger that is attached. While it is, only it lets the guest go on, and the guest's end waits for it.
#[derive(Debug)]
pub(super) struct Attachment {
    /// What the machine did when it attached.
    pub(super) ran: bool,
    /// The end to which the guest has come.
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    why: StopReason,
    /// The debugger knows.
    told: bool,
}

/// What has to happen before an attached guest may go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// The debugger has to be told that the guest has come to this end.
    Tell(StopReason),
    /// The run has to end: the debugger knew and lets go.
    End(StopReason),
}

impl Attachment {
    pub(super) fn new(ran: bool) -> Self {
        Self { ran, end: None }
    }

    /// Keeps the guest's end; the first one counts.
    pub(super) fn hold(&mut self, why: StopReason) {
        self.end.get_or_insert(End { why, told: false });
    }

    /// The guest has begun anew, and its end has not come.
    pub(super) fn forget_end(&mut self) {
        self.end = None;
    }

    /// The end of which the debugger does not know yet; it does from now on.
    pub(super) fn tell(&mut self) -> Option<StopReason> {
        let end = self.end.as_mut().filter(|end| !end.told)?;
        end.told = true;
        Some(end.why.clone())
    }

    /// What is due now that the debugger wants to go on.
    pub(super) fn due(&mut self) -> Due {
        if let Some(why) = self.tell() {
            return Due::Tell(why);
        }
        self.end.as_ref().map_or(Due::Nothing, |end| Due::End(end.why.clone()))
    }

    /// The end that was kept.
    pub(super) fn into_end(self) -> Option<StopReason> {
        self.end.map(|end| end.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_and_then_due() {
        let mut attachment = Attachment::new(true);
        assert_eq!((attachment.due(), attachment.tell()), (Due::Nothing, None));
        attachment.hold(StopReason::TripleFault);
        attachment.hold(StopReason::PowerOff);
        assert_eq!(attachment.due(), Due::Tell(StopReason::TripleFault), "the first counts");
        assert_eq!(attachment.tell(), None);
        assert_eq!(attachment.due(), Due::End(StopReason::TripleFault));
        assert_eq!(attachment.into_end(), Some(StopReason::TripleFault));
    }
}
