//! A page-table walk, drawn as its levels.
//!
//! ```text
//! PML4[511]     @0x0000_1ff8 = 0x0000_2003  P W
//! └ PDPT[510]   @0x0000_2ff0 = 0x0000_3003  P W A
//!   └ PD[  3]   @0x0000_3018 = 0x0000_0000  not present
//! ```

use ratatui::text::{Line, Span};
use trace_format::event::{Access, Level, PagingMode, Permissions, Walk, WalkCause, WalkOutcome};

use super::fields::{Fields, address};
use super::text;
use crate::model::entry::{
    ACCESSED, CACHE_DISABLE, DIRTY, EXECUTE_DISABLE, GLOBAL, PAGE_SIZE, PRESENT, USER, WRITE, WRITE_THROUGH,
};

pub(super) fn show(fields: &mut Fields<'_>, walk: &Walk) {
    fields.field(
        "because",
        match walk.cause {
            WalkCause::PageFault => "the guest took a page fault",
            WalkCause::Probe => "a probe needed the address",
            WalkCause::Debugger => "a debugger asked",
            WalkCause::User => "a user asked",
        },
    );
    fields.field("gva", address(walk.gva));
    fields.field("access", access(walk.access));
    fields.field("paging", format!("{}, cr3 {}", walk.mode.name(), address(walk.cr3)));
    let faulting = match walk.outcome {
        WalkOutcome::Fault { level, .. } => Some(level),
        WalkOutcome::Mapped { .. } => None,
    };
    for (depth, level) in walk.levels.iter().enumerate() {
        self::level(fields, walk, depth, level, faulting == Some(level.level));
    }
    match &walk.outcome {
        WalkOutcome::Mapped { gpa, page_size, permissions, host } => {
            let good = fields.theme().good();
            fields.styled(
                "mapped to",
                format!("{} (gpa), {} page", address(*gpa), text::bytes(*page_size)),
                good,
            );
            fields.field("all levels", self::permissions(permissions));
            if let Some(host) = host {
                let resident = match host.resident {
                    Some(true) => ", resident",
                    Some(false) => ", not resident",
                    None => "",
                };
                fields.field("host", format!("{} (hva){resident}", address(host.hva)));
                if let Some(frame) = host.frame {
                    fields.hex("host frame", frame);
                }
            }
        }
        WalkOutcome::Fault { level, reason, error_code } => {
            let at =
                if *level == 0 { String::new() } else { format!(" at the {}", table(walk.mode, *level)) };
            let bad = fields.theme().bad();
            fields.styled("fault", format!("{}{at}", reason.name()), bad);
            fields.field(
                "error code",
                format!("{error_code:#x}: {}", self::error_code(u64::from(*error_code))),
            );
        }
    }
}

fn level(fields: &mut Fields<'_>, walk: &Walk, depth: usize, level: &Level, at_fault: bool) {
    let theme = fields.theme();
    let name = match index(walk.mode, level.level, walk.gva) {
        Some(index) => format!("{}[{index:>3}]", table(walk.mode, level.level)),
        None => format!("level {}", level.level),
    };
    let branch = if depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(depth - 1)) };
    let style = if at_fault { theme.bad() } else { theme.name() };
    fields.line(Line::from(vec![
        Span::styled(branch.clone(), theme.dim()),
        Span::styled(name, style),
        Span::styled(format!(" @{}", address(level.entry_gpa)), theme.dim()),
    ]));
    let indent = " ".repeat(branch.chars().count() + 2);
    let mark = if at_fault { "  ✗" } else { "" };
    fields.line(Line::from(vec![
        Span::raw(format!("{indent}{}", entry(level.level, level.entry))),
        Span::styled(mark, theme.bad()),
    ]));
}

/// An entry's value and its flags in words.
pub(crate) fn entry(level: u8, entry: u64) -> String {
    let leaf = level == 1 || entry & PAGE_SIZE != 0;
    let flags = [
        (entry & PRESENT != 0, "P"),
        (entry & WRITE != 0, "W"),
        (entry & USER != 0, "U"),
        (entry & WRITE_THROUGH != 0, "PWT"),
        (entry & CACHE_DISABLE != 0, "PCD"),
        (entry & ACCESSED != 0, "A"),
        (leaf && entry & DIRTY != 0, "D"),
        (level > 1 && entry & PAGE_SIZE != 0, "PS"),
        (leaf && entry & GLOBAL != 0, "G"),
        (entry & EXECUTE_DISABLE != 0, "XD"),
    ];
    if entry & PRESENT == 0 {
        return format!("{} not present", address(entry));
    }
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    format!("{} {}", address(entry), flags.join(" "))
}

