//! The guest's text screen as it was at any event.
//!
//! A trace has only differences, so the screen at an event is all of them up to it. Copies kept on the way bound what has
//! to be read again.

use trace_format::screen::TextScreen;
use trace_format::{Error, Event, Kind, Payload, Reader};

/// The most copies that are kept, of about 4 KiB each.
const MOST_COPIES: usize = 512;

/// The newest screen, and copies of earlier ones.
pub struct Screens {
    newest: TextScreen,
    copies: Vec<Kept>,
    /// Number of the last event that was taken in, plus one.
    known: u64,
    /// Copies are this many events apart, or more.
    apart: u64,
}

/// The screen before an event.
struct Kept {
    before: u64,
    screen: TextScreen,
}

/// The screen after an event.
#[derive(Clone, Debug, Default)]
pub struct At {
    /// Number of the event after it.
    before: u64,
    screen: TextScreen,
}

impl Screens {
    /// Of no events yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: TextScreen::new(), copies: Vec::new(), known: 0, apart: 1 << 14 }
    }

    /// Takes event `number` in; its predecessors have been.
    pub fn add(&mut self, number: u64, event: &Event) {
        self.known = number + 1;
        let Payload::Screen(change) = &event.payload else { return };
        let last = self.copies.last().map_or(0, |copy| copy.before);
        if number >= last + self.apart {
            self.copies.push(Kept { before: number, screen: self.newest.clone() });
            if self.copies.len() > MOST_COPIES {
                let mut odd = false;
                self.copies.retain(|_| {
                    odd = !odd;
                    !odd
                });
                self.apart *= 2;
            }
        }
        self.newest.apply(change);
    }

    /// As it is after everything read so far.
    #[must_use]
    pub const fn newest(&self) -> &TextScreen {
        &self.newest
    }

    /// Makes `at` the screen after event `number`, from itself, a copy, or the newest, whatever is nearest.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn go(&self, at: &mut At, number: u64, reader: &mut Reader) -> Result<(), Error> {
        let end = number.saturating_add(1);
        if end >= self.known && at.before == self.known {
            return Ok(());
        }
        if end >= self.known {
            *at = At { before: self.known, screen: self.newest.clone() };
            return Ok(());
        }
        let copy = self.copies.partition_point(|copy| copy.before <= end).checked_sub(1);
        let copy = copy.and_then(|n| self.copies.get(n));
        let nearest = copy.map_or(0, |copy| copy.before);
        if at.before > end || at.before < nearest {
            *at =
                copy.map_or_else(At::default, |copy| At { before: copy.before, screen: copy.screen.clone() });
        }
        advance(at, end, reader)
    }
}

impl Default for Screens {
    fn default() -> Self {
        Self::new()
    }
}

impl At {
    /// The screen.
    #[must_use]
    pub const fn screen(&self) -> &TextScreen {
        &self.screen
    }

    /// As it is after event `number`, from the beginning of the trace.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn event(number: u64, reader: &mut Reader) -> Result<Self, Error> {
        let mut at = Self::default();
        advance(&mut at, number.saturating_add(1), reader)?;
        Ok(at)
    }
}

/// Takes the changes before event `end` in. Blocks without any are not read.
fn advance(at: &mut At, end: u64, reader: &mut Reader) -> Result<(), Error> {
    if at.before >= end {
        return Ok(());
    }
    let blocks: Vec<(u64, u64)> = reader
        .blocks()
        .filter(|block| block.end() > at.before && block.first_event < end && block.has_kind(Kind::Screen))
        .map(|block| (block.first_event.max(at.before), block.end().min(end)))
        .collect();
    for (start, end) in blocks {
        for found in reader.forward(start) {
            let (number, event) = found?;
            if number >= end {
                break;
            }
            if let Payload::Screen(change) = &event.payload {
                at.screen.apply(change);
            }
        }
        at.before = end;
    }
    at.before = end;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_format::event::{AddressSpace, MACHINE, Screen};
    use trace_format::{Header, Writer};

    use super::*;

    fn trace(kinds: &[bool]) -> (Vec<Event>, Reader) {
        let mut writer = Writer::new(Vec::new(), &Header { vcpus: 1, ..Header::default() }).unwrap();
        let events: Vec<Event> = kinds
            .iter()
            .zip(0_u32..)
            .map(|(&is_screen, n)| {
                let payload = if is_screen {
                    let cells = [n as u16 | 1].into_iter().collect();
                    Payload::Screen(Screen {
                        columns: 80,
                        row: (n % 25) as u8,
                        first: 3,
                        cursor: None,
                        cells,
                    })
                } else {
                    Payload::AddressSpace(AddressSpace { old: 0, new: n.into() })
                };
                Event { time: n.into(), vcpu: MACHINE, payload }
            })
            .collect();
        for (n, event) in events.iter().enumerate() {
            writer.append(event).unwrap();
            if n % 7 == 6 {
                writer.flush().unwrap();
            }
        }
        (events, Reader::from_bytes(writer.finish().unwrap()).unwrap())
    }

    fn expected(events: &[Event], number: u64) -> TextScreen {
        let mut screen = TextScreen::new();
        for event in events.iter().take(usize::try_from(number).unwrap() + 1) {
            if let Payload::Screen(change) = &event.payload {
                screen.apply(change);
            }
        }
        screen
    }

    proptest! {
        #[test]
        fn every_moment_is_reached_from_every_other(
            kinds in prop::collection::vec(any::<bool>(), 1..200),
            visits in prop::collection::vec(0_u64..220, 1..30),
            apart in 1_u64..50,
        ) {
            let (events, mut reader) = trace(&kinds);
            let mut screens = Screens { apart, ..Screens::new() };
            events.iter().zip(0..).for_each(|(event, number)| screens.add(number, event));
            let mut at = At::default();
            for number in visits {
                screens.go(&mut at, number, &mut reader).unwrap();
                prop_assert_eq!(at.screen(), &expected(&events, number));
                let from_the_beginning = At::event(number, &mut reader).unwrap();
                prop_assert_eq!(from_the_beginning.screen(), at.screen());
            }
        }
    }

    #[test]
    fn copies_are_bounded() {
        let (events, mut reader) = trace(&[true; 5000]);
        let mut screens = Screens { apart: 1, ..Screens::new() };
        for (event, number) in events.iter().zip(0..) {
            screens.add(number, event);
            assert!(screens.copies.len() <= MOST_COPIES);
        }
        assert!(screens.copies.len() > MOST_COPIES / 4);
        let mut at = At::default();
        for number in [4000, 3999, 17, 4998] {
            screens.go(&mut at, number, &mut reader).unwrap();
            assert_eq!(*at.screen(), expected(&events, number));
        }
    }
}
