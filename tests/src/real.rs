//! Guests that nobody here wrote, as `real-guests/fetch` leaves them in its cache.

use std::path::PathBuf;

use crate::skip::skip;

/// The directory that `real-guests/fetch` fills.
#[must_use]
pub fn directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("VMSCOPE_GUESTS").unwrap_or_else(|| {
        let cache = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default();
        cache.join("vmscope-guests")
    })
}

/// The file `name` in it; prints a visible skip of `test` if nobody has fetched it.
#[must_use]
pub fn file_or_skip(test: &str, name: &str) -> Option<PathBuf> {
    let path = directory().join(name);
    match std::fs::File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            skip(test, &format!("{}: {error} (tests/real-guests/fetch gets it)", path.display()));
            None
        }
    }
}
