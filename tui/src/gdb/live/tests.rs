//! A guest that others have hold of, too.

use trace_format::Reader;
use trace_format::event::StopReason;
use vmm_lite::{Config, Image, StopCause, Vm, guests};

use super::*;
use crate::gdb::debuggee::Cause;

/// Lets it run to the next stop.
fn go(live: &mut Live) -> Cause {
    live.resume(Direction::Forward, &[Motion::Continue]).unwrap();
    loop {
        if let Progress::Stopped(stop) = live.poll() {
            return stop.cause;
        }
        let mut select = Select::new();
        live.wait_on(&mut select);
        select.ready();
    }
}

/// GDB stands still, and the user makes the guest's last step.
#[test]
fn an_end_that_comes_while_nothing_moves_for_gdb_is_told_when_it_goes_on() {
    if std::fs::File::open("/dev/kvm").is_err() {
        eprintln!("SKIP an_end_that_comes_while_nothing_moves_for_gdb_is_told_when_it_goes_on: no /dev/kvm");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("t.vmt");
    let image = Image::Builtin(guests::find("hello").unwrap());
    let vm =
        Vm::start(Config { trace: Some(trace.clone()), start_paused: true, ..Config::new(image) }).unwrap();
    let control = vm.control();
    let mut live = Live::new(control.clone(), Some(trace.clone()));
    live.attach().unwrap();
    let address = Reader::open(&trace).unwrap().header().symbols.address_of("finish").unwrap();
    let point = Point { kind: PointKind::Software, address, len: 1 };
    live.insert(0, point).unwrap();
    assert_eq!(go(&mut live), Cause::Breakpoint { hardware: false });
    live.remove(0, point).unwrap();
    let stops = control.stops();
    let told = (0..200).find_map(|_| {
        control.step(0, Actor::User).unwrap();
        stops.try_recv().ok()
    });
    let why = StopReason::GuestExit { status: 0 };
    assert_eq!(told.map(|stop| stop.cause), Some(StopCause::Ending { why: why.clone() }));
    assert_eq!(live.poll(), Progress::Waiting, "GDB has not asked");
    assert_eq!(go(&mut live), Cause::Ending { why: why.clone(), event: None });
    assert!(live.registers(0).is_ok(), "it can be looked at");
    assert_eq!(go(&mut live), Cause::Ended { why: why.clone() });
    assert_eq!(vm.wait().unwrap().why, why);
}
