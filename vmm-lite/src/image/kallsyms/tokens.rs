//! The tables that names are compressed by: `kallsyms_token_table` and `kallsyms_token_index`.

use std::array;

use memchr::memmem;

use super::Image;

/// What each byte of a compressed name stands for.
pub(super) struct Tokens<'a> {
    texts: [&'a [u8]; 256],
    /// Offset of the table of tokens in the file.
    pub(super) start: usize,
    /// Offset behind the index of tokens.
    pub(super) end: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn text(&self, byte: u8) -> &'a [u8] {
        self.texts[usize::from(byte)]
    }

    /// The tables where the token for `'0'` is at `zero`, if they are there.
    fn around(image: &Image<'a>, zero: usize) -> Option<Self> {
        const ZERO: usize = b'0' as usize;
        let mut end = zero;
        for _ in ZERO..256 {
            end += memchr::memchr(0, image.bytes.get(end..)?)? + 1;
        }
        // The index has the offset of each token into the table, and so says where the table begins.
        [4, image.word].into_iter().find_map(|align| {
            let index = end.next_multiple_of(align);
            let start = zero.checked_sub(image.u16(index + 2 * ZERO)?.into())?;
            let mut at = start;
            let mut texts: [&[u8]; 256] = array::from_fn(|_| &[][..]);
            for (i, text) in texts.iter_mut().enumerate() {
                if usize::from(image.u16(index + 2 * i)?) != at - start {
                    return None;
                }
                let rest = image.bytes.get(at..end)?;
                *text = &rest[..memchr::memchr(0, rest)?];
                at += text.len() + 1;
            }
            (at == end).then_some(Self { texts, start, end: index + 2 * 256 })
        })
    }
}

/// Every place in the file that looks like the two tables: one, unless somebody made the file for us.
///
/// A byte that occurs in the names as they were stands for itself, the others stand for frequent pieces of names. All
/// ten digits occur in the names of a kernel; so ten tokens in a row are known.
pub(super) fn find<'a>(image: &Image<'a>) -> impl Iterator<Item = Tokens<'a>> {
    memmem::find_iter(image.bytes, b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0")
        .filter_map(|zero| Tokens::around(image, zero))
}
