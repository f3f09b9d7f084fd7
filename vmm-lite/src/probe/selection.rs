//! Which traps to record.

use std::str::FromStr;

use trace_format::event::vector_name;

use super::idt::VectorSet;

/// Which of the guest's traps are recorded: `all`, `none`, or a list of vectors, names, `exceptions`, `interrupts` and
/// `syscall`, separated by commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrapSelection {
    vectors: VectorSet,
    syscall: bool,
}

impl TrapSelection {
    /// Nothing: no breakpoints in the guest.
    pub const NONE: Self = Self { vectors: VectorSet::EMPTY, syscall: false };
    /// Every vector and system calls.
    pub const ALL: Self = Self { vectors: VectorSet::ALL, syscall: true };

    pub(super) fn is_any(&self) -> bool {
        *self != Self::NONE
    }

    pub(super) fn vectors(&self) -> VectorSet {
        self.vectors
    }

    pub(super) fn syscall(&self) -> bool {
        self.syscall
    }
}

impl Default for TrapSelection {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for TrapSelection {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        let mut selection = Self::NONE;
        for word in s.split(',') {
            match word.trim() {
                "exceptions" => (0..32).for_each(|v| selection.vectors.insert(v)),
                "interrupts" => (32..=255).for_each(|v| selection.vectors.insert(v)),
                "syscall" => selection.syscall = true,
                word => selection.vectors.insert(vector(word)?),
            }
        }
        Ok(selection)
    }
}

fn vector(word: &str) -> Result<u8, String> {
    let number = match word.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    let by_name = || (0..=u8::MAX).find(|v| vector_name(u16::from(*v)) == Some(word));
    number.or_else(by_name).ok_or_else(|| {
        format!(
            "{word:?} is no trap: expected all, none, or a list of exceptions, interrupts, syscall, vector numbers \
             and names such as page-fault"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_groups() {
        let selection: TrapSelection = "page-fault,0x80, syscall,3".parse().unwrap();
        let chosen: Vec<u8> = (0..=255).filter(|v| selection.vectors.contains(*v)).collect();
        assert_eq!((chosen, selection.syscall), (vec![3, 14, 0x80], true));
        let exceptions: TrapSelection = "exceptions".parse().unwrap();
        assert_eq!((exceptions.vectors.len(), exceptions.syscall), (32, false));
    }

    #[test]
    fn what_is_no_trap_is_named() {
        assert!("page-fault,pagefault".parse::<TrapSelection>().unwrap_err().contains("\"pagefault\""));
        assert!("256".parse::<TrapSelection>().is_err());
        assert!("".parse::<TrapSelection>().is_err());
    }
}
