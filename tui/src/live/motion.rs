//! What the user lets a guest go for: a step over what an instruction calls, an event that matches.

use anyhow::Context as _;
use crossbeam_channel::Receiver;
use iced_x86::{Decoder, DecoderOptions, FlowControl};
use trace_format::Filter;
use trace_format::event::Actor;
use vmm_lite::{Control, MachineState, Point, Registers, Stop, StopCause};

use crate::model::code::LONGEST;
use crate::ui::text;

const BY: Actor = Actor::User;

/// What is under way.
#[derive(Debug)]
pub(super) struct Motions {
    stops: Receiver<Stop>,
    under_way: Option<Motion>,
}

#[derive(Debug)]
enum Motion {
    /// A step over something.
    Over(Over),
    /// To an event that matches.
    To,
}

#[derive(Debug)]
struct Over {
    vcpu: u8,
    /// RSP before it. Whoever comes to the end with less has called itself.
    rsp: u64,
    /// Where it ends, gva.
    end: u64,
    /// The breakpoint there is not one that the user has.
    own: bool,
}

impl Motions {
    pub(super) fn new(control: &Control) -> Self {
        Self { stops: control.stops(), under_way: None }
    }

    pub(super) fn is_stepping_over(&self) -> bool {
        matches!(self.under_way, Some(Motion::Over(_)))
    }

    /// The breakpoint that is there for a step alone, gva.
    pub(super) fn own_breakpoint(&self) -> Option<u64> {
        match &self.under_way {
            Some(Motion::Over(over)) if over.own => Some(over.end),
            _ => None,
        }
    }

    /// See [`crate::guest::Guest::step_over`].
    pub(super) fn step_over(&mut self, control: &Control, vcpu: u8) -> anyhow::Result<Option<u64>> {
        let registers = control.registers(vcpu)?;
        let Some(end) = end_of_call(control, vcpu, &registers) else {
            return Ok(Some(control.step(vcpu, BY)?.to));
        };
        let context = || format!("step over the call at {:#x}", registers.general.rip);
        self.forget(control);
        let over = Over { vcpu, rsp: registers.general.rsp, end, own: !control.breakpoints().contains(&end) };
        if over.own {
            control.insert(BY, vcpu, &over.point(&registers)).with_context(context)?;
        }
        if let Err(error) = control.resume(BY) {
            over.take_away(control);
            return Err(error).with_context(context);
        }
        self.under_way = Some(Motion::Over(over));
        Ok(None)
    }

    /// See [`crate::guest::Guest::run_to`].
    pub(super) fn run_to(&mut self, control: &Control, filter: &Filter) -> anyhow::Result<()> {
        let context = || format!("run to the next event with `{}`", filter.text());
        self.forget(control);
        control.stop_user_at_events(Some(filter.clone())).with_context(context)?;
        if let Err(error) = control.resume(BY) {
            // After the end there is nothing to wait for.
            let _ = control.stop_user_at_events(None);
            return Err(error).with_context(context);
        }
        self.under_way = Some(Motion::To);
        Ok(())
    }

    /// See [`crate::guest::Guest::stopped`].
    pub(super) fn stopped(&mut self, control: &Control) -> anyhow::Result<Option<String>> {
        while let Ok(stop) = self.stops.try_recv() {
            let said = self.take(control, &stop)?;
            if said.is_some() {
                return Ok(said);
            }
        }
        Ok(None)
    }

