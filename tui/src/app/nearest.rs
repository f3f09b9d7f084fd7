//! The event nearest to a place that tells something.

use std::ops::ControlFlow;

use trace_format::event::{Event, MACHINE};
use trace_format::{Error, Reader, Summary};

use super::App;

/// How many events are looked at in each direction.
pub(super) const FAR: usize = 20_000;

/// What `tells` finds in the event with this number or the nearest one before it, with that one's number; if there is
/// none, in the nearest one after it. Only blocks that are `wanted` are looked at, and not far.
///
/// # Errors
/// If the trace cannot be read.
pub(super) fn nearest<T>(
    reader: &mut Reader,
    number: u64,
    wanted: impl Fn(&Summary) -> bool,
    tells: impl Fn(&Event) -> Option<T>,
) -> Result<Option<(u64, T)>, Error> {
    let look = || {
        let (tells, mut looked) = (&tells, 0);
        move |number: u64, event: &Event| {
            looked += 1;
            match tells(event) {
                Some(told) => ControlFlow::Break(Some((number, told))),
                None if looked == FAR => ControlFlow::Break(None),
                None => ControlFlow::Continue(()),
            }
        }
    };
    let behind = number.saturating_add(1);
    let before = reader.back_through(behind, &wanted, look())?.break_value().flatten();
    if before.is_some() {
        return Ok(before);
    }
    Ok(reader.go_through(behind, &wanted, look())?.break_value().flatten())
}

impl App {
    /// The vCPU of the selected event; of an event of the machine that of the nearest event that has one, or of a paused
    /// guest the one that is stepped.
    pub(super) fn vcpu_shown(&mut self) -> u8 {
        if self.shows_live_code() {
            return self.chosen_vcpu();
        }
        let vcpu = |event: &Event| Some(event.vcpu).filter(|vcpu| *vcpu != MACHINE);
        if let Some(vcpu) = self.selected.as_ref().and_then(vcpu) {
            return vcpu;
        }
        match nearest(&mut self.reader, self.cursor, |_| true, vcpu) {
            Ok(found) => found.map_or(0, |(_, vcpu)| vcpu),
            Err(error) => {
                self.complain(&error);
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trace_format::event::{Actor, Payload, VcpuState};
    use trace_format::{Header, Writer};

    use super::*;
    use crate::app::Settings;
    use crate::guest::Machine;

    fn trace(vcpus: &[u8]) -> Reader {
        let mut writer = Writer::new(Vec::new(), &Header { vcpus: 4, ..Header::default() }).unwrap();
        for &vcpu in vcpus {
            writer.append(&Event { time: 1, vcpu, payload: Payload::State(VcpuState::Running) }).unwrap();
        }
        Reader::from_bytes(writer.finish().unwrap()).unwrap()
    }

    fn of(reader: &mut Reader, number: u64, vcpu: u8) -> Option<u64> {
        let found = nearest(reader, number, |_| true, |event| (event.vcpu == vcpu).then_some(()));
        found.unwrap().map(|(number, ())| number)
    }

    #[test]
    fn the_event_itself_then_one_before_then_one_after() {
        let mut reader = trace(&[1, 0, 0, 1, 2]);
        assert_eq!(of(&mut reader, 3, 1), Some(3));
        assert_eq!(of(&mut reader, 2, 1), Some(0), "though another is nearer behind it");
        assert_eq!(of(&mut reader, 1, 2), Some(4));
        assert_eq!(of(&mut reader, 1, 3), None);
        assert_eq!(of(&mut reader, u64::MAX, 2), Some(4));
        assert_eq!(of(&mut trace(&[]), 0, 0), None);
        let unwanted = nearest(&mut reader, 3, |_| false, |_| Some(()));
        assert_eq!(unwanted.unwrap(), None);
    }

    #[test]
    fn nothing_is_looked_for_very_far() {
        let mut vcpus = vec![0; 2 * FAR + 2];
        (vcpus[0], vcpus[2 * FAR + 1]) = (1, 1);
        let mut reader = trace(&vcpus);
        assert_eq!(of(&mut reader, FAR as u64 - 1, 1), Some(0));
        assert_eq!(of(&mut reader, FAR as u64, 1), None);
        assert_eq!(of(&mut reader, FAR as u64 + 1, 1), Some(2 * FAR as u64 + 1));
    }

    #[test]
    fn an_event_of_the_machine_is_of_the_vcpu_before_it() {
        let mut app = App::new(trace(&[MACHINE, 2, MACHINE, 3]), Settings::plain());
        app.read_all();
        for (event, vcpu) in [(0, 2), (1, 2), (2, 2), (3, 3)] {
            app.select(event);
            app.refresh();
            assert_eq!(app.vcpu_shown(), vcpu, "at event {event}");
        }
        app.set_machine(Some(Machine::Paused { by: Actor::User }));
        for (event, vcpu) in [(2, 0), (3, 3)] {
            app.select(event);
            app.refresh();
            assert_eq!(app.vcpu_shown(), vcpu, "as `s` takes it at event {event}");
        }
    }
}
