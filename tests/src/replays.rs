//! The recorded traces.

use std::fs;
use std::path::{Path, PathBuf};

/// The traces in `replays/`, sorted.
///
/// # Panics
/// If they are not there.
#[must_use]
pub fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.map(|entry| entry.path()).ok())
        .filter(|path| path.extension().is_some_and(|extension| extension == "vmt"))
        .collect();
    found.sort();
    assert!(found.len() >= 7, "{}: {found:?}", folder.display());
    found
}

/// The one of this name.
#[must_use]
pub fn named(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays").join(name).with_extension("vmt")
}

/// What a trace is called: the name of its file.
#[must_use]
pub fn name(path: &Path) -> &str {
    path.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}
