//! Memory: a walk as its levels, the pages that fault most, what an address space maps, and bytes.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::fields::Fields;
use super::histogram::bar;
use super::{text, walk};
use crate::app::App;
use crate::app::memory::{HexRow, Source, SpaceRow};
use crate::model::space::{Change, Stretch};

/// Columns of numbers beside a page's address, and of bars.
const NUMBERS: usize = 18;
const BAR: usize = 8;
/// From this width on a range's last byte is shown beside its first.
const WITH_LAST: u16 = 70;
/// Columns of an address.
const ADDRESS: usize = 18;
/// Rows of bytes that have their characters beside them are at least that wide.
const CHARACTERS: usize = 12;

/// The walk's lines.
pub(super) fn walk_lines(app: &App) -> Vec<Line<'static>> {
    let Some((number, shown)) = app.walk_shown() else {
        let why = "no walk of this vCPU was recorded around here: page faults have one, --traps says which are probed";
        return text::wrap(why, 36).into_iter().map(|line| Line::styled(line, app.theme().dim())).collect();
    };
    let mut fields = Fields::new(app.theme(), app.header());
    if number != app.cursor() {
        let side = if number < app.cursor() { "before" } else { "after" };
        fields.styled(
            "walk",
            format!("#{}, {side} the selected event", text::count(number)),
            app.theme().warning(),
        );
    }
    walk::show(&mut fields, shown);
    fields.lines()
}

/// Lines that it has.
pub(crate) fn walk_height(app: &App) -> u16 {
    u16::try_from(walk_lines(app).len()).unwrap_or(u16::MAX)
}

/// The pages that fault most.
pub(super) fn pages(app: &App, area: Rect, buffer: &mut Buffer) {
    let pages = app.faulting_pages();
    if pages.is_empty() {
        return super::nothing(app, "no page fault was seen", area, buffer);
    }
    // Better a whole address than a bar.
    let width = usize::from(area.width);
    let bars = if width >= ADDRESS + NUMBERS + BAR + 2 { BAR + 1 } else { 0 };
    let names = width.saturating_sub(NUMBERS + bars + 1);
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let head = format!(" {:<names$.names$}{:bars$}{:>9}{:>9}", "page", "", "faults", "share");
        Line::styled(head, app.theme().name()).render(row, buffer);
    }
    let most = pages.iter().map(|page| page.count).max().unwrap_or(1);
    let all = pages.iter().map(|page| page.count).sum::<u64>().max(1);
    let list = app.page_list();
    let selected = list.selected(pages.len());
    for (row, (n, page)) in rows.zip(pages.iter().enumerate().skip(list.first())) {
        let name = page.value.as_deref().map_or("rare ones".into(), text::escape);
        let share = text::percent(page.count as f64 / all as f64);
        let bar = if bars > 0 { format!(" {:<BAR$}", bar(page.count, most, BAR)) } else { String::new() };
        Line::from(vec![
            Span::raw(format!(" {name:<names$.names$}")),
            Span::styled(bar, app.theme().good()),
            Span::raw(format!("{:>9}{share:>9}", text::count(page.count))),
        ])
        .render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, app.theme().selected());
        }
    }
}

/// Why there is nothing else.
fn explain(app: &App, why: &str, area: Rect, buffer: &mut Buffer) {
    for (row, line) in area.rows().zip(text::wrap(why, usize::from(area.width).saturating_sub(1))) {
        Line::styled(format!(" {line}"), app.theme().dim()).render(row, buffer);
    }
}

/// What an address space maps.
pub(super) fn space(app: &App, area: Rect, buffer: &mut Buffer) {
    let rows = app.space_rows();
    let Some(listed) = app.space_listed() else {
        return super::nothing(app, "no address space is known: none was walked", area, buffer);
    };
    if rows.is_empty() {
        let why = match (listed.changes, listed.source) {
            _ if listed.all > 0 => "no range has these flags",
            (_, Source::Tables { paging: false }) => "paging is off: every address is mapped to itself",
            (true, Source::Walks(_)) if !listed.compared => {
                "a range of time has changes: x begins one, x ends it; d lists what is mapped"
            }
            (true, Source::Tables { .. }) if !listed.compared => {
                "this address space was not looked at when the guest stopped before; d lists what is mapped"
            }
            (true, _) => "nothing has changed; d lists what is mapped",
            (false, Source::Walks(_)) => "nothing is known to be mapped",
            (false, Source::Tables { .. }) => "these tables map nothing",
        };
        return explain(app, why, area, buffer);
    }
    let mut lines = area.rows();
    if let Some(line) = lines.next() {
        let last = if area.width >= WITH_LAST { format!(" - {:<16}", "last") } else { String::new() };
        let head = format!(" {:<16}{last} {:<5} {:>8} {:>5} gpa", "gva", "flags", "bytes", "pages");
        Line::styled(head, app.theme().name()).render(line, buffer);
    }
    let list = app.space_list();
    let selected = list.selected(rows.len());
    for (line, (n, row)) in lines.zip(rows.iter().enumerate().skip(list.first())) {
        space_line(app, row, area.width).render(line, buffer);
        if Some(n) == selected {
            buffer.set_style(line, app.theme().selected());
        }
    }
}

