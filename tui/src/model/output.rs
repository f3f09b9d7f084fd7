//! Where the guest writes: to a serial console, to its text screen, or to both.

use trace_format::event::{Event, Payload};
use trace_format::screen::character;

/// Something that shows the guest's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// A terminal at the serial port, which shows the debug port's output too.
    Serial,
    /// The VGA text screen.
    Screen,
}

impl Display {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Screen => "screen",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Serial => Self::Screen,
            Self::Screen => Self::Serial,
        }
    }
}

/// How long the display in use must have been quiet before the other one is preferred, ns: a guest that writes to both
/// must not make the view flicker.
const QUIET_NS: u64 = 1_000_000_000;

/// Which displays the guest has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// There have been changes of the text screen.
    pub screen: bool,
    /// The one to show, and when it was last written to.
    latest: Option<(Display, u64)>,
}

impl Used {
    /// Takes the next event.
    pub fn add(&mut self, event: &Event) {
        let display = match &event.payload {
            Payload::Console(_) => Display::Serial,
            Payload::Screen(change) => {
                self.screen = true;
                // A kernel that clears the screen before it uses another console shows nothing there.
                if change.cells.iter().all(|&cell| character(cell) == ' ') {
                    return;
                }
                Display::Screen
            }
            _ => return,
        };
        match &mut self.latest {
            Some((latest, at)) if *latest == display => *at = event.time,
            Some((_, at)) if event.time.saturating_sub(*at) < QUIET_NS => {}
            latest => *latest = Some((display, event.time)),
        }
    }

    /// The one that the guest used last.
    #[must_use]
    pub fn latest(&self) -> Display {
        self.latest.map_or(Display::Serial, |(display, _)| display)
    }
}

#[cfg(test)]
mod tests {
    use arrayvec::ArrayVec;
    use trace_format::event::{MACHINE, Output, Screen};

    use super::*;

    fn at(used: &mut Used, ms: u64, payload: Payload) {
        used.add(&Event { time: ms * 1_000_000, vcpu: MACHINE, payload });
    }

    fn serial() -> Payload {
        Payload::Console(Output { port: 0x3f8, bytes: ArrayVec::new() })
    }

    fn screen(cell: u16) -> Payload {
        let cells = [cell].into_iter().collect();
        Payload::Screen(Screen { columns: 80, row: 0, first: 0, cursor: None, cells })
    }

    #[test]
    fn the_latest_is_shown_but_does_not_flicker() {
        let mut used = Used::default();
        at(&mut used, 0, screen(0x0720));
        assert_eq!((used.screen, used.latest()), (true, Display::Serial), "a cleared screen shows nothing");
        at(&mut used, 10, screen(0x0741));
        assert_eq!(used.latest(), Display::Screen);
        at(&mut used, 500, serial());
        assert_eq!(used.latest(), Display::Screen);
        at(&mut used, 1100, serial());
        assert_eq!(used.latest(), Display::Serial);
        at(&mut used, 1101, screen(0x0742));
        assert_eq!(used.latest(), Display::Serial);
    }
}
