//! Exit reasons by the names that KVM's tracepoints print.

use super::event::Reason;
use crate::event::{Isa, reasons};

/// The reason that is called `name`, which may have flags of VMX behind it: `INVALID_STATE FAILED_VMENTRY`.
pub(super) fn find(name: &[u8]) -> Option<Reason> {
    /// Names of earlier kernels, and what they are now.
    const EARLIER: [(&str, u32); 2] = [("PENDING_INTERRUPT", 7), ("VMXOFF", 26)];
    let name = std::str::from_utf8(name).ok()?;
    let (name, flags) = match name.strip_suffix(" FAILED_VMENTRY") {
        Some(name) => (name, 1 << 31),
        None => (name, 0),
    };
    let vmx =
        reasons(Isa::Vmx).iter().find(|(_, known, _)| is_in_capitals(known, name)).map(|reason| reason.0);
    let vmx = vmx.or_else(|| EARLIER.iter().find(|earlier| earlier.0 == name).map(|earlier| earlier.1));
    if let Some(code) = vmx {
        return Some(Reason::Known { isa: Isa::Vmx, code: code | flags });
    }
    let svm = reasons(Isa::Svm).iter().find(|reason| reason.2 == Some(name))?;
    Some(Reason::Known { isa: Isa::Svm, code: svm.0 })
}

/// Whether `printed` is `name` in capitals and with underscores.
fn is_in_capitals(name: &str, printed: &str) -> bool {
    let capital = |c: u8| if c == b'-' { b'_' } else { c.to_ascii_uppercase() };
    name.bytes().map(capital).eq(printed.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_vendors_names_are_known() {
        for (name, isa, code) in [
            ("EPT_VIOLATION", Isa::Vmx, 48),
            ("HLT", Isa::Vmx, 12),
            ("PENDING_INTERRUPT", Isa::Vmx, 7),
            ("INVALID_STATE FAILED_VMENTRY", Isa::Vmx, 0x8000_0021),
            ("npf", Isa::Svm, 0x400),
            ("hlt", Isa::Svm, 0x78),
            ("DB excp", Isa::Svm, 0x41),
        ] {
            assert_eq!(find(name.as_bytes()), Some(Reason::Known { isa, code }), "{name}");
        }
        assert_eq!(find(b"ept-violation"), None);
        assert_eq!(find(b"\xff"), None);
    }
}
