//! The block device (virtio 1.2, section 5.2): reads, writes, flushes, and has a name.
//!
//! A request is carried out before the exit that notified of it is over, by `pread` and `pwrite` on the vCPU's thread:
//! the device has no thread of its own, and the trace shows at the exit what the disk cost. How much one notification
//! can ask for is bounded by the queue's descriptors times [`SIZE_MAX`], 8 MiB.

use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX,
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

use super::Outside;
use super::disk::{Disk, SECTOR};
use super::queue::{Broken, Chain, Virtqueue, length, pieces};

pub(super) const QUEUES: [u16; 1] = [128];
/// The longest segment of a request, bytes.
const SIZE_MAX: usize = 64 << 10;
/// The most segments of a request: one descriptor more is its header, and one its status.
const SEG_MAX: u32 = QUEUES[0] as u32 - 2;
/// Type, a reserved word, sector.
const HEADER: usize = 16;
/// A segment may share its descriptor with the header and the status.
const LONGEST_PART: usize = SIZE_MAX + HEADER + 1;
/// What it says when asked for its name.
const NAME: [u8; VIRTIO_BLK_ID_BYTES as usize] = *b"vmscope-disk\0\0\0\0\0\0\0\0";

const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IO_ERROR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPPORTED: u8 = VIRTIO_BLK_S_UNSUPP as u8;

/// A block device.
#[derive(Debug)]
pub struct Block {
    disk: Disk,
    /// Between the file and guest memory, [`SIZE_MAX`] bytes.
    buffer: Vec<u8>,
    /// The driver flushes. Otherwise every write must last.
    flushes: bool,
}

/// How a request went.
struct Answer {
    status: u8,
    /// Bytes written into the guest's buffers, the status apart.
    written: u64,
}

/// A status other than success.
struct Refused(u8);

