//! ISA interrupt lines for controllers that somebody else plays.

/// How many lines there are.
const LINES: u8 = 16;

/// What devices did to the ISA interrupt lines since somebody looked.
///
/// Bounded however often a line changes: what counts for a controller is where the line is, and whether it has been
/// elsewhere in between, which an edge-triggered input sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Where each line is.
    asserted: u16,
    /// Where [`Self::next_change`] last said that it is.
    told: u16,
    /// Lines that went up since, which has not been told.
    rose: u16,
}

/// A change of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineChange {
    /// Which line, 0 to 15.
    pub line: u8,
    /// Where it is now.
    pub asserted: bool,
}

impl Lines {
    /// A device sets a line; those that do not exist are nobody's.
    pub fn set(&mut self, line: u8, asserted: bool) {
        let Some(bit) = 1_u16.checked_shl(line.into()) else { return };
        if !asserted {
            self.asserted &= !bit;
        } else if self.asserted & bit == 0 {
            self.asserted |= bit;
            self.rose |= bit;
        }
    }

    /// The next change to pass on, of the lowest line that has one.
    pub fn next_change(&mut self) -> Option<LineChange> {
        let line = (0..LINES).find(|line| (self.rose | self.told ^ self.asserted) & 1 << line != 0)?;
        // What was told to be up must go down before it can be told to rise.
        let bit = 1 << line;
        self.told ^= bit;
        let asserted = self.told & bit != 0;
        if asserted {
            self.rose &= !bit;
        }
        Some(LineChange { line, asserted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changes(lines: &mut Lines) -> Vec<(u8, bool)> {
        std::iter::from_fn(|| lines.next_change()).map(|change| (change.line, change.asserted)).collect()
    }

    #[test]
    fn a_pulse_is_two_changes_however_often_it_comes() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.set(4, true);
            lines.set(4, false);
        }
        assert_eq!(changes(&mut lines), [(4, true), (4, false)]);
        lines.set(4, false);
        lines.set(200, true);
        assert_eq!(changes(&mut lines), []);
    }

    #[test]
    fn a_dip_makes_an_edge() {
        let mut lines = Lines::default();
        lines.set(1, true);
        assert_eq!(changes(&mut lines), [(1, true)]);
        lines.set(1, false);
        lines.set(1, true);
        assert_eq!(changes(&mut lines), [(1, false), (1, true)]);
    }

    proptest! {
        /// Whatever devices do, the changes of a line alternate, end where the line is, have an edge if there was
        /// one, and are few.
        #[test]
        fn changes_tell_what_a_controller_must_know(
            rounds in prop::collection::vec(prop::collection::vec((0_u8..3, any::<bool>()), 0..20), 1..20)
        ) {
            let mut lines = Lines::default();
            let mut at = [false; 3];
            let mut told = [false; 3];
            for round in rounds {
                let mut rose = [false; 3];
                for (line, asserted) in round {
                    rose[usize::from(line)] |= asserted && !at[usize::from(line)];
                    at[usize::from(line)] = asserted;
                    lines.set(line, asserted);
                }
                let changes = changes(&mut lines);
                prop_assert!(changes.len() <= 3 * 3);
                let mut seen = [false; 3];
                for (line, asserted) in changes {
                    prop_assert_ne!(told[usize::from(line)], asserted);
                    told[usize::from(line)] = asserted;
                    seen[usize::from(line)] |= asserted;
                }
                prop_assert_eq!(told, at);
                prop_assert_eq!(seen, rose);
            }
        }
    }
}
