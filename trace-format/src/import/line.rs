//! A line of a recording: who, when, which event; and the lines around events.

use std::sync::LazyLock;

use arrayvec::ArrayVec;
use regex::bytes::{Captures, Regex};

use super::Format;

/// An event of any subsystem as it is in a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) thread: Thread,
    pub(super) name: Name,
    /// On the recording's clock, ns.
    pub(super) time: u64,
    /// Without its subsystem.
    pub(super) event: &'a [u8],
    pub(super) body: &'a [u8],
}

/// What tells a thread from others: its number, or the CPU that it was on where the line has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thread {
    Number(u64),
    OnCpu(u32),
    Unknown,
}

/// A thread's name, which Linux cuts to 15 bytes.
pub(super) type Name = ArrayVec<u8, 16>;

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Event(Line<'a>),
    /// So many events were not recorded here.
    Lost(u64),
    /// Something that belongs to a recording and is no event: what kind of thing.
    Other(&'static str),
    Unknown,
}

/// Tells what `line` is, and in which format if it is an event. With a `format` events in others are unknown.
pub(super) fn parse(line: &[u8], format: Option<Format>) -> (Kind<'_>, Option<Format>) {
    for each in [Format::PerfScript, Format::TraceCmd] {
        if format.is_none_or(|format| format == each)
            && let Some(event) = pattern(each).captures(line).and_then(|found| event(&found))
        {
            return (Kind::Event(event), Some(each));
        }
    }
    let number = |found: &Captures<'_>| std::str::from_utf8(found.get(1)?.as_bytes()).ok()?.parse().ok();
    if let Some(count) = LOST.captures(line).and_then(|found| number(&found)) {
        return (Kind::Lost(count), None);
    }
    let other = if BLANK.is_match(line) {
        "empty lines and comments"
    } else if HEADING.is_match(line) {
        "headings"
    } else if CALL.is_match(line) {
        "call chains"
    } else {
        return (Kind::Unknown, None);
    };
    (Kind::Other(other), None)
}

fn event<'a>(found: &Captures<'a>) -> Option<Line<'a>> {
    let text = |name| found.name(name).map(|part| part.as_bytes());
    let decimal = |name| std::str::from_utf8(text(name)?).ok();
    let thread = match (decimal("tid").and_then(|tid| tid.parse().ok()), decimal("cpu")) {
        (Some(tid), _) => Thread::Number(tid),
        (None, Some(cpu)) => Thread::OnCpu(cpu.parse().ok()?),
        (None, None) => Thread::Unknown,
    };
    // Digits behind the point are as many as the recording has.
    let (seconds, fraction) = (decimal("seconds")?, decimal("fraction")?);
    let scale = 10_u64.checked_pow(9_u32.checked_sub(fraction.len() as u32)?)?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(scale)?;
    let time = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some(Line {
        thread,
        name: text("comm").unwrap_or_default().iter().copied().take(16).collect(),
        time,
        event: text("event")?,
        body: text("body").unwrap_or_default().trim_ascii(),
    })
}

fn pattern(format: Format) -> &'static Regex {
    match format {
        Format::PerfScript => &PERF,
        Format::TraceCmd => &FTRACE,
    }
}

/// `perf script`: `comm [pid/]tid [cpu] time: [period] system:event: fields`, any of the first four may be missing.
static PERF: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^\s*(?:(?P<comm>[^\s\[].{0,31}?)\s+)??(?:(?:\d+/)?(?P<tid>\d+)\s+)?(?:\[(?P<cpu>\d+)\]\s+)?
        (?P<seconds>\d+)\.(?P<fraction>\d{1,9}):\s+(?:\d+\s+)?
        [\w-]+:(?P<event>\w+):(?:\s(?P<body>.*))?$",
    )
});

/// `trace-cmd report` and what tracefs gives: `comm-tid [(tgid)] [cpu] [flags] time: event: fields`.
static FTRACE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^\s*(?P<comm>.{0,31}?)-(?P<tid>\d+)\s+(?:\([\s\d-]+\)\s+)?\[(?P<cpu>\d+)\]\s+(?:[\w.\#]{1,8}\s+)?
        (?P<seconds>\d+)\.(?P<fraction>\d{1,9}):\s+
        (?:[\w-]+:)?(?P<event>\w+):(?:\s(?P<body>.*))?$",
    )
});

