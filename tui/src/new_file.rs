//! A file that is there when it is complete, and not before.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tempfile::NamedTempFile;

/// A file to be written under a name. Until it is [kept](Self::keep) it has another name in the same folder; if it is
/// not kept, it goes away, and what had the name before stays.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
    replaces: bool,
}

/// Why a file cannot be begun: what is asked for does not go.
#[derive(Debug)]
pub(crate) struct CannotBegin(pub(crate) anyhow::Error);

impl NewFile {
    /// Begins a file that will be `path`. It must not be `input`, from which it is made.
    pub(crate) fn create(path: &Path, input: Option<&Path>) -> Result<Self, CannotBegin> {
        let usage = |why: &str| CannotBegin(anyhow!("cannot write {}: {why}", path.display()));
        if path.file_name().is_none() {
            return Err(usage("it is no name of a file"));
        }
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(usage("it is a folder")),
            Ok(there) if !there.is_file() => return Err(usage("it is no regular file")),
            _ => {}
        }
        let target = fs::canonicalize(path).ok();
        if target.is_some() && input.and_then(|input| fs::canonicalize(input).ok()) == target {
            return Err(usage("it is the file that is read; give another name"));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".vmscope-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
        let file = builder
            .tempfile_in(folder)
            .with_context(|| format!("cannot make a file in {}", folder.display()))
            .map_err(CannotBegin)?;
        // What a symbolic link leads to is replaced, and not the link.
        Ok(Self { file, path: target.unwrap_or_else(|| path.to_owned()), replaces: true })
    }

    /// As [`Self::create`], but no file may have the name, neither now nor when it is [kept](Self::keep).
    pub(crate) fn create_new(path: &Path) -> Result<Self, CannotBegin> {
        match fs::symlink_metadata(path) {
            Ok(_) => Err(CannotBegin(anyhow!("cannot write {}: it is there already", path.display()))),
            Err(_) => Ok(Self { replaces: false, ..Self::create(path, None)? }),
        }
    }

    /// Gives it its name, in place of a file that has had it.
    pub(crate) fn keep(self) -> anyhow::Result<()> {
        let path = self.path;
        let persisted =
            if self.replaces { self.file.persist(&path) } else { self.file.persist_noclobber(&path) };
        let persisted = persisted.map_err(|error| error.error);
        persisted.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new");
        let count = || fs::read_dir(folder.path()).expect("it is there").count();
        let mut file = NewFile::create(&path, None).expect("a file");
        file.write_all(b"half").expect("room");
        assert!(!path.exists());
        drop(file);
        assert_eq!(count(), 0, "nothing is left");
        for content in ["one", "two"] {
            let mut file = NewFile::create(&path, None).expect("a file");
            file.write_all(content.as_bytes()).expect("room");
            file.keep().expect("a name");
            assert_eq!(fs::read_to_string(&path).expect("a file"), content);
            assert_eq!(count(), 1);
        }
        NewFile::create(&path, Some(&path)).expect_err("it is read");
        NewFile::create(folder.path(), None).expect_err("a folder");
        let nowhere = folder.path().join("no/such");
        NewFile::create(&nowhere, None).expect_err("no folder");
    }

    #[test]
    fn what_is_there_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new");
        let file = NewFile::create_new(&path).expect("a file");
        fs::write(&path, "somebody else's").expect("room");
        assert!(file.keep().is_err(), "it has come meanwhile");
        let refused = NewFile::create_new(&path).expect_err("it is there").0.to_string();
        assert!(refused.contains("it is there already"), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "somebody else's");
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_input_is_the_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let (input, link) = (folder.path().join("input"), folder.path().join("link"));
        fs::write(&input, "input").expect("a file");
        std::os::unix::fs::symlink(&input, &link).expect("a link");
        NewFile::create(&link, Some(&input)).expect_err("it is read");
        NewFile::create(Path::new("/dev/null"), None).expect_err("a device");
        NewFile::create(&link, None).expect("a file").keep().expect("a name");
        assert_eq!(fs::read_to_string(&input).expect("a file"), "", "what it leads to is replaced");
        assert!(link.is_symlink());
    }
}
