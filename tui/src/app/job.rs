//! What is done once, on another thread, such as writing a file: one thing at a time.

use super::{App, SAVE, Task};
use crate::work::{Ended, Job, Watch};

impl App {
    /// Begins something that is done once, on another thread, unless something else is under way.
    pub fn begin(
        &mut self,
        what: &'static str,
        total: u64,
        work: impl FnOnce(&Watch) -> anyhow::Result<String> + Send + 'static,
    ) {
        if let Some(job) = &self.job {
            let stops = if Task::Job(job.what).can_be_stopped() { ": Esc stops it" } else { "" };
            let under_way = format!("the {} is still under way{stops}", job.what);
            return self.refuse(under_way);
        }
        match Job::start(what, total, work) {
            Ok(job) => self.job = Some(job),
            Err(error) => self.job_failed(what, &error),
        }
    }

    fn job_failed(&mut self, what: &str, error: &dyn std::error::Error) {
        if what == SAVE {
            self.set_not_saved();
        }
        self.complain(error);
    }

    /// Whether something is.
    #[must_use]
    pub const fn has_job(&self) -> bool {
        self.job.is_some()
    }

    /// Tells how it ended, once it has. Returns whether that is new.
    pub(super) fn take_job(&mut self) -> bool {
        let ended = self.job.as_mut().and_then(Job::take);
        self.end_job(ended)
    }

    /// Waits for its end.
    pub(super) fn wait_for_job(&mut self) {
        let ended = self.job.as_mut().and_then(Job::wait);
        self.end_job(ended);
    }

    fn end_job(&mut self, ended: Option<Ended>) -> bool {
        let Some(ended) = ended else { return false };
        let what = self.job.take().map_or("", |job| job.what);
        match ended {
            Ended::Done(text) => self.tell(text),
            Ended::Stopped => self.tell(format!("the {what} was stopped; nothing of it is left")),
            Ended::Failed(error) => self.job_failed(what, error.as_ref()),
        }
        true
    }

    /// Has it stop. Whether there was something.
    pub(super) fn stop_job(&mut self) -> bool {
        let job = self.job.as_ref().filter(|job| Task::Job(job.what).can_be_stopped());
        job.map(Job::stop).is_some()
    }
}
