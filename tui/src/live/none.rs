//! This build cannot run guests; traces it can replay.

use std::convert::Infallible;
use std::path::Path;

use trace_format::Filter;

use super::{Diagnosis, Ended, GuestInfo, Request};
use crate::cli::{Code, Failure};
use crate::gdb::{Listener, Server};
use crate::guest::{Guest, Key, Machine, Space, Toggled, VcpuNow};

/// There is none.
#[derive(Debug)]
pub struct Live(Infallible);

impl Live {
    /// Says that it cannot.
    ///
    /// # Errors
    /// Always.
    pub fn start(_: &Request) -> Result<Self, Failure> {
        Err(cannot())
    }

    /// The end of the run.
    ///
    /// # Errors
    /// If the run could not be ended properly.
    pub fn wait(self) -> Result<Ended, Failure> {
        match self.0 {}
    }

    /// Ends the run because of a signal.
    pub fn interrupt(&self) {
        match self.0 {}
    }

    /// Serves GDB until the server is dropped.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn serve_gdb(&self, _: Listener) -> Result<Server, Failure> {
        match self.0 {}
    }
}

impl Guest for Live {
    fn machine(&self) -> Machine {
        match self.0 {}
    }

    fn pause(&self) -> anyhow::Result<()> {
        match self.0 {}
    }

    fn resume(&self) -> anyhow::Result<()> {
        match self.0 {}
    }

    fn step(&self, _: u8) -> anyhow::Result<u64> {
        match self.0 {}
    }

    fn step_over(&self, _: u8) -> anyhow::Result<Option<u64>> {
        match self.0 {}
    }

    fn run_to(&self, _: &Filter) -> anyhow::Result<()> {
        match self.0 {}
    }

    fn stopped(&self) -> anyhow::Result<Option<String>> {
        match self.0 {}
    }

    fn is_stepping_over(&self) -> bool {
        match self.0 {}
    }

    fn toggle_breakpoint(&self, _: u8, _: u64) -> anyhow::Result<Toggled> {
        match self.0 {}
    }

    fn clear_breakpoints(&self) -> anyhow::Result<()> {
        match self.0 {}
    }

    fn breakpoints(&self) -> Vec<u64> {
        match self.0 {}
    }

    fn reset(&self) -> anyhow::Result<()> {
        match self.0 {}
    }

    fn cpu(&self, _: u8) -> anyhow::Result<VcpuNow> {
        match self.0 {}
    }

    fn read(&self, _: u8, _: u64, _: &mut [u8]) -> usize {
        match self.0 {}
    }

    fn read_physical(&self, _: u64, _: &mut [u8]) -> usize {
        match self.0 {}
    }

    fn space(&self, _: u8, _: Option<u64>) -> anyhow::Result<Space> {
        match self.0 {}
    }

    fn trace(&self) -> Option<&Path> {
        match self.0 {}
    }

    fn type_key(&self, _: Key) -> bool {
        match self.0 {}
    }

    fn serial_input(&self, _: &[u8]) -> usize {
        match self.0 {}
    }

    fn stop(&self) {
        match self.0 {}
    }
}

/// The built-in guests.
///
/// # Errors
/// Always.
pub fn guests() -> Result<Vec<GuestInfo>, Failure> {
    Err(cannot())
}

/// What this host's KVM can and cannot do.
///
/// # Errors
/// Always.
pub fn doctor() -> Result<Diagnosis, Failure> {
    Err(cannot())
}

fn cannot() -> Failure {
    let why = "this build of vmscope cannot run guests: it needs Linux on x86-64 and the feature 'live'";
    Failure::new(Code::Host, anyhow::anyhow!(why))
}

/// The image of a built-in guest: none are compiled in.
#[must_use]
pub fn image(_: &str) -> Option<&'static [u8]> {
    None
}