impl Block {
    /// A device over `disk`.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk, buffer: vec![0; SIZE_MAX], flushes: false }
    }

    pub(super) fn features(&self) -> u64 {
        let read_only = u64::from(!self.disk.is_writable()) << VIRTIO_BLK_F_RO;
        1 << VIRTIO_BLK_F_SIZE_MAX
            | 1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_FLUSH
            | read_only
    }

    /// The driver has chosen its features.
    pub(super) fn negotiated(&mut self, features: u64) {
        self.flushes = features & 1 << VIRTIO_BLK_F_FLUSH != 0;
    }

    /// `struct virtio_blk_config` up to `blk_size`.
    pub(super) fn configuration(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.disk.sectors().to_le_bytes());
        bytes[8..12].copy_from_slice(&(SIZE_MAX as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        bytes[20..].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        bytes
    }

    /// Carries out what is available; whether there was anything.
    pub(super) fn work(&mut self, queue: &mut Virtqueue, outside: &Outside<'_>) -> Result<bool, Broken> {
        let memory = outside.memory;
        let mut batch = queue.available(memory)?;
        let mut used = false;
        while let Some(chain) = queue.take(&mut batch, memory)? {
            let room = length(chain.writable());
            // The last byte is the status'.
            let data = room.checked_sub(1).ok_or(Broken("a request without room for its status"))?;
            let answer = self.request(&chain, data, outside);
            for (gpa, _) in pieces(chain.writable(), data, room, 1) {
                memory
                    .write(gpa, &[answer.status])
                    .map_err(|_| Broken("a request's status outside memory"))?;
            }
            // The status counts only if there is no gap before it (section 2.7.8.2).
            let written = if answer.written == data { room } else { answer.written };
            queue.give_back(&chain, u32::try_from(written).unwrap_or(u32::MAX), memory)?;
            used = true;
        }
        Ok(used)
    }

    fn request(&mut self, chain: &Chain, room: u64, outside: &Outside<'_>) -> Answer {
        let mut written = 0;
        let status = match self.carry_out(chain, room, outside, &mut written) {
            Ok(()) => OK,
            Err(Refused(status)) => status,
        };
        Answer { status, written }
    }

    /// `room` is what is for data in the writable part.
    fn carry_out(
        &mut self,
        chain: &Chain,
        room: u64,
        outside: &Outside<'_>,
        written: &mut u64,
    ) -> Result<(), Refused> {
        let longest = chain.readable().iter().chain(chain.writable()).map(|part| part.len as usize).max();
        if longest > Some(LONGEST_PART) {
            return Err(Refused(IO_ERROR));
        }
        let (kind, sector) = header(chain, outside)?;
        match kind {
            VIRTIO_BLK_T_IN => self.read(chain, sector, room, outside, written),
            VIRTIO_BLK_T_OUT => self.write(chain, sector, outside),
            VIRTIO_BLK_T_FLUSH => self.flush(),
            VIRTIO_BLK_T_GET_ID => name(chain, room, outside, written),
            _ => Err(Refused(UNSUPPORTED)),
        }
    }

    fn read(
        &mut self,
        chain: &Chain,
        sector: u64,
        len: u64,
        outside: &Outside<'_>,
        written: &mut u64,
    ) -> Result<(), Refused> {
        let start = self.disk.offset(sector, len).ok_or(Refused(IO_ERROR))?;
        for (gpa, len) in pieces(chain.writable(), 0, len, SIZE_MAX) {
            let bytes = self.buffer.get_mut(..len).unwrap_or_default();
            self.disk.read(start + *written, bytes).map_err(|_| Refused(IO_ERROR))?;
            outside.memory.write(gpa, bytes).map_err(|_| Refused(IO_ERROR))?;
            *written += len as u64;
        }
        Ok(())
    }

    fn write(&mut self, chain: &Chain, sector: u64, outside: &Outside<'_>) -> Result<(), Refused> {
        let end = length(chain.readable());
        let len = end.saturating_sub(HEADER as u64);
        let mut at = self.disk.offset(sector, len).ok_or(Refused(IO_ERROR))?;
        if !self.disk.is_writable() {
            return Err(Refused(IO_ERROR));
        }
        for (gpa, len) in pieces(chain.readable(), HEADER as u64, end, SIZE_MAX) {
            let bytes = self.buffer.get_mut(..len).unwrap_or_default();
            outside.read(gpa, bytes).map_err(|_| Refused(IO_ERROR))?;
            self.disk.write(at, bytes).map_err(|_| Refused(IO_ERROR))?;
            at += len as u64;
        }
        if self.flushes { Ok(()) } else { self.flush() }
    }

    fn flush(&self) -> Result<(), Refused> {
        if self.disk.is_writable() {
            self.disk.flush().map_err(|_| Refused(IO_ERROR))?;
        }
        Ok(())
    }
}

/// A request's type and first sector.
fn header(chain: &Chain, outside: &Outside<'_>) -> Result<(u32, u64), Refused> {
    let mut bytes = [0; HEADER];
    let mut rest = &mut bytes[..];
    for (gpa, len) in pieces(chain.readable(), 0, HEADER as u64, HEADER) {
        let (part, behind) = rest.split_at_mut_checked(len).ok_or(Refused(IO_ERROR))?;
        outside.memory.read(gpa, part).map_err(|_| Refused(IO_ERROR))?;
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(Refused(IO_ERROR));
    }
    let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = bytes;
    Ok((u32::from_le_bytes([k0, k1, k2, k3]), u64::from_le_bytes(sector)))
}

fn name(chain: &Chain, room: u64, outside: &Outside<'_>, written: &mut u64) -> Result<(), Refused> {
    for (gpa, len) in pieces(chain.writable(), 0, room.min(NAME.len() as u64), NAME.len()) {
        let part = NAME.get(*written as usize..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        outside.memory.write(gpa, part).map_err(|_| Refused(IO_ERROR))?;
        *written += len as u64;
    }
    Ok(())
}
