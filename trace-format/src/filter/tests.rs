use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::field::Names;
use super::lexer::Operator;
use super::*;
use crate::Reader;
use crate::event::{
    Actor, Debugger, Exit, ExitReason, Hardware, Isa, Kind, Payload, Registers, ResetBy, Screen, Slide,
    StopReason, VcpuState,
};
use crate::header::Symbol;

/// Every kind of event, with any values.
static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let golden = include_bytes!("../../tests/golden/1.vmt");
    let mut reader = Reader::from_bytes(golden.as_slice()).unwrap();
    let mut events: Vec<Event> = reader.forward(0).map(|event| event.unwrap().1).collect();
    let time = events.last().unwrap().time;
    events.extend(newer().into_iter().map(|payload| Event { time, vcpu: 1, payload }));
    events
});

/// What there was not yet when that trace was made.
fn newer() -> [Payload; 6] {
    let hardware = Hardware {
        isa: Isa::Vmx,
        code: 48,
        info1: 1,
        info2: 2,
        interrupt: 3,
        error_code: 4,
        gpa: Some(0xfee0_0000),
    };
    let reason = ExitReason::Hardware(hardware);
    [
        Payload::Registers(Registers { rip: 1 << 62, rflags: 0x202, cpl: 3, ..Registers::default() }),
        Payload::Exit(Exit { reason, rip: 0x1000, cpl: 0, guest_ns: 1, handling_ns: 2 }),
        Payload::State(VcpuState::Stopped { why: StopReason::Reset { by: ResetBy::Acpi } }),
        Payload::Screen(Screen {
            columns: 80,
            row: 3,
            first: 1,
            cursor: None,
            cells: b"panic".iter().map(|&byte| byte.into()).collect(),
        }),
        Payload::Slide(Slide { slide: 0x20_0000 }),
        Payload::Debugger(Debugger::WatchpointHit {
            by: Actor::User,
            address: 0x1000,
            any: true,
            rip: 0x2000,
        }),
    ]
}

static HEADER: LazyLock<Header> = LazyLock::new(|| {
    let symbol = |address, name: &str| Symbol { address, size: 1 << 62, name: name.into() };
    let symbols = vec![symbol(0, "low"), symbol(1 << 62, "flush_tlb"), symbol(3 << 62, "flush \"all\"")];
    Header { symbols: symbols.into(), ..Header::default() }
});

fn subject(n: usize) -> Subject<'static> {
    Subject { number: n as u64, event: &EVENTS[n], header: &HEADER }
}

fn subjects() -> impl Iterator<Item = Subject<'static>> {
    (0..EVENTS.len()).map(subject)
}

/// How many of the events a filter matches.
fn count(filter: &str) -> usize {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{error}"));
    subjects().filter(|subject| filter.matches(subject)).count()
}

#[test]
fn tests_say_what_they_say() {
    let kind = |kind| EVENTS.iter().filter(|event| event.payload.kind() == kind).count();
    assert_eq!(count(""), EVENTS.len());
    assert_eq!(count("kind == exit"), kind(Kind::Exit));
    assert_eq!(count("kind == ipi-sent"), kind(Kind::Ipi));
    assert_eq!(count("kind == ipi"), kind(Kind::Ipi) + kind(Kind::IpiAccepted) + kind(Kind::IpiEoi));
    assert_eq!(count("kind in {trap-entry, trap-return}"), count("kind = trap"));
}

#[test]
fn patterns_and_operators() {
    assert_eq!(count("kind ~ \"^ipi\""), count("kind == ipi"));
    assert_eq!(count("kind !~ \"^ipi\""), count("kind != ipi"));
    assert_eq!(count("exit.reason == mmio"), count("exit.reason == mmio-read or exit.reason == mmio-write"));
    assert_eq!(count("exit.reason == mmio"), count("mmio.gpa"));
    assert_eq!(count("vcpu >= 1 and vcpu < 3"), count("vcpu in 1..2"));
    assert_eq!(count("vcpu in 1..2"), count("vcpu in {1, 2}"));
    assert_eq!(count("vcpu not in {1, 2..3}"), count("!(vcpu = 1 || vcpu == 2 || vcpu == 3)"));
    assert_eq!(count("time <= 1.5us"), count("time < 1_501"));
    assert_eq!(count("time >= 1ms && time < 2ms"), count("time in 1000us..1999999ns"));
    assert_eq!(count("number < 1K"), 1000);
    assert_eq!(count("number in 0x10..0x1f"), 16);
    assert_eq!(count("number < 0.75Ki"), 768);
    assert_eq!(count("time < 1.5µs") + count("time >= 1.5μs"), EVENTS.len());
    assert_eq!(count("cpl == user"), count("cpl == 3"));
    assert!(count("cpl == user") > 0);
    assert_eq!(count("trap.vector == syscall"), count("trap.vector == 256"));
    assert_eq!(
        count("symbol == flush_tlb") + count("symbol == \"flush \\\"all\\\"\""),
        count("symbol ~ \"^flush.\"")
    );
    assert!((1..count("rip")).contains(&count("symbol")), "some addresses have a symbol");
    assert_eq!(count("msr.write") + count("msr.write == false"), count("msr.index"));
    assert_eq!(
        count("ipi.target == 3 and kind == ipi-accepted"),
        count("kind == ipi-accepted and vcpu == 3")
    );
}

