//! Events for people and for other programs.
//!
//! ```
//! # use trace_format::{Event, Header, Payload, event::{Exit, ExitReason}};
//! # let header = Header::default();
//! let exit = Exit {
//!     reason: ExitReason::IoOut { port: 0x80, size: 1, count: 1, data: 0x41 },
//!     rip: 0xffff_ffff_8100_0010,
//!     cpl: 0,
//!     guest_ns: 5_500,
//!     handling_ns: 210,
//! };
//! let event = Event { time: 1_000, vcpu: 0, payload: Payload::Exit(exit) };
//! assert_eq!(
//!     event.describe(&header).to_string(),
//!     "io-out 0x80 <- 0x41 at 0xffffffff81000010, 5.50 µs in the guest, handled in 210 ns",
//! );
//! ```
//!
//! Nothing in here passes a byte of the guest or of a trace to a terminal as it is: see [`Escaped`].

pub(crate) mod fields;
mod json;
mod text;

use std::fmt::{self, Write};

pub(crate) use json::Details;
pub use json::Json;

use crate::event::{Event, Kind, MACHINE};
use crate::header::Header;

/// What an event says, as one line of text without time and vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Describe<'a> {
    event: &'a Event,
    header: &'a Header,
}

impl Event {
    /// What the event says, as one line of text without time and vCPU. Addresses of code become symbols of `header`
    /// where it has one.
    #[must_use]
    pub const fn describe<'a>(&'a self, header: &'a Header) -> Describe<'a> {
        Describe { event: self, header }
    }

    /// The event as a JSON object, see [`Json`].
    #[must_use]
    pub const fn json<'a>(&'a self, number: u64, header: &'a Header) -> Json<'a> {
        Json::new(number, self, header)
    }
}

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::payload(&self.event.payload, self.header, f)
    }
}

/// An event as the line that `vmscope events` prints: number, time in seconds, vCPU, kind, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The event's number in the trace.
    pub number: u64,
    /// The event.
    pub event: &'a Event,
    /// For its symbols.
    pub header: &'a Header,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { time, vcpu, payload } = self.event;
        let (seconds, ns) = (time / 1_000_000_000, time % 1_000_000_000);
        write!(f, "{:>8} {seconds:>4}.{ns:09} {:<4} ", self.number, Lane(*vcpu))?;
        write!(f, "{:<8} {}", payload.kind().label(), self.event.describe(self.header))
    }
}

/// A vCPU's name: `cpu0`, or `vm` for [`MACHINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(pub u8);

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MACHINE => f.pad("vm"),
            vcpu => f.pad(&format!("cpu{vcpu}")),
        }
    }
}

impl Kind {
    /// A name of at most eight characters, for columns. [`Kind::name`] is the one for filters and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Data => "data",
            Self::Trap => "trap",
            Self::TrapReturn => "return",
            Self::Walk => "walk",
            Self::PageTableWrite => "pt-write",
            Self::AddressSpace => "cr3",
            Self::Ipi => "ipi",
            Self::IpiAccepted => "ipi-acc",
            Self::IpiEoi => "ipi-eoi",
            Self::Irq => "irq",
            Self::IrqEoi => "irq-eoi",
            Self::State => "state",
            Self::Reclaim => "reclaim",
            Self::Refault => "refault",
            Self::Console => "console",
            Self::Marker => "marker",
            Self::Counter => "counter",
            Self::Debugger => "debugger",
            Self::Fixup => "fixup",
            Self::Lost => "lost",
            Self::Screen => "screen",
            Self::Slide => "slide",
            Self::Registers => "regs",
        }
    }
}

/// A time span in ns, with three digits and a unit: `210 ns`, `5.50 µs`, `1.20 s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        let (unit, name) = match ns {
            0..1_000 => return f.pad(&format!("{ns} ns")),
            1_000..999_500 => (1_000, "µs"),
            999_500..999_500_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let value = ns as f64 / f64::from(unit);
        let decimals = match value {
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.decimals$} {name}"))
    }
}

/// Text of a guest or a trace, safe to print: control characters, invalid UTF-8 and what else does not print by itself
/// are escaped as in Rust (`\n`, `\u{1b}`, `\xff`).
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\'' | '"' => f.write_char(c)?,
                    _ => c.escape_debug().try_for_each(|c| f.write_char(c))?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// An address of code: `symbol+0x12` or `0xffffffff81000010`.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// Guest virtual address.
    pub address: u64,
    /// For its symbols.
    pub header: &'a Header,
}

impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.header.symbolize(self.address) {
            Some((name, 0)) => write!(f, "{}", Escaped(name.as_bytes())),
            Some((name, offset)) => write!(f, "{}+{offset:#x}", Escaped(name.as_bytes())),
            None => write!(f, "{:#x}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Symbol;

    #[test]
    fn spans() {
        let spans = [0, 999, 1_000, 9_994, 9_996, 99_949, 99_951, 999_499, 999_500, 1_200_000_000, u64::MAX];
        let shown: Vec<_> = spans.iter().map(|&ns| Span(ns).to_string()).collect();
        let expected = [
            "0 ns",
            "999 ns",
            "1.00 µs",
            "9.99 µs",
            "10.0 µs",
            "99.9 µs",
            "100 µs",
            "999 µs",
            "1.00 ms",
            "1.20 s",
            "18446744074 s",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn nothing_reaches_a_terminal_raw() {
        let shown = Escaped(b"it's \x1b[2J\r\n\xff\xc3\xa9\xe2\x80\xae\x7f").to_string();
        assert_eq!(shown, r"it's \u{1b}[2J\r\n\xffé\u{202e}\u{7f}");
    }

    #[test]
    fn code_has_names() {
        let symbol = Symbol { address: 0x1000, size: 0x20, name: "ma\x1bin".into() };
        let header = Header { symbols: vec![symbol].into(), ..Header::default() };
        let shown = [0x1000, 0x1012, 0x1020].map(|address| Code { address, header: &header }.to_string());
        assert_eq!(shown, [r"ma\u{1b}in", r"ma\u{1b}in+0x12", "0x1020"]);
    }
}
