//! Frames: what a file consists of after its prologue.
//!
//! A frame's head has a CRC of its own, so that a reader can find its way through a file, and learn what each block
//! holds from its summary, without reading bodies.

use super::{MAX_BODY, MAX_SUMMARY};

/// The bytes that every frame begins with; a reader looks for them after damage.
pub(crate) const SYNC: [u8; 4] = *b"\xf7VMF";
/// Length of the fixed part of a head.
pub(crate) const HEAD: usize = 20;

/// Kinds of frames. Readers skip those that they do not know.
pub(crate) mod kind {
    pub(crate) const HEADER: u16 = 1;
    pub(crate) const BLOCK: u16 = 2;
    pub(crate) const INDEX: u16 = 3;
    pub(crate) const FINISH: u16 = 4;
}

/// The fixed part of a frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u16,
    /// Bytes of the summary.
    pub(crate) summary: u16,
    /// Bytes of the body.
    pub(crate) body: u32,
    /// CRC-32 of the body.
    pub(crate) body_crc: u32,
    /// CRC-32 of the head from its kind on, without this field, and of the summary.
    head_crc: u32,
}

impl Head {
    /// Parses a head; `None` if these bytes cannot be one.
    pub(crate) fn parse(bytes: &[u8; HEAD]) -> Option<Self> {
        let [s0, s1, s2, s3, k0, k1, m0, m1, b0, b1, b2, b3, c0, c1, c2, c3, h0, h1, h2, h3] = *bytes;
        let head = Self {
            kind: u16::from_le_bytes([k0, k1]),
            summary: u16::from_le_bytes([m0, m1]),
            body: u32::from_le_bytes([b0, b1, b2, b3]),
            body_crc: u32::from_le_bytes([c0, c1, c2, c3]),
            head_crc: u32::from_le_bytes([h0, h1, h2, h3]),
        };
        ([s0, s1, s2, s3] == SYNC && head.summary <= MAX_SUMMARY && head.body <= MAX_BODY).then_some(head)
    }

    /// Whether the head and `summary` belong together and are intact.
    pub(crate) fn is_intact(&self, summary: &[u8]) -> bool {
        self.head_crc == self.crc(summary)
    }

    /// Bytes of the whole frame.
    pub(crate) fn length(&self) -> u64 {
        HEAD as u64 + u64::from(self.summary) + u64::from(self.body)
    }

    fn crc(&self, summary: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.kind.to_le_bytes());
        crc.update(&self.summary.to_le_bytes());
        crc.update(&self.body.to_le_bytes());
        crc.update(&self.body_crc.to_le_bytes());
        crc.update(summary);
        crc.finalize()
    }
}

/// Appends a frame. The caller has checked that summary and body are within their caps.
pub(crate) fn put(out: &mut Vec<u8>, kind: u16, summary: &[u8], body: &[u8]) {
    let mut head = Head {
        kind,
        summary: summary.len() as u16,
        body: body.len() as u32,
        body_crc: crc32fast::hash(body),
        head_crc: 0,
    };
    head.head_crc = head.crc(summary);
    out.extend_from_slice(&SYNC);
    out.extend_from_slice(&head.kind.to_le_bytes());
    out.extend_from_slice(&head.summary.to_le_bytes());
    out.extend_from_slice(&head.body.to_le_bytes());
    out.extend_from_slice(&head.body_crc.to_le_bytes());
    out.extend_from_slice(&head.head_crc.to_le_bytes());
    out.extend_from_slice(summary);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_bytes() {
        let mut out = Vec::new();
        put(&mut out, 0x1234, b"sum", b"body");
        #[rustfmt::skip]
        assert_eq!(out, [
            0xf7, b'V', b'M', b'F',
            0x34, 0x12, 3, 0, 4, 0, 0, 0,
            0xb2, 0x0b, 0xa8, 0xdb,
            0x02, 0x22, 0x14, 0x40,
            b's', b'u', b'm', b'b', b'o', b'd', b'y',
        ]);
        let head = Head::parse(out[..HEAD].try_into().unwrap()).unwrap();
        assert!(head.is_intact(b"sum"));
        assert!(!head.is_intact(b"sun"));
        assert_eq!(head.length(), out.len() as u64);
    }
}
