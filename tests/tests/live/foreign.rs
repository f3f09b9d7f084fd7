//! Small kernels that nobody here wrote: their screens appear.

use std::time::{Duration, Instant};

use trace_format::Reader;
use trace_format::event::{Actor, Payload};
use trace_format::screen::TextScreen;
use vmm_lite::Control;
use vmm_lite::devices::Key;
use vmscope_tests::real::file_or_skip;
use vmscope_tests::run::{Guest, Started};
use vmscope_tests::skip::kvm_or_skip;

const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

/// A guest that runs, and its screen as the growing trace has it.
struct Foreign {
    started: Started,
    control: Control,
    reader: Reader,
    /// How many events have been looked at.
    seen: u64,
    screen: TextScreen,
}

impl Foreign {
    fn start(test: &str, file: &str, vcpus: u8) -> Option<Self> {
        if !kvm_or_skip(test) {
            return None;
        }
        let mut guest = Guest::file(file_or_skip(test, file)?, vcpus);
        guest.config.timeout = Some(PATIENCE);
        guest.config.memory_bytes = 64 << 20;
        let started = guest.start();
        let control = started.vm.control();
        let reader = Reader::open(&started.trace).unwrap();
        Some(Self { started, control, reader, seen: 0, screen: TextScreen::new() })
    }

    /// The screen now, for people.
    fn text(&mut self) -> String {
        self.reader.poll().unwrap();
        for event in self.reader.forward(self.seen) {
            self.seen += 1;
            if let Payload::Screen(change) = event.unwrap().1.payload {
                self.screen.apply(&change);
            }
        }
        self.screen.text()
    }

    /// Waits until the screen is as `wanted`.
    fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}:\n{text}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Presses `key` again and again, as a person would, until the screen is as `wanted`.
    fn press(&mut self, key: Key, what: &str, wanted: impl Fn(&str) -> bool) {
        let control = self.control.clone();
        self.wait(what, move |text| {
            let done = wanted(text);
            // Full is what it gets as long as the guest does not look; one more does no good then.
            let _taken = !done && control.type_key(key);
            done
        });
    }

    /// Ends it in an orderly way.
    fn end(self) {
        self.control.stop(Actor::User);
        let run = self.started.finish();
        assert!(run.outcome.failure.is_none(), "{:?}", run.outcome.failure);
    }
}

/// The column of the ship's tip, in the next to last row.
fn ship(screen: &str) -> Option<usize> {
    screen.lines().rev().nth(1).and_then(|row| row.find('_'))
}

#[test]
fn grub_invaders_shows_its_screen() {
    let Some(mut game) = Foreign::start("grub_invaders_shows_its_screen", "invaders.exec", 1) else {
        return;
    };
    let text = game.wait("the ship and the invaders", |text| ship(text).is_some() && text.contains("-*-"));
    let mut last: Vec<&str> = text.lines().rev().take(2).collect();
    last.reverse();
    insta::assert_snapshot!("invaders-ship", last.join("\n"));
    let start = ship(&text);
    game.press(Key::Right, "the ship to move right", |text| ship(text) > start);
    game.press(Key::Left, "the ship to come back", |text| ship(text).is_some_and(|at| Some(at) <= start));
    game.end();
}

#[test]
fn memtest_finds_two_cpus() {
    for file in ["memtest86+x64.bin", "memtest86+ia32.bin"] {
        let Some(mut memtest) = Foreign::start("memtest_finds_two_cpus", file, 2) else {
            return;
        };
        let text = memtest
            .wait("a test that runs", |text| text.contains("Status: Testing") && text.contains("Pattern"));
        assert!(text.contains("CPU: 2 Cores 2 Threads    SMP: 2T"), "{text}");
        assert!(text.contains("Memory  :   64MB"), "{text}");
        memtest.press(Key::Function(1), "its menu", |text| text.contains("Exit menu"));
        memtest.end();
    }
}