    fn take(&mut self, control: &Control, stop: &Stop) -> anyhow::Result<Option<String>> {
        if let Some(Motion::Over(over)) = &self.under_way
            && stop.cause == (StopCause::Breakpoint { address: over.end })
            && control.state() == (MachineState::Paused { by: BY })
        {
            control.settle();
            // Another vCPU at one of the user's own stops as ever.
            if over.is_done(control, stop)? || !over.own && stop.vcpu != Some(over.vcpu) {
                self.give_up(control);
                return Ok(Some(said(control, stop)));
            }
            control.resume(BY)?;
            return Ok(None);
        }
        // Whatever it is, the guest does no more what it was let go for.
        let asked = self.give_up(control);
        Ok(match &stop.cause {
            StopCause::Breakpoint { .. } | StopCause::Matched { .. }
                if control.state() == (MachineState::Paused { by: BY }) =>
            {
                control.settle();
                Some(said(control, stop))
            }
            StopCause::Ending { why } | StopCause::Ended { why } if asked => {
                Some(format!("the guest has ended before: {why}"))
            }
            _ => None,
        })
    }

    /// Ends what was under way, and passes over the stops until now: they would end what comes next.
    fn forget(&mut self, control: &Control) {
        self.give_up(control);
        while self.stops.try_recv().is_ok() {}
    }

    /// Takes away what was set for a motion. Returns whether there was one.
    fn give_up(&mut self, control: &Control) -> bool {
        match self.under_way.take() {
            Some(Motion::Over(over)) => over.take_away(control),
            Some(Motion::To) => {
                // After the end there is nothing to wait for.
                let _ = control.stop_user_at_events(None);
            }
            None => return false,
        }
        true
    }
}

impl Over {
    /// The breakpoint at its end, in the vCPU's address space alone.
    fn point(&self, registers: &Registers) -> Point {
        Point { address_space: Some(registers.system.cr3), ..Point::breakpoint(self.end) }
    }

    fn take_away(&self, control: &Control) {
        if self.own {
            // After the end there is nothing to take away.
            let _ = control.remove(BY, self.vcpu, &Point::breakpoint(self.end));
        }
    }

    /// Whether the stop at its end is of its vCPU, back from what it has called.
    fn is_done(&self, control: &Control, stop: &Stop) -> anyhow::Result<bool> {
        Ok(stop.vcpu == Some(self.vcpu) && control.registers(self.vcpu)?.general.rsp >= self.rsp)
    }
}

/// Where a vCPU comes to that has done what its next instruction calls or repeats, gva; `None` if it does neither.
fn end_of_call(control: &Control, vcpu: u8, registers: &Registers) -> Option<u64> {
    let start = registers.next_instruction();
    let mut bytes = [0; LONGEST];
    // The page behind it need not be mapped.
    let length = control.read_virtual_up_to(vcpu, start, &mut bytes).ok()?;
    let instruction =
        Decoder::with_ip(registers.code_bits(), &bytes[..length], start, DecoderOptions::NONE).decode();
    let calls = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt
    );
    let repeats = instruction.is_string_instruction()
        && (instruction.has_rep_prefix() || instruction.has_repne_prefix());
    (!instruction.is_invalid() && (calls || repeats)).then(|| instruction.next_ip())
}

