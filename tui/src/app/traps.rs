//! The view of traps: which vector and handler is selected, and which of their origins.

use super::App;
use super::action::Motion;
use super::list::List;
use super::view::Pane;
use crate::model::flow::{Flow, Way};

/// What is selected in the view's panes.
#[derive(Clone, Debug, Default)]
pub(super) struct Traps {
    to: List,
    from: List,
}

impl App {
    /// Vectors and their handlers, the most frequent first.
    #[must_use]
    pub fn flows_to(&self) -> Vec<(Way, Flow)> {
        self.analysis().map(|analysis| analysis.flows.to()).unwrap_or_default()
    }

    /// The selected one.
    #[must_use]
    pub fn flow_to(&self) -> Option<(Way, Flow)> {
        let flows = self.flows_to();
        flows.get(self.traps.to.selected(flows.len())?).copied()
    }

    /// The list of them.
    #[must_use]
    pub const fn flow_list(&self) -> List {
        self.traps.to
    }

    /// Where the traps of the selected one came from, the most frequent first.
    #[must_use]
    pub fn flows_from(&self) -> Vec<(Way, Flow)> {
        match (self.analysis(), self.flow_to()) {
            (Some(analysis), Some((to, _))) => analysis.flows.from(to),
            _ => Vec::new(),
        }
    }

    /// The list of those.
    #[must_use]
    pub const fn origin_list(&self) -> List {
        self.traps.from
    }

    pub(super) fn move_in_traps(&mut self, pane: Pane, motion: Motion, page: u16) {
        if pane == Pane::Origins {
            let count = self.flows_from().len();
            self.traps.from.move_by(motion, count, page);
        } else {
            let count = self.flows_to().len();
            self.traps.to.move_by(motion, count, page);
            self.traps.from = List::default();
            self.forget_bucket(Pane::Handling);
        }
    }

    /// Of a vector its origins; of an origin exactly its traps.
    pub(super) fn open_in_traps(&mut self, pane: Pane) {
        if pane == Pane::Vectors {
            return self.focus(Pane::Origins);
        }
        let from = self.flows_from();
        let Some((way, _)) = self.traps.from.selected(from.len()).and_then(|n| from.get(n)) else { return };
        let Way { vector, cpl, origin, handler } = *way;
        let whence = match self.header().symbolize(origin) {
            Some((name, _)) => {
                let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                format!("symbol == \"{name}\"")
            }
            None => format!("rip == {origin:#x}"),
        };
        self.list_only(&format!(
            "kind == trap-entry and trap.vector == {vector} and trap.handler == {handler:#x} and cpl == {cpl} and {whence}"
        ));
    }

    pub(super) fn scroll_traps(&mut self) {
        let Some(panes) = self.panes() else { return };
        if panes.rows(Pane::Vectors) == 0 && panes.rows(Pane::Origins) == 0 {
            return;
        }
        let rows = |pane| panes.rows(pane).saturating_sub(1);
        let (to, from) = (self.flows_to().len(), self.flows_from().len());
        self.traps.to.show(to, rows(Pane::Vectors));
        self.traps.from.show(from, rows(Pane::Origins));
    }
}
