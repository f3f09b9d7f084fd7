//! `vmscope diff` over every trace in `replays/`, and what it tells CI.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use vmscope_tests::program;
use vmscope_tests::replays;

fn replay(name: &str) -> String {
    replays::named(name).to_str().unwrap().to_owned()
}

/// The names of all.
fn names() -> Vec<String> {
    replays::all().iter().map(|path| replays::name(path).to_owned()).collect()
}

#[test]
fn each_trace_is_like_itself() {
    for name in names() {
        let trace = replay(&name);
        let said = program::expect(0, &["diff", &trace, &trace, "--fail-if", "changed or parted"]);
        insta::assert_snapshot!(format!("{name}-itself"), said);
    }
}

/// Others are no runs of the same guest: their differences are what there is to see.
#[test]
fn each_trace_differs_from_the_next() {
    let names = names();
    for (a, b) in names.iter().zip(names.iter().cycle().skip(1)) {
        let said = program::expect(0, &["diff", &replay(a), &replay(b), "--top", "8"]);
        insta::assert_snapshot!(format!("{a}-{b}"), said);
    }
}

#[test]
fn rates_and_parts_can_be_compared() {
    let (a, b) = (replay("tlb-shootdown-2"), replay("tlb-shootdown-4"));
    let said = program::expect(
        0,
        &[
            "diff",
            &a,
            &b,
            "--rates",
            "--all",
            "--threshold",
            "20",
            "--filter",
            "kind == ipi",
            "--from",
            "5ms",
        ],
    );
    insta::assert_snapshot!(said);
}

#[test]
fn the_exit_code_says_whether_the_condition_is_true() {
    let (a, b) = (replay("tlb-shootdown-2"), replay("tlb-shootdown-4"));
    for (code, condition) in [
        (1, "changed"),
        (1, "parted"),
        (0, "not changed or not parted"),
        (1, "count(kind == ipi-accepted) == 300%"),
        (0, "p99(latency where kind == ipi-accepted) < 50%"),
        (2, "count(kind == ipi-accepted) > 3"),
    ] {
        let said = program::expect(code, &["diff", &a, &b, "--fail-if", condition]);
        assert_eq!(said.contains(" is true"), code == 1, "{said}");
    }
    assert_eq!(program::run(&["diff", &a, "/no/such/file"]).status.code(), Some(2));
}

#[test]
fn a_comparison_for_scripts_has_what_is_promised() {
    let (a, b) = (replay("tlb-shootdown-2"), replay("tlb-shootdown-4"));
    let condition = "mean(latency where kind == ipi) > 100%";
    let json = program::expect(1, &["diff", &a, &b, "--json", "--fail-if", condition]);
    let diff: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(diff["schema"], 1);
    assert_eq!((&diff["a"]["vcpus"], &diff["b"]["vcpus"]), (&2.into(), &4.into()));
    let exits = |diff: &serde_json::Value, side: &str| {
        let counts = diff["counts"].as_array().unwrap();
        let hlt = counts.iter().find(|count| count["what"] == "exit" && count["of"] == "hlt").unwrap();
        hlt[side].as_u64().unwrap()
    };
    let hlt = |trace: &str| {
        let report = program::expect(0, &["report", trace, "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let exits = report["exits"].as_array().unwrap();
        exits.iter().find(|exit| exit["reason"] == "hlt").unwrap()["count"].as_u64().unwrap()
    };
    assert_eq!((exits(&diff, "a"), exits(&diff, "b")), (hlt(&a), hlt(&b)));
    assert_eq!(diff["fail_if"]["is_true"], true);
    assert!(diff["fail_if"]["amounts"][0]["percent"].as_f64().unwrap() > 100.0);
    assert!(diff["times"].as_array().unwrap().iter().any(|time| time["p_median"].is_number()));
    assert_eq!(diff["partings"][0]["same"], false);
}

#[test]
fn a_condition_on_a_damaged_trace_is_not_known() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.vmt");
    let mut bytes = fs::read(replay("tlb-shootdown-4")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let (good, bad) = (replay("tlb-shootdown-4"), path.to_str().unwrap());
    let said = program::expect(0, &["diff", &good, bad]);
    assert!(said.contains("damaged in 1 place\n"), "{said}");
    let said = program::expect(4, &["diff", &good, bad, "--fail-if", "count() > 200%"]);
    assert!(said.contains("is not true"), "{said}");
}
