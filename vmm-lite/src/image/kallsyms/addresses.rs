//! The addresses: `kallsyms_offsets` with `kallsyms_relative_base`, or `kallsyms_addresses`.

use super::Image;
use super::names::Names;
use super::tokens::Tokens;

/// The address of each symbol, in the order of the names, which is ascending.
///
/// What is at the places where the tables can be is tried in each form; the right one is ascending and in the kernel.
pub(super) fn find(image: &Image<'_>, tokens: &Tokens<'_>, names: &Names) -> Option<Vec<u64>> {
    let word = image.word;
    let offsets_size = (4 * names.count).next_multiple_of(word);
    let behind = tokens.end.next_multiple_of(word);
    let before = |size: usize| names.num_syms.checked_sub(size);
    let attempts = [
        based(image, Some(behind), names.count),
        based(image, before(word + offsets_size), names.count),
        absolute(image, Some(behind), names.count),
        absolute(image, before(word * names.count), names.count),
        self_relative(image, tokens.end.next_multiple_of(4), names.count),
    ];
    attempts.into_iter().flatten().find(|addresses| is_plausible(image, addresses))
}

/// Offsets of four bytes and behind them, aligned, what they are relative to: `CONFIG_KALLSYMS_BASE_RELATIVE`.
fn based(image: &Image<'_>, start: Option<usize>, count: usize) -> Option<Vec<u64>> {
    let start = start?;
    let end = start.checked_add(4 * count)?;
    let base = image.uint(end.next_multiple_of(image.word), image.word)?;
    let offsets = int32s(image, start, end)?;
    // With CONFIG_KALLSYMS_ABSOLUTE_PERCPU, until 6.14, what is at or above 0 is an offset into the per-CPU area, and
    // -1 is the base. Without it all are above the base; kernels have less than 2 GiB.
    let percpu = offsets.clone().any(|offset| offset < 0);
    Some(
        offsets
            .map(|offset| match u64::try_from(offset) {
                Ok(offset) if percpu => offset,
                Ok(offset) => base.wrapping_add(offset),
                Err(_) => base.wrapping_add(u64::from(!offset.cast_unsigned())),
            })
            .collect(),
    )
}

/// Addresses of the size of a pointer: without `CONFIG_KALLSYMS_BASE_RELATIVE`, until 6.10.
fn absolute(image: &Image<'_>, start: Option<usize>, count: usize) -> Option<Vec<u64>> {
    let start = start?;
    (0..count).map(|i| image.uint(start.checked_add(i * image.word)?, image.word)).collect()
}

/// Signed offsets relative to where they are themselves: since 7.0, where a kernel can be relocated.
fn self_relative(image: &Image<'_>, start: usize, count: usize) -> Option<Vec<u64>> {
    let gva = image.gva_of(start)?;
    let mask = if image.word == 8 { u64::MAX } else { u32::MAX.into() };
    let offsets = int32s(image, start, start.checked_add(4 * count)?)?;
    Some(
        (gva..)
            .step_by(4)
            .zip(offsets)
            .map(|(gva, offset)| gva.wrapping_add_signed(offset.into()) & mask)
            .collect(),
    )
}

fn int32s<'a>(
    image: &Image<'a>,
    start: usize,
    end: usize,
) -> Option<impl Iterator<Item = i32> + Clone + use<'a>> {
    let (offsets, _) = image.bytes.get(start..end)?.as_chunks();
    Some(offsets.iter().copied().map(i32::from_le_bytes))
}

/// `scripts/kallsyms.c` sorts symbols by address; the middle one is in the kernel, whatever per-CPU offsets come first
/// and markers of its end last.
fn is_plausible(image: &Image<'_>, addresses: &[u64]) -> bool {
    addresses.is_sorted()
        && addresses.get(addresses.len() / 2).is_some_and(|middle| image.holds(*middle))
        && addresses.last().is_some_and(|last| *last >= image.lowest_address())
}
