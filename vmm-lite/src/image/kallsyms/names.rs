//! The names: `kallsyms_num_syms`, `kallsyms_names` and `kallsyms_markers`.

use super::super::symbols::MOST;
use super::tokens::Tokens;
use super::{Image, Patience};

/// Fewer symbols no kernel has, and they would have one marker: two at least make the find certain.
const FEWEST: usize = 257;
/// Every so many names there is a marker: the offset of the next.
const BETWEEN_MARKERS: usize = 256;
/// The longest name, with a margin: `KSYM_NAME_LEN` is 512 since 6.1.
const LONGEST_NAME: usize = 2048;

/// Where the names are in the file.
pub(super) struct Names {
    /// Offset of their number.
    pub(super) num_syms: usize,
    /// How many there are.
    pub(super) count: usize,
    /// Offset of the first.
    start: usize,
}

impl Names {
    /// The names in the order of the addresses, without the letter for their type.
    pub(super) fn iter<'i>(
        &self,
        image: &'i Image<'i>,
        tokens: &'i Tokens<'i>,
    ) -> impl Iterator<Item = String> {
        let mut at = self.start;
        (0..self.count).map_while(move |_| {
            let packed = packed_name(image, &mut at)?;
            let mut name = Vec::new();
            for byte in packed {
                name.extend_from_slice(tokens.text(*byte));
                // 2^14 tokens of 2^16 bytes each are not to be expanded.
                if name.len() > LONGEST_NAME {
                    name.truncate(LONGEST_NAME);
                    break;
                }
            }
            Some(String::from_utf8_lossy(name.get(1..).unwrap_or_default()).into_owned())
        })
    }
}

/// Searches backwards from the tokens for a number with so many names behind it, and markers that agree, which are the
/// only thing between names and tokens but for `kallsyms_seqs_of_names`.
pub(super) fn find(image: &Image<'_>, tokens: &Tokens<'_>, patience: &mut Patience) -> Option<Names> {
    let mut markers = Vec::new();
    let mut num_syms = tokens.start & !3;
    loop {
        num_syms = num_syms.checked_sub(4)?;
        patience.spend()?;
        let count = image.u32(num_syms)? as usize;
        // A name is two bytes at least: its length and its type.
        if !(FEWEST..=MOST).contains(&count) || 2 * count > tokens.start - num_syms {
            continue;
        }
        for align in [image.word, 4] {
            // Until 4.19 the number had the size of a pointer: what fills it up is zero as well.
            if !num_syms.is_multiple_of(align) || (align == 8 && image.u32(num_syms + 4) != Some(0)) {
                continue;
            }
            let names = Names { num_syms, count, start: num_syms + align };
            if let Some(end) = walk(image, tokens, &names, &mut markers, patience)
                && markers_agree(image, tokens, &names, end.next_multiple_of(align), &markers)
            {
                return Some(names);
            }
        }
    }
}

/// Goes over the names, notes what the markers must be, and returns the offset behind them if all are possible.
fn walk(
    image: &Image<'_>,
    tokens: &Tokens<'_>,
    names: &Names,
    markers: &mut Vec<u64>,
    patience: &mut Patience,
) -> Option<usize> {
    // What nm prints (nm.1), but for what scripts/kallsyms.c leaves out.
    const TYPES: &[u8] = b"AaBbCcDdGgIiPpRrSsTtuVvWw?";
    markers.clear();
    let mut at = names.start;
    for i in 0..names.count {
        patience.spend()?;
        if i.is_multiple_of(BETWEEN_MARKERS) {
            markers.push((at - names.start) as u64);
        }
        let packed = packed_name(image, &mut at)?;
        let kind = tokens.text(*packed.first()?).first()?;
        if at > tokens.start || !TYPES.contains(kind) {
            return None;
        }
    }
    Some(at)
}

fn markers_agree(
    image: &Image<'_>,
    tokens: &Tokens<'_>,
    names: &Names,
    start: usize,
    markers: &[u64],
) -> bool {
    // Until 4.19 they had the size of a pointer.
    [4, image.word].into_iter().any(|size| {
        let agree = markers.iter().enumerate().all(|(i, m)| image.uint(start + i * size, size) == Some(*m));
        let rest = tokens.start.checked_sub(start + markers.len() * size);
        // Linux 6.2 and 6.3 have the names' order by name here, three or four bytes each; both ends are aligned.
        let seqs = [0, 3, 4].map(|size| size * names.count);
        agree && rest.is_some_and(|rest| seqs.iter().any(|seqs| (*seqs..seqs + 16).contains(&rest)))
    })
}

/// The tokens of the name at `at`, which moves behind it. Their number is one byte, or since Linux 6.1 two if the first
/// has its highest bit set (ULEB128).
fn packed_name<'a>(image: &Image<'a>, at: &mut usize) -> Option<&'a [u8]> {
    let mut length = usize::from(*image.bytes.get(*at)?);
    let mut start = *at + 1;
    if length >= 0x80 {
        length = length & 0x7f | usize::from(*image.bytes.get(start)?) << 7;
        start += 1;
    }
    *at = start + length;
    image.bytes.get(start..*at)
}
