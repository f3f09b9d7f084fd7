//! A trace survives whatever ends its run.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use trace_format::event::{Actor, Payload, StopReason, VcpuState};
use trace_format::{Reader, verify};
use vmm_lite::OnFull;
use vmscope_tests::program;
use vmscope_tests::run::Guest;
use vmscope_tests::skip::kvm_or_skip;

/// Starts a recording that would take hours, and waits until it is well under way.
fn record(trace: &Path) -> Child {
    let path = trace.to_str().unwrap();
    let mut child = program::command(&["record", "exit-storm", "--append", "count=4000000000", "-o", path])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut first = None;
    loop {
        // Whole events, and more of them than at the look before: none of those is the block that is being written.
        let whole =
            Reader::open(trace).and_then(|mut reader| verify(&mut reader)).map_or(0, |found| found.events);
        if whole > *first.get_or_insert(whole) && first > Some(1000) {
            return child;
        }
        first = first.filter(|first| *first > 1000);
        if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
            drop(child.kill());
            panic!("nothing was recorded: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: i32) {
    let status = std::process::Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

fn last_state(reader: &mut Reader) -> Option<VcpuState> {
    let end = reader.len();
    reader.backward(end).find_map(|event| match event.unwrap().1.payload {
        Payload::State(state @ VcpuState::Stopped { .. }) => Some(state),
        _ => None,
    })
}

#[test]
fn signals_leave_a_finished_trace() {
    if !kvm_or_skip("signals_leave_a_finished_trace") {
        return;
    }
    for number in [libc::SIGINT, libc::SIGTERM] {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("t.vmt");
        let child = record(&trace);
        signal(&child, number);
        drop(child.wait_with_output().unwrap());
        let mut reader = Reader::open(&trace).unwrap();
        let found = verify(&mut reader).unwrap();
        assert!(found.is_sound() && found.finished, "signal {number}: {found:?}");
        let why = StopReason::Ended { by: Actor::Signal };
        assert_eq!(last_state(&mut reader), Some(VcpuState::Stopped { why }), "signal {number}");
    }
}

#[test]
fn a_killed_recorder_leaves_a_readable_trace() {
    if !kvm_or_skip("a_killed_recorder_leaves_a_readable_trace") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("t.vmt");
    let child = record(&trace);
    signal(&child, libc::SIGKILL);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "it has ended by itself: {output:?}");
    let mut reader = Reader::open(&trace).unwrap();
    let found = verify(&mut reader).unwrap();
    let end = last_state(&mut reader);
    assert!(!found.finished && found.events > 1000, "{found:?}, {end:?}, {output:?}");
    assert_eq!((found.out_of_order, found.wrong_summaries), (0, 0));
    // At most the block that was being written is torn.
    assert!(found.damage.len() <= 1, "{found:?}");
}

#[test]
fn a_full_disk_ends_the_run_with_a_reason() {
    if !kvm_or_skip("a_full_disk_ends_the_run_with_a_reason") {
        return;
    }
    let output = program::run(&["record", "exit-storm", "--append", "count=1000000000", "-o", "/dev/full"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/dev/full") && said.contains("No space left"), "{said}");
}

#[test]
fn a_timeout_ends_the_run() {
    if !kvm_or_skip("a_timeout_ends_the_run") {
        return;
    }
    let mut guest = Guest::new("tlb-shootdown", 2).append("rounds=100000");
    guest.config.timeout = Some(Duration::from_millis(300));
    let run = guest.run();
    assert_eq!(run.outcome.why, StopReason::Timeout);
}

#[test]
fn what_is_dropped_is_counted() {
    if !kvm_or_skip("what_is_dropped_is_counted") {
        return;
    }
    let mut guest = Guest::new("exit-storm", 1).append("count=30000");
    guest.config.on_full = OnFull::Drop;
    let run = guest.run();
    run.assert_well();
    let mut lost = 0;
    let mut exits = 0;
    for event in &run.events {
        match &event.payload {
            Payload::Lost(loss) => lost += loss.count,
            Payload::Exit(_) => exits += 1,
            _ => {}
        }
    }
    // What the ring had no room for is missing, and no more than that.
    assert!(exits + lost >= 30_000, "{exits} exits, {lost} lost");
}

#[test]
fn recording_can_be_left_out() {
    if !kvm_or_skip("recording_can_be_left_out") {
        return;
    }
    drop(program::expect(0, &["record", "hello", "--no-trace"]));
}
