//! Packets field by field, by the numbers of the published schema. That of others reads whole traces in
//! `tests/tests/export.rs`.

use super::*;
use crate::event::{Event, Exit, ExitReason, Payload};
use crate::export::picture::Seen;
use crate::filter::Subject;

/// The messages within messages, as paths of field numbers from `Trace` on.
const MESSAGES: [&str; 11] =
    ["1", "1.6", "1.6.1", "1.11", "1.11.4", "1.12", "1.12.1", "1.12.2", "1.12.3", "1.60", "1.60.3"];

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

const fn seen(subject: Subject<'_>) -> Seen<'_> {
    Seen { subject, shown: true, said: &[] }
}

/// A line for each field: its path and value.
fn fields(mut bytes: &[u8], path: &str, lines: &mut Vec<String>) {
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let path = if path.is_empty() { (key >> 3).to_string() } else { format!("{path}.{}", key >> 3) };
        match key & 7 {
            0 => lines.push(format!("{path} = {}", varint(&mut bytes))),
            1 => {
                let (value, rest) = bytes.split_first_chunk::<8>().unwrap();
                lines.push(format!("{path} = fixed {:#x}", u64::from_le_bytes(*value)));
                bytes = rest;
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                if MESSAGES.contains(&path.as_str()) {
                    lines.push(path.clone());
                    fields(value, &path, lines);
                } else {
                    lines.push(format!("{path} = {:?}", std::str::from_utf8(value).unwrap()));
                }
                bytes = rest;
            }
            other => panic!("wire type {other} of {path}"),
        }
    }
}

#[test]
fn packets_have_the_fields_of_the_schema() {
    let header = Header { guest: "g".into(), start_unix_ns: 5, ..Header::default() };
    let mut perfetto = Perfetto::new(Vec::new(), &header).unwrap();
    let exit = Exit { reason: ExitReason::Halt, rip: 0x1f, cpl: 0, guest_ns: 7, handling_ns: 9 };
    let event = Event { time: 100, vcpu: 0, payload: Payload::Exit(exit) };
    let mark = Mark {
        track: Track::Vcpu(0),
        name: "hlt".into(),
        seen: seen(Subject { number: 3, event: &event, header: &header }),
        flow: Flow::From { ipi: 1, targets: 0b10 },
    };
    perfetto.begin(&mark).unwrap();
    perfetto.end(Track::Vcpu(0), 109, None).unwrap();
    perfetto.count(Track::Rate(0), 100, 11).unwrap();
    let mut lines = Vec::new();
    fields(&perfetto.finish().unwrap(), "", &mut lines);

    let uuid = |number: u64| (0x766d_7363 << 32) + number;
    let clocks =
        "1|1.6|1.6.1|1.6.1.1 = 6|1.6.1.2 = 0|1.6.1|1.6.1.1 = 1|1.6.1.2 = 5|1.6.2 = 6|1.10 = 1|1.13 = 3";
    let process = format!(
        "1|1.10 = 1|1.13 = 2|1.60|1.60.1 = {}|1.60.3|1.60.3.1 = 1|1.60.3.6 = \"g\"|1.60.11 = 3",
        uuid(0)
    );
    // In the order of the event's fields: number, reason, rip, cpl, guest_ns, handling_ns.
    let annotations = "1.11.4|1.11.4.1 = 1|1.11.4.3 = 3|1.11.4|1.11.4.1 = 2|1.11.4.17 = 1|1.11.4|1.11.4.1 = 3|\
        1.11.4.7 = 31|1.11.4|1.11.4.1 = 4|1.11.4.3 = 0|1.11.4|1.11.4.1 = 5|1.11.4.3 = 7|1.11.4|1.11.4.1 = 6|1.11.4.3 = 9";
    let names = "1.12|1.12.1|1.12.1.1 = 1|1.12.1.2 = \"exit\"|1.12.2|1.12.2.1 = 1|1.12.2.2 = \"hlt\"";
    let [of_annotations, value] = [
        ["number", "reason", "rip", "cpl", "guest_ns", "handling_ns"]
            .iter()
            .enumerate()
            .map(|(n, name)| format!("1.12.3|1.12.3.1 = {}|1.12.3.2 = {name:?}", n + 1))
            .collect::<Vec<_>>()
            .join("|"),
        // An `InternedString`: number 1, "hlt".
        "1.12.29 = \"\\u{8}\\u{1}\\u{12}\\u{3}hlt\"".to_owned(),
    ];
    let begin = format!(
        "1|1.8 = 100|1.10 = 1|1.11|1.11.9 = 1|1.11.11 = {}|1.11.3 = 1|1.11.10 = 1|{annotations}|\
         1.11.47 = fixed 0x11|{names}|{of_annotations}|{value}|1.13 = 2",
        uuid(100)
    );
    let end = format!("1|1.8 = 109|1.10 = 1|1.11|1.11.9 = 2|1.11.11 = {}|1.13 = 2", uuid(100));
    let count = format!("1|1.8 = 100|1.10 = 1|1.11|1.11.9 = 4|1.11.11 = {}|1.11.30 = 11|1.13 = 2", uuid(102));
    let expected = [clocks, &process, &begin, &end, &count].join("|");
    assert_eq!(lines, expected.split('|').collect::<Vec<_>>());
}

#[test]
fn names_are_told_anew_after_they_were_forgotten() {
    let header = Header::default();
    let mut perfetto = Perfetto::new(Vec::new(), &header).unwrap();
    let mut cleared = 0;
    for number in 0..40_000_u64 {
        let state = crate::event::VcpuState::Halted;
        let event = Event { time: number, vcpu: 0, payload: Payload::State(state) };
        let subject = Subject { number, event: &event, header: &header };
        let name = number.to_string().into();
        perfetto.out.clear();
        perfetto
            .instant(&Mark { track: Track::Machine, name, seen: seen(subject), flow: Flow::None })
            .unwrap();
        let mut lines = Vec::new();
        fields(&perfetto.out, "", &mut lines);
        if lines.contains(&"1.13 = 3".to_owned()) {
            cleared += 1;
            assert!(lines.contains(&"1.12.1.2 = \"state\"".to_owned()), "{lines:?}");
        }
    }
    assert_eq!(cleared, 2);
}
