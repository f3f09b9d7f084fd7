//! Which instructions a KVM that emulates guest kernel code cannot carry out there, though `CPUID` offers them.
//!
//! Each is tried once, in ring 0. A KVM that runs guest kernel code on the CPU lacks none.

use serde::{Deserialize, Serialize};

use super::guest::{self, END_PORT, KERNEL_CODE, OPERAND, report};
use super::trial::{is_port, machine, run_once};
use crate::error::Result;
use crate::kvm::Host;

const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const SSE: u64 = CR4_OSFXSR | CR4_OSXMMEXCPT;

/// [`OPERAND`] as a 32-bit displacement.
const M: [u8; 4] = (OPERAND as u32).to_le_bytes();

/// An instruction, or the first of a group that are there or missing together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
#[expect(missing_docs, reason = "they are the manuals' names")]
pub enum Instruction {
    Addsubps,
    Pclmulqdq,
    Monitor,
    Pabsb,
    Cmpxchg16b,
    Ptest,
    Crc32,
    Movbe,
    Popcnt,
    Aesenc,
    /// With the AVX families, which need its state components.
    Xsave,
    Rdrand,
    Rdfsbase,
    /// And `TZCNT`, which an old CPU takes for `BSF`.
    Andn,
    Shlx,
    Invpcid,
    Rdseed,
    Adcx,
    Clac,
    Clflushopt,
    Clwb,
    Sha1nexte,
    Gf2p8mulb,
    Rdpid,
    Serialize,
    Movdiri,
    Movdir64b,
    /// An old CPU takes it for `BSR`.
    Lzcnt,
    Extrq,
    Rdtscp,
    Clzero,
    Wbnoinvd,
}

/// How an instruction is tried.
struct Trial {
    instruction: Instruction,
    name: &'static str,
    /// Bits of CR4 that it needs.
    cr4: u64,
    /// Run in 64-bit mode with rcx = 0 and rax = [`OPERAND`]; `UD2` in it says that the result is wrong.
    code: &'static [u8],
}

const fn trial(instruction: Instruction, name: &'static str, cr4: u64, code: &'static [u8]) -> Trial {
    Trial { instruction, name, cr4, code }
}

/// In the order of the instructions.
const TRIALS: [Trial; 32] = {
    use Instruction as I;
    [
        trial(I::Addsubps, "addsubps", SSE, &[0xf2, 0x0f, 0xd0, 0xc0]),
        trial(I::Pclmulqdq, "pclmulqdq", SSE, &[0x66, 0x0f, 0x3a, 0x44, 0xc0, 0]),
        trial(I::Monitor, "monitor", 0, &[0x0f, 0x01, 0xc8]),
        trial(I::Pabsb, "pabsb", SSE, &[0x66, 0x0f, 0x38, 0x1c, 0xc0]),
        trial(I::Cmpxchg16b, "cmpxchg16b", 0, &[0x48, 0x0f, 0xc7, 0x0c, 0x25, M[0], M[1], M[2], M[3]]),
        trial(I::Ptest, "ptest", SSE, &[0x66, 0x0f, 0x38, 0x17, 0xc0]),
        trial(I::Crc32, "crc32", 0, &[0xf2, 0x0f, 0x38, 0xf0, 0xc0]),
        trial(I::Movbe, "movbe", 0, &[0x0f, 0x38, 0xf0, 0x04, 0x25, M[0], M[1], M[2], M[3]]),
        trial(I::Popcnt, "popcnt", 0, &[0xf3, 0x0f, 0xb8, 0xc0]),
        trial(I::Aesenc, "aesenc", SSE, &[0x66, 0x0f, 0x38, 0xdc, 0xc0]),
        // xgetbv; xsave [OPERAND]
        trial(
            I::Xsave,
            "xsave",
            SSE | CR4_OSXSAVE,
            &[0x0f, 0x01, 0xd0, 0x0f, 0xae, 0x24, 0x25, M[0], M[1], M[2], M[3]],
        ),
        trial(I::Rdrand, "rdrand", 0, &[0x0f, 0xc7, 0xf0]),
        trial(I::Rdfsbase, "rdfsbase", CR4_FSGSBASE, &[0xf3, 0x0f, 0xae, 0xc0]),
        // tzcnt eax, ecx; cmp eax, 32; je +2; ud2; andn eax, eax, eax
        trial(
            I::Andn,
            "andn",
            SSE | CR4_OSXSAVE,
            &[0xf3, 0x0f, 0xbc, 0xc1, 0x83, 0xf8, 32, 0x74, 2, 0x0f, 0x0b, 0xc4, 0xe2, 0x78, 0xf2, 0xc0],
        ),
        trial(I::Shlx, "shlx", SSE | CR4_OSXSAVE, &[0xc4, 0xe2, 0x79, 0xf7, 0xc0]),
        // mov ecx, 2; invpcid rcx, [OPERAND]
        trial(
            I::Invpcid,
            "invpcid",
            0,
            &[0xb9, 2, 0, 0, 0, 0x66, 0x0f, 0x38, 0x82, 0x0c, 0x25, M[0], M[1], M[2], M[3]],
        ),
        trial(I::Rdseed, "rdseed", 0, &[0x0f, 0xc7, 0xf8]),
        trial(I::Adcx, "adcx", 0, &[0x66, 0x0f, 0x38, 0xf6, 0xc0]),
        trial(I::Clac, "clac", 0, &[0x0f, 0x01, 0xca]),
        trial(I::Clflushopt, "clflushopt", 0, &[0x66, 0x0f, 0xae, 0x3c, 0x25, M[0], M[1], M[2], M[3]]),
        trial(I::Clwb, "clwb", 0, &[0x66, 0x0f, 0xae, 0x34, 0x25, M[0], M[1], M[2], M[3]]),
        trial(I::Sha1nexte, "sha1nexte", SSE, &[0x0f, 0x38, 0xc8, 0xc0]),
        trial(I::Gf2p8mulb, "gf2p8mulb", SSE, &[0x66, 0x0f, 0x38, 0xcf, 0xc0]),
        trial(I::Rdpid, "rdpid", 0, &[0xf3, 0x0f, 0xc7, 0xf8]),
        trial(I::Serialize, "serialize", 0, &[0x0f, 0x01, 0xe8]),
        trial(I::Movdiri, "movdiri", 0, &[0x0f, 0x38, 0xf9, 0x04, 0x25, M[0], M[1], M[2], M[3]]),
        trial(I::Movdir64b, "movdir64b", 0, &[0x66, 0x0f, 0x38, 0xf8, 0x00]),
        // lzcnt eax, ecx; cmp eax, 32; je +2; ud2
        trial(I::Lzcnt, "lzcnt", 0, &[0xf3, 0x0f, 0xbd, 0xc1, 0x83, 0xf8, 32, 0x74, 2, 0x0f, 0x0b]),
        trial(I::Extrq, "extrq", SSE, &[0x66, 0x0f, 0x79, 0xc0]),
        trial(I::Rdtscp, "rdtscp", 0, &[0x0f, 0x01, 0xf9]),
        trial(I::Clzero, "clzero", 0, &[0x0f, 0x01, 0xfc]),
        trial(I::Wbnoinvd, "wbnoinvd", 0, &[0xf3, 0x0f, 0x09]),
    ]
};

