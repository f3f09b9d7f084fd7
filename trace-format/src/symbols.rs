//! The guest's symbols: names for addresses.

use crate::event::KERNEL_BASE;

/// A function or object of a guest image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// Guest virtual address of its first byte, as linked.
    pub address: u64,
    /// Size in bytes, 0 if unknown.
    pub size: u64,
    /// Name, demangled.
    pub name: String,
}

/// Symbols in the order of their addresses, and the slide of the kernel that they belong to.
///
/// A Linux kernel has 200 000. So their names are in one string, and reading a trace makes no other for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    entries: Vec<Entry>,
    /// The names, one after the other.
    names: String,
    slide: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    address: u64,
    size: u64,
    /// Where its name ends; it begins where the one before ends.
    end: usize,
}

impl Symbols {
    /// Appends a symbol, whose address is not below the last one's.
    pub(crate) fn push(&mut self, address: u64, size: u64, name: &str) {
        self.names.push_str(name);
        self.entries.push(Entry { address, size, end: self.names.len() });
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every symbol: address as linked, size and name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64, &str)> {
        self.entries.iter().enumerate().map(|(n, entry)| (entry.address, entry.size, self.name(n)))
    }

    /// Every symbol: address where the guest has it, size and name. What the slide would move past the last address
    /// is at none, and left out.
    pub fn placed(&self) -> impl Iterator<Item = (u64, u64, &str)> {
        self.iter().filter_map(|(linked, size, name)| {
            let slide = if linked >= KERNEL_BASE { self.slide } else { 0 };
            Some((linked.checked_add(slide)?, size, name))
        })
    }

    /// The address of the first symbol called `name`, where the guest has it: with the slide.
    #[must_use]
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.placed().find_map(|(address, _, each)| (each == name).then_some(address))
    }

    /// The name of the symbol that holds guest virtual address `address`, and the offset into it in bytes.
    ///
    /// A symbol of unknown size reaches to the next one, but no further than 64 KiB.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<(&str, u64)> {
        const UNSIZED_REACH: u64 = 64 << 10;
        let address = self.as_linked(address)?;
        let symbol = self.entries.partition_point(|entry| entry.address <= address).checked_sub(1)?;
        let Entry { address: start, size, .. } = self.entries[symbol];
        let offset = address - start;
        let reach = if size == 0 { UNSIZED_REACH } else { size };
        (offset < reach).then(|| (self.name(symbol), offset))
    }

    /// How far above its link address the guest's kernel runs, in bytes.
    #[must_use]
    pub const fn slide(&self) -> u64 {
        self.slide
    }

    /// From now on the kernel runs `slide` bytes above its link address. [`Reader`](crate::Reader) does this with
    /// what the trace says; files hold addresses as linked.
    pub const fn set_slide(&mut self, slide: u64) {
        self.slide = slide;
    }

    /// The link address of what runs at `address`; `None` where the kernel would be without its slide.
    fn as_linked(&self, address: u64) -> Option<u64> {
        if address < KERNEL_BASE {
            return Some(address);
        }
        address.checked_sub(self.slide).filter(|&linked| linked >= KERNEL_BASE)
    }

    fn name(&self, symbol: usize) -> &str {
        let start = symbol.checked_sub(1).map_or(0, |before| self.entries[before].end);
        &self.names[start..self.entries[symbol].end]
    }
}

/// Sorts by address; of several at one address the one with the largest size is found.
impl FromIterator<Symbol> for Symbols {
    fn from_iter<T: IntoIterator<Item = Symbol>>(symbols: T) -> Self {
        Self::from(Vec::from_iter(symbols))
    }
}

impl From<Vec<Symbol>> for Symbols {
    fn from(mut symbols: Vec<Symbol>) -> Self {
        symbols.sort();
        let mut table = Self::default();
        for Symbol { address, size, name } in &symbols {
            table.push(*address, *size, name);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(symbols: &[(u64, u64, &str)]) -> Symbols {
        symbols.iter().map(|&(address, size, name)| Symbol { address, size, name: name.into() }).collect()
    }

    #[test]
    fn an_address_has_the_symbol_that_holds_it() {
        let table = symbols(&[(0x2000, 0, "b"), (0x1000, 0x20, "a"), (0x1000, 0, "alias"), (0x2010, 0, "c")]);
        assert_eq!(table.at(0xfff), None);
        assert_eq!(table.at(0x1000), Some(("a", 0)));
        assert_eq!(table.at(0x101f), Some(("a", 0x1f)));
        assert_eq!(table.at(0x1020), None);
        assert_eq!(table.at(0x200f), Some(("b", 0xf)));
        assert_eq!(table.at(0x2011), Some(("c", 1)));
        assert_eq!(table.at(0x2010 + (64 << 10)), None, "unknown sizes end somewhere");
        assert_eq!(table.at(u64::MAX), None);
    }

    #[test]
    fn a_slide_moves_the_kernel_only() {
        let mut table = symbols(&[(0x40_0000, 0x100, "main"), (0xffff_ffff_8100_0000, 0x100, "_stext")]);
        table.set_slide(0x1e00_0000);
        assert_eq!(table.at(0xffff_ffff_9f00_0010), Some(("_stext", 0x10)));
        assert_eq!(table.at(0xffff_ffff_8100_0010), None);
        assert_eq!(table.at(0x40_0010), Some(("main", 0x10)));
        assert_eq!(table.at(0x1e40_0010), None);
        assert_eq!(table.address_of("_stext"), Some(0xffff_ffff_9f00_0000));
        assert_eq!(table.address_of("main"), Some(0x40_0000));
        assert_eq!(table.address_of("nothing"), None);
        let placed: Vec<_> = table.placed().collect();
        assert_eq!(placed, [(0x40_0000, 0x100, "main"), (0xffff_ffff_9f00_0000, 0x100, "_stext")]);
    }

    #[test]
    fn no_slide_makes_an_address_overflow() {
        let mut table = symbols(&[(0, 0, "zero"), (u64::MAX, 0, "last")]);
        for slide in [0, 1, 1 << 63, u64::MAX] {
            table.set_slide(slide);
            for address in [0, 1, 1 << 63, u64::MAX - 1, u64::MAX] {
                let _ = table.at(address);
            }
            assert_eq!(table.placed().count(), if slide == 0 { 2 } else { 1 });
        }
    }
}
