//! The view of IPIs: which shootdown is selected and which of its targets.

use trace_format::analysis::{Shootdown, Target};
use trace_format::event::Payload;

use super::App;
use super::action::Motion;
use super::list::List;
use super::timeline::Zoom;
use super::view::{Pane, View};
use crate::model::strip;

/// What is selected in the view's panes.
#[derive(Clone, Debug, Default)]
pub(super) struct Ipis {
    shootdowns: List,
    targets: List,
    /// A sender and a target.
    cell: (usize, usize),
}

impl App {
    /// Shootdowns and other conversations by IPIs that were acknowledged, the slowest first.
    #[must_use]
    pub fn shootdowns(&self) -> &[Shootdown] {
        self.report().map_or(&[], |report| &report.details.slowest_shootdowns)
    }

    /// The list's state.
    #[must_use]
    pub const fn shootdown_list(&self) -> List {
        self.ipis.shootdowns
    }

    /// The selected one.
    #[must_use]
    pub fn shootdown(&self) -> Option<&Shootdown> {
        let all = self.shootdowns();
        all.get(self.ipis.shootdowns.selected(all.len())?)
    }

    /// Which of its targets is selected.
    #[must_use]
    pub const fn target_list(&self) -> List {
        self.ipis.targets
    }

    fn target(&self) -> Option<Target> {
        let targets = &self.shootdown()?.targets;
        targets.get(self.ipis.targets.selected(targets.len())?).copied()
    }

    /// Which sender and target is selected in the matrix of so many vCPUs.
    #[must_use]
    pub fn matrix_cell(&self, size: usize) -> Option<(usize, usize)> {
        let last = size.checked_sub(1)?;
        Some((self.ipis.cell.0.min(last), self.ipis.cell.1.min(last)))
    }

    fn matrix_size(&self) -> usize {
        self.report().map_or(0, |report| report.details.ipi_matrix.len())
    }

    /// Moves in one of the view's panes; the cursor goes along.
    pub(super) fn move_in_ipis(&mut self, pane: Pane, motion: Motion, page: u16) {
        match pane {
            Pane::Shootdowns => {
                let count = self.shootdowns().len();
                self.ipis.shootdowns.move_by(motion, count, page);
                self.forget_bucket(Pane::Latency);
                self.select_slowest_target();
                if let Some(event) = self.shootdown().map(|shootdown| shootdown.event) {
                    self.select(event);
                }
            }
            Pane::Targets => {
                let count = self.shootdown().map_or(0, |shootdown| shootdown.targets.len());
                self.ipis.targets.move_by(motion, count, page);
                self.go_to_target();
            }
            Pane::Matrix => {
                let size = self.matrix_size();
                let row = motion.apply(self.ipis.cell.0 as u64, size as u64, u64::from(page));
                self.ipis.cell.0 = usize::try_from(row).unwrap_or(0);
            }
            _ => {}
        }
    }

    /// Moves in the matrix to another target.
    pub(super) fn move_in_matrix(&mut self, right: bool) {
        let last = self.matrix_size().saturating_sub(1);
        let column = &mut self.ipis.cell.1;
        *column = if right { (*column + 1).min(last) } else { column.saturating_sub(1) };
    }

    /// Opens what is selected in one of the view's panes.
    pub(super) fn open_in_ipis(&mut self, pane: Pane) {
        match pane {
            Pane::Shootdowns => {
                self.select_slowest_target();
                self.go_to_target();
                self.focus(Pane::Targets);
            }
            Pane::Targets => {
                self.go_to_target();
                self.show_conversation();
            }
            Pane::Matrix => {
                if let Some((from, to)) = self.matrix_cell(self.matrix_size()) {
                    self.list_only(&format!(
                        "kind == ipi-accepted and ipi.sender == {from} and vcpu == {to}"
                    ));
                }
            }
            _ => {}
        }
    }

    fn select_slowest_target(&mut self) {
        let Some(shootdown) = self.shootdown() else { return };
        let slowest = shootdown.slowest().map(|slowest| slowest.vcpu);
        let row = shootdown.targets.iter().position(|target| Some(target.vcpu) == slowest);
        self.ipis.targets.select(row.unwrap_or(0));
    }

    /// Moves the cursor to what the selected target did last: its EOI, or at least its taking the IPI.
    fn go_to_target(&mut self) {
        let (Some(shootdown), Some(target)) = (self.shootdown(), self.target()) else { return };
        if target.accept_ns.is_none() && target.eoi_ns.is_none() {
            return;
        }
        let (first, vector, initiator) = (shootdown.event, shootdown.vector, shootdown.initiator);
        let wanted = |payload: &Payload| match payload {
            Payload::IpiEoi(eoi) => {
                target.eoi_ns.is_some() && (eoi.vector, eoi.sender) == (vector, initiator)
            }
            Payload::IpiAccepted(accepted) => {
                target.eoi_ns.is_none() && (accepted.vector, accepted.sender) == (vector, initiator)
            }
            _ => false,
        };
        // It is there: the report was made of it.
        let found = self.reader.forward(first).find_map(|found| match found {
            Ok((number, event)) => {
                (event.vcpu == target.vcpu && wanted(&event.payload)).then_some(Ok(number))
            }
            Err(error) => Some(Err(error)),
        });
        match found {
            Some(Ok(number)) => self.select(number),
            Some(Err(error)) => self.complain(&error),
            None => {}
        }
    }

    /// Shows the selected conversation in the timeline, with something before and after it.
    fn show_conversation(&mut self) {
        let Some(shootdown) = self.shootdown() else { return };
        let last = shootdown.targets.iter().filter_map(|target| target.eoi_ns.or(target.accept_ns)).max();
        let (start, length) = (shootdown.time, last.unwrap_or(0).max(1));
        let before = length / 8;
        let view = strip::View {
            start: start.saturating_sub(before),
            span: length.saturating_add(2 * before).max(100),
        };
        self.zoom = Zoom::Part(view);
        self.show(View::Timeline);
    }

    /// Scrolls the lists as far as they must be for what is selected to be seen.
    pub(super) fn scroll_ipis(&mut self) {
        let Some(panes) = self.panes() else { return };
        let rows = |pane, heads| panes.rows(pane).saturating_sub(heads);
        let count = self.shootdowns().len();
        self.ipis.shootdowns.show(count, rows(Pane::Shootdowns, 1));
        let count = self.shootdown().map_or(0, |shootdown| shootdown.targets.len());
        self.ipis.targets.show(count, rows(Pane::Targets, 1));
    }
}
