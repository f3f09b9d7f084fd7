//! The views and their panes.

/// A screen of its own; its number key chooses it. All show the same cursor, filter and selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum View {
    Overview,
    Timeline,
    Events,
    Statistics,
    Traps,
    Memory,
    Ipis,
    Console,
    Code,
}

impl View {
    /// In the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Timeline,
        Self::Events,
        Self::Statistics,
        Self::Traps,
        Self::Memory,
        Self::Ipis,
        Self::Console,
        Self::Code,
    ];

    /// Its number, which is the key that chooses it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Overview => 1,
            Self::Timeline => 2,
            Self::Events => 3,
            Self::Statistics => 4,
            Self::Traps => 5,
            Self::Memory => 6,
            Self::Ipis => 7,
            Self::Console => 8,
            Self::Code => 9,
        }
    }

    /// Its tab, and its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Timeline => "timeline",
            Self::Events => "events",
            Self::Statistics => "statistics",
            Self::Traps => "traps",
            Self::Memory => "memory",
            Self::Ipis => "ipis",
            Self::Console => "console",
            Self::Code => "code",
        }
    }

    /// Its panes, in the order in which Tab goes through them; the first has the focus in the beginning.
    #[must_use]
    pub const fn panes(self) -> &'static [Pane] {
        match self {
            Self::Timeline => &[Pane::Events, Pane::Detail, Pane::Timeline],
            Self::Events => &[Pane::Events, Pane::Detail],
            Self::Overview => &[Pane::Rates, Pane::Shares, Pane::Vcpus, Pane::Run],
            Self::Statistics => &[Pane::Statistics, Pane::Times],
            Self::Traps => &[Pane::Vectors, Pane::Origins, Pane::Handling],
            Self::Memory => &[Pane::Walk, Pane::Pages, Pane::Space, Pane::Memory],
            Self::Ipis => &[Pane::Shootdowns, Pane::Targets, Pane::Latency, Pane::Matrix],
            Self::Console => &[Pane::Console],
            Self::Code => &[Pane::Code, Pane::Registers],
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// A pane. Several views may have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Pane {
    Rates,
    Shares,
    Vcpus,
    Run,
    Timeline,
    Events,
    Detail,
    Statistics,
    /// How long what is selected there took.
    Times,
    Vectors,
    Origins,
    /// How long the selected vector's handler took.
    Handling,
    /// The levels of the selected walk.
    Walk,
    /// Those that fault most.
    Pages,
    /// What an address space maps.
    Space,
    /// Bytes.
    Memory,
    /// Conversations by IPIs, the slowest first.
    Shootdowns,
    /// Those that the selected one was for.
    Targets,
    /// How long targets took to acknowledge.
    Latency,
    /// Who sent how many to whom.
    Matrix,
    Console,
    /// The instructions around where a vCPU was.
    Code,
    /// Its registers.
    Registers,
}

impl Pane {
    /// Every pane.
    pub const ALL: [Self; 23] = [
        Self::Rates,
        Self::Shares,
        Self::Vcpus,
        Self::Run,
        Self::Timeline,
        Self::Events,
        Self::Detail,
        Self::Statistics,
        Self::Times,
        Self::Vectors,
        Self::Origins,
        Self::Handling,
        Self::Walk,
        Self::Pages,
        Self::Space,
        Self::Memory,
        Self::Shootdowns,
        Self::Targets,
        Self::Latency,
        Self::Matrix,
        Self::Console,
        Self::Code,
        Self::Registers,
    ];

    /// Its title.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rates => "rates",
            Self::Shares => "exit reasons",
            Self::Vcpus => "vCPUs",
            Self::Run => "run",
            Self::Timeline => "timeline",
            Self::Events => "events",
            Self::Detail => "detail",
            Self::Statistics => "statistics",
            Self::Times => "times",
            Self::Vectors => "traps",
            Self::Origins => "origins",
            Self::Handling => "handling",
            Self::Walk => "walk",
            Self::Pages => "faulting pages",
            Self::Space => "address space",
            Self::Memory => "memory",
            Self::Shootdowns => "shootdowns",
            Self::Targets => "targets",
            Self::Latency => "latency",
            Self::Matrix => "from (row) to (column)",
            Self::Console => "console",
            Self::Code => "code",
            Self::Registers => "registers",
        }
    }
}

/// Which view is shown, and which of its panes has the focus: each view keeps its own.
#[derive(Clone, Debug)]
pub(super) struct Focus {
    view: View,
    panes: [Pane; View::ALL.len()],
    /// The focused pane has the whole body.
    pub(super) maximized: bool,
}

impl Default for Focus {
    fn default() -> Self {
        Self { view: View::Timeline, panes: View::ALL.map(|view| view.panes()[0]), maximized: false }
    }
}

impl Focus {
    pub(super) const fn view(&self) -> View {
        self.view
    }

    pub(super) const fn pane(&self) -> Pane {
        self.panes[self.view.index()]
    }

    pub(super) fn show(&mut self, view: View) {
        if self.view != view {
            self.view = view;
            self.maximized = false;
        }
    }

    /// Focuses a pane, in the view that is shown if it has it, otherwise in the first that has.
    pub(super) fn set(&mut self, pane: Pane) {
        let has = |view: &View| view.panes().contains(&pane);
        let view = Some(self.view).filter(has).or_else(|| View::ALL.into_iter().find(has));
        if let Some(view) = view {
            self.show(view);
            self.panes[view.index()] = pane;
        }
    }

    /// Focuses the pane that comes `by` after the focused one.
    pub(super) fn turn(&mut self, by: isize) {
        let panes = self.view.panes();
        let at = panes.iter().position(|pane| *pane == self.pane()).unwrap_or(0);
        let to = at.wrapping_add_signed(by).wrapping_add(panes.len()) % panes.len();
        self.panes[self.view.index()] = panes[to];
    }

    /// Shows the view that comes `by` after the shown one.
    pub(super) fn turn_view(&mut self, by: isize) {
        let to = self.view.index().wrapping_add_signed(by).wrapping_add(View::ALL.len()) % View::ALL.len();
        self.show(View::ALL[to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_in_the_order_of_their_numbers() {
        assert!(View::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for (n, view) in View::ALL.into_iter().enumerate() {
            assert_eq!(view.index(), n);
        }
    }

    #[test]
    fn every_pane_is_in_a_view() {
        for pane in Pane::ALL {
            assert!(View::ALL.iter().any(|view| view.panes().contains(&pane)), "{pane:?}");
        }
    }

    #[test]
    fn a_view_keeps_its_focus() {
        let mut focus = Focus::default();
        assert_eq!((focus.view(), focus.pane()), (View::Timeline, Pane::Events));
        focus.turn(-1);
        assert_eq!(focus.pane(), Pane::Timeline);
        focus.turn_view(1);
        assert_eq!((focus.view(), focus.pane()), (View::Events, Pane::Events));
        focus.turn_view(-1);
        assert_eq!((focus.view(), focus.pane()), (View::Timeline, Pane::Timeline));
        focus.turn_view(-2);
        assert_eq!(focus.view(), View::Code);
        focus.set(Pane::Detail);
        assert_eq!((focus.view(), focus.pane()), (View::Timeline, Pane::Detail));
    }
}
