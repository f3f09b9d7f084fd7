//! Columns: the timing of a block's events, apart from what happened.
//!
//! Events repeat, times do not. Each value is stored as the difference from a prediction, split into a symbol, which
//! tells its magnitude in quarters of an octave, and the bits below, which are noise. Symbols go to a plane of their
//! own for zstd's entropy coder, the bits are packed. So a value costs about its entropy, whatever its size.

use super::Malformed;
use super::varint::{unzigzag, zigzag};

/// Values below this are their own symbol.
const DIRECT: u64 = 8;
/// The highest symbol: the top quarter of the highest octave.
const MAX_SYMBOL: u8 = 8 + 60 * 4 + 3;

/// Packs bits, lowest first.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// Appends the low `bits` bits of `value`; the others are 0.
    fn put(&mut self, value: u64, bits: u32) {
        if bits > 32 {
            self.put(value & u64::from(u32::MAX), 32);
            self.put(value >> 32, bits - 32);
            return;
        }
        self.pending |= value << self.count;
        self.count += bits;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.count -= 32;
        }
    }

    /// Appends the bytes to `out`, the last one filled up with zeros, and starts again.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<u8>) -> usize {
        let tail = self.count.div_ceil(8) as usize;
        let length = self.bytes.len() + tail;
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(&self.pending.to_le_bytes()[..tail]);
        self.bytes.clear();
        self.pending = 0;
        self.count = 0;
        length
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads what [`BitWriter`] packed.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline(always)]
    fn take(&mut self, bits: u32) -> Option<u64> {
        if bits > 32 {
            let low = self.take_few(32)?;
            return Some(low | self.take_few(bits - 32)? << 32);
        }
        self.take_few(bits)
    }

    /// At most 32 bits.
    #[inline(always)]
    fn take_few(&mut self, bits: u32) -> Option<u64> {
        let end = self.at + bits as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let from = self.bytes.get(self.at / 8..)?;
        let window = match from.first_chunk() {
            Some(window) => u64::from_le_bytes(*window),
            None => from.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
        };
        let value = window >> (self.at % 8) & ((1 << bits) - 1);
        self.at = end;
        Some(value)
    }
}

/// Appends `value` to the plane `symbols` and its low bits to `bits`.
pub(crate) fn put(symbols: &mut Vec<u8>, bits: &mut BitWriter, value: u64) {
    if value < DIRECT {
        symbols.push(value as u8);
        return;
    }
    let octave = 63 - value.leading_zeros();
    let below = octave - 2;
    let quarter = value >> below & 3;
    symbols.push((DIRECT as u32 + (octave - 3) * 4 + quarter as u32) as u8);
    bits.put(value & ((1 << below) - 1), below);
}

/// Takes the next value of a plane.
#[inline(always)]
pub(crate) fn take(symbols: &mut &[u8], bits: &mut BitReader<'_>) -> Result<u64, Malformed> {
    let (&symbol, rest) = symbols.split_first().ok_or(Malformed("timing column is too short"))?;
    *symbols = rest;
    if u64::from(symbol) < DIRECT {
        return Ok(symbol.into());
    }
    if symbol > MAX_SYMBOL {
        return Err(Malformed("timing symbol"));
    }
    let index = u32::from(symbol) - DIRECT as u32;
    let below = index / 4 + 1;
    let low = bits.take(below).ok_or(Malformed("timing bits are too short"))?;
    Ok((4 + u64::from(index % 4)) << below | low)
}

/// Predicts the next of a sequence of similar values: their mean, in which recent ones count more and outliers little.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mean {
    /// Sixteen times the mean.
    scaled: u64,
}

impl Mean {
    /// What to store for `value`.
    #[inline]
    pub(crate) fn residual(&mut self, value: u64) -> u64 {
        let residual = value.wrapping_sub(self.scaled >> 4) as i64;
        self.learn(value, residual);
        zigzag(residual)
    }

    /// The value for which `stored` was stored.
    #[inline(always)]
    pub(crate) fn value(&mut self, stored: u64) -> u64 {
        let residual = unzigzag(stored);
        let value = (self.scaled >> 4).wrapping_add(residual as u64);
        self.learn(value, residual);
        value
    }

    #[inline(always)]
    fn learn(&mut self, value: u64, residual: i64) {
        /// Far beyond any time; keeps the arithmetic within 64 bits.
        const CEILING: u64 = 1 << 56;
        self.scaled = if self.scaled == 0 {
            value.min(CEILING) << 4
        } else {
            let limit = (self.scaled >> 6) as i64 + 16;
            self.scaled.saturating_add_signed(residual.clamp(-limit, limit)).min(CEILING << 4)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_magnitude_comes_back() {
        let values: Vec<u64> = (0..64)
            .flat_map(|n| [1 << n, (1 << n) - 1, (1 << n) + (1 << n) / 3])
            .chain([u64::MAX, u64::MAX - 1])
            .collect();
        let mut symbols = Vec::new();
        let mut bits = BitWriter::default();
        for &value in &values {
            put(&mut symbols, &mut bits, value);
        }
        let mut packed = Vec::new();
        bits.drain_into(&mut packed);
        let (mut plane, mut reader) = (symbols.as_slice(), BitReader::new(&packed));
        for &value in &values {
            assert_eq!(take(&mut plane, &mut reader), Ok(value));
        }
        assert_eq!(take(&mut plane, &mut reader), Err(Malformed("timing column is too short")));
        assert_eq!(symbols.iter().max(), Some(&MAX_SYMBOL));
    }

    #[test]
    fn literal_bytes() {
        let mut symbols = Vec::new();
        let mut bits = BitWriter::default();
        for value in [7, 8, 9, 100] {
            put(&mut symbols, &mut bits, value);
        }
        // 8 and 9: third octave, first quarter, one bit below. 100: 4 bits below 64 + 2 * 16.
        assert_eq!(symbols, [7, 8, 8, 22]);
        let mut packed = Vec::new();
        assert_eq!(bits.drain_into(&mut packed), 1);
        assert_eq!(packed, [0b01_0010]);
    }

    #[test]
    fn means_follow_and_shrug_off_outliers() {
        let (mut write, mut read) = (Mean::default(), Mean::default());
        for value in [6000, 6100, 5900, 1 << 40, 6000, u64::MAX, 0, 6000, 6050] {
            let stored = write.residual(value);
            assert_eq!(read.value(stored), value);
        }
        assert!((5000..8000).contains(&(write.scaled >> 4)), "{}", write.scaled >> 4);
    }
}
