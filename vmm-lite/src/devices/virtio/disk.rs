//! The file behind a block device.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;

use crate::error::{Error, Result};

/// Bytes of a sector, whatever the file's own blocks are.
pub const SECTOR: u64 = 512;

/// A file or block device of whole sectors. Its size is that when it was opened.
#[derive(Debug)]
pub struct Disk {
    file: File,
    bytes: u64,
    writable: bool,
}

impl Disk {
    /// Opens a disk, for reading only if it may not be written. Until it is closed, no other vmscope may write it, nor
    /// use it at all if it is writable.
    ///
    /// # Errors
    /// When it cannot be opened, is no file or block device, is in use, or not of whole sectors.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse = |source| Error::OpenDisk { path: path.to_owned(), source };
        // Before it is opened: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(path).map_err(refuse)?;
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            return Err(Error::NotADisk {
                path: path.to_owned(),
                problem: "neither a file nor a block device".to_owned(),
            });
        }
        // Root may write everything; a file that is marked as read-only is meant to be.
        let open = |write| OpenOptions::new().read(true).write(write).open(path);
        let (mut file, writable) = match open(!metadata.permissions().readonly()) {
            Ok(file) => (file, !metadata.permissions().readonly()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                (open(false).map_err(refuse)?, false)
            }
            Err(error) => return Err(refuse(error)),
        };
        let lock = if writable { file.try_lock() } else { file.try_lock_shared() };
        // A file system without locks is no reason not to run.
        if let Err(TryLockError::WouldBlock) = lock {
            return Err(Error::DiskInUse { path: path.to_owned() });
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(refuse)?;
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) {
            return Err(Error::NotADisk {
                path: path.to_owned(),
                problem: format!(
                    "{bytes} bytes are no sectors of 512 (truncate -s %512 appends what is missing)"
                ),
            });
        }
        Ok(Self { file, bytes, writable })
    }

    /// How many sectors it has.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.bytes / SECTOR
    }

    /// Whether it can be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The offset of `sector`, if `len` bytes from there on are whole sectors of the disk.
    #[must_use]
    pub fn offset(&self, sector: u64, len: u64) -> Option<u64> {
        let offset = sector.checked_mul(SECTOR)?;
        (len.is_multiple_of(SECTOR) && offset.checked_add(len)? <= self.bytes).then_some(offset)
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// As the file's.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes `bytes` from `offset` on.
    ///
    /// # Errors
    /// As the file's.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Returns when what was written will be there after a power failure.
    ///
    /// # Errors
    /// As the file's.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
