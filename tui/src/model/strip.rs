//! The part of the run that the timeline shows, one cell a column and vCPU.
//!
//! A strip is made anew when the view moves or events arrive, from the events in view where they are few enough to
//! read at once ([`EXACT_LIMIT`]), otherwise from [`Activity`]. Drawing only looks at its cells.

use trace_format::analysis::{Shootdown, Shootdowns};
use trace_format::event::{Event, Payload};

use super::activity::{Activity, LaneState};
use super::bracket::{Bracket, MOST_BRACKETS, brackets};
use super::class::{Class, Mix};

/// The most events that are read for a strip.
pub const EXACT_LIMIT: u64 = 50_000;

/// The most arrows in a strip: more than a screen can show.
const MAX_ARROWS: usize = 512;

/// A range of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it begins, ns.
    pub start: u64,
    /// How long it is, ns; at least 1.
    pub span: u64,
}

impl View {
    /// The column of `columns` that holds `time`, or `None` outside of the view.
    #[must_use]
    pub fn column(self, time: u64, columns: u16) -> Option<u16> {
        let offset = time.checked_sub(self.start).filter(|offset| *offset < self.span)?;
        u16::try_from(u128::from(offset) * u128::from(columns) / u128::from(self.span)).ok()
    }

    /// The time at which `column` of `columns` begins.
    #[must_use]
    pub fn time(self, column: u16, columns: u16) -> u64 {
        let offset = u128::from(self.span) * u128::from(column) / u128::from(columns.max(1));
        self.start.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// Where it ends, ns; the first time after it.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.span)
    }

    /// The columns that `from..=to` covers, clamped to the view.
    #[must_use]
    pub fn columns(self, from: u64, to: u64, columns: u16) -> Option<(u16, u16)> {
        if to < self.start || from >= self.end() {
            return None;
        }
        let first = self.column(from.max(self.start), columns)?;
        let last = self.column(to.min(self.end() - 1), columns)?;
        Some((first, last))
    }
}

/// A column of one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What happened there.
    pub mix: Mix,
    /// What the vCPU was doing at the end of the column.
    pub state: LaneState,
    /// The monitor was still handling an exit of this class.
    pub handling: Option<Class>,
    /// The vCPU was in the guest's handler of this vector.
    pub handler: Option<u16>,
}

/// An IPI on its way from one vCPU to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The IPI's id.
    pub id: u64,
    /// The sender's lane.
    pub from: u8,
    /// The target's lane.
    pub to: u8,
    /// The column of the ICR write; `None` if it is left of the view.
    pub sent: Option<u16>,
    /// The column where the target took it.
    pub taken: u16,
}

/// The cells of a view.
#[derive(Clone, Debug)]
pub struct Strip {
    /// What it shows.
    pub view: View,
    /// Number of columns.
    pub columns: u16,
    /// Made from the events themselves; otherwise from counts, without arrows and handlers.
    pub exact: bool,
    /// The cells of each vCPU.
    pub lanes: Vec<Vec<Cell>>,
    /// IPIs taken in view, in time order.
    pub arrows: Vec<Arrow>,
    /// Conversations by IPIs, the slowest last: those of the events in view and those that are known from elsewhere.
    pub brackets: Vec<Bracket>,
}

impl Strip {
    /// A strip of so many lanes without events.
    fn empty(lanes: usize, view: View, columns: u16) -> Self {
        let lanes = vec![vec![Cell::default(); usize::from(columns)]; lanes];
        Self { view, columns, exact: false, lanes, arrows: Vec::new(), brackets: Vec::new() }
    }

    /// From counts.
    #[must_use]
    pub fn coarse(activity: &Activity, view: View, columns: u16) -> Self {
        let mut strip = Self::empty(activity.lanes(), view, columns);
        for lane in 0..activity.lanes() {
            let mut states = Vec::new();
            for (time, bucket) in activity.from(lane, view.start) {
                let Some(column) = view.column(time.max(view.start), columns) else { break };
                strip.lanes[lane][usize::from(column)].mix.merge(&bucket.mix);
                states.extend(bucket.state.map(|state| (column, state)));
            }
            strip.spread(lane, activity.state_before(lane, view.start), &states);
        }
        strip
    }

