//! Running guests, where this build and platform can.

#[cfg(all(feature = "live", target_os = "linux", target_arch = "x86_64"))]
mod kvm;
#[cfg(all(feature = "live", target_os = "linux", target_arch = "x86_64"))]
mod motion;
#[cfg(all(feature = "live", target_os = "linux", target_arch = "x86_64"))]
pub use kvm::{Live, doctor, guests, image};

#[cfg(not(all(feature = "live", target_os = "linux", target_arch = "x86_64")))]
mod none;
#[cfg(not(all(feature = "live", target_os = "linux", target_arch = "x86_64")))]
pub use none::{Live, doctor, guests, image};

use std::path::PathBuf;

use trace_format::event::StopReason;
use trace_format::header::Fact;

use crate::cli::{Failure, GuestOptions};

/// What to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// A built-in guest's name or an image's path.
    pub guest: String,
    /// How to run it.
    pub options: GuestOptions,
    /// The trace to write; `None` for a run without the recorder.
    pub trace: Option<PathBuf>,
    /// Whether the UI shows it while it grows.
    pub followed: bool,
}

/// How a run went.
#[derive(Debug)]
pub struct Ended {
    /// Why it ended.
    pub why: StopReason,
    /// How long it took, ns.
    pub duration_ns: u64,
    /// What the host could not do, if that ended it.
    pub failure: Option<Failure>,
}

/// A built-in guest.
#[derive(Clone, Debug)]
pub struct GuestInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What to look at in its trace.
    pub demonstrates: &'static str,
    /// How many vCPUs it gets if the command line does not say.
    pub vcpus: u8,
    /// The words of its command line: key, default value, meaning.
    pub options: Vec<(&'static str, &'static str, &'static str)>,
}

/// What this host's KVM can and cannot do.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// What the host says about itself.
    pub host: Vec<Fact>,
    /// What was found by trying.
    pub calibration: Vec<Fact>,
}
