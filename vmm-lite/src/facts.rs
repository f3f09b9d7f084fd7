//! What can be said about this host.

use std::fs;

use trace_format::header::Fact;

use crate::calibration::{self, Calibration};
use crate::error::Result;
use crate::kvm::Host;

/// What this host's KVM can and cannot do, for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The host and its KVM, as far as they say.
    pub host: Vec<Fact>,
    /// What calibration found by trying.
    pub calibration: Vec<Fact>,
}

/// Examines this host.
///
/// # Errors
/// When there is no usable KVM: the error says what to do.
pub fn doctor() -> Result<Diagnosis> {
    let host = Host::open()?;
    let calibration = calibration::calibrate(&host)?;
    Ok(Diagnosis { host: self::host(&host), calibration: calibration.facts() })
}

/// The host as described in a trace's header.
pub(crate) fn host(host: &Host) -> Vec<Fact> {
    let kvm = host.facts();
    let mut facts = vec![
        fact("kernel", kernel()),
        fact("CPU", cpu()),
        fact("KVM API", kvm.api_version.to_string()),
        fact("vCPUs", format!("{} recommended, {} at most", kvm.recommended_vcpus, kvm.maximum_vcpus)),
    ];
    facts.extend(kvm.capabilities.iter().map(|(name, has)| fact(name, if *has { "yes" } else { "no" })));
    facts
}

/// What calibration found, and what `CPUID` hides from this guest for it.
pub(crate) fn calibration(found: &Calibration, hidden: &[&str]) -> Vec<Fact> {
    let hidden = if hidden.is_empty() { "nothing".to_owned() } else { hidden.join(", ") };
    let mut facts = found.facts();
    facts.push(fact("CPUID hides", hidden));
    facts
}

fn fact(name: &str, value: impl Into<String>) -> Fact {
    Fact { name: name.to_owned(), value: value.into() }
}

fn kernel() -> String {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {}", read("ostype").trim(), read("osrelease").trim())
}

fn cpu() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}