/// `not` binds more tightly than `and`, and that more tightly than `or`.
#[test]
fn precedence() {
    let tree = |text| syntax::parse(text).unwrap().unwrap().to_string();
    assert_eq!(tree("rip or cpl and not vcpu and time"), "(rip or ((cpl and not vcpu) and time))");
    assert_eq!(tree("not (rip or cpl) and time"), "(not (rip or cpl) and time)");
    assert_eq!(tree("a && b || c && d"), "((a and b) or (c and d))");
    assert_eq!(tree("x not in {1, 2}"), "not x in {1, 2}");
}

/// What an event does not have compares false, and `not` of it true.
#[test]
fn fields_that_are_not_there() {
    assert_eq!(count("io.port == 0x80") + count("io.port != 0x80"), count("io.port"));
    assert_eq!(count("not io.port == 0x80") + count("io.port == 0x80"), EVENTS.len());
    assert!(count("io.port") < count("kind == exit or kind == console"));
}

#[test]
fn errors_say_where_and_what() {
    let mut shown = String::new();
    for text in [
        "kind == ",
        "kind == exits",
        "laten > 5us",
        "latency > 5 us",
        "latency > 5uss",
        "latency > page-fault",
        "vcpu > 5us",
        "vcpu == 1 vcpu",
        "vcpu == 1 and",
        "(vcpu == 1",
        "vcpu in 3",
        "vcpu in {1, 2",
        "vcpu in {}",
        "symbol < main",
        "symbol ~ \"(\"",
        "text == \"open",
        "msr.write == yes",
        "io.port == 0x1ffffffffffffffff",
        "time > 99999999999999999min",
        "time > 1.5",
        "vcpu == \u{1b}[2J",
        "trap.vector == page-falt",
        "kind in page-fault..data",
        "not",
        "number ~ 5",
        "vcpu == 0xg",
        "5 == vcpu",
        ")",
        "not and",
        "vcpu in 3..1",
        "vcpu\u{a0}== 1",
        "kind == \"\u{1b}[2J\"",
    ] {
        match Filter::parse(text) {
            Ok(_) => panic!("{text} is a filter"),
            Err(error) => shown += &format!("{error}\n\n"),
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let long = "vcpu == 1 or ".repeat(400) + "vcpu == 1";
    assert!(Filter::parse(&long).unwrap_err().message.contains("4096 bytes"));
    let deep = format!("{}vcpu{}", "(".repeat(100), ")".repeat(100));
    assert!(Filter::parse(&deep).unwrap_err().message.contains("nested too deep"));
    assert!(Filter::parse(&format!("{}vcpu{}", "(".repeat(60), ")".repeat(60))).is_ok());
    // As deep as the stack would be, if it were for the length alone.
    for many in ["!".repeat(4000), "not ".repeat(1000), "(!".repeat(40)] {
        let error = Filter::parse(&format!("{many}vcpu")).unwrap_err();
        assert!(error.message.contains("nested too deep"), "{error}");
    }
    // It is one after the other that is not deep.
    let flat = "!vcpu or not (vcpu) or ".repeat(150) + "!vcpu";
    assert_eq!(count(&flat), 0);
    assert!(Filter::parse(&long).unwrap_err().to_string().len() < 100, "it is not repeated");
    let chain = "vcpu or ".repeat(500) + "vcpu";
    assert_eq!(count(&chain), EVENTS.len());
    let repetition = "symbol ~ \"((((a{100}){100}){100}){100})\"";
    assert!(Filter::parse(repetition).unwrap_err().message.contains("regular expression"));
}

#[test]
fn several_are_not_equal_to_one_if_none_is() {
    let sent: Vec<u16> = EVENTS
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::Ipi(ipi) => Some(ipi.targets),
            _ => None,
        })
        .collect();
    let with = sent.iter().filter(|targets| **targets >> 3 & 1 != 0).count();
    assert!(with > 0 && sent.iter().any(|targets| targets >> 3 & 1 != 0 && targets.count_ones() > 1));
    assert_eq!(count("kind == ipi-sent and ipi.target == 3"), with);
    assert_eq!(count("kind == ipi-sent and ipi.target != 3"), sent.len() - with);
    assert_eq!(count("ipi.target != 3"), count("kind == ipi and not ipi.target == 3"));
    assert_eq!(count("ipi.target > 16"), 0);
}

