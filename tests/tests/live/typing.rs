//! Keys reach the guest, and its text screen reaches the trace.

use std::time::{Duration, Instant};

use trace_format::event::{Actor, Payload};
use trace_format::screen::TextScreen;
use trace_format::{Event, Reader};
use vmm_lite::devices::Key;
use vmscope_tests::images::TYPING;
use vmscope_tests::run::Guest;
use vmscope_tests::skip::kvm_or_skip;

fn screen<'a>(events: impl IntoIterator<Item = &'a Event>) -> TextScreen {
    let mut screen = TextScreen::new();
    for event in events {
        if let Payload::Screen(change) = &event.payload {
            screen.apply(change);
        }
    }
    screen
}

fn console<'a>(events: impl IntoIterator<Item = &'a Event>) -> String {
    let bytes = events.into_iter().filter_map(|event| match &event.payload {
        Payload::Console(output) => Some(output.bytes.iter().copied()),
        _ => None,
    });
    String::from_utf8_lossy(&bytes.flatten().collect::<Vec<u8>>()).into_owned()
}

/// The trace as far as it goes.
fn events(reader: &mut Reader) -> Vec<Event> {
    reader.poll().unwrap();
    reader.forward(0).map(|event| event.unwrap().1).collect()
}

fn until(what: &str, reader: &mut Reader, done: impl Fn(&[Event]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let events = events(reader);
        if done(&events) {
            return;
        }
        let (screen, console) = (screen(&events).text(), console(&events));
        assert!(Instant::now() < deadline, "waited in vain for {what}:\n{screen}{console}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn core_what_is_typed_is_read_and_shown() {
    if !kvm_or_skip("core_what_is_typed_is_read_and_shown") {
        return;
    }
    let started = Guest::image(TYPING, 1).start();
    let control = started.vm.control();
    let mut reader = Reader::open(&started.trace).unwrap();
    until("the guest to be ready", &mut reader, |events| {
        console(events).contains("type here") && screen(events).text().starts_with("screen:")
    });

    assert_eq!(control.console_input(b"A\r\x03"), 3);
    until("an echo of the serial input", &mut reader, |events| {
        console(events).contains("[0x41][0xd]\n[0x3]")
    });

    for letter in "hello".chars() {
        assert!(control.type_key(Key::Character(letter)));
    }
    // Without a pause: the screen is looked at while the guest runs.
    until("an echo of the keys", &mut reader, |events| screen(events).text().starts_with("screen: hello\n"));
    control.pause(Actor::User).unwrap();
    let shown = screen(&events(&mut reader));
    assert_eq!(shown.cursor(), Some((0, 13)));
    assert_eq!(shown.rows().next().unwrap()[8], 0x4e00 | u16::from(b'h'), "with its attribute");

    control.resume(Actor::User).unwrap();
    for letter in "world".chars() {
        assert!(control.type_key(Key::Character(letter)));
    }
    assert!(control.type_key(Key::Function(10)));
    let run = started.finish();
    run.assert_well();
    assert_eq!(screen(&run.events).text().trim_end(), "screen: helloworld", "as it was left");
}

#[test]
fn a_guest_that_does_not_use_its_screen_leaves_no_trace_of_it() {
    if kvm_or_skip("a_guest_that_does_not_use_its_screen_leaves_no_trace_of_it") {
        let run = Guest::new("hello", 1).run();
        run.assert_well();
        assert!(screen(&run.events).is_unused());
    }
}
