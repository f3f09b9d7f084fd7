//! The vmscope program as cargo built it.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Where it is: `$VMSCOPE_BIN`, or beside this test's own program.
///
/// # Panics
/// When it has not been built; `cargo test --workspace` builds it.
#[must_use]
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("VMSCOPE_BIN") {
        return path.into();
    }
    let mut path = std::env::current_exe().unwrap_or_else(|e| panic!("where is this test's program? {e}"));
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("vmscope");
    assert!(
        path.exists(),
        "{} is not there: cargo build -p vmscope, or cargo test --workspace",
        path.display()
    );
    path
}

/// A command that runs it with `arguments`, without colour and with no terminal.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(path());
    command.args(arguments).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    command
}

/// Runs it to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap_or_else(|e| panic!("vmscope {arguments:?}: {e}"))
}

/// What it wrote to standard output; it must have ended with `code`.
///
/// # Panics
/// When it ended otherwise: the message has everything it said.
#[must_use]
pub fn expect(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "vmscope {arguments:?}\n{out}\n{err}");
    out
}
