//! An initial RAM disk for Linux guests: busybox, a shell on the console, and programs to run in it.

use std::io::Cursor;
use std::path::Path;

use cpio::newc::{Builder, ModeFileType};

use crate::images;

/// What is in it besides `bin/busybox` and `init`.
#[derive(Clone, Debug, Default)]
pub struct Initramfs {
    files: Vec<(String, Vec<u8>)>,
}

impl Initramfs {
    /// With the program `shootdown`.
    #[must_use]
    pub fn new() -> Self {
        Self::default().file("bin/shootdown", images::SHOOTDOWN)
    }

    /// With an executable file more; `path` begins without a slash.
    #[must_use]
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// Writes it to `archive` as an uncompressed archive of the kind `newc`
    /// (Documentation/driver-api/early-userspace/buffer-format.rst), around the program `busybox`.
    ///
    /// # Errors
    /// When busybox cannot be read or the archive not be written.
    pub fn write(&self, busybox: &Path, archive: &Path) -> std::io::Result<()> {
        let busybox = std::fs::read(busybox)?;
        let files = [("bin/busybox", busybox.as_slice()), ("init", images::INIT)];
        let files = files.into_iter().chain(self.files.iter().map(|(path, content)| (&**path, &**content)));
        // `dev/console` needs no node: Linux has one in the file system that it begins with.
        let directories = ["dev", "bin"].map(|path| {
            let mode = 0o755 | u32::from(ModeFileType::Directory);
            (Builder::new(path).mode(mode).nlink(2), Cursor::new([].as_slice()))
        });
        let files = files.map(|(path, content)| {
            let mode = 0o755 | u32::from(ModeFileType::Regular);
            (Builder::new(path).mode(mode).nlink(1), Cursor::new(content))
        });
        std::fs::write(archive, cpio::write_cpio(directories.into_iter().chain(files), Vec::new())?)
    }
}
