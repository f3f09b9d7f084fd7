//! The guest's VGA text screen.

use codepage_437::CP437_WINGDINGS;

/// The character that `cell` of text memory shows: its low byte in code page 437, whose control characters are
/// pictures. It is never one that a terminal obeys.
#[must_use]
pub fn character(cell: u16) -> char {
    match cell.to_le_bytes()[0] {
        // Shown blank.
        0 | 0xff => ' ',
        byte => CP437_WINGDINGS.decode(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_one_that_a_terminal_obeys() {
        for byte in 0..=0xff {
            assert!(!character(0x1f00 | byte).is_control(), "{byte:#x}");
        }
        assert_eq!([0x41, 0x01, 0x1b, 0xc9, 0xdb].map(character), ['A', '☺', '←', '╔', '█']);
    }
}
