//! Something to be done once, such as writing a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use trace_format::{Error, Reader};

/// It, on a thread of its own.
#[derive(Debug)]
pub struct Job {
    /// What it is, in a word.
    pub what: &'static str,
    watch: Watch,
    /// Where [`Watch::reached`] comes to.
    total: u64,
    thread: Option<JoinHandle<anyhow::Result<String>>>,
}

/// What a job and who waits for it know of each other.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    reached: Arc<AtomicU64>,
}

impl Watch {
    /// Breaks off what `reader` reads when the job is to stop, and tells how far it has come, in events.
    pub fn over(&self, reader: &mut Reader) {
        reader.interrupt_by(Arc::clone(&self.stop));
        reader.tell_in(Arc::clone(&self.reached));
    }

    /// Has it stop soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Tells how far it has come.
    pub fn tell(&self, reached: u64) {
        self.reached.store(reached, Ordering::Relaxed);
    }

    /// Whether the job is to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How a job ended.
#[derive(Debug)]
pub enum Ended {
    /// It is done; this is to be told.
    Done(String),
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed(anyhow::Error),
}

impl Job {
    /// Starts `work`, which comes to `total` if it is let.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(
        what: &'static str,
        total: u64,
        work: impl FnOnce(&Watch) -> anyhow::Result<String> + Send + 'static,
    ) -> Result<Self, Error> {
        let watch = Watch::default();
        let its = watch.clone();
        let thread = std::thread::Builder::new()
            .name(what.to_owned())
            .spawn(move || work(&its))
            .map_err(Error::Thread)?;
        Ok(Self { what, watch, total, thread: Some(thread) })
    }

    /// How much of it is done, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let reached = self.watch.reached.load(Ordering::Relaxed);
        (reached as f64 / self.total.max(1) as f64).min(1.0)
    }

    /// Has it stop soon.
    pub fn stop(&self) {
        self.watch.stop();
    }

    /// How it ended; `None` before it has, and once that was told.
    pub fn take(&mut self) -> Option<Ended> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        Some(self.end(thread))
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Option<Ended> {
        let thread = self.thread.take()?;
        Some(self.end(thread))
    }

    fn end(&self, thread: JoinHandle<anyhow::Result<String>>) -> Ended {
        match thread.join() {
            Ok(Ok(done)) => Ended::Done(done),
            Ok(Err(_)) if self.watch.is_stopped() => Ended::Stopped,
            Ok(Err(error)) => Ended::Failed(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Job {
    /// Nobody waits for it any more: it stops, and what it has begun goes away.
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_tells_how_far_it_is_and_can_be_stopped() {
        let mut job = Job::start("test", 4, |watch| {
            watch.tell(1);
            while !watch.is_stopped() {
                std::thread::yield_now();
            }
            anyhow::bail!("broken off")
        })
        .expect("a thread");
        while job.share() < 0.25 {
            std::thread::yield_now();
        }
        assert!(job.take().is_none());
        job.stop();
        assert!(matches!(job.wait(), Some(Ended::Stopped)));
        assert!(job.wait().is_none(), "it is told once");
        let mut failing = Job::start("test", 0, |_| anyhow::bail!("no room")).expect("a thread");
        assert!(matches!(failing.wait(), Some(Ended::Failed(error)) if error.to_string() == "no room"));
        let mut done = Job::start("test", 0, |_| Ok("done".to_owned())).expect("a thread");
        assert!(matches!(done.wait(), Some(Ended::Done(text)) if text == "done"));
    }
}