/// Where a vCPU has stopped, and why.
fn said(control: &Control, stop: &Stop) -> String {
    let vcpu = stop.vcpu.unwrap_or(0);
    let place = match control.registers(vcpu) {
        Ok(registers) => {
            let rip = registers.general.rip;
            let name = control.symbolize(rip).map(|name| format!(", {}", text::escape(&name)));
            format!("{rip:#x}{}", name.unwrap_or_default())
        }
        Err(_) => "its end".to_owned(),
    };
    match &stop.cause {
        StopCause::Matched { kind } => {
            format!("vCPU {vcpu} is at {place}: it has made an event that matches, of kind {}", kind.name())
        }
        _ => format!("vCPU {vcpu} is at {place}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use trace_format::Reader;
    use vmm_lite::{Config, Image, Vm, guests};

    use super::*;

    /// A guest before its first instruction, and its symbols; `None` where none can run.
    fn paused(test: &str, guest: &str, vcpus: u8) -> Option<(Vm, tempfile::TempDir, Reader)> {
        if std::fs::File::open("/dev/kvm").is_err() {
            eprintln!("SKIP {test}: no /dev/kvm");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("t.vmt");
        let image = Image::Builtin(guests::find(guest).unwrap());
        let config = Config { vcpus, trace: Some(trace.clone()), start_paused: true, ..Config::new(image) };
        let vm = Vm::start(Config { timeout: Some(Duration::from_secs(120)), ..config }).unwrap();
        let reader = Reader::open(&trace).unwrap();
        Some((vm, directory, reader))
    }

    /// Waits for the end of what is under way.
    fn end(motions: &mut Motions, control: &Control) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(said) = motions.stopped(control).unwrap() {
                return said;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn filter(text: &str) -> Filter {
        Filter::parse(text).unwrap()
    }

    #[test]
    fn a_step_over_a_call_ends_behind_it() {
        let Some((vm, _directory, reader)) = paused("a_step_over_a_call_ends_behind_it", "hello", 1) else {
            return;
        };
        let control = vm.control();
        let mut motions = Motions::new(&control);
        let main = reader.header().symbols.address_of("main").unwrap();
        control.insert(BY, 0, &Point::breakpoint(main)).unwrap();
        control.resume(BY).unwrap();
        assert!(end(&mut motions, &control).contains("main"));
        let mut calls = 0;
        while calls < 2 {
            let before = control.registers(0).unwrap();
            let Some(behind) = end_of_call(&control, 0, &before) else {
                assert!(motions.step_over(&control, 0).unwrap().is_some());
                continue;
            };
            assert_eq!(motions.step_over(&control, 0).unwrap(), None);
            assert!(motions.is_stepping_over() && motions.own_breakpoint() == Some(behind));
            end(&mut motions, &control);
            let after = control.registers(0).unwrap().general;
            assert_eq!((after.rip, after.rsp), (behind, before.general.rsp));
            assert_eq!((control.breakpoints(), motions.own_breakpoint()), (vec![main], None));
            calls += 1;
        }
        // What comes now does not come back.
        control.remove_breakpoint(0, main).unwrap();
        control.resume(BY).unwrap();
        assert!(matches!(vm.wait().unwrap().why, trace_format::event::StopReason::GuestExit { status: 0 }));
    }

    #[test]
    fn a_guest_runs_to_an_event_and_gdb_keeps_what_it_waits_for() {
        let test = "a_guest_runs_to_an_event_and_gdb_keeps_what_it_waits_for";
        let Some((vm, _directory, _)) = paused(test, "tlb-shootdown", 2) else { return };
        let control = vm.control();
        let mut motions = Motions::new(&control);
        for _ in 0..3 {
            motions.run_to(&control, &filter("kind == ipi")).unwrap();
            let said = end(&mut motions, &control);
            assert!(said.contains("of kind ipi"), "{said}");
            assert_eq!(control.state(), MachineState::Paused { by: BY });
        }
        control.attach(Actor::Gdb).unwrap();
        control.stop_at_events(Some(filter("kind == ipi-eoi")), None).unwrap();
        let refused = motions.run_to(&control, &filter("kind == ipi")).unwrap_err();
        assert!(format!("{refused:#}").contains("GDB"), "{refused:#}");
        let stops = control.stops();
        control.resume(Actor::Gdb).unwrap();
        let stop = stops.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(stop.cause, StopCause::Matched { kind: trace_format::Kind::IpiEoi });
        assert_eq!(motions.stopped(&control).unwrap(), None, "that is GDB's");
        control.stop(BY);
        vm.wait().unwrap();
    }

    #[test]
    fn an_end_that_comes_first_is_told() {
        let Some((vm, _directory, _)) = paused("an_end_that_comes_first_is_told", "hello", 1) else { return };
        let control = vm.control();
        let mut motions = Motions::new(&control);
        motions.run_to(&control, &filter("kind == ipi")).unwrap();
        assert!(end(&mut motions, &control).starts_with("the guest has ended before"));
        assert!(motions.run_to(&control, &filter("kind == ipi")).is_err());
        vm.wait().unwrap();
    }
}
