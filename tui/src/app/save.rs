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

    /// Whether leaving now loses the trace.
    #[must_use]
    pub fn unsaved(&self) -> bool {
        self.settings.temporary && self.saved.is_none()
    }
}
