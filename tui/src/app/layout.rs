//! Where the panes of each view are.
//!
//! ```text
//! header
//! tabs                                      from 12 lines on
//! +timeline------------------------------+
//! +--------------------------------------+
//! +events------------++detail------------+  the view `timeline`
//! +------------------++------------------+
//! footer
//! ```
//!
//! A terminal that is too small for several panes shows the focused one, a very small one without its border.

use ratatui::layout::{Constraint, Layout, Position, Rect, Size};

use super::view::{Pane, View};

/// The smallest terminal that the UI fits in.
pub const SMALLEST: Size = Size::new(20, 5);

/// The smallest one that shows several panes.
const SEVERAL: Size = Size::new(60, 16);

/// From this height on there are tabs.
const TABS: u16 = 12;

/// From this height on panes have borders.
const BORDERS: u16 = 9;

/// From this width on an event's detail is beside the list, not below it.
const BESIDE: u16 = 76;

/// Columns of the timeline that name the lanes.
pub const LANE_NAMES: u16 = 6;

/// The panes on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panes {
    /// One line.
    pub header: Rect,
    /// One line, if there is room.
    pub tabs: Option<Rect>,
    /// One line.
    pub footer: Rect,
    /// What is between them.
    pub body: Rect,
    /// Each pane that is shown, with its border.
    pub shown: Vec<(Pane, Rect)>,
    /// Whether they have borders.
    pub borders: bool,
}

/// What the layout depends on.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The view that is shown.
    pub view: View,
    /// Its pane that is focused.
    pub pane: Pane,
    /// The focused pane has the whole body.
    pub maximized: bool,
    /// Lanes of the timeline.
    pub lanes: u16,
}

impl Panes {
    /// Lays the panes out; `None` if the terminal is smaller than [`SMALLEST`].
    #[must_use]
    pub fn new(size: Size, wanted: Wanted) -> Option<Self> {
        if size.width < SMALLEST.width || size.height < SMALLEST.height {
            return None;
        }
        let tabs = u16::from(size.height >= TABS);
        let [header, tabs_area, body, footer] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(tabs),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(Rect::from((Position::ORIGIN, size)));
        let several = size.width >= SEVERAL.width && size.height >= SEVERAL.height;
        let shown =
            if wanted.maximized || !several { vec![(wanted.pane, body)] } else { arrange(wanted, body) };
        let borders = size.height >= BORDERS;
        Some(Self { header, tabs: (tabs > 0).then_some(tabs_area), footer, body, shown, borders })
    }

    /// The inside of a pane's border, if the pane is shown.
    #[must_use]
    pub fn inside(&self, pane: Pane) -> Option<Rect> {
        let (_, area) = self.shown.iter().find(|(shown, _)| *shown == pane)?;
        let border = u16::from(self.borders);
        Some(area.inner(ratatui::layout::Margin::new(border, border)))
    }

    /// Lines inside a pane; 0 if it is not shown.
    #[must_use]
    pub fn rows(&self, pane: Pane) -> u16 {
        self.inside(pane).map_or(0, |area| area.height)
    }

    /// Columns that the timeline has for time; 0 if it is not shown.
    #[must_use]
    pub fn timeline_columns(&self) -> u16 {
        self.inside(Pane::Timeline).map_or(0, |area| area.width.saturating_sub(LANE_NAMES))
    }
}

/// The timeline's lines: the stalls', those of lanes, the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first one shows stalls.
    pub stalls: bool,
    /// How many each lane has, at least 1.
    pub lane: u16,
    /// How many lanes there is room for.
    pub lanes: u16,
}

impl Rows {
    /// So many lines and vCPUs; one vCPU has nobody to wait for.
    #[must_use]
    pub(super) fn new(height: u16, lanes: usize) -> Option<Self> {
        let room = height.checked_sub(1).filter(|room| *room > 0)?;
        let count = u16::try_from(lanes).unwrap_or(u16::MAX).max(1);
        let stalls = count > 1 && room > count;
        let room = room - u16::from(stalls);
        let lane = (room / count).clamp(1, 3);
        Some(Self { stalls, lane, lanes: count.min(room / lane) })
    }
}