    /// These conversations are known as well.
    pub fn add_shootdowns<'a>(&mut self, known: impl IntoIterator<Item = &'a Shootdown>) {
        let others = std::mem::take(&mut self.brackets);
        self.brackets = brackets(known, self.view, self.columns, others);
    }

    /// The most exits in one cell.
    #[must_use]
    pub fn busiest(&self) -> u32 {
        self.lanes.iter().flatten().map(|cell| cell.mix.exits()).max().unwrap_or(0)
    }

    /// Fills in the states of a lane: `first`, then each change from its column on.
    fn spread(&mut self, lane: usize, first: LaneState, changes: &[(u16, LaneState)]) {
        let mut changes = changes.iter().peekable();
        let mut state = first;
        for (column, cell) in self.lanes[lane].iter_mut().enumerate() {
            while let Some((_, to)) = changes.next_if(|(at, _)| usize::from(*at) <= column) {
                state = *to;
            }
            cell.state = state;
        }
    }
}

/// Makes an exact strip event by event.
pub struct Builder {
    strip: Strip,
    before: Vec<LaneState>,
    states: Vec<Vec<(u16, LaneState)>>,
    shootdowns: Shootdowns,
}

impl Builder {
    /// For a view before which the vCPUs were in these states.
    #[must_use]
    pub fn new(before: Vec<LaneState>, view: View, columns: u16) -> Self {
        let strip = Strip { exact: true, ..Strip::empty(before.len(), view, columns) };
        let states = vec![Vec::new(); before.len()];
        Self { strip, before, states, shootdowns: Shootdowns::new(MOST_BRACKETS) }
    }

    /// Takes the next event, in time order; those before the view only tell what reaches into it.
    pub fn add(&mut self, number: u64, event: &Event) {
        self.shootdowns.add(number, event, true);
        let Strip { view, columns, .. } = self.strip;
        let lane = usize::from(event.vcpu);
        let lanes = self.strip.lanes.len();
        let Some(cells) = self.strip.lanes.get_mut(lane) else { return };
        let column = view.column(event.time, columns);
        if let Some(column) = column {
            cells[usize::from(column)].mix.add(Class::of(&event.payload));
        }
        match &event.payload {
            Payload::Exit(exit) => {
                let class = Class::of_exit(&exit.reason);
                let end = event.time.saturating_add(exit.handling_ns);
                for cell in covered(cells, view, event.time, end, columns) {
                    cell.handling = Some(class);
                }
            }
            Payload::TrapReturn(trap) => {
                let start = event.time.saturating_sub(trap.duration_ns);
                // Returns come innermost first: what is there already lies within this one.
                for cell in covered(cells, view, start, event.time, columns) {
                    cell.handler.get_or_insert(trap.vector);
                }
            }
            Payload::IpiAccepted(ipi) if self.strip.arrows.len() < MAX_ARROWS => {
                if let (Some(taken), true) = (column, usize::from(ipi.sender) < lanes) {
                    let sent = view.column(event.time.saturating_sub(ipi.latency_ns), columns);
                    let arrow = Arrow { id: ipi.id, from: ipi.sender, to: event.vcpu, sent, taken };
                    self.strip.arrows.push(arrow);
                }
            }
            Payload::State(state) => {
                let column = if event.time < view.start { Some(0) } else { column };
                self.states[lane].extend(column.map(|column| (column, LaneState::of(state))));
            }
            _ => {}
        }
    }

    /// The strip.
    #[must_use]
    pub fn finish(mut self) -> Strip {
        for (lane, (before, states)) in self.before.iter().zip(&self.states).enumerate() {
            self.strip.spread(lane, *before, states);
        }
        self.strip.add_shootdowns(self.shootdowns.slowest());
        self.strip
    }
}

