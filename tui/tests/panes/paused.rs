//! A guest that is paused: what it tells is a test's own, and nothing else is asked of it.

use std::path::Path;

use trace_format::Filter;
use trace_format::event::Actor;
use vmscope::guest::{Guest, Key, Machine, Space, Toggled, VcpuNow};

/// What a paused guest tells.
pub(crate) trait Tells {
    fn cpu(&self, vcpu: u8) -> VcpuNow;
    fn read(&self, gva: u64, buffer: &mut [u8]) -> usize;

    fn read_physical(&self, _gpa: u64, _buffer: &mut [u8]) -> usize {
        0
    }

    fn space(&self, _vcpu: u8, _table: Option<u64>) -> Space {
        Space::default()
    }

    fn breakpoints(&self) -> Vec<u64> {
        Vec::new()
    }
}

/// One that tells this.
pub(crate) struct Paused<T>(pub(crate) T);

impl<T: Tells> Guest for Paused<T> {
    fn machine(&self) -> Machine {
        Machine::Paused { by: Actor::User }
    }

    fn cpu(&self, vcpu: u8) -> anyhow::Result<VcpuNow> {
        Ok(self.0.cpu(vcpu))
    }

    fn read(&self, _: u8, gva: u64, buffer: &mut [u8]) -> usize {
        self.0.read(gva, buffer)
    }

    fn read_physical(&self, gpa: u64, buffer: &mut [u8]) -> usize {
        self.0.read_physical(gpa, buffer)
    }

    fn space(&self, vcpu: u8, table: Option<u64>) -> anyhow::Result<Space> {
        Ok(self.0.space(vcpu, table))
    }

    fn breakpoints(&self) -> Vec<u64> {
        self.0.breakpoints()
    }

    fn pause(&self) -> anyhow::Result<()> {
        unreachable!()
    }
    fn resume(&self) -> anyhow::Result<()> {
        unreachable!()
    }
    fn step(&self, _: u8) -> anyhow::Result<u64> {
        unreachable!()
    }
    fn step_over(&self, _: u8) -> anyhow::Result<Option<u64>> {
        unreachable!()
    }
    fn run_to(&self, _: &Filter) -> anyhow::Result<()> {
        unreachable!()
    }
    fn stopped(&self) -> anyhow::Result<Option<String>> {
        unreachable!()
    }
    fn is_stepping_over(&self) -> bool {
        unreachable!()
    }
    fn toggle_breakpoint(&self, _: u8, _: u64) -> anyhow::Result<Toggled> {
        unreachable!()
    }
    fn clear_breakpoints(&self) -> anyhow::Result<()> {
        unreachable!()
    }
    fn reset(&self) -> anyhow::Result<()> {
        unreachable!()
    }
    fn trace(&self) -> Option<&Path> {
        unreachable!()
    }
    fn type_key(&self, _: Key) -> bool {
        unreachable!()
    }
    fn serial_input(&self, _: &[u8]) -> usize {
        unreachable!()
    }
    fn stop(&self) {
        unreachable!()
    }
}
