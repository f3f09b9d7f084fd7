//! Histograms: a bar for each bucket of times.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::app::{App, Pane};
use crate::model::histogram::Measured;

/// The ends of bars.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// The part `count` of `most` as a bar that is `room` columns long at most. Something is seen of whatever there is.
pub(super) fn bar(count: u64, most: u64, room: usize) -> String {
    let eighths = (u128::from(count) * room as u128 * 8).div_ceil(u128::from(most.max(1)));
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).min(room * 8);
    format!("{}{}", EIGHTHS[8].repeat(eighths / 8), EIGHTHS[eighths % 8])
}

pub(super) fn draw(app: &App, pane: Pane, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let Some(histogram) = app.histogram(pane) else {
        return super::nothing(app, "nothing was measured", area, buffer);
    };
    let buckets = histogram.buckets();
    let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
    let room = usize::from(area.width).saturating_sub(22);
    let list = app.bucket_list(pane);
    let selected = list.selected(buckets.len());
    for (row, (n, bucket)) in area.rows().zip(buckets.iter().enumerate().skip(list.first())) {
        let bar = bar(bucket.count, most, room);
        Line::from(vec![
            Span::raw(format!(" {:>9} ", text::duration(bucket.low))),
            Span::styled(format!("{bar:<room$}"), theme.good()),
            Span::raw(format!("{:>10}", text::count(bucket.count))),
        ])
        .render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, theme.selected());
        }
    }
}

/// What it is about, for the lower border.
pub(super) fn about(app: &App, pane: Pane) -> Line<'static> {
    let Some(measured) = app.measured(pane) else { return Line::default() };
    let what = match measured {
        Measured::Guest(reason) => format!("time in the guest before {reason}"),
        Measured::Handling(reason) => format!("handling {reason}"),
        Measured::Handler(vector) => format!("in the handler of {}", super::vector(vector)),
        Measured::Accepted(vector) => format!("ICR write to acceptance, vector {vector:#04x}"),
        Measured::Acknowledged(vector) => format!("ICR write to EOI, vector {vector:#04x}"),
    };
    Line::from(format!(" {what} ")).right_aligned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_parts_of_the_room() {
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 4), "██");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(0, 0, 4), "");
        assert_eq!(bar(u64::MAX, 1, 4), "████");
    }
}
