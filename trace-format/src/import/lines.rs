//! Lines of any bytes and any length, in bounded memory.

use std::io::{self, BufRead};

/// The most bytes of a line that are kept.
pub(super) const LONGEST: usize = 1 << 14;

/// Puts the next line into `line`, without its end and cut to [`LONGEST`] bytes. Returns whether it is whole; `None` if there is
/// no other.
pub(super) fn next(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let mut whole = true;
    let mut any = false;
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let (piece, end) = match available.iter().position(|&byte| byte == b'\n') {
            Some(at) => (available.get(..at).unwrap_or_default(), true),
            None => (available, false),
        };
        let room = (LONGEST - line.len()).min(piece.len());
        whole &= room == piece.len();
        line.extend(piece.iter().take(room));
        let used = piece.len() + usize::from(end);
        input.consume(used);
        if end {
            return Ok(Some(whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_counted_whatever_is_in_them() {
        let long = vec![b'x'; 3 * LONGEST];
        let input = [b"one\n\n\xff\0\r\n", long.as_slice(), b"\nlast"].concat();
        // Pieces of any size.
        let mut input = io::BufReader::with_capacity(7, input.as_slice());
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while let Some(whole) = next(&mut input, &mut line).unwrap() {
            lines.push((line.len(), whole));
        }
        assert_eq!(lines, [(3, true), (0, true), (3, true), (LONGEST, false), (4, true)]);
    }
}
