//! A place in the guest's memory, as a user writes it.

use trace_format::event::Registers;
use trace_format::filter::Candidate;

use crate::app::App;
use crate::app::location::Location;

/// Where bytes are to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryPlace {
    /// At a gva or a symbol.
    Virtual(Location),
    /// At a gpa.
    Physical(u64),
    /// Where this register points, by its place among [`Registers::NAMES`].
    Register(usize),
}

impl MemoryPlace {
    /// Understands `text`: what [`Location::parse`] does, `gpa 0x1234`, and names of registers.
    ///
    /// # Errors
    /// If it is none: a sentence that says what could be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || {
            format!(
                "`{text}` is no place in memory: write an address (0x1234), a symbol (main, main+0x1c), a register, or gpa and an address"
            )
        };
        if let Some(gpa) = text.strip_prefix("gpa").filter(|rest| rest.starts_with([' ', ':'])) {
            let digits = gpa[1..].trim().strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
            let gpa = digits.and_then(|digits| u64::from_str_radix(&digits.replace('_', ""), 16).ok());
            return gpa.map(Self::Physical).ok_or_else(wrong);
        }
        if let Some(register) = Registers::NAMES.iter().position(|name| *name == text) {
            return Ok(Self::Register(register));
        }
        Location::parse(text).map(Self::Virtual).map_err(|_| wrong())
    }
}

impl App {
    /// Registers whose names begin with `text`, and symbols.
    pub(in crate::app) fn complete_memory_place(&self, text: &str) -> Vec<Candidate> {
        let known = self.memory.registers.as_ref().map(Registers::values);
        let registers = Registers::NAMES.into_iter().enumerate().filter(|(_, name)| name.starts_with(text));
        let candidate = |(n, name): (usize, &str)| Candidate {
            text: name.to_owned(),
            about: known.map(|values| format!("{:#x}", values[n])).unwrap_or_default(),
            replaces: 0..text.len(),
        };
        let registers: Vec<Candidate> = registers.map(candidate).collect();
        self.complete_symbol(text).into_iter().chain(registers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_addresses_of_both_kinds_symbols_and_registers() {
        assert_eq!(MemoryPlace::parse("0x10_00"), Ok(MemoryPlace::Virtual(Location::at(0x1000))));
        assert_eq!(MemoryPlace::parse("gpa 0x1000"), Ok(MemoryPlace::Physical(0x1000)));
        assert_eq!(MemoryPlace::parse("gpa:0xf_f"), Ok(MemoryPlace::Physical(0xff)));
        assert_eq!(MemoryPlace::parse("rax"), Ok(MemoryPlace::Register(0)));
        assert!(matches!(MemoryPlace::parse("gpa_table"), Ok(MemoryPlace::Virtual(_))));
        for wrong in ["", "gpa 12", "gpa 0x+1", "gpa: ", "12"] {
            assert!(MemoryPlace::parse(wrong).is_err_and(|error| error.contains("no place in memory")));
        }
    }
}
