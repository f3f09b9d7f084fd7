//! The table of what is measured: exits, handlers, IPIs.

use trace_format::analysis::Quantiles;

use super::App;
use super::action::Motion;
use super::list::List;
use super::view::Pane;
use crate::model::histogram::Measured;

/// The table's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    list: List,
    order: Order,
    /// Of exits the time in the guest before them, not that of their handling.
    guest: bool,
}

/// By which column the table is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As often as it was.
    #[default]
    Count,
    /// By the time of all together.
    Total,
    /// By the 99th percentile.
    P99,
    /// By the longest.
    Max,
    /// By name.
    Name,
}

impl Order {
    const ALL: [Self; 5] = [Self::Count, Self::Total, Self::P99, Self::Max, Self::Name];

    /// The column.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Total => "total",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Name => "name",
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// What is measured.
    pub measured: Measured,
    /// How many.
    pub count: u64,
    /// How many a second.
    pub per_second: f64,
    /// All times together, ns; exact to the precision of a mean.
    pub total_ns: f64,
    /// The times.
    pub times: Option<Quantiles>,
}

impl App {
    /// The table's rows, sorted.
    #[must_use]
    pub fn statistics_rows(&self) -> Vec<Row> {
        let Some(report) = self.report() else { return Vec::new() };
        let seconds = report.duration_ns as f64 / 1e9;
        let row = |name, measured, count: u64, times: Option<Quantiles>| Row {
            name,
            measured,
            count,
            per_second: if seconds > 0.0 { count as f64 / seconds } else { 0.0 },
            total_ns: times.map_or(0.0, |times| times.mean * count as f64),
            times,
        };
        let exits = report.exits.iter().map(|exit| {
            let (measured, times) = if self.table.guest {
                (Measured::Guest(exit.reason), exit.guest_ns)
            } else {
                (Measured::Handling(exit.reason), exit.handling_ns)
            };
            row(format!("exit {}", exit.reason), measured, exit.count, Some(times))
        });
        let traps = report.traps.iter().map(|trap| {
            row(
                format!("trap {}", crate::ui::vector(trap.vector)),
                Measured::Handler(trap.vector),
                trap.count,
                trap.duration_ns,
            )
        });
        let ipis = report.details.shootdowns.iter().map(|vector| {
            let name = match &vector.handler {
                Some(handler) => format!("ipi {:#04x} {handler}", vector.vector),
                None => format!("ipi {:#04x}", vector.vector),
            };
            row(name, Measured::Acknowledged(vector.vector), vector.count, vector.stall_ns)
        });
        let mut rows: Vec<Row> = exits.chain(traps).chain(ipis).collect();
        let time = |row: &Row, of: fn(&Quantiles) -> u64| std::cmp::Reverse(row.times.as_ref().map(of));
        match self.table.order {
            Order::Count => rows.sort_by_key(|row| std::cmp::Reverse(row.count)),
            Order::Total => rows.sort_by(|a, b| b.total_ns.total_cmp(&a.total_ns)),
            Order::P99 => rows.sort_by_key(|row| time(row, |times| times.p99)),
            Order::Max => rows.sort_by_key(|row| time(row, |times| times.max)),
            Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        rows
    }

    /// The table's list.
    #[must_use]
    pub const fn statistics_list(&self) -> List {
        self.table.list
    }

    /// By which column it is sorted.
    #[must_use]
    pub const fn statistics_order(&self) -> Order {
        self.table.order
    }

    /// Of exits the time in the guest before them is shown, not that of their handling.
    #[must_use]
    pub const fn shows_guest_time(&self) -> bool {
        self.table.guest
    }

    /// The selected row.
    #[must_use]
    pub fn statistics_row(&self) -> Option<Row> {
        let mut rows = self.statistics_rows();
        let selected = self.table.list.selected(rows.len())?;
        Some(rows.swap_remove(selected))
    }

    pub(super) fn move_in_statistics(&mut self, motion: Motion, page: u16) {
        let count = self.statistics_rows().len();
        self.table.list.move_by(motion, count, page);
        self.forget_bucket(Pane::Times);
    }

    /// Sorts by the next column; the selected row stays selected.
    pub(super) fn sort_statistics(&mut self) {
        let at = Order::ALL.iter().position(|order| *order == self.table.order).unwrap_or(0);
        self.keep_row(|table| table.order = Order::ALL[(at + 1) % Order::ALL.len()]);
    }

    /// Shows the other of the times of exits.
    pub(super) fn switch_times(&mut self) {
        self.keep_row(|table| table.guest = !table.guest);
        self.forget_bucket(Pane::Times);
    }

    fn keep_row(&mut self, change: impl FnOnce(&mut Table)) {
        let name = self.statistics_row().map(|row| row.name);
        change(&mut self.table);
        let at = self.statistics_rows().iter().position(|row| Some(&row.name) == name.as_ref());
        self.table.list.select(at.unwrap_or(0));
    }

    /// Lists the events of the selected row.
    pub(super) fn open_statistics(&mut self) {
        if let Some(row) = self.statistics_row() {
            self.list_only(&row.measured.events());
        }
    }

    pub(super) fn scroll_statistics(&mut self) {
        let Some(panes) = self.panes() else { return };
        let count = self
            .report()
            .map_or(0, |report| report.exits.len() + report.traps.len() + report.details.shootdowns.len());
        self.table.list.show(count, panes.rows(Pane::Statistics).saturating_sub(1));
    }
}
