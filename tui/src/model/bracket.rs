//! Shootdowns and other conversations by IPIs as the timeline has them: from the ICR write to the last EOI.

use trace_format::analysis::Shootdown;

use super::strip::View;

/// The most that a view has, of more the slowest: more than a screen can show.
pub const MOST_BRACKETS: usize = 256;

/// A conversation in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// The number of the ICR write's event.
    pub event: u64,
    /// When that was, ns.
    pub time: u64,
    /// From it to the last EOI, ns.
    pub stall_ns: u64,
    /// The vector.
    pub vector: u8,
    /// The vCPU that waited.
    pub initiator: u8,
    /// The one that it waited for last.
    pub slowest: u8,
    /// The first column it covers.
    pub from: u16,
    /// The last one.
    pub to: u16,
    /// Its ICR write is in view.
    pub begins: bool,
    /// Its last EOI is.
    pub ends: bool,
}

impl Bracket {
    /// If it is over and reaches into the view.
    fn of(shootdown: &Shootdown, view: View, columns: u16) -> Option<Self> {
        let stall_ns = shootdown.stall_ns?;
        let end = shootdown.time.saturating_add(stall_ns);
        let (from, to) = view.columns(shootdown.time, end, columns)?;
        Some(Self {
            event: shootdown.event,
            time: shootdown.time,
            stall_ns,
            vector: shootdown.vector,
            initiator: shootdown.initiator,
            slowest: shootdown.slowest()?.vcpu,
            from,
            to,
            begins: shootdown.time >= view.start,
            ends: end < view.end(),
        })
    }

    /// Whether an IPI that `sender` sent at `sent`, ns, belongs to it.
    #[must_use]
    pub fn has(&self, sender: u8, vector: u8, sent: u64) -> bool {
        let end = self.time.saturating_add(self.stall_ns);
        self.initiator == sender && self.vector == vector && (self.time..=end).contains(&sent)
    }
}

/// Those of `shootdowns` that reach into the view, and `others` of it.
pub(super) fn brackets<'a>(
    shootdowns: impl IntoIterator<Item = &'a Shootdown>,
    view: View,
    columns: u16,
    others: Vec<Bracket>,
) -> Vec<Bracket> {
    let mut all = others;
    all.extend(shootdowns.into_iter().filter_map(|shootdown| Bracket::of(shootdown, view, columns)));
    all.sort_by_key(|bracket| (bracket.stall_ns, bracket.event));
    all.dedup_by_key(|bracket| bracket.event);
    all.drain(..all.len().saturating_sub(MOST_BRACKETS));
    all
}

#[cfg(test)]
mod tests {
    use trace_format::analysis::Target;

    use super::*;

    const VIEW: View = View { start: 1000, span: 1000 };

    fn shootdown(event: u64, time: u64, stall_ns: Option<u64>) -> Shootdown {
        let target = |vcpu, eoi_ns| Target { vcpu, accept_ns: eoi_ns, eoi_ns };
        let targets = vec![target(1, Some(1)), target(2, stall_ns), target(3, None)];
        Shootdown { event, time, initiator: 0, vector: 0xfd, targets, stall_ns }
    }

    #[test]
    fn one_that_reaches_out_of_the_view_is_cut_there() {
        let all = [shootdown(1, 900, Some(150)), shootdown(2, 1950, Some(100)), shootdown(3, 0, Some(5000))];
        let found = brackets(&all, VIEW, 10, Vec::new());
        let cut: Vec<_> =
            found.iter().map(|b| (b.event, b.from, b.to, b.begins, b.ends, b.slowest)).collect();
        assert_eq!(cut, [(2, 9, 9, true, false, 2), (1, 0, 0, false, true, 2), (3, 0, 9, false, false, 2)]);
    }

    #[test]
    fn what_is_elsewhere_or_not_over_has_none_and_nothing_is_there_twice() {
        let all = [
            shootdown(1, 0, Some(999)),
            shootdown(2, 2000, Some(1)),
            shootdown(3, 1500, None),
            shootdown(4, 1200, Some(7)),
            shootdown(4, 1200, Some(7)),
        ];
        let found: Vec<u64> =
            brackets(&all, VIEW, 10, Vec::new()).iter().map(|bracket| bracket.event).collect();
        assert_eq!(found, [4]);
    }

    #[test]
    fn too_many_leaves_the_slowest() {
        let all: Vec<_> = (0..1000).map(|n| shootdown(n, 1000 + n % 900, Some(n))).collect();
        let found = brackets(&all, VIEW, 10, Vec::new());
        assert_eq!((found.len(), found.first().map(|b| b.event)), (MOST_BRACKETS, Some(1000 - 256)));
    }

    #[test]
    fn an_ipi_belongs_to_the_one_that_sent_it_then() {
        let [bracket] = brackets(&[shootdown(1, 1100, Some(50))], VIEW, 10, Vec::new())[..] else { panic!() };
        assert!(bracket.has(0, 0xfd, 1100) && bracket.has(0, 0xfd, 1150));
        assert!(!bracket.has(0, 0xfd, 1151) && !bracket.has(1, 0xfd, 1100) && !bracket.has(0, 0xfb, 1100));
    }
}
