//! Saving a temporary trace.

use std::path::PathBuf;

use super::App;
use crate::marks::MarksError;

impl App {
    /// The name to propose for a temporary trace, or why there is nothing to save.
    pub(super) fn name_to_save(&self) -> Result<String, String> {
        if let Some(path) = &self.saved {
            Err(format!("the trace is saved as {} already", path.display()))
        } else if self.settings.temporary {
            Ok(format!("{}.vmt", self.guest_file_name()))
        } else {
            Err("the trace is a file of its own already".to_owned())
        }
    }

    /// The guest's name, in what every file system takes.
    pub(super) fn guest_file_name(&self) -> String {
        self.guest_name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    /// The trace is now kept under this name, and its marks beside it.
    ///
    /// # Errors
    /// If those cannot be written.
    pub fn set_saved(&mut self, path: PathBuf) -> Result<(), MarksError> {
        let kept = self.marks.keep_beside(&path);
        self.saved = Some(path);
        kept
    }

    /// Saving it has failed: it can be saved under another name.
    pub fn set_not_saved(&mut self) {
        self.saved = None;
    }

    /// Whether leaving now loses the trace.
    #[must_use]
    pub fn unsaved(&self) -> bool {
        self.settings.temporary && self.saved.is_none()
    }
}

#[cfg(test)]
mod tests {
    use crate::app::{App, SAVE, Settings};

    #[test]
    fn what_could_not_be_saved_can_be_once_more() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, Settings { temporary: true, ..Settings::plain() });
        let directory = tempfile::tempdir().unwrap();
        app.set_saved(directory.path().join("full.vmt")).unwrap();
        assert!(app.name_to_save().unwrap_err().contains("full.vmt already") && !app.unsaved());
        app.begin(SAVE, 1, |_| anyhow::bail!("no room"));
        app.read_all();
        assert_eq!(
            app.message().map(|message| (message.text.as_str(), message.error)),
            Some(("no room", true))
        );
        assert_eq!((app.name_to_save(), app.unsaved()), (Ok("tlb-shootdown.vmt".to_owned()), true));
        // What else fails does not concern it.
        app.set_saved(directory.path().join("kept.vmt")).unwrap();
        app.begin("export", 1, |_| anyhow::bail!("no room"));
        app.read_all();
        assert!(!app.unsaved());
    }
}
