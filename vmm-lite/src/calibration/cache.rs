//! The result of calibration, kept as long as the host stays up.

use std::path::PathBuf;
use std::{env, fs};

use super::{Calibration, trial};
use crate::error::Result;
use crate::kvm::Host;

/// Calibrates, or takes the result from this boot of the host and this version of the program.
///
/// # Errors
/// When the tiny guest cannot be run at all.
pub(crate) fn calibrate(host: &Host) -> Result<Calibration> {
    let path = cache_path();
    let cached = path.as_ref().and_then(|path| fs::read(path).ok());
    if let Some(calibration) = cached.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(calibration);
    }
    let calibration = trial::run(host)?;
    if let Some(path) = path {
        store(&path, &calibration);
    }
    Ok(calibration)
}

/// One file for each boot and version. Without a home or a boot id there is no cache.
fn cache_path() -> Option<PathBuf> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let base = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    let name = format!("calibration-{}-{}.json", env!("CARGO_PKG_VERSION"), boot.trim());
    Some(base.join("vmscope").join(name))
}

/// A cache that cannot be written costs the next run a few milliseconds, so that is no error. Written to a name of its
/// own first: another vmscope may start at the same moment.
fn store(path: &PathBuf, calibration: &Calibration) {
    let Ok(json) = serde_json::to_vec(calibration) else { return };
    let Some(directory) = path.parent() else { return };
    let mine = path.with_extension(std::process::id().to_string());
    let stored = fs::create_dir_all(directory)
        .and_then(|()| fs::write(&mine, json))
        .and_then(|()| fs::rename(&mine, path));
    if stored.is_err() {
        drop(fs::remove_file(&mine));
    }
}
