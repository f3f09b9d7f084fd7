//! Keeps the part of a trace in which a Linux guest's program `shootdown` ran, for `replays/record`:
//!
//! ```text
//! cargo run -p vmscope-tests --example trim TRACE SHORTER
//! ```
//!
//! From the program's first page fault in `touch_pages` to the end, with the time counted from there. What says how the
//! machine stands then is kept from before: the kernel's slide, and each vCPU's last state.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use trace_format::event::Payload;
use trace_format::{Event, Header, Reader, Writer};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [trace, shorter] = arguments.as_slice() else {
        eprintln!("usage: trim TRACE SHORTER");
        return ExitCode::from(2);
    };
    match trim(Path::new(trace), Path::new(shorter)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", Path::new(trace).display());
            ExitCode::FAILURE
        }
    }
}

fn trim(trace: &Path, shorter: &Path) -> Result<(), Box<dyn Error>> {
    let mut reader = Reader::open(trace)?;
    let mut header = reader.header().clone();
    let events =
        reader.forward(0).map(|event| Ok(event?.1)).collect::<Result<Vec<Event>, trace_format::Error>>()?;
    let touches = |event: &Event| is_from(&header, event, "touch_pages");
    let first = events.iter().position(touches).ok_or("shootdown did not run")?;
    let start = events[first].time;
    header.start_unix_ns = header.start_unix_ns.saturating_add(start);

    let mut writer = Writer::new(std::fs::File::create(shorter)?, &header)?;
    for event in standing(&events[..first]).into_iter().chain(events[first..].iter().cloned()) {
        writer.append(&Event { time: event.time.saturating_sub(start), ..event })?;
    }
    writer.finish()?;
    Ok(())
}

/// Whether it is a trap out of a function.
fn is_from(header: &Header, event: &Event, function: &str) -> bool {
    let Payload::Trap(trap) = &event.payload else { return false };
    header.symbolize(trap.rip).is_some_and(|(name, _)| name == function)
}

/// What of `events` holds after them.
fn standing(events: &[Event]) -> Vec<Event> {
    let mut slide = None;
    let mut states = BTreeMap::new();
    for event in events {
        match &event.payload {
            Payload::Slide(_) => slide = Some(event),
            Payload::State(_) => {
                states.insert(event.vcpu, event);
            }
            _ => {}
        }
    }
    slide.into_iter().chain(states.into_values()).cloned().collect()
}