/// A set of instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Instruction>", into = "Vec<Instruction>")]
pub struct Instructions(u32);

impl Instructions {
    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, instruction: Instruction) -> bool {
        self.0 & 1 << instruction as u8 != 0
    }

    /// Their names, in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        TRIALS.iter().filter(move |trial| self.contains(trial.instruction)).map(|trial| trial.name)
    }
}

impl FromIterator<Instruction> for Instructions {
    fn from_iter<T: IntoIterator<Item = Instruction>>(instructions: T) -> Self {
        Self(instructions.into_iter().fold(0, |set, instruction| set | 1 << instruction as u8))
    }
}

impl From<Vec<Instruction>> for Instructions {
    fn from(instructions: Vec<Instruction>) -> Self {
        instructions.into_iter().collect()
    }
}

impl From<Instructions> for Vec<Instruction> {
    fn from(set: Instructions) -> Self {
        TRIALS
            .iter()
            .map(|trial| trial.instruction)
            .filter(|&instruction| set.contains(instruction))
            .collect()
    }
}

/// Tries those of `offered`, and returns which of them did not come to their end.
pub(super) fn missing_in_kernel_code(host: &Host, offered: Instructions) -> Result<Instructions> {
    let mut missing = Vec::new();
    for trial in TRIALS.iter().filter(|trial| offered.contains(trial.instruction)) {
        if !runs(host, trial, offered)? {
            missing.push(trial.instruction);
        }
    }
    Ok(missing.into())
}

fn runs(host: &Host, trial: &Trial, offered: Instructions) -> Result<bool> {
    let mut code = trial.code.to_vec();
    code.extend(report(END_PORT));
    let (_vm, mut vcpu) = machine(host, &code, false)?;
    // KVM refuses bits of CR4 for features that it does not offer.
    let allowed = |bit, instruction| if offered.contains(instruction) { 0 } else { bit };
    let refused = allowed(CR4_OSXSAVE, Instruction::Xsave) | allowed(CR4_FSGSBASE, Instruction::Rdfsbase);
    let mut sregs = vcpu.sregs();
    sregs.cr4 |= trial.cr4 & !refused;
    vcpu.set_sregs(&sregs);
    let mut regs = vcpu.regs();
    (regs.rip, regs.rax, regs.rcx) = (KERNEL_CODE, OPERAND, 0);
    vcpu.set_regs(&regs);
    Ok(is_port(&run_once(&mut vcpu)?, guest::END_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (number, trial) in TRIALS.iter().enumerate() {
            assert_eq!(trial.instruction as usize, number, "{}", trial.name);
        }
    }

    /// Each piece of code is what its name says, whole instructions without a rest.
    #[test]
    fn the_code_is_the_instruction() {
        use iced_x86::{Decoder, DecoderOptions};
        for trial in &TRIALS {
            let instructions: Vec<_> =
                Decoder::new(64, trial.code, DecoderOptions::NONE).into_iter().collect();
            assert!(instructions.iter().all(|instruction| !instruction.is_invalid()), "{}", trial.name);
            let is = |instruction: &iced_x86::Instruction| {
                format!("{:?}", instruction.mnemonic()).eq_ignore_ascii_case(trial.name)
            };
            assert!(instructions.iter().any(is), "{}: {instructions:?}", trial.name);
        }
    }

    #[test]
    fn sets_are_kept_by_name() {
        let set: Instructions = [Instruction::Clwb, Instruction::Cmpxchg16b].into_iter().collect();
        assert_eq!(set.names().collect::<Vec<_>>(), ["cmpxchg16b", "clwb"]);
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["Cmpxchg16b","Clwb"]"#);
        assert_eq!(serde_json::from_str::<Instructions>(&json).unwrap(), set);
    }
}