fn space_line(app: &App, row: &SpaceRow, width: u16) -> Line<'static> {
    let theme = app.theme();
    let (mark, style, stretch, was) = match row {
        SpaceRow::Is(stretch) => (" ", Style::new(), stretch, None),
        SpaceRow::Changed(Change::New(stretch)) => ("+", theme.good(), stretch, None),
        SpaceRow::Changed(Change::Gone(stretch)) => ("-", theme.bad(), stretch, None),
        SpaceRow::Changed(Change::Other(old, new)) => ("~", theme.warning(), new, Some(old)),
    };
    let was = was.map(|old| {
        let gpa = if old.gpa == stretch.gpa { String::new() } else { format!(" at {:x}", old.gpa) };
        format!("  was {}{gpa}", flags(old))
    });
    let last = if width >= WITH_LAST { format!(" - {:016x}", stretch.last) } else { String::new() };
    let rest = format!(
        "{:016x}{last} {} {:>8} {:>5} {:x}",
        stretch.gva,
        flags(stretch),
        text::bytes(stretch.length()),
        text::bytes(stretch.page_size).replace(' ', ""),
        stretch.gpa
    );
    Line::from(vec![
        Span::styled(mark, style),
        Span::styled(rest, style),
        Span::styled(was.unwrap_or_default(), theme.dim()),
    ])
}

/// `rwxug`, with `-` for what is not.
fn flags(stretch: &Stretch) -> String {
    let rights = stretch.rights;
    [(true, 'r'), (rights.write, 'w'), (rights.execute, 'x'), (rights.user, 'u'), (rights.global, 'g')]
        .map(|(set, flag)| if set { flag } else { '-' })
        .iter()
        .collect()
}

/// Which space is listed, for the upper border.
pub(super) fn which_space(app: &App) -> Line<'static> {
    let Some(listed) = app.space_listed() else { return Line::default() };
    let mut title = format!(" cr3 {:x} ", listed.table);
    if let Some((at, all)) = listed.place {
        let _ = write!(title, "({at} of {all}) ");
    }
    if !app.space_flags().is_empty() {
        let _ = write!(title, "with {} ", app.space_flags());
    }
    if listed.changes {
        title.push_str("changes ");
    }
    Line::styled(title, app.theme().warning())
}

/// Where it is known from, for the lower border.
pub(super) fn space_source(app: &App) -> Line<'static> {
    let Some(listed) = app.space_listed() else { return Line::default() };
    let source = match listed.source {
        Source::Walks(walks) => format!("known from {} walks", text::count(walks)),
        Source::Tables { .. } => "the guest's tables".to_owned(),
    };
    let more = if listed.more { ", and more that is not listed" } else { "" };
    let shown = app.space_rows().len();
    let count = if shown == listed.all {
        text::count(shown as u64)
    } else {
        format!("{} of {}", text::count(shown as u64), text::count(listed.all as u64))
    };
    let ranges = if listed.all == 1 { "range" } else { "ranges" };
    Line::styled(format!(" {count} {ranges}, {source}{more} "), app.theme().dim()).right_aligned()
}

/// The bytes of guest memory.
pub(super) fn hex(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(hex) = app.hex() else {
        return explain(app, app.no_hex(), area, buffer);
    };
    if !hex.now && hex.rows.iter().all(|row| row.bytes.iter().all(Option::is_none)) {
        let why =
            "the trace does not tell what is there: a paused guest does, and an image what it may not write";
        return explain(app, why, area, buffer);
    }
    for (line, row) in area.rows().zip(&hex.rows) {
        hex_line(app, row, area.width).render(line, buffer);
    }
}

fn hex_line(app: &App, row: &HexRow, width: u16) -> Line<'static> {
    let theme = app.theme();
    let mut spans = vec![Span::styled(format!("{:016x}", row.address), theme.dim())];
    // Without colours it is told of the row what has changed.
    let changed = row.bytes.iter().flatten().any(|(_, changed)| *changed);
    let first = if changed && !theme.has_color() { "*" } else { " " };
    for (n, byte) in row.bytes.iter().enumerate() {
        let space = if n == 0 { first } else { " " };
        let space = if n % 2 == 0 { space } else { "" };
        spans.push(match byte {
            Some((byte, true)) => Span::styled(format!("{space}{byte:02x}"), theme.warning()),
            Some((byte, false)) => Span::raw(format!("{space}{byte:02x}")),
            None => Span::styled(format!("{space}··"), theme.dim()),
        });
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let character = |byte: &Option<(u8, bool)>| match byte {
        Some((byte, _)) if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte),
        Some(_) => '.',
        None => ' ',
    };
    let room = usize::from(width).saturating_sub(used);
    if room > row.bytes.len() || (room > CHARACTERS.min(row.bytes.len())) {
        let characters: String = row.bytes.iter().map(character).collect();
        spans.push(Span::styled(format!(" {characters}"), theme.good()));
    }
    Line::from(spans)
}

/// What the bytes are of, for the lower border.
pub(super) fn hex_place(app: &App) -> Line<'static> {
    use crate::app::memory::At;
    let Some(hex) = app.hex() else { return Line::default() };
    let place = match hex.at {
        At::Virtual(gva) => app.name_of(gva),
        At::Physical(gpa) => format!("gpa {gpa:#x}"),
    };
    let when = if hex.now { "now" } else { "as recorded" };
    Line::styled(format!(" {place}, {when} "), app.theme().dim()).right_aligned()
}
