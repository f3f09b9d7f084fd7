//! Finding frames: one after the other, and again after damage.

use super::source::Source;
use crate::Error;
use crate::format::frame::{HEAD, Head, SYNC};

/// What is at an offset of a file.
pub(super) enum Found {
    /// A frame with an intact head, whose body is there.
    Frame(Frame),
    /// Not yet enough bytes to tell, or a frame whose body is not all there; then this is its intact head.
    Torn(Option<Frame>),
    /// No frame.
    Nothing,
}

/// A frame with an intact head.
pub(super) struct Frame {
    pub(super) head: Head,
    pub(super) summary: Vec<u8>,
}

/// Looks at `offset` of a file of `length` bytes.
pub(super) fn frame_at(source: &Source, offset: u64, length: u64) -> Result<Found, Error> {
    let mut bytes = [0; HEAD];
    let there = source.read(offset, &mut bytes)?;
    if there < HEAD {
        let sync = there.min(SYNC.len());
        return Ok(if bytes[..sync] == SYNC[..sync] { Found::Torn(None) } else { Found::Nothing });
    }
    let Some(head) = Head::parse(&bytes) else { return Ok(Found::Nothing) };
    let mut summary = Vec::new();
    source.read_vec(offset + HEAD as u64, head.summary.into(), &mut summary)?;
    if summary.len() < head.summary.into() {
        return Ok(Found::Torn(None));
    }
    if !head.is_intact(&summary) {
        return Ok(Found::Nothing);
    }
    let frame = Frame { head, summary };
    let whole = frame.head.length() <= length.saturating_sub(offset);
    Ok(if whole { Found::Frame(frame) } else { Found::Torn(Some(frame)) })
}

/// The first offset from `from` on where a whole frame is; if there is none, where to go on when the file has grown.
pub(super) fn next_frame(source: &Source, from: u64, length: u64) -> Result<Result<u64, u64>, Error> {
    const CHUNK: usize = 64 << 10;
    let mut bytes = Vec::new();
    let mut at = from;
    let mut torn = None;
    while at < length {
        source.read_vec(at, CHUNK, &mut bytes)?;
        let mut searched = 0;
        while let Some(n) = find(&bytes[searched..]) {
            let candidate = at + (searched + n) as u64;
            match frame_at(source, candidate, length)? {
                Found::Frame(_) => return Ok(Ok(candidate)),
                Found::Torn(_) => torn = torn.or(Some(candidate)),
                Found::Nothing => {}
            }
            searched += n + 1;
        }
        if bytes.len() < CHUNK {
            break;
        }
        at += (CHUNK - (SYNC.len() - 1)) as u64;
    }
    // A sync mark may be cut off by the end of the file.
    Ok(Err(torn.unwrap_or(length.saturating_sub(SYNC.len() as u64 - 1)).max(from)))
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(SYNC.len()).position(|window| window == SYNC)
}