fn covered(cells: &mut [Cell], view: View, from: u64, to: u64, columns: u16) -> &mut [Cell] {
    view.columns(from, to, columns)
        .and_then(|(first, last)| cells.get_mut(usize::from(first)..=usize::from(last)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trace_format::event::{Exit, ExitReason, IpiAccepted, TrapReturn, VcpuState};

    const VIEW: View = View { start: 1000, span: 1000 };

    fn exit(time: u64, handling_ns: u64) -> Event {
        let reason = ExitReason::Halt;
        let payload = Payload::Exit(Exit { reason, rip: 0, cpl: 0, guest_ns: 0, handling_ns });
        Event { time, vcpu: 0, payload }
    }

    fn activity(events: &[Event]) -> Activity {
        let mut activity = Activity::new(2);
        events.iter().for_each(|event| activity.add(event));
        activity
    }

    fn exact(events: &[Event], columns: u16) -> Strip {
        exact_of(VIEW, events, columns)
    }

    fn exact_of(view: View, events: &[Event], columns: u16) -> Strip {
        let mut builder = Builder::new(activity(events).states_before(view.start), view, columns);
        (0..).zip(events).for_each(|(number, event)| builder.add(number, event));
        builder.finish()
    }

    #[test]
    fn columns_cover_the_view_and_nothing_else() {
        assert_eq!(VIEW.column(999, 10), None);
        assert_eq!(VIEW.column(1000, 10), Some(0));
        assert_eq!(VIEW.column(1999, 10), Some(9));
        assert_eq!(VIEW.column(2000, 10), None);
        let whole = View { start: 0, span: u64::MAX };
        assert_eq!(whole.column(u64::MAX - 1, 80), Some(79));
        assert_eq!(whole.time(80, 80), u64::MAX);
    }

    #[test]
    fn an_exit_marks_its_column_and_its_handling_the_ones_after() {
        let events = [exit(1100, 250)];
        let strip = exact(&events, 10);
        let handled: Vec<bool> = strip.lanes[0].iter().map(|c| c.handling.is_some()).collect();
        assert_eq!(strip.lanes[0][1].mix.exits(), 1);
        assert_eq!(handled, [false, true, true, true, false, false, false, false, false, false]);
    }

    #[test]
    fn an_inner_handler_covers_the_outer_one() {
        let back = |time, vector, duration_ns| {
            let payload = Payload::TrapReturn(TrapReturn { id: 1, vector, duration_ns, rip: 0 });
            Event { time, vcpu: 0, payload }
        };
        let events = [back(1500, 14, 100), back(1800, 256, 900)];
        let strip = exact(&events, 10);
        let handlers: Vec<Option<u16>> = strip.lanes[0].iter().map(|c| c.handler).collect();
        let (s, p) = (Some(256), Some(14));
        assert_eq!(handlers, [s, s, s, s, p, p, s, s, s, None]);
    }

    #[test]
    fn an_arrow_begins_where_its_ipi_was_sent() {
        let accepted = |time, latency_ns| {
            let accepted = IpiAccepted { id: 7, sender: 1, vector: 0xf0, latency_ns, merged: false };
            Event { time, vcpu: 0, payload: Payload::IpiAccepted(accepted) }
        };
        let events = [accepted(1050, 200), accepted(1750, 500)];
        let strip = exact(&events, 10);
        assert_eq!(strip.arrows[0].sent, None);
        assert_eq!(strip.arrows[1], Arrow { id: 7, from: 1, to: 0, sent: Some(2), taken: 7 });
    }

    #[test]
    fn a_state_lasts_until_the_next() {
        let state = |time, state| Event { time, vcpu: 0, payload: Payload::State(state) };
        let events = [state(1, VcpuState::Running), state(1250, VcpuState::Halted)];
        let strip = exact(&events, 4);
        let states: Vec<LaneState> = strip.lanes[0].iter().map(|c| c.state).collect();
        use LaneState::{Halted, Running};
        assert_eq!(states, [Running, Halted, Halted, Halted]);
    }

    #[test]
    fn counts_and_events_agree_on_exits() {
        let events: Vec<Event> = (0..100).map(|n| exit(n * 4096, 0)).collect();
        let view = View { start: 0, span: 100 * 4096 };
        let (exact, coarse) = (exact_of(view, &events, 20), Strip::coarse(&activity(&events), view, 20));
        let exits = |strip: &Strip| strip.lanes[0].iter().map(|c| c.mix.exits()).collect::<Vec<_>>();
        assert_eq!(exits(&exact), exits(&coarse));
    }
}
