use super::*;
use crate::filter::{Filter, Subject, Value, field};
use crate::{Event, Reader};

fn golden() -> Reader {
    Reader::from_bytes(include_bytes!("../../tests/golden/1.vmt").as_slice()).unwrap()
}

fn verdict(text: &str) -> Verdict {
    let assertion = Assertion::parse(text).unwrap_or_else(|error| panic!("{error}"));
    check(&mut golden(), &[assertion]).unwrap().remove(0)
}

/// All values of a field under a filter, in order.
fn values(name: &str, filter: &str) -> Vec<u64> {
    let filter = Filter::parse(filter).unwrap();
    let mut reader = golden();
    let header = reader.header().clone();
    let events: Vec<(u64, Event)> = reader.forward(0).map(Result::unwrap).collect();
    let mut values: Vec<u64> = events
        .iter()
        .map(|(number, event)| Subject { number: *number, event, header: &header })
        .filter(|subject| filter.matches(subject))
        .filter_map(|subject| match field(name).unwrap().value(&subject) {
            Some(Value::Number(value)) => Some(value),
            _ => None,
        })
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn amounts_are_what_a_search_through_all_events_gives() {
    let exits = values("latency", "kind == exit");
    let whole = |text: &str| match verdict(&format!("{text} >= 0")).values[0] {
        Some(Amount::Whole(value)) => value,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(whole("count(kind == exit)"), exits.len() as u128);
    assert_eq!(whole("count()"), 1000);
    assert_eq!(whole("sum(latency where kind == exit)"), exits.iter().map(|&ns| u128::from(ns)).sum());
    assert_eq!(whole("min(latency where kind == exit)"), exits[0].into());
    assert_eq!(whole("max(latency where kind == exit)"), (*exits.last().unwrap()).into());
    let median = exits[(exits.len() - 1) / 2];
    let found = whole("p50(latency where kind == exit)") as u64;
    assert!((median..=median + median / 1000).contains(&found), "{found} for {median}");
    let all: u128 = values("latency", "").iter().map(|&ns| u128::from(ns)).sum();
    assert_eq!(whole("sum(latency)"), all);
    let mean = verdict("mean(io.size) > 0").values[0].unwrap().value();
    let sizes = values("io.size", "");
    assert_eq!(mean, sizes.iter().sum::<u64>() as f64 / sizes.len() as f64);
    let rate = verdict("rate(kind == exit) > 0").values[0].unwrap().value();
    assert_eq!(rate, exits.len() as f64 * 1e9 / golden().duration_ns() as f64);
}

#[test]
fn claims_hold_or_not() {
    for (text, holds) in [
        ("count() == 1000", true),
        ("count() != 1K", false),
        ("count() < 1001 and count() > 999", true),
        ("count() < 1000 or count() > 1000", false),
        ("not (count() < 1000 or count() > 1000)", true),
        ("count() <= 1000 and not count() >= 1001", true),
        ("count(kind == exit and (vcpu == 1 or vcpu == 2)) > 50", true),
        ("count(state == stopped and vcpu == 15) == 0", true),
        ("max(number) == 999 and min(number) == 0 and mean(number) > 499 and mean(number) < 500", true),
        ("p0(number) == 0 and p100(number) == 999 and p99.9(number) >= 998", true),
        ("max(time) < 1ms", false),
        ("max(time) < 1min", true),
    ] {
        assert_eq!(verdict(text).holds, holds, "{text}");
    }
}

/// Nothing can be claimed of what there is not, nor of its opposite.
#[test]
fn there_is_no_amount_of_nothing() {
    for text in ["max(latency where vcpu == 15) < 1s", "not p99(latency where vcpu == 15) < 1s"] {
        let Verdict { holds, values } = verdict(text);
        assert_eq!((holds, values), (false, vec![None]));
    }
    // What does not depend on it is known.
    for (text, holds) in [
        ("count(vcpu == 15) == 0 or max(latency where vcpu == 15) < 1s", true),
        ("not (count(vcpu == 15) > 0 and max(latency where vcpu == 15) < 1s)", true),
        ("count(vcpu == 15) == 0 and max(latency where vcpu == 15) < 1s", false),
        ("not (count(vcpu == 15) == 0 and max(latency where vcpu == 15) < 1s)", false),
    ] {
        assert_eq!(verdict(text).holds, holds, "{text}");
    }
}

#[test]
fn several_are_checked_at_once() {
    let texts = ["count() == 1000", "count(kind == exit) == 0 or count(kind == exit) > 0", "count() == 0"];
    let assertions = texts.map(|text| Assertion::parse(text).unwrap());
    let verdicts = check(&mut golden(), &assertions).unwrap();
    assert_eq!(verdicts.iter().map(|verdict| verdict.holds).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(verdicts.iter().map(|verdict| verdict.values.len()).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(assertions[1].aggregates()[1].text, "count(kind == exit)");
}

#[test]
fn errors_say_where_and_what() {
    let mut shown = String::new();
    for text in [
        "",
        "count",
        "count(kind == exit)",
        "count(kind == exit) < ",
        "count(kind == exit) < 5us",
        "count(kind == exits) < 5",
        "coun(kind == exit) < 5",
        "p99(latency where kind == ipi) < 50",
        "p99(latency kind == ipi) < 50us",
        "p99(symbol) < 50us",
        "p99() < 50us",
        "p101(latency) < 50us",
        "max(latency) < 50K",
        "max(latency) in 1..2",
        "count() == many",
        "p99(latency where kind == ipi-sent) < 50us",
        "max(ipi.target) < 3",
        "count() < 105%",
        "count() == 1 count() == 2",
        "count() == 1 and",
        "(count() == 1",
        "kind == exit",
    ] {
        match Assertion::parse(text) {
            Ok(assertion) => shown += &format!("{} is one\n\n", assertion.text()),
            Err(error) => shown += &format!("{error}\n\n"),
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn the_documentation_s_examples_are_assertions() {
    let examples = DOCUMENTATION.split("Examples:\n").nth(1).unwrap();
    assert_eq!(examples.lines().count(), 3);
    examples.lines().for_each(|line| assert!(Assertion::parse(line.trim()).is_ok(), "{line}"));
}

#[test]
fn nothing_sums_up_to_nothing() {
    let assertions = ["sum(slide) == 0", "count(kind == slide) == 0", "not max(slide) > 0"]
        .map(|text| Assertion::parse(text).unwrap());
    let mut writer = crate::Writer::new(Vec::new(), &crate::Header::default()).unwrap();
    let payload = crate::Payload::State(crate::event::VcpuState::Halted);
    writer.append(&crate::Event { time: 0, vcpu: 0, payload }).unwrap();
    let mut reader = crate::Reader::from_bytes(writer.finish().unwrap()).unwrap();
    let verdicts = check(&mut reader, &assertions).unwrap();
    let found: Vec<_> = verdicts.iter().map(|verdict| (verdict.holds, verdict.values[0])).collect();
    let zero = Some(Amount::Whole(0));
    assert_eq!(found, [(true, zero), (true, zero), (false, None)]);
}

#[test]
fn amounts_in_words() {
    let shown = |amount: Amount, unit| amount.shown(unit);
    assert_eq!(shown(Amount::Whole(1_500), "ns"), "1.50 µs");
    assert_eq!(shown(Amount::Real(999.6), "ns"), "1.00 µs");
    assert_eq!(shown(Amount::of(12.0), ""), "12");
    assert_eq!(shown(Amount::of(12.5), ""), "12.500");
    assert_eq!(shown(Amount::of(12.0), "1/s"), "12.0 a second");
}
