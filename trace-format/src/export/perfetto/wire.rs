//! Fields of protobuf messages, appended to bytes.

use crate::format::varint;

/// Wire types.
const VARINT: u64 = 0;
const FIXED: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

/// A number, truth or enumeration.
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    varint::put(out, value);
}

/// A `fixed64`.
pub(super) fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, FIXED);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A message that is made already.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    key(out, field, LENGTH_DELIMITED);
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A message of what `fill` appends.
pub(super) fn message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, LENGTH_DELIMITED);
    let at = out.len();
    // Most are so short that their length is one byte; the others move.
    out.push(0);
    fill(out);
    let length = out.len() - at - 1;
    match u8::try_from(length) {
        Ok(short @ ..0x80) => {
            if let Some(place) = out.get_mut(at) {
                *place = short;
            }
        }
        _ => {
            let mut long = Vec::with_capacity(10);
            varint::put(&mut long, length as u64);
            out.splice(at..=at, long);
        }
    }
}

fn key(out: &mut Vec<u8>, field: u32, wire_type: u64) {
    varint::put(out, u64::from(field) << 3 | wire_type);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_has_that_length() {
        for length in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 100_000] {
            let content = vec![0xaa; length];
            let (mut made, mut filled) = (vec![1, 2], vec![1, 2]);
            bytes(&mut made, 16, &content);
            message(&mut filled, 16, |out| out.extend_from_slice(&content));
            assert_eq!(made, filled);
            let mut rest = &made[2..];
            assert_eq!(varint::take(&mut rest), Some(16 << 3 | 2));
            assert_eq!(varint::take(&mut rest), Some(length as u64));
            assert_eq!(rest, content);
        }
    }
}
