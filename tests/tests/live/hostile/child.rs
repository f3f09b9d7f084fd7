//! Hostile guests under the program itself: how much memory it takes, and Ctrl-C.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use trace_format::event::{Actor, Payload, StopReason, VcpuState};
use trace_format::{Reader, verify};
use vmscope_tests::images::HOSTILE;
use vmscope_tests::printed::Printed;
use vmscope_tests::program;
use vmscope_tests::skip::kvm_or_skip;

/// Nothing takes that long but what hangs.
const HANG: Duration = Duration::from_secs(60);
/// How long a guest has for its worst once it has begun.
const LENGTH: Duration = Duration::from_millis(1500);
/// Guest memory, MiB.
const MEMORY: u64 = 32;
/// What the program may take besides, MiB: itself, a ring of events for each vCPU, blocks on their way to the file.
const OWN: u64 = 64;

/// A recording of a hostile guest, under way.
struct Recording {
    child: Child,
    what: String,
    trace: std::path::PathBuf,
    begun: Instant,
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Nothing happens to one that has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Recording {
    fn start(directory: &Path, action: &str, vcpus: u8) -> Self {
        let image = directory.join("hostile.elf");
        if !image.exists() {
            std::fs::write(&image, HOSTILE).unwrap();
        }
        let what = format!("{action} on {vcpus}");
        let trace = directory.join(format!("{action}-{vcpus}.vmt"));
        let (cpus, memory, append) = (vcpus.to_string(), format!("{MEMORY}M"), format!("action={action}"));
        let arguments = ["record", image.to_str().unwrap(), "--cpus", &cpus, "--memory", &memory];
        let child = program::command(&arguments)
            .args(["--append", &append, "-o"])
            .arg(&trace)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut recording = Self { child, what, trace, begun: Instant::now() };
        recording.wait_until_it_begins();
        recording.begun = Instant::now();
        recording
    }

    /// Waits for the guest's first words.
    fn wait_until_it_begins(&mut self) {
        let mut reader: Option<Reader> = None;
        let mut printed = Printed::anywhere();
        loop {
            // There is no file, or no header in it, until the program has come so far.
            match &mut reader {
                None => reader = Reader::open(&self.trace).ok(),
                Some(reader) => {
                    printed.read(reader).unwrap();
                    if printed.take("go\n") {
                        return;
                    }
                }
            }
            let events = reader.as_ref().map_or(0, Reader::len);
            assert!(self.begun.elapsed() < HANG, "{} does not begin: {events} events", self.what);
            assert!(self.child.try_wait().unwrap().is_none(), "{} has ended", self.what);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The most memory that the program has had, MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    /// Lets it go on until its time is over, ends it as Ctrl-C does, and looks at what it leaves.
    fn interrupt(mut self) {
        std::thread::sleep(LENGTH.saturating_sub(self.begun.elapsed()));
        let what = self.what.clone();
        let peak = self.peak();
        assert!(peak <= MEMORY + OWN, "{what}: {peak} MiB");
        let number = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &number]).status().unwrap();
        assert!(sent.success(), "{what} has ended");
        let interrupted = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(interrupted.elapsed() < HANG, "{what} does not answer to Ctrl-C");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(0), "{what}");
        let mut reader = Reader::open(&self.trace).unwrap();
        let found = verify(&mut reader).unwrap();
        assert!(found.is_sound() && found.finished, "{what}: {found:?}");
        let end = reader.len();
        let last = reader.backward(end).find_map(|event| match event.unwrap().1.payload {
            Payload::State(VcpuState::Stopped { why }) => Some(why),
            _ => None,
        });
        assert_eq!(last, Some(StopReason::Ended { by: Actor::Signal }), "{what}");
    }
}

/// Those that could fill memory or keep the program from its signals, one after another.
fn bounded_and_interruptible(name: &str, guests: &[(&str, u8)]) {
    if !kvm_or_skip(name) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (action, vcpus) in guests {
        Recording::start(directory.path(), action, *vcpus).interrupt();
    }
}

#[test]
fn floods_take_bounded_memory_and_answer_to_ctrl_c() {
    bounded_and_interruptible(
        "floods_take_bounded_memory_and_answer_to_ctrl_c",
        &[("console", 2), ("calls", 1), ("strings", 1), ("ports", 1)],
    );
}

#[test]
fn storms_take_bounded_memory_and_answer_to_ctrl_c() {
    bounded_and_interruptible(
        "storms_take_bounded_memory_and_answer_to_ctrl_c",
        &[("unanswered-ipi", 2), ("ipi-storm", 4), ("nmi-storm", 2), ("timers", 2)],
    );
}

#[test]
fn spinning_guests_take_bounded_memory_and_answer_to_ctrl_c() {
    bounded_and_interruptible(
        "spinning_guests_take_bounded_memory_and_answer_to_ctrl_c",
        &[("spin", 2), ("memory", 1), ("trap-flag", 1), ("timers-unheard", 2)],
    );
}
