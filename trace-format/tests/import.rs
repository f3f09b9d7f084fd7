//! Recordings of hosts become traces: real ones with the totals that vmscope recorded of the same runs, made-up ones with
//! what real ones lack, and any bytes at all.
//!
//! `recordings/perf-emulating.txt` is the text of `perf script` on the emulating host of the development machines, where
//! KVM has no kvm_exit; `perf-svm.txt` and `ftrace-svm.txt` are perf's and tracefs' on the SVM host of `tests/hosts` (all but
//! kvm_write_tsc_offset and kvm_unmap_hva_range, and all but some kvm_emulate_insn). `trace-cmd-vmx.txt` is written from
//! the formats in `/sys/kernel/tracing/events/kvm` and of trace-cmd's plugin for KVM: no VMX host with tracepoints could be
//! had.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use trace_format::describe::Line;
use trace_format::event::AddressSpace;
use trace_format::import::{Format, Imported, Source, import};
use trace_format::{Event, Payload, Reader, verify};

fn recording(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The trace of a recording, which must be sound; every line of it must be accounted for.
fn trace(text: &[u8]) -> (Reader, Imported) {
    let source = Source { name: "recording".into(), ..Source::default() };
    let (bytes, found) = import(text, &source, tempfile::tempfile().unwrap(), Vec::new()).unwrap();
    let lines =
        text.split(|&byte| byte == b'\n').count() - usize::from(text.is_empty() || text.ends_with(b"\n"));
    assert_eq!(found.lines, lines as u64);
    let ignored: u64 = found.ignored.values().sum();
    assert_eq!(found.lines, found.imported + ignored + found.late + found.unknown, "{found:?}");
    let mut reader = Reader::from_bytes(bytes).unwrap();
    let verified = verify(&mut reader).unwrap();
    assert!(verified.is_sound() && verified.finished, "{verified:?}");
    assert_eq!(verified.events, found.events);
    (reader, found)
}

fn events(reader: &mut Reader) -> Vec<Event> {
    reader.forward(0).map(|event| event.unwrap().1).collect()
}

/// How often each kind and each exit reason occurs.
fn counts(reader: &mut Reader) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in events(reader) {
        let name = match &event.payload {
            Payload::Exit(exit) => exit.reason.name(),
            other => other.kind().name(),
        };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn expected<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn exits_to_user_space_are_those_that_vmscope_recorded_itself() {
    let (mut reader, found) = trace(recording("perf-emulating.txt").as_bytes());
    assert_eq!((found.format, found.unknown, found.late), (Some(Format::PerfScript), 0, 0));
    // vmscope's own trace of this run: io-out 108, hlt 2, interrupted 2, rdmsr 2, wrmsr 13, 6 probes, which are KVM's internal
    // errors on such a host. The last exit it leaves out: it asked for it to end the run.
    let own = [
        ("hlt", 2),
        ("internal-error", 6),
        ("interrupted", 2),
        ("io-out", 108),
        ("rdmsr", 2),
        ("unknown", 1),
        ("wrmsr", 13),
    ];
    assert_eq!(counts(&mut reader), expected(own));
    let header = reader.header();
    assert_eq!(header.vcpus, 2);
    assert!(header.not_seen.iter().any(|sentence| sentence.contains("no kvm_exit")), "{:?}", header.not_seen);
    assert!(header.host.iter().any(|fact| fact.value.contains("53771.244996000 s")), "{:?}", header.host);
    // Console output, a byte an exit.
    let text: Vec<u8> = events(&mut reader)
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::Exit(exit) => match exit.reason {
                trace_format::event::ExitReason::IoOut { port: 0x3f8, data, .. } => Some(data as u8),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert!(String::from_utf8_lossy(&text).contains("tlb-shootdown"), "{:?}", String::from_utf8_lossy(&text));
}

#[test]
fn exits_of_the_hardware_are_more_than_those_to_user_space() {
    let (mut reader, found) = trace(recording("ftrace-svm.txt").as_bytes());
    assert_eq!((found.format, found.unknown, found.late), (Some(Format::TraceCmd), 0, 0));
    // vmscope's own trace of this run: 106 io-out, 2 more go to KVM's interrupt controller; 10 probes, which are debug
    // exceptions; 6 IPIs. Three of those are vector 0x40 and taken, as the guest counted, the others start a vCPU up.
    let all = [
        ("db-exception", 10),
        ("external-interrupt", 18),
        ("hlt", 2),
        ("io-out", 108),
        ("ipi", 6),
        ("ipi-accepted", 6),
        ("ipi-eoi", 3),
        ("npf", 27),
        ("rdmsr", 2),
        ("read-cr0", 1),
        ("state", 4),
        ("write-cr0", 2),
        ("write-cr4", 1),
        ("wrmsr", 14),
    ];
    assert_eq!(counts(&mut reader), expected(all));
    let (mut reader, found) = trace(recording("perf-svm.txt").as_bytes());
    // The same but for what a warning of perf's own says.
    assert_eq!((found.format, found.unknown), (Some(Format::PerfScript), 2));
    assert!(counts(&mut reader)["npf"] == 13);
}

#[test]
fn every_kind_of_event_has_its_place() {
    let (mut reader, found) = trace(recording("trace-cmd-vmx.txt").as_bytes());
    assert_eq!((found.unknown, found.late), (0, 0));
    let header = reader.header().clone();
    let mut text = String::new();
    for event in reader.forward(0) {
        let (number, event) = event.unwrap();
        text += &format!("{}\n", Line { number, event: &event, header: &header });
    }
    let facts = header.host.iter().map(|fact| format!("{}: {}\n", fact.name, fact.value));
    let unseen = header.not_seen.iter().map(|sentence| format!("not seen: {sentence}\n"));
    insta::assert_snapshot!(facts.chain(unseen).chain([text]).collect::<String>());
}

#[test]
fn writes_of_cr3_are_address_spaces() {
    let line = |time: u64, what: &str| format!("a-1 [000] 1.{time:06}: {what}\n");
    let mut text = String::new();
    for (n, what) in (0..).zip([
        "cr_write 3 = 0x1000",
        "cr_write 0 = 0x80000011",
        "cr_read 3 = 0x1000",
        "cr_write 3 = 0x1000",
        "cr_write 3 = 0x8000000000002000",
        "cr_write 3 = nothing",
    ]) {
        text += &line(10 * n, "kvm_exit: vcpu 0 reason CR_ACCESS rip 0x1 info1 0x0 info2 0x0");
        text += &line(10 * n + 1, &format!("kvm_cr: {what}"));
        text += &line(10 * n + 2, "kvm_entry: vcpu 0, rip 0x1");
    }
    let (mut reader, found) = trace(text.as_bytes());
    assert_eq!((found.unknown, &found.ignored), (1, &[("kvm_cr".to_owned(), 2)].into()));
    let spaces: Vec<AddressSpace> = events(&mut reader)
        .into_iter()
        .filter_map(|event| match event.payload {
            Payload::AddressSpace(space) => Some(space),
            _ => None,
        })
        .collect();
    // What the register was before the first write is not known, and the same again is no change.
    assert_eq!(spaces, [AddressSpace { old: 0x1000, new: 0x2000 }]);
    let unseen = reader.header().not_seen.concat();
    assert!(unseen.contains("address spaces that the guest changed without an exit"), "{unseen}");
}

#[test]
fn lines_out_of_order_are_put_into_it_or_counted() {
    let text = recording("ftrace-svm.txt");
    let (mut reader, whole) = trace(text.as_bytes());
    let all = events(&mut reader);
    // By CPU, as without merging. Lines of one time stay as they are.
    let (one, other): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("[000]"));
    let by_cpu = one.into_iter().chain(other).map(|line| format!("{line}\n")).collect::<String>();
    let (mut reader, found) = trace(by_cpu.as_bytes());
    assert_eq!((found.late, found.imported), (0, whole.imported));
    let apart = |events: &[Event]| {
        (0..2)
            .map(|vcpu| events.iter().filter(|e| e.vcpu == vcpu).cloned().collect())
            .collect::<Vec<Vec<Event>>>()
    };
    assert_eq!(apart(&events(&mut reader)), apart(&all));

    // Further apart than lines are read ahead.
    let entry = |time: u64| format!("a-1 [000] {time}.000000: kvm_entry: vcpu 0, rip 0x1\n");
    let late = (1000..40_000).map(entry).chain([entry(5)]).collect::<String>();
    let (reader, found) = trace(late.as_bytes());
    assert_eq!((found.late, found.unknown), (1, 0));
    assert!(reader.header().not_seen.iter().any(|sentence| sentence.contains("1 lines")));
}

#[test]
fn an_exit_without_an_end_holds_back_only_so_much() {
    let mut text = "a-1 [000] 1.000000: kvm_exit: vcpu 0 reason HLT rip 0x1 info1 0x0 info2 0x0\n".to_owned();
    for n in 2..200_000 {
        text += &format!("b-2 [001] {n}.000000: kvm_exit: vcpu 1 reason CPUID rip 0x1 info1 0x0 info2 0x0\n");
        text += &format!("b-2 [001] {n}.000001: kvm_entry: vcpu 1, rip 0x1\n");
    }
    text += "a-1 [000] 300000.000000: kvm_entry: vcpu 0, rip 0x1\n";
    let (reader, found) = trace(text.as_bytes());
    assert_eq!((found.events, found.late), (199_999, 0));
    assert!(reader.header().not_seen.iter().any(|sentence| sentence.contains("how long 1 exits took")));
}

#[test]
fn what_is_no_recording_has_no_events() {
    for text in
        ["", "\n", "no recording\n", "a-1 [000] 1.000000: sched_switch: x\n", "CPU:0 [LOST 3 EVENTS]\n"]
    {
        assert_eq!(trace(text.as_bytes()).1.events, 0, "{text}");
    }
    // Lost events before the first one.
    let (mut reader, found) =
        trace(b"CPU:0 [LOST 3 EVENTS]\nCPU:1 [LOST 4 EVENTS]\na-1 [000] 7.5: kvm_entry: vcpu 0\n");
    assert_eq!(found.imported, 3);
    let lost = events(&mut reader);
    assert!(
        matches!(&lost[..], [Event { time: 0, payload: Payload::Lost(lost), .. }] if lost.count == 7),
        "{lost:?}"
    );
}

/// Bytes that are something like a recording: parts of real ones, changed.
fn something_like_it() -> impl Strategy<Value = Vec<u8>> {
    let texts = ["perf-emulating.txt", "perf-svm.txt", "ftrace-svm.txt", "trace-cmd-vmx.txt"].map(recording);
    let lines: Vec<String> = texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
    let line = prop::sample::select(lines).prop_map(String::into_bytes);
    let changed =
        (line.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut line, at, byte)| {
            if !line.is_empty() {
                let at = at.index(line.len());
                line[at] = byte;
            }
            line
        });
    let noise = prop::collection::vec(any::<u8>(), 0..60);
    prop::collection::vec(prop_oneof![6 => line, 3 => changed, 1 => noise], 0..60)
        .prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #[test]
    fn any_bytes_are_accounted_for(text in something_like_it()) {
        let (mut reader, _) = trace(&text);
        let _ = counts(&mut reader);
    }

    #[test]
    fn random_bytes_are_accounted_for(text in prop::collection::vec(any::<u8>(), 0..2000)) {
        trace(&text);
    }
}
