//! What the trace's header says of the run, with the guest's symbols where they are now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trace_format::Header;
use trace_format::event::Slide;

/// The header, shared by all who name addresses. A Linux kernel moves once, while it boots.
#[derive(Debug)]
pub(crate) struct Names {
    header: Mutex<Arc<Header>>,
    /// How often it has changed, so that who has looked needs no lock to see that nothing has.
    changes: AtomicU64,
}

/// A header as somebody saw it last.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    names: Arc<Names>,
    header: Arc<Header>,
    changes: u64,
}

impl Names {
    pub(crate) fn new(header: Header) -> Arc<Self> {
        Arc::new(Self { header: Mutex::new(Arc::new(header)), changes: AtomicU64::new(0) })
    }

    /// As it is now.
    pub(crate) fn header(&self) -> Arc<Header> {
        Arc::clone(&self.lock())
    }

    /// Moves the symbols to the slide that `find` finds, if it is news.
    pub(crate) fn slide(&self, find: impl FnOnce(&Header) -> Option<Slide>) -> Option<Slide> {
        let mut header = self.lock();
        let slide = find(&header)?;
        Arc::make_mut(&mut header).symbols.set_slide(slide.slide);
        self.changes.fetch_add(1, Ordering::Release);
        Some(slide)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Header>> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    pub(crate) fn of(names: Arc<Names>) -> Self {
        let changes = names.changes.load(Ordering::Acquire);
        let header = names.header();
        Self { names, header, changes }
    }

    /// The header as it was seen last.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Looks whether it has changed; without a lock if it has not.
    pub(crate) fn look_again(&mut self) {
        let changes = self.names.changes.load(Ordering::Acquire);
        if changes != self.changes {
            *self = Self::of(Arc::clone(&self.names));
        }
    }
}
