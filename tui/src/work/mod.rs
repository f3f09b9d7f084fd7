//! Work on a trace that may take longer than a frame: on a thread of its own, and broken off when nobody wants it any
//! more. So input never waits behind it.

mod analysis;
mod job;
mod lines;
mod listed;
mod matches;
mod sorted;
mod strips;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use trace_format::{Error, Reader};

pub use analysis::{Analysis, Analyst, Range};
pub use job::{Ended, Job, Watch};
pub use lines::Lines;
pub use listed::{Found, Listing};
pub use matches::{Matches, Searched};
pub use sorted::{MOST_SORTED, Sorted, Sorter, Sorting};
pub use strips::{Part, Strips};

/// A thread that answers questions, the newest one only.
pub struct Worker<Q, A> {
    shared: Arc<Shared<Q, A>>,
    /// The number of the newest question.
    asked: u64,
    /// Whether its last answer has been taken.
    done: bool,
    thread: Option<JoinHandle<()>>,
}

struct Shared<Q, A> {
    state: Mutex<State<Q, A>>,
    /// Something in `state` is new.
    changed: Condvar,
    /// Breaks off what the thread reads. Set and cleared under the lock, so that it always means the newest question.
    interrupt: Arc<AtomicBool>,
    /// The event up to which the thread has come.
    reached: Arc<AtomicU64>,
}

struct State<Q, A> {
    question: Option<(u64, Q)>,
    answer: Option<(u64, Answer<A>)>,
    closed: bool,
}

enum Answer<A> {
    /// There will be more.
    Part(A),
    Whole(A),
    Failed(Error),
}

/// Where a thread's work tells what it has found so far.
pub struct Progress<'a, Q, A> {
    shared: &'a Shared<Q, A>,
    number: u64,
}

impl<Q, A> Progress<'_, Q, A> {
    /// Gives an answer that more will follow.
    pub fn tell(&self, part: A) {
        self.shared.answer(self.number, Answer::Part(part));
    }
}

impl<Q, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, number: u64, answer: Answer<A>) {
        self.lock().answer = Some((number, answer));
        self.changed.notify_all();
    }

    /// The next question; `None` if nobody will ask any more.
    fn next(&self) -> Option<(u64, Q)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(question) = state.question.take() {
                self.interrupt.store(false, Ordering::Relaxed);
                return Some(question);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// Starts the thread `name`, which has `work` answer what it is asked from `reader`, each time with all that the trace
    /// has then.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(
        name: &str,
        mut reader: Reader,
        mut work: impl FnMut(&mut Reader, Q, &Progress<'_, Q, A>) -> Result<A, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let interrupt = Arc::new(AtomicBool::new(false));
        reader.interrupt_by(Arc::clone(&interrupt));
        let reached = Arc::new(AtomicU64::new(0));
        reader.tell_in(Arc::clone(&reached));
        let state = Mutex::new(State { question: None, answer: None, closed: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), interrupt, reached });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some((number, question)) = worker.next() {
                    let progress = Progress { shared: &worker, number };
                    match reader.poll().and_then(|_| work(&mut reader, question, &progress)) {
                        Ok(answer) => worker.answer(number, Answer::Whole(answer)),
                        // Another question waits.
                        Err(Error::Interrupted) => {}
                        Err(error) => worker.answer(number, Answer::Failed(error)),
                    }
                }
            })
            .map_err(Error::Thread)?;
        Ok(Self { shared, asked: 0, done: true, thread: Some(thread) })
    }

    /// Asks; what was asked before is broken off.
    pub fn ask(&mut self, question: Q) {
        self.asked += 1;
        self.done = false;
        let mut state = self.shared.lock();
        state.question = Some((self.asked, question));
        state.answer = None;
        self.shared.reached.store(0, Ordering::Relaxed);
        self.shared.interrupt.store(true, Ordering::Relaxed);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// No longer wants to know.
    pub fn cancel(&mut self) {
        self.asked += 1;
        self.done = true;
        let mut state = self.shared.lock();
        (state.question, state.answer) = (None, None);
        self.shared.interrupt.store(true, Ordering::Relaxed);
    }

    /// Whether an answer is still to come.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        !self.done
    }

    /// While an answer is to come: the number of the event up to which the trace has been read for it.
    #[must_use]
    pub fn reached(&self) -> Option<u64> {
        self.is_busy().then(|| self.shared.reached.load(Ordering::Relaxed))
    }

    /// The newest answer to the last question, if it has not been taken yet.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(&mut self) -> Result<Option<A>, Error> {
        let Some((number, answer)) = self.shared.lock().answer.take() else { return Ok(None) };
        if number != self.asked {
            return Ok(None);
        }
        match answer {
            Answer::Part(part) => Ok(Some(part)),
            Answer::Whole(whole) => {
                self.done = true;
                Ok(Some(whole))
            }
            Answer::Failed(error) => {
                self.done = true;
                Err(error)
            }
        }
    }

    /// Waits until there is something to take, if anything is to come.
    pub fn wait(&self) {
        let mut state = self.shared.lock();
        while !self.done
            && state.answer.is_none()
            && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
        {
            let waited = self.shared.changed.wait_timeout(state, std::time::Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<Q, A> Drop for Worker<Q, A> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.interrupt.store(true, Ordering::Relaxed);
        drop(state);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl<Q, A> std::fmt::Debug for Worker<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("asked", &self.asked).field("done", &self.done).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use trace_format::event::{Payload, VcpuState};
    use trace_format::{Event, Header, Writer};

    use super::*;

    const EVENTS: u64 = 50_000;

    fn reader() -> Reader {
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        for time in 0..EVENTS {
            writer.append(&Event { time, vcpu: 0, payload: Payload::State(VcpuState::Running) }).unwrap();
        }
        Reader::from_bytes(writer.finish().unwrap()).unwrap()
    }

    fn answer<A: Send + 'static>(worker: &mut Worker<u64, A>) -> Vec<A> {
        let mut all = Vec::new();
        while worker.is_busy() {
            worker.wait();
            all.extend(worker.take().unwrap());
        }
        all
    }

    #[test]
    fn it_answers_and_only_the_newest_question() {
        let (began, has_begun) = channel();
        let mut worker = Worker::start("test", reader(), move |reader, question: u64, progress| {
            began.send(question).unwrap();
            let mut count = 0;
            // The first question has no end but by another.
            loop {
                reader.for_each(|_, _| count += 1)?;
                progress.tell(u64::MAX);
                if question > 0 {
                    return Ok(question + count);
                }
            }
        })
        .unwrap();
        worker.ask(0);
        assert_eq!(has_begun.recv(), Ok(0));
        assert!(worker.is_busy());
        worker.ask(1);
        let last = answer(&mut worker).pop();
        assert_eq!(last, Some(1 + EVENTS));
        assert!(!worker.is_busy() && worker.take().unwrap().is_none());
        worker.ask(0);
        worker.cancel();
        assert!(!worker.is_busy());
    }

    #[test]
    fn an_error_is_told_once() {
        let mut worker: Worker<u64, u64> =
            Worker::start("test", reader(), |_, _, _| Err(Error::NotATrace)).unwrap();
        worker.ask(7);
        worker.wait();
        assert!(matches!(worker.take(), Err(Error::NotATrace)));
        assert!(!worker.is_busy() && worker.take().unwrap().is_none());
    }
}
