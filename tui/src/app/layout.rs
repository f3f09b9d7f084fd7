//! Where the panes are.
//!
//! ```text
//! wide (from 120x36)                        narrow
//! header                                    header
//! +timeline------------------------------+  +timeline--------------------+
//! +--------------------------------------+  +----------------------------+
//! +events------------++detail------------+  +events------++detail · stat-+
//! |                  ||                  |  |            ||istics · con- |
//! |                  |+------------------+  |            ||sole: the one |
//! +------------------++statistics--------+  |            ||that had the  |
//! +console-----------+|                  |  |            ||focus last    |
//! +------------------++------------------+  +------------++--------------+
//! footer                                    footer
//! ```

use ratatui::layout::{Constraint, Layout, Rect, Size};

use super::Focus;

/// The smallest terminal that the UI fits in.
pub const SMALLEST: Size = Size::new(60, 16);

/// From this size on every pane has a place of its own.
const WIDE: Size = Size::new(120, 36);

/// Columns of the timeline that name the lanes.
pub const LANE_NAMES: u16 = 6;

/// The panes on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panes {
    /// One line.
    pub header: Rect,
    /// One line.
    pub footer: Rect,
    /// What is between them.
    pub body: Rect,
    /// Each pane that is shown, with its border.
    pub shown: Vec<(Focus, Rect)>,
    /// Detail, statistics and console share a place.
    pub tabbed: bool,
}

/// What the layout depends on.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The pane that is focused.
    pub focus: Focus,
    /// Of the panes that share a place in a narrow terminal, the one to show.
    pub side: Focus,
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
        let [header, body, footer] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
                .areas(Rect::from((ratatui::layout::Position::ORIGIN, size)));
        let tabbed = size.width < WIDE.width || size.height < WIDE.height;
        let mut panes = Self { header, footer, body, shown: Vec::new(), tabbed };
        if wanted.maximized {
            panes.shown.push((wanted.focus, body));
            return Some(panes);
        }
        let [timeline, rest] = Layout::vertical([
            Constraint::Length(timeline_height(body.height, wanted.lanes)),
            Constraint::Min(1),
        ])
        .areas(body);
        panes.shown.push((Focus::Timeline, timeline));
        if tabbed {
            let [events, side] =
                Layout::horizontal([Constraint::Percentage(54), Constraint::Percentage(46)]).areas(rest);
            panes.shown.extend([(Focus::Events, events), (wanted.side, side)]);
        } else {
            let [left, right] =
                Layout::horizontal([Constraint::Percentage(52), Constraint::Percentage(48)]).areas(rest);
            let [events, console] =
                Layout::vertical([Constraint::Percentage(66), Constraint::Percentage(34)]).areas(left);
            let [detail, statistics] =
                Layout::vertical([Constraint::Percentage(54), Constraint::Percentage(46)]).areas(right);
            panes.shown.extend([
                (Focus::Events, events),
                (Focus::Detail, detail),
                (Focus::Statistics, statistics),
                (Focus::Console, console),
            ]);
        }
        Some(panes)
    }

    /// The inside of a pane's border, if the pane is shown.
    #[must_use]
    pub fn inside(&self, focus: Focus) -> Option<Rect> {
        let (_, area) = self.shown.iter().find(|(shown, _)| *shown == focus)?;
        Some(area.inner(ratatui::layout::Margin::new(1, 1)))
    }

    /// Lines inside a pane; 0 if it is not shown.
    #[must_use]
    pub fn rows(&self, focus: Focus) -> u16 {
        self.inside(focus).map_or(0, |area| area.height)
    }

    /// Columns that the timeline has for time; 0 if it is not shown.
    #[must_use]
    pub fn timeline_columns(&self) -> u16 {
        self.inside(Focus::Timeline).map_or(0, |area| area.width.saturating_sub(LANE_NAMES))
    }
}

/// Up to three lines a lane, an axis and a border, in at most two fifths of the body.
fn timeline_height(body: u16, lanes: u16) -> u16 {
    let most = (body * 2 / 5).max(4);
    let rows = (most.saturating_sub(3) / lanes.max(1)).clamp(1, 3);
    (rows * lanes.max(1) + 3).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(focus: Focus, maximized: bool) -> Wanted {
        Wanted { focus, side: Focus::Detail, maximized, lanes: 4 }
    }

    #[test]
    fn panes_fill_the_screen_and_do_not_overlap() {
        for (width, height) in [(60, 16), (80, 24), (119, 80), (160, 50), (400, 200)] {
            for lanes in [1, 2, 4, 16] {
                let wanted = Wanted { lanes, ..wanted(Focus::Events, false) };
                let panes = Panes::new(Size::new(width, height), wanted).unwrap();
                let covered: u32 = panes.shown.iter().map(|(_, area)| area.area()).sum();
                assert_eq!(covered + 2 * u32::from(width), u32::from(width) * u32::from(height));
                for (n, (_, a)) in panes.shown.iter().enumerate() {
                    assert!(panes.shown[n + 1..].iter().all(|(_, b)| !a.intersects(*b)));
                }
            }
        }
    }

    #[test]
    fn a_narrow_terminal_shows_three_panes_and_a_wide_one_all() {
        let shown = |width, height| {
            let panes = Panes::new(Size::new(width, height), wanted(Focus::Events, false)).unwrap();
            panes.shown.iter().map(|(focus, _)| *focus).collect::<Vec<_>>()
        };
        assert_eq!(shown(80, 24), [Focus::Timeline, Focus::Events, Focus::Detail]);
        assert_eq!(shown(160, 50).len(), Focus::ALL.len());
    }

    #[test]
    fn a_maximized_pane_is_alone() {
        let panes = Panes::new(Size::new(80, 24), wanted(Focus::Console, true)).unwrap();
        assert_eq!(panes.shown, [(Focus::Console, panes.body)]);
        assert_eq!(panes.rows(Focus::Events), 0);
    }

    #[test]
    fn too_small_is_too_small() {
        assert_eq!(Panes::new(Size::new(59, 40), wanted(Focus::Events, false)), None);
        assert_eq!(Panes::new(Size::new(80, 15), wanted(Focus::Events, false)), None);
    }
}
