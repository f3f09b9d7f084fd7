//! What a command asks for, and its arguments.

use trace_format::filter::Filter;

use super::condition;

/// The most events that are shown at once, and how many without a number.
const EVENTS: (u64, u64) = (1000, 10);
/// The most bytes, likewise.
const BYTES: (u64, u64) = (4096, 64);

/// What is asked for.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(all(feature = "live", target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "a trace has no use for all of it")
)]
pub(crate) enum Request {
    /// Of all commands, or of one.
    Help(String),
    /// Why something was refused.
    Why,
    /// What each vCPU does.
    Vcpus,
    /// Statistics.
    Exits,
    /// Statistics.
    Traps,
    /// Statistics.
    Ipis,
    /// Statistics.
    Shootdowns,
    /// So many of the last events.
    Events(u64),
    /// The last event.
    TraceAt,
    /// A mark in the trace.
    Mark(String),
    /// The translation of a gva.
    Walk(u64),
    /// Guest physical memory.
    #[allow(missing_docs)]
    Phys { gpa: u64, count: usize },
    /// Interrupt controllers.
    Irqs,
    /// What events are stopped at.
    BreakOn(Change<Filter>),
    /// The address spaces of breakpoints: at a gva, or all.
    #[allow(missing_docs)]
    Scope { gva: u64, on: bool },
    /// Which there are.
    Scopes,
    /// Whether steps take interrupts.
    StepIrqs(Change<()>),
    /// A new beginning.
    Reset,
}

/// What becomes of a setting.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(all(feature = "live", target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "a trace has no settings")
)]
pub(crate) enum Change<T> {
    /// It is only asked for.
    Show,
    /// It is switched off.
    Off,
    /// It is switched on.
    On(T),
}

/// A request, or what is wrong with its arguments; `None` if the usage says it.
type Parsed = Result<Request, Option<String>>;

/// A command without arguments.
pub(super) fn alone(text: &str, request: Request) -> Parsed {
    if text.is_empty() { Ok(request) } else { Err(None) }
}

pub(super) fn events(text: &str) -> Parsed {
    let (most, usual) = EVENTS;
    let count = if text.is_empty() { usual } else { number(text)? };
    Ok(Request::Events(count.clamp(1, most)))
}

pub(super) fn mark(text: &str) -> Parsed {
    if text.is_empty() { Err(None) } else { Ok(Request::Mark(text.to_owned())) }
}

pub(super) fn walk(text: &str) -> Parsed {
    if text.is_empty() { Err(None) } else { Ok(Request::Walk(number(text)?)) }
}

pub(super) fn phys(text: &str) -> Parsed {
    let (most, usual) = BYTES;
    let words: Vec<&str> = text.split_whitespace().collect();
    let (gpa, count) = match words.as_slice() {
        [gpa] => (number(gpa)?, usual),
        [gpa, count] => (number(gpa)?, number(count)?),
        _ => return Err(None),
    };
    let count = usize::try_from(count.clamp(1, most)).map_err(|_| None)?;
    Ok(Request::Phys { gpa, count })
}

pub(super) fn scope(text: &str) -> Parsed {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(Request::Scopes),
        [gva] => Ok(Request::Scope { gva: number(gva)?, on: true }),
        [gva, "off"] => Ok(Request::Scope { gva: number(gva)?, on: false }),
        _ => Err(None),
    }
}

pub(super) fn step_irqs(text: &str) -> Parsed {
    Ok(Request::StepIrqs(match text {
        "" => Change::Show,
        "on" => Change::On(()),
        "off" => Change::Off,
        _ => return Err(None),
    }))
}

pub(super) fn break_on(text: &str) -> Parsed {
    Ok(Request::BreakOn(match text {
        "" => Change::Show,
        "off" => Change::Off,
        filter => Change::On(condition::parse(filter).map_err(|error| Some(error.to_string()))?),
    }))
}

/// Decimal, or hexadecimal with `0x`.
fn number(text: &str) -> Result<u64, Option<String>> {
    let parsed = match text.strip_prefix("0x") {
        // Not with a sign.
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| Some(format!("'{text}' is no number, such as 4096 or 0x1000; with what GDB knows: eval \"monitor ... %#lx\", $pc")))
}