#[test]
fn the_table_is_right() {
    let mut names = BTreeSet::new();
    for field in fields() {
        assert!(names.insert(field.name), "{} twice", field.name);
        assert!(field.documentation.ends_with('.'), "{}", field.name);
        assert_eq!(field.of == Type::Name, matches!(field.names, Names::Choice(..)), "{}", field.name);
        let mut seen = false;
        for subject in subjects() {
            let Some(value) = field.value(&subject) else { continue };
            seen = true;
            let kind = subject.event.payload.kind();
            assert!(field.kinds.contains(&kind), "{} of {kind:?}", field.name);
            let of = match &value {
                Value::Number(_) => [Type::Number, Type::Address, Type::Time].contains(&field.of),
                Value::Name(name) => field.of == Type::Name && field.names().contains(name),
                Value::Text(_) => field.of == Type::Text,
                Value::Truth(_) => field.of == Type::Truth,
                Value::Vcpus(_) => field.of == Type::Vcpus,
            };
            assert!(of, "{}: {value:?}", field.name);
        }
        assert!(seen, "no event has {}", field.name);
    }
}

#[test]
fn completion() {
    let texts = |text: &str| -> Vec<String> {
        complete(text, text.len()).into_iter().map(|candidate| candidate.text).collect()
    };
    assert_eq!(texts("").len(), fields().len() + 1);
    assert_eq!(texts("walk.g"), ["walk.gva", "walk.gpa"]);
    assert_eq!(texts("vcpu == 1 and wal"), texts("wal"));
    assert_eq!(texts("exit.reason == mm"), ["mmio-read", "mmio-write", "mmio"]);
    assert_eq!(texts("trap.vector in {debug, pa"), ["page-fault"]);
    assert_eq!(texts("trap.vector not in {debug, pa"), ["page-fault"]);
    assert_eq!(texts("msr.write == "), ["true", "false"]);
    assert_eq!(texts("vcpu "), ["==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]);
    assert_eq!(texts("symbol "), ["==", "!=", "~", "!~", "in", "not in", "and", "or"]);
    assert_eq!(texts("vcpu not "), ["in"]);
    assert_eq!(texts("vcpu no"), ["not in"]);
    // Nothing that would run into what stands there.
    assert_eq!(texts("vcpu == 1"), Vec::<String>::new());
    assert_eq!(texts("vcpu == 1 and"), ["and"]);
    assert_eq!(texts("not"), ["not"]);
    assert_eq!(texts("vcpu == 1 "), ["and", "or"]);
    assert_eq!(texts("vcpu in {1, 2} a"), ["and"]);
    assert_eq!(texts("text == \"ki"), Vec::<String>::new());
    let replaced = complete("not walk.g == 1", 10);
    assert!(replaced.iter().all(|candidate| candidate.replaces == (4..10)));
    // What is chosen can be gone on with.
    for candidate in complete("", 0) {
        let text = format!("{} ", candidate.text);
        assert!(!complete(&text, text.len()).is_empty(), "{text}");
    }
}

#[test]
fn the_documentation_has_every_field() {
    let documentation = documentation();
    assert!(documentation.lines().all(|line| line.chars().count() <= 100));
    for field in fields() {
        assert!(documentation.contains(&format!("\n  {} (", field.name)), "{}", field.name);
    }
    let examples = documentation.split("Examples:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    examples.lines().for_each(|example| assert!(count(example.trim()) <= EVENTS.len()));
}

/// A test of a field with a value that some event has, or near one, or any.
fn test() -> impl Strategy<Value = String> {
    let operators: Vec<Operator> = Operator::ALL.to_vec();
    (select(fields()), select(operators), any::<Index>(), any::<Index>(), -1_i64..=1, 0_u64..3).prop_map(
        |(field, operator, event, other, shift, units)| {
            let value = |at: Index| {
                let values: Vec<Value<'_>> = subjects().filter_map(|subject| field.value(&subject)).collect();
                match &values[at.index(values.len())] {
                    Value::Number(n) => match (units, field.of) {
                        (1, Type::Time) => format!("{}us", n / 1000),
                        (1, _) => format!("{n:#x}"),
                        _ => n.saturating_add_signed(shift).to_string(),
                    },
                    Value::Name(name) => (*name).to_owned(),
                    Value::Text(text) => {
                        format!("\"{}\"", regex::escape(text).replace('\\', "\\\\").replace('"', "\\\""))
                    }
                    Value::Truth(value) => value.to_string(),
                    Value::Vcpus(vcpus) => (vcpus % 16).to_string(),
                }
            };
            let (one, two) = (value(event), value(other));
            let name = field.name;
            match operator {
                Operator::In if units == 0 => format!("{name} in {{{one}, {two}}}"),
                Operator::In => format!("{name} in {one}..{two}"),
                _ if units == 2 => name.to_owned(),
                _ => format!("{name} {} {one}", operator.sign()),
            }
        },
    )
}

/// Filters, most of them right.
fn filter() -> impl Strategy<Value = String> {
    test().prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

proptest! {
    /// What is chosen of the candidates becomes a word of its own, whatever stands before it.
    #[test]
    fn a_candidate_is_what_it_says(
        words in prop::collection::vec((select(vec![
            "vcpu", "kind", "symbol", "exit", "==", "!=", "<", "~", "in", "not", "and", "or", "(", ")", "{", "}", ",", "..",
            "5", "0x10", "\"a\"", "msr.write", "!", "1.5ms", "page-fault", "wal", "&&",
        ]), any::<bool>()), 0..8),
    ) {
        let text: String = words.iter().map(|(word, space)| format!("{word}{}", if *space { " " } else { "" })).collect();
        let words = |text: &str| lexer::tokens(text).unwrap().into_iter().map(|placed| placed.token).collect::<Vec<_>>();
        for Candidate { text: chosen, replaces, .. } in complete(&text, text.len()) {
            let kept = &text[..replaces.start];
            prop_assert_eq!(words(&format!("{kept}{chosen}")), [words(kept), words(&chosen)].concat(), "{} + {}", kept, chosen);
        }
    }

    /// A block that is left out has no event that matches, and one whose every event must match has no other.
    #[test]
    fn what_is_left_out_has_nothing_that_matches(text in filter(), from in any::<Index>(), length in 1_usize..12) {
        let Ok(filter) = Filter::parse(&text) else { return Ok(()) };
        let from = from.index(EVENTS.len());
        let block = from..(from + length).min(EVENTS.len());
        let mut summary = Summary { first_event: from as u64, ..Summary::default() };
        block.clone().for_each(|n| summary.add(&EVENTS[n]));
        let possible = prune::possible(&filter.rule, &summary);
        for n in block {
            let matches = filter.matches(&subject(n));
            prop_assert!(if matches { possible.yes } else { possible.no }, "{} of {:?}", text, EVENTS[n]);
        }
    }

    #[test]
    fn a_tree_is_written_as_it_is_read(text in filter()) {
        let tree = syntax::parse(&text).unwrap().unwrap();
        let again = syntax::parse(&tree.to_string()).unwrap().unwrap();
        prop_assert_eq!(&again, &tree);
        // What both mean, or what is wrong with both, is the same.
        match (Filter::parse(&text), Filter::parse(&tree.to_string())) {
            (Ok(one), Ok(other)) => {
                prop_assert!(subjects().all(|subject| one.matches(&subject) == other.matches(&subject)));
            }
            (Err(one), Err(other)) => prop_assert_eq!(one.message, other.message),
            (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
        }
    }

    #[test]
    fn any_text_is_a_filter_or_an_error(text in "\\PC{0,60}") {
        if let Err(error) = Filter::parse(&text) {
            prop_assert!(error.column() >= 1 && error.range().end <= text.len());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_tokens_are_a_filter_or_an_error(
        words in prop::collection::vec(select(vec![
            "vcpu", "time", "symbol", "kind", "exit", "==", "!=", "<", "~", "in", "not", "and", "or", "(", ")", "{", "}",
            ",", "..", "5", "5us", "0x10", "\"a\"", "true", "msr.write", "!", "1.5ms", "page-fault", "trap.vector",
        ]), 0..12),
        cursor in any::<Index>(),
    ) {
        let text = words.join(" ");
        if let Err(error) = Filter::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
        drop(complete(&text, cursor.index(text.len() + 1)));
    }
}
