//! Programs that others wrote, which read what vmscope exports; `readers/fetch` gets them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::skip::skip;

/// Programs in their environment.
#[derive(Debug)]
pub struct Readers {
    cache: PathBuf,
}

impl Readers {
    /// Those that `readers/fetch` has fetched; prints a visible skip of `test` if nobody has run it.
    #[must_use]
    pub fn or_skip(test: &str) -> Option<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = variable("VMSCOPE_READERS").unwrap_or_else(|| {
            let home = variable("HOME").map(|home| home.join(".cache"));
            variable("XDG_CACHE_HOME").or(home).unwrap_or_default().join("vmscope-readers")
        });
        // It is made last.
        if cache.join("made-by").exists() {
            return Some(Self { cache });
        }
        skip(test, &format!("nothing is in {} (tests/readers/fetch gets it)", cache.display()));
        None
    }

    /// What `readers/read-perfetto` finds in a file.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn perfetto(&self, file: &Path) -> Value {
        let mut command = self.python("read-perfetto");
        command.arg(file);
        let shell = self.cache.join("trace_processor");
        if shell.exists() {
            command.env("VMSCOPE_TRACE_PROCESSOR", shell);
        }
        json(command)
    }

    /// The rows that DuckDB answers `sql` with.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn query(&self, sql: &str) -> Value {
        let mut command = self.python("query");
        command.arg(sql);
        json(command)
    }

    fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.cache.join("venv/bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("readers").join(script));
        command
    }
}

fn json(mut command: Command) -> Value {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
