//! Where a trace's bytes come from.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// A file, which may grow, or bytes in memory.
pub(super) struct Source {
    bytes: Bytes,
    /// Nothing is read while it is set.
    interrupt: Option<Arc<AtomicBool>>,
}

enum Bytes {
    File(File),
    Memory(Cow<'static, [u8]>),
}

impl From<File> for Source {
    fn from(file: File) -> Self {
        Self { bytes: Bytes::File(file), interrupt: None }
    }
}

impl From<Cow<'static, [u8]>> for Source {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        Self { bytes: Bytes::Memory(bytes), interrupt: None }
    }
}

impl Source {
    /// The same bytes once more.
    pub(super) fn again(&self) -> Result<Self, Error> {
        let bytes = match &self.bytes {
            Bytes::File(file) => Bytes::File(file.try_clone().map_err(|source| Error::Read {
                offset: 0,
                length: 0,
                source,
            })?),
            Bytes::Memory(bytes) => Bytes::Memory(bytes.clone()),
        };
        Ok(Self { bytes, interrupt: None })
    }

    pub(super) fn interrupt_by(&mut self, flag: Arc<AtomicBool>) {
        self.interrupt = Some(flag);
    }

    /// Bytes there are now.
    pub(super) fn len(&self) -> Result<u64, Error> {
        match &self.bytes {
            Bytes::File(file) => file
                .metadata()
                .map(|metadata| metadata.len())
                .map_err(|source| Error::Read { offset: 0, length: 0, source }),
            Bytes::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Fills `buffer` with the bytes at `offset` as far as there are any and returns how many.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = buffer.len() as u64;
        let error = |source| Error::Read { offset, length, source };
        if self.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(Error::Interrupted);
        }
        match &self.bytes {
            Bytes::File(file) => read_file(file, offset, buffer).map_err(error),
            Bytes::Memory(bytes) => {
                let from = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let length = from.len().min(buffer.len());
                buffer[..length].copy_from_slice(&from[..length]);
                Ok(length)
            }
        }
    }

    /// Puts the `length` bytes at `offset` into `buffer`, fewer if there are no more.
    pub(super) fn read_vec(&self, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<(), Error> {
        // No more than there is, so that a forged length does not allocate.
        let there = self.len()?.saturating_sub(offset);
        buffer.clear();
        buffer.resize(length.min(usize::try_from(there).unwrap_or(usize::MAX)), 0);
        let read = self.read(offset, buffer)?;
        buffer.truncate(read);
        Ok(())
    }
}

fn read_file(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match read_at(file, offset + read as u64, &mut buffer[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read(buffer)
}
