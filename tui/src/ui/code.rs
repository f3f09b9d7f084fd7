//! Code around where a vCPU was, and its registers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use trace_format::event::Registers;

use super::text;
use crate::app::App;
use crate::app::code::{At, Row, Shown, When};
use crate::guest::Machine;
use crate::model::code::Line as Instruction;
use crate::model::sources::SourceLine;

/// From this width on an instruction's bytes are shown.
const WITH_BYTES: u16 = 80;
/// Columns that they have: eight bytes.
const BYTES: usize = 17;

/// The listing: where the vCPU is marked `>`, breakpoints `*`.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let rows = app.code_rows();
    if rows.is_empty() {
        for (row, line) in area.rows().zip(text::wrap(app.no_code(), usize::from(area.width))) {
            Line::styled(line, app.theme().dim()).render(row, buffer);
        }
        return;
    }
    let list = app.code_list();
    let selected = list.selected(rows.len());
    for (area, (n, row)) in area.rows().zip(rows.iter().enumerate().skip(list.first())) {
        match row {
            Row::Label(name) => {
                Line::styled(format!("{name}:"), app.theme().good()).render(area, buffer);
            }
            Row::Source(source) => source_line(app, source).render(area, buffer),
            Row::Code(line) => instruction(app, line, area.width).render(area, buffer),
        }
        if Some(n) == selected {
            buffer.set_style(area, app.theme().selected());
        }
    }
}

/// A line of the source: the file's name, its number, and what it says if that is known.
fn source_line(app: &App, source: &SourceLine) -> Line<'static> {
    let name = source.file.rsplit('/').next().unwrap_or(&source.file);
    let place = format!("   {}:{}", text::escape(name), source.line);
    let text = source.text.as_deref().map(|text| text::escape(text.trim()).into_owned());
    Line::from(vec![
        Span::styled(place, app.theme().name()),
        Span::styled(format!("  {}", text.unwrap_or_default()), Style::new().add_modifier(Modifier::ITALIC)),
    ])
}

fn instruction(app: &App, line: &Instruction, width: u16) -> Line<'static> {
    let theme = app.theme();
    let here = app.code_at().is_some_and(|at| at.rip == line.gva);
    let stops = app.breakpoints().contains(&line.gva);
    let mut spans = vec![
        Span::styled(if here { ">" } else { " " }, theme.warning()),
        Span::styled(if stops { "* " } else { "  " }, theme.bad()),
        Span::styled(format!("{:>8x}  ", line.gva), theme.dim()),
    ];
    if width >= WITH_BYTES {
        let mut bytes: String = line.bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        if line.bytes.len() > 8 {
            bytes.push('+');
        }
        spans.push(Span::styled(format!("{bytes:<BYTES$} "), theme.dim()));
    }
    let style = if here { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let named = line.target.and_then(|target| app.header().symbolize(target));
    let name = named.map(|(name, offset)| match offset {
        0 => text::escape(name).into_owned(),
        _ => format!("{}+{offset:#x}", text::escape(name)),
    });
    // The name of code instead of its address, that of data behind the instruction.
    let (text, name) = match (line.text.rsplit_once(' '), name) {
        (Some((operation, _)), Some(name)) if line.branches => (format!("{operation} "), name),
        (_, Some(name)) => (format!("{}  ", line.text), name),
        (_, None) => (line.text.clone(), String::new()),
    };
    spans.extend([Span::styled(text, style), Span::styled(name, theme.good())]);
    Line::from(spans)
}

/// Where the vCPU is, for the lower border.
pub(super) fn place(app: &App) -> Line<'static> {
    let Some(At { vcpu, rip, when, bits }) = app.code_at() else { return Line::default() };
    let when = match when {
        When::Now => "is at".to_owned(),
        When::Then => "was at".to_owned(),
        When::Later(number) => format!("at #{} is at", text::count(number)),
    };
    let bits = match bits {
        Some(64) => String::new(),
        Some(bits) => format!(", {bits}-bit code"),
        None => ", taken for 64-bit code".to_owned(),
    };
    Line::styled(format!(" cpu{vcpu} {when} {}{bits} ", app.name_of(rip)), app.theme().dim()).right_aligned()
}

/// Lines that the registers have.
pub(crate) fn height(app: &App) -> u16 {
    u16::try_from(registers(app).len()).unwrap_or(u16::MAX)
}

/// The registers; what has changed is marked `*`.
pub(super) fn registers(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme();
    let Some(Shown { now, before, .. }) = app.registers_shown() else {
        let why = match app.machine() {
            _ if app.summary().has_registers => "none of this vCPU were recorded up to here",
            Some(Machine::Running | Machine::Paused { .. }) => {
                "not known here: pause the guest, or record with --registers"
            }
            None | Some(Machine::Stopped { .. }) => "no registers were recorded: record with --registers",
        };
        return text::wrap(why, 24).into_iter().map(|line| Line::styled(line, theme.dim())).collect();
    };
    let before = before.as_ref().map(Registers::values);
    let values = Registers::NAMES.into_iter().zip(now.values()).enumerate();
    values
        .map(|(n, (name, value))| {
            let changed = before.is_some_and(|before| before[n] != value);
            let (mark, style) = if changed { ("*", theme.warning()) } else { (" ", Style::new()) };
            Line::from(vec![
                Span::styled(mark, style),
                Span::styled(format!("{name:<7} "), theme.name()),
                Span::styled(format!("{value:x}"), style),
            ])
        })
        .collect()
}

/// Of which event they are, for the lower border.
pub(super) fn stale(app: &App) -> Line<'static> {
    match app.registers_shown().and_then(|shown| shown.stale) {
        Some(number) => {
            Line::styled(format!(" as of #{} ", text::count(number)), app.theme().warning()).right_aligned()
        }
        None => Line::default(),
    }
}
