//! Tests that cannot run here say so.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Whether `test` can run guests; prints a visible skip if not.
#[must_use]
pub fn kvm_or_skip(test: &str) -> bool {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => true,
        Err(error) => {
            skip(test, &format!("/dev/kvm: {error}"));
            false
        }
    }
}

/// Prints `SKIP test: reason`, and appends it to the file that `VMSCOPE_SKIPS` names: cargo hides what a passing test
/// prints, and CI fails if anything was skipped.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIP {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("VMSCOPE_SKIPS")
        && let Err(error) = append(Path::new(&path), &line)
    {
        panic!("cannot note a skip in {}: {error}", Path::new(&path).display());
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}