/// A page fault's error code in words (SDM vol. 3, 5.7).
pub(crate) fn error_code(code: u64) -> String {
    let mut words = vec![
        if code & 1 == 0 { "not present" } else { "protection" },
        if code & 1 << 4 != 0 {
            "fetch"
        } else if code & 1 << 1 != 0 {
            "write"
        } else {
            "read"
        },
        if code & 1 << 2 == 0 { "supervisor" } else { "user" },
    ];
    for (bit, name) in [(3, "reserved bit"), (5, "protection key"), (6, "shadow stack"), (15, "SGX")] {
        if code & 1 << bit != 0 {
            words.push(name);
        }
    }
    words.join(", ")
}

/// An access in words.
pub(crate) fn access(access: Access) -> String {
    let what = match (access.execute, access.write) {
        (true, _) => "fetch",
        (false, true) => "write",
        (false, false) => "read",
    };
    let who = if access.user { "user" } else { "supervisor" };
    let exempt = if access.smap_exempt { ", not stopped by SMAP" } else { "" };
    format!("{what} by {who}{exempt}")
}

/// What all levels permit together, in words.
pub(crate) fn permissions(permissions: &Permissions) -> String {
    let flags = [
        (permissions.write, "writable"),
        (permissions.user, "user"),
        (permissions.execute, "executable"),
        (permissions.accessed, "accessed"),
        (permissions.dirty, "dirty"),
        (permissions.global, "global"),
    ];
    words(&flags, "read-only, supervisor")
}

fn words(flags: &[(bool, &str)], none: &str) -> String {
    let set: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    if set.is_empty() { none.to_owned() } else { set.join(", ") }
}

/// The manual's name for a table of `level`.
pub(crate) const fn table(mode: PagingMode, level: u8) -> &'static str {
    match (mode, level) {
        (_, 5) => "PML5",
        (_, 4) => "PML4",
        (_, 3) => "PDPT",
        (_, 2) => "PD",
        (_, 1) => "PT",
        _ => "table",
    }
}

/// Which entry of the table `gva` selects (SDM vol. 3, 5.3 to 5.5).
pub(crate) fn index(mode: PagingMode, level: u8, gva: u64) -> Option<u64> {
    let level = u32::from(level);
    match mode {
        PagingMode::Off => None,
        PagingMode::Bits32 => (1..=2).contains(&level).then(|| gva >> (12 + 10 * (level - 1)) & 0x3ff),
        PagingMode::Pae if level == 3 => Some(gva >> 30 & 3),
        PagingMode::Pae | PagingMode::FourLevel | PagingMode::FiveLevel => {
            (1..=5).contains(&level).then(|| gva >> (12 + 9 * (level - 1)) & 0x1ff)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_those_of_the_mode() {
        let gva = 0xffff_ff80_4020_1000;
        let four: Vec<_> = (1..=4).map(|level| index(PagingMode::FourLevel, level, gva)).collect();
        assert_eq!(four, [Some(1), Some(1), Some(1), Some(511)]);
        assert_eq!(index(PagingMode::Bits32, 2, 0xffc0_1000), Some(1023));
        assert_eq!(index(PagingMode::Bits32, 1, 0xffc0_1000), Some(1));
        assert_eq!(index(PagingMode::Pae, 3, 0xc000_0000), Some(3));
        assert_eq!(index(PagingMode::FourLevel, 200, gva), None);
    }

    #[test]
    fn flags_are_shown_where_they_mean_something() {
        assert_eq!(entry(1, 0x8000_0000_0000_2067), "0x8000_0000_0000_2067 P W U A D XD");
        assert_eq!(entry(4, 0x2067), "0x0000_2067 P W U A", "a table is not dirty");
        assert_eq!(entry(2, 0x20_00e3), "0x0020_00e3 P W A D PS");
        assert_eq!(entry(1, 0), "0x0000_0000 not present");
        assert_eq!(error_code(0x6), "not present, write, user");
        assert_eq!(error_code(0x15), "protection, fetch, user");
    }
}