/// The panes of a view with room for several.
fn arrange(wanted: Wanted, body: Rect) -> Vec<(Pane, Rect)> {
    match wanted.view {
        View::Timeline => {
            let height = timeline_height(body.height, wanted.lanes);
            let [timeline, rest] =
                Layout::vertical([Constraint::Length(height), Constraint::Min(1)]).areas(body);
            let [events, detail] = share_row(rest, 54);
            vec![(Pane::Timeline, timeline), (Pane::Events, events), (Pane::Detail, detail)]
        }
        View::Events => {
            let [events, detail] =
                if body.width >= BESIDE { share_row(body, 62) } else { share_column(body, 55) };
            vec![(Pane::Events, events), (Pane::Detail, detail)]
        }
        View::Overview => {
            let [above, below] = share_column(body, 50);
            let [rates, shares] = share_row(above, 50);
            let [vcpus, run] = share_row(below, 50);
            vec![(Pane::Rates, rates), (Pane::Shares, shares), (Pane::Vcpus, vcpus), (Pane::Run, run)]
        }
        View::Statistics => {
            let [table, times] = share_column(body, 55);
            vec![(Pane::Statistics, table), (Pane::Times, times)]
        }
        View::Traps => {
            let [above, below] = share_column(body, 45);
            let [origins, handling] = share_row(below, 55);
            vec![(Pane::Vectors, above), (Pane::Origins, origins), (Pane::Handling, handling)]
        }
        View::Memory => {
            let [above, below] = share_column(body, 52);
            let [walk, pages] = share_row(above, 46);
            let [space, memory] = share_row(below, 50);
            vec![(Pane::Walk, walk), (Pane::Pages, pages), (Pane::Space, space), (Pane::Memory, memory)]
        }
        View::Ipis => {
            let [above, below] = share_column(body, 54);
            let [shootdowns, targets] = share_row(above, 56);
            let [latency, matrix] = share_row(below, 56);
            vec![
                (Pane::Shootdowns, shootdowns),
                (Pane::Targets, targets),
                (Pane::Latency, latency),
                (Pane::Matrix, matrix),
            ]
        }
        View::Console => vec![(Pane::Console, body)],
        View::Code => {
            let [code, registers] =
                if body.width >= BESIDE { share_row(body, 66) } else { share_column(body, 65) };
            vec![(Pane::Code, code), (Pane::Registers, registers)]
        }
    }
}

/// Two areas side by side, the first one with so many percent.
fn share_row(area: Rect, percent: u16) -> [Rect; 2] {
    Layout::horizontal([Constraint::Percentage(percent), Constraint::Fill(1)]).areas(area)
}

/// Two areas, one above the other, the first one with so many percent.
fn share_column(area: Rect, percent: u16) -> [Rect; 2] {
    Layout::vertical([Constraint::Percentage(percent), Constraint::Fill(1)]).areas(area)
}

/// Up to three lines a lane, one of stalls, an axis and a border, in at most half of the body.
fn timeline_height(body: u16, lanes: u16) -> u16 {
    let most = (body / 2).max(4);
    let others = 3 + u16::from(lanes > 1);
    let rows = (most.saturating_sub(others) / lanes.max(1)).clamp(1, 3);
    (rows * lanes.max(1) + others).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panes(size: (u16, u16), view: View, maximized: bool, lanes: u16) -> Option<Panes> {
        Panes::new(Size::from(size), Wanted { view, pane: view.panes()[0], maximized, lanes })
    }

    #[test]
    fn panes_fill_the_screen_and_do_not_overlap() {
        for (width, height) in [(20, 5), (59, 40), (60, 16), (75, 30), (80, 24), (160, 50), (400, 200)] {
            for (view, lanes) in
                View::ALL.into_iter().flat_map(|view| [1, 2, 4, 16].map(|lanes| (view, lanes)))
            {
                let panes = panes((width, height), view, false, lanes).unwrap();
                let covered: u32 = panes.shown.iter().map(|(_, area)| area.area()).sum();
                let lines = 2 + u32::from(panes.tabs.is_some());
                assert_eq!(covered + lines * u32::from(width), u32::from(width) * u32::from(height));
                for (n, (pane, a)) in panes.shown.iter().enumerate() {
                    assert!(panes.shown[n + 1..].iter().all(|(_, b)| !a.intersects(*b)));
                    assert!(view.panes().contains(pane));
                }
            }
        }
    }

    #[test]
    fn every_pane_of_a_view_is_shown_where_there_is_room() {
        for view in View::ALL {
            let panes = panes((80, 24), view, false, 4).unwrap();
            assert!(view.panes().iter().all(|pane| panes.rows(*pane) > 0), "{view:?}");
        }
    }

    #[test]
    fn a_maximized_pane_is_alone() {
        let panes = panes((80, 24), View::Timeline, true, 4).unwrap();
        assert_eq!(panes.shown, [(Pane::Events, panes.body)]);
        assert_eq!(panes.rows(Pane::Timeline), 0);
    }

    #[test]
    fn a_small_terminal_shows_the_focused_pane() {
        let panes = panes((20, 5), View::Timeline, false, 4).unwrap();
        assert_eq!((panes.shown.len(), panes.rows(Pane::Events), panes.tabs), (1, 3, None));
    }

    #[test]
    fn too_small_is_too_small() {
        assert_eq!(panes((19, 40), View::Timeline, false, 4), None);
        assert_eq!(panes((80, 4), View::Timeline, false, 4), None);
    }
}
