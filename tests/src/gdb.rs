//! The real GDB.

use std::process::{Command, Output, Stdio};

use crate::skip::skip;

/// Whether there is a GDB for `test`; prints a visible skip if not.
#[must_use]
pub fn or_skip(test: &str) -> bool {
    let there = Command::new("gdb").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        skip(test, "there is no gdb");
    }
    there
}

/// GDB with nothing of the user's, which asks no questions and waits for no downloads.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-nh", "-q"]).env("DEBUGINFOD_URLS", "").stdin(Stdio::null());
    for setting in ["confirm off", "pagination off", "width 0"] {
        command.args(["-ex", &format!("set {setting}")]);
    }
    command
}

/// Has GDB carry out `commands`, each by itself: after an error in a script it would not go on. What it prints on both
/// outputs.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn batch<'c>(mut gdb: Command, commands: impl IntoIterator<Item = &'c str>) -> String {
    gdb.arg("-batch");
    for command in commands {
        gdb.args(["-ex", command]);
    }
    let Output { stdout, stderr, .. } = gdb.output().unwrap_or_else(|error| panic!("gdb: {error}"));
    [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}
