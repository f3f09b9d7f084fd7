//! The source lines of addresses, looked up on a thread: an image may have gigabytes of DWARF.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, unbounded};
use trace_format::Error;
use trace_format::symbols::Symbols;

use crate::model::sources::{SourceLine, Sources, SourcesError};

/// What was found of each address, gva.
type Found = Vec<(u64, Option<SourceLine>)>;

/// A thread that knows an image's source lines. It ends when this is dropped and it has answered.
#[derive(Debug)]
pub struct Lines {
    questions: Sender<Vec<u64>>,
    answers: Receiver<Result<Found, SourcesError>>,
    asked: usize,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    /// Starts it for an image, whose symbols are in the guest where `symbols` has them.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn of(image: Arc<[u8]>, symbols: Symbols) -> Result<Self, Error> {
        let (questions, asked) = unbounded::<Vec<u64>>();
        let (answer, answers) = unbounded();
        let work = move || {
            let mut sources = Sources::of(&image, &symbols);
            for addresses in asked {
                let answered = match &mut sources {
                    Ok(Some(sources)) => {
                        let line = |gva| sources.line(gva).map(|line| (gva, line));
                        addresses.into_iter().map(line).collect()
                    }
                    Ok(None) => Ok(addresses.into_iter().map(|gva| (gva, None)).collect()),
                    // Told once; then there are no lines.
                    Err(_) => std::mem::replace(&mut sources, Ok(None)).map(|_| Vec::new()),
                };
                if answer.send(answered).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("lines".to_owned()).spawn(work).map_err(Error::Thread)?;
        Ok(Self { questions, answers, asked: 0, thread: Some(thread) })
    }

    /// Asks for the lines of these addresses, gva.
    pub fn ask(&mut self, addresses: Vec<u64>) {
        if self.questions.send(addresses).is_ok() {
            self.asked += 1;
        }
    }

    /// Whether an answer is still to come.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.asked > 0
    }

    /// An answer, if there is one.
    ///
    /// # Errors
    /// Why there are no lines, or not those of one question.
    pub fn take(&mut self) -> Result<Option<Found>, SourcesError> {
        match self.answers.try_recv() {
            Ok(answer) => {
                self.asked = self.asked.saturating_sub(1);
                answer.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                self.asked = 0;
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                Ok(None)
            }
        }
    }

    /// Waits a while for an answer, if one is to come.
    pub fn wait(&self) {
        if self.is_busy() {
            let mut answer = Select::new();
            answer.recv(&self.answers);
            // Nothing within that time is said by `take`.
            let _ = answer.ready_timeout(Duration::from_millis(100));
        }
    }
}

#[cfg(all(test, feature = "live"))]
mod tests {
    use super::*;

    fn answer(lines: &mut Lines) -> Result<Found, SourcesError> {
        loop {
            lines.wait();
            if let Some(found) = lines.take()? {
                return Ok(found);
            }
        }
    }

    #[test]
    fn every_question_has_an_answer() {
        let image = crate::live::image("hello").unwrap();
        let mut lines = Lines::of(Arc::from(image), Symbols::default()).unwrap();
        lines.ask(vec![1, 2]);
        lines.ask(vec![3]);
        assert!(lines.is_busy());
        assert_eq!(answer(&mut lines).unwrap(), [(1, None), (2, None)]);
        assert_eq!(answer(&mut lines).unwrap(), [(3, None)]);
        assert!(!lines.is_busy());
    }

    #[test]
    fn damage_is_told_once() {
        let mut lines = Lines::of(Arc::from(*b"\x7fELF"), Symbols::default()).unwrap();
        lines.ask(vec![1]);
        lines.ask(vec![2]);
        assert!(answer(&mut lines).is_err());
        assert_eq!(answer(&mut lines).unwrap(), [(2, None)]);
        assert!(!lines.is_busy());
    }
}
