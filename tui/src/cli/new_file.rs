//! A file that is there when it is complete, and not before.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tempfile::NamedTempFile;

use super::failure::{Code, Failure};

/// A file to be written under a name. Until it is [kept](Self::keep) it has another name in the same folder; if it is
/// not kept, it goes away, and what had the name before stays.
#[derive(Debug)]
pub(super) struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file that will be `path`. It must not be `input`, from which it is made.
    pub(super) fn create(path: &Path, input: Option<&Path>) -> Result<Self, Failure> {
        let usage = |why: &str| Failure::new(Code::Usage, anyhow!("cannot write {}: {why}", path.display()));
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
            .map_err(|error| Failure { code: Code::Usage, error })?;
        // What a symbolic link leads to is replaced, and not the link.
        Ok(Self { file, path: target.unwrap_or_else(|| path.to_owned()) })
    }

    /// Gives it its name, in place of a file that has had it.
    pub(super) fn keep(self) -> Result<(), Failure> {
        let path = self.path;
        let persisted = self.file.persist(&path).map_err(|error| error.error);
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
        assert_eq!(NewFile::create(&path, Some(&path)).expect_err("it is read").code, Code::Usage);
        assert_eq!(NewFile::create(folder.path(), None).expect_err("a folder").code, Code::Usage);
        let nowhere = folder.path().join("no/such");
        assert_eq!(NewFile::create(&nowhere, None).expect_err("no folder").code, Code::Usage);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_input_is_the_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let (input, link) = (folder.path().join("input"), folder.path().join("link"));
        fs::write(&input, "input").expect("a file");
        std::os::unix::fs::symlink(&input, &link).expect("a link");
        assert_eq!(NewFile::create(&link, Some(&input)).expect_err("it is read").code, Code::Usage);
        assert_eq!(NewFile::create(Path::new("/dev/null"), None).expect_err("a device").code, Code::Usage);
        NewFile::create(&link, None).expect("a file").keep().expect("a name");
        assert_eq!(fs::read_to_string(&input).expect("a file"), "", "what it leads to is replaced");
        assert!(link.is_symlink());
    }
}