/// What tracefs and trace-cmd say where a CPU's buffer ran over.
static LOST: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^\s*CPU:?\s*\d+\s+\[(?:LOST\s+)?(\d+)\s+EVENTS(?:\s+DROPPED)?\]\s*$"));
static BLANK: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*(?:\#.*)?$"));
static HEADING: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*(?:cpus\s*=|version\s*=|trace-cmd\s).*$"));
static CALL: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s+[0-9a-f]{4,16}\s.*\(.*\)\s*$"));

/// Compiles one of the patterns above, which are bytes without line ends; spaces in them say nothing.
#[allow(clippy::expect_used, reason = "a constant, which the tests of this module compile")]
fn regex(pattern: &str) -> Regex {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .ignore_whitespace(true)
        .dot_matches_new_line(true)
        .build()
        .expect("a pattern that compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thread, name, time, event, body.
    fn seen(line: &str) -> Option<(Thread, String, u64, String, String)> {
        let (Kind::Event(event), Some(_)) = parse(line.as_bytes(), None) else { return None };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some((event.thread, text(&event.name), event.time, text(event.event), text(event.body)))
    }

    #[test]
    fn lines_of_perf_script_are_known_with_any_of_its_fields() {
        let n = Thread::Number;
        for (head, thread, name) in [
            ("            vcpu  6889 [000] ", n(6889), "vcpu"),
            ("CPU 0/KVM 20100/20110 [003] ", n(20110), "CPU 0/KVM"),
            ("fc_vcpu 0 4321 [002] ", n(4321), "fc_vcpu 0"),
            ("fc_vcpu 1  4321 ", n(4321), "fc_vcpu 1"),
            ("CPU 3/KVM [011] ", Thread::OnCpu(11), "CPU 3/KVM"),
            ("[011] ", Thread::OnCpu(11), ""),
            ("1234 ", n(1234), ""),
            ("", Thread::Unknown, ""),
        ] {
            for period in ["", "          1 "] {
                let line = format!("{head}53771.243596: {period}    kvm:kvm_exit: vcpu 0 reason x");
                let expected = (
                    thread,
                    name.to_owned(),
                    53_771_243_596_000,
                    "kvm_exit".into(),
                    "vcpu 0 reason x".into(),
                );
                assert_eq!(seen(&line), Some(expected), "{line}");
            }
        }
        assert_eq!(seen("a 1 [0] 5.123456789: kvm:kvm_entry: vcpu 0\r").unwrap().2, 5_123_456_789);
        assert_eq!(seen("a 1 [0] 5.1: sched:sched_switch:").unwrap().3, "sched_switch");
    }

    #[test]
    fn lines_of_ftrace_are_known_with_any_of_its_columns() {
        for (head, tid, name) in [
            ("       vmscope-d-125     [000] d..1.    ", 125, "vmscope-d"),
            ("       CPU 1/KVM-1289    [019] ", 1289, "CPU 1/KVM"),
            ("           <...>-77      (     55) [001] .N... ", 77, "<...>"),
            (" a-b-12-3 (-------) [001] d..h2.. ", 3, "a-b-12"),
        ] {
            let line = format!("{head}10.319829: kvm_entry:            vcpu 0, rip 0x1 ");
            let expected = (
                Thread::Number(tid),
                name.to_owned(),
                10_319_829_000,
                "kvm_entry".into(),
                "vcpu 0, rip 0x1".into(),
            );
            assert_eq!(seen(&line), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        let kind = |line: &str| format!("{:?}", parse(line.as_bytes(), None).0);
        assert_eq!(kind("CPU:3 [LOST 1234 EVENTS]"), "Lost(1234)");
        assert_eq!(kind("CPU:2 [22 EVENTS DROPPED]"), "Lost(22)");
        assert_eq!(kind("# tracer: nop"), r#"Other("empty lines and comments")"#);
        assert_eq!(kind(""), r#"Other("empty lines and comments")"#);
        assert_eq!(kind("cpus=4"), r#"Other("headings")"#);
        assert_eq!(kind("\tffffffff810a kvm_arch_vcpu_ioctl_run+0x1 ([kernel])"), r#"Other("call chains")"#);
        for line in [
            "nonsense",
            "a 1 [0] 99999999999999999999.1: kvm:kvm_exit: x",
            "a 1 [0] 123: kvm:kvm_exit: x",
            "\u{7f}é",
        ] {
            assert_eq!(kind(line), "Unknown", "{line}");
        }
    }

    #[test]
    fn a_format_that_is_named_is_the_only_one() {
        let perf = b"a 1 [0] 5.1: kvm:kvm_entry: vcpu 0";
        assert_eq!(parse(perf, Some(Format::TraceCmd)).0, Kind::Unknown);
        assert_eq!(parse(perf, None).1, Some(Format::PerfScript));
        assert_eq!(parse(b"a-1 [0] 5.1: kvm_entry: vcpu 0", Some(Format::PerfScript)).0, Kind::Unknown);
    }
}
