//! Code as instructions.

use iced_x86::{Decoder, DecoderOptions, Formatter as _, Instruction, IntelFormatter, OpKind};

/// The longest instruction of x86 (SDM vol. 2, 2.3.11).
pub const LONGEST: usize = 15;

/// An instruction, or bytes that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it is, gva.
    pub gva: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it does, in Intel's notation.
    pub text: String,
    /// The code that it calls or jumps to, or the data that it names relative to RIP, gva.
    pub target: Option<u64>,
    /// The target is code.
    pub branches: bool,
}

/// The instructions in `bytes`, which are at gva `start`, for a CPU that runs `bits`-bit code. At `boundary` one begins:
/// what would reach over it is bytes.
#[must_use]
pub fn disassemble(bits: u32, start: u64, bytes: &[u8], boundary: u64) -> Vec<Line> {
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_uppercase_hex(false);
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_space_after_operand_separator(true);
    let mut lines = Vec::new();
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        let gva = start.wrapping_add(done as u64);
        let instruction = Decoder::with_ip(bits, rest, gva, DecoderOptions::NONE).decode();
        let length = instruction.len();
        let to_boundary = boundary.wrapping_sub(gva);
        let reaches_over = to_boundary != 0 && to_boundary < length as u64;
        if instruction.is_invalid() || reaches_over {
            if instruction.is_invalid() && rest.len() < LONGEST {
                // The rest of it is not known.
                break;
            }
            let text = format!("db 0x{:02x}", rest[0]);
            lines.push(Line { gva, bytes: vec![rest[0]], text, target: None, branches: false });
            done += 1;
            continue;
        }
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        let (target, branches) = target(&instruction);
        lines.push(Line { gva, bytes: rest[..length].to_vec(), text, target, branches });
        done += length;
    }
    lines
}

/// Where to begin before `at`, so that an instruction begins there, if there are that many bytes before it: as early as
/// it can be. `before` ends at `at`.
#[must_use]
pub fn beginning(bits: u32, before: &[u8], at: u64) -> u64 {
    let reaches = |length: &usize| {
        let Some(bytes) = before.len().checked_sub(*length).and_then(|from| before.get(from..)) else {
            return false;
        };
        let mut decoder =
            Decoder::with_ip(bits, bytes, at.wrapping_sub(*length as u64), DecoderOptions::NONE);
        while decoder.can_decode() {
            if decoder.decode().is_invalid() {
                return false;
            }
        }
        true
    };
    let most = before.len();
    let length = (most.saturating_sub(LONGEST)..=most).rev().find(reaches).unwrap_or(0);
    at.wrapping_sub(length as u64)
}

fn target(instruction: &Instruction) -> (Option<u64>, bool) {
    let near =
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    if near {
        return (Some(instruction.near_branch_target()), true);
    }
    let data = instruction.is_ip_rel_memory_operand().then(|| instruction.ip_rel_memory_address());
    (data, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// push rbp; mov rbp, rsp; call 0x1010; lea rax, [rip+8]; ret
    const CODE: [u8; 17] = [0x55, 0x48, 0x89, 0xe5, 0xe8, 7, 0, 0, 0, 0x48, 0x8d, 0x05, 8, 0, 0, 0, 0xc3];

    #[test]
    fn instructions_have_targets() {
        let lines = disassemble(64, 0x1000, &CODE, 0x1004);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["push rbp", "mov rbp, rsp", "call 0x1010", "lea rax, [0x1018]", "ret"]);
        let targets: Vec<_> = lines.iter().filter_map(|line| Some((line.target?, line.branches))).collect();
        assert_eq!(targets, [(0x1010, true), (0x1018, false)]);
    }

    #[test]
    fn an_instruction_begins_where_the_cpu_is() {
        let lines = disassemble(64, 0x1000, &CODE, 0x1002);
        assert_eq!(lines[1].text, "db 0x48");
        assert_eq!((lines[2].gva, lines[2].text.as_str()), (0x1002, "mov ebp, esp"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_once(bytes in prop::collection::vec(any::<u8>(), 0..200), start: u64, at in 0_u64..200) {
            for bits in [16, 32, 64] {
                let boundary = start.wrapping_add(at);
                let lines = disassemble(bits, start, &bytes, boundary);
                let shown: Vec<u8> = lines.iter().flat_map(|line| line.bytes.clone()).collect();
                prop_assert_eq!(&bytes[..shown.len()], &shown[..]);
                prop_assert!(bytes.len() - shown.len() < LONGEST);
                if at < shown.len() as u64 {
                    prop_assert!(lines.iter().any(|line| line.gva == boundary));
                }
                let begins = beginning(bits, &bytes, boundary);
                prop_assert!(boundary.wrapping_sub(begins) <= bytes.len() as u64);
            }
        }
    }
}
