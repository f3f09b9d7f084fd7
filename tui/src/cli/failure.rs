//! Errors and the exit codes they lead to.

use std::fmt;
use std::io;

use crate::new_file::CannotBegin;

/// The program's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// All went well.
    Done = 0,
    /// The guest failed, or writing output did.
    Failed = 1,
    /// The command line asks for what does not exist.
    Usage = 2,
    /// This host cannot run guests.
    Host = 3,
    /// The trace is damaged or none.
    Trace = 4,
}

/// An error that ends the program.
#[derive(Debug)]
pub struct Failure {
    /// With this exit code.
    pub code: Code,
    /// After this message.
    pub error: anyhow::Error,
}

impl Failure {
    /// An error with an exit code.
    pub fn new(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    /// Whether whoever read the output has had enough, which is nobody's fault.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        self.error.chain().any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With all causes, on one line.
        write!(f, "{:#}", self.error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: Code::Failed, error }
    }
}

impl From<CannotBegin> for Failure {
    fn from(CannotBegin(error): CannotBegin) -> Self {
        Self { code: Code::Usage, error }
    }
}

impl From<trace_format::Error> for Failure {
    fn from(error: trace_format::Error) -> Self {
        let code = match error {
            trace_format::Error::Open { .. } => Code::Usage,
            _ => Code::Trace,
        };
        Self::new(code, error)
    }
}
