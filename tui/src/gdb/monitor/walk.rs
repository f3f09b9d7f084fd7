//! A page-table walk as text.

use trace_format::event::{Walk, WalkOutcome};

use crate::ui::text::bytes;
use crate::ui::walk::{access, entry, error_code, index, permissions, table};

/// The walk, a line for each level.
pub(in crate::gdb) fn text(walk: &Walk) -> String {
    let mut lines = vec![format!(
        "{:#x}, {}: {} paging, cr3 {:#x}",
        walk.gva,
        access(walk.access),
        walk.mode.name(),
        walk.cr3
    )];
    for level in &walk.levels {
        let index = index(walk.mode, level.level, walk.gva).unwrap_or_default();
        let name = format!("{}[{index:>3}]", table(walk.mode, level.level));
        lines.push(format!("{name:<9} @{:#012x} = {}", level.entry_gpa, entry(level.level, level.entry)));
    }
    match &walk.outcome {
        WalkOutcome::Mapped { gpa, page_size, permissions: together, host } => {
            lines.push(format!(
                "mapped to {gpa:#x} (gpa), {} page: {}",
                bytes(*page_size),
                permissions(together)
            ));
            if let Some(host) = host {
                let resident = match host.resident {
                    Some(true) => ", resident",
                    Some(false) => ", not resident",
                    None => "",
                };
                let frame = host.frame.map(|frame| format!(", frame {frame:#x}")).unwrap_or_default();
                lines.push(format!("on the host at {:#x} (hva){resident}{frame}", host.hva));
            }
        }
        WalkOutcome::Fault { level, reason, error_code: code } => {
            let at =
                if *level == 0 { String::new() } else { format!(" at the {}", table(walk.mode, *level)) };
            lines.push(format!(
                "fault: {}{at}; error code {code:#x}: {}",
                reason.name(),
                error_code(u64::from(*code))
            ));
        }
    }
    lines.join("\n")
}
