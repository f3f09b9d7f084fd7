//! Where handlers return: the `IRETQ` and `SYSRETQ` instructions that a handler can reach.
//!
//! Found by following the code from the handler's first instruction along direct jumps, so that only bytes that really
//! are instructions are ever patched. Calls are taken to come back, indirect jumps end a path: a handler whose return
//! is behind one has no duration in the trace.

use std::collections::BTreeSet;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};

/// How a handler returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    Iret,
    Sysret,
}

/// How many instructions are looked at for one set of handlers.
const MOST_INSTRUCTIONS: usize = 20_000;
/// How many returns are kept of one set of handlers.
const MOST_RETURNS: usize = 256;
/// Bytes of the longest instruction.
const LONGEST: usize = 15;

/// Looks for returns; what has been looked at is not looked at again.
#[derive(Debug, Default)]
pub(super) struct Search {
    seen: BTreeSet<u64>,
    pub(super) found: Vec<(u64, Return)>,
}

impl Search {
    /// Follows the code from gva `start`; `read` fills a buffer with code and says how much there is.
    pub(super) fn follow(&mut self, start: u64, read: impl Fn(u64, &mut [u8]) -> usize) {
        let mut paths = vec![start];
        let mut code = [0; LONGEST];
        while let Some(mut at) = paths.pop() {
            while self.seen.len() < MOST_INSTRUCTIONS
                && self.found.len() < MOST_RETURNS
                && self.seen.insert(at)
            {
                let length = read(at, &mut code);
                let instruction = Decoder::with_ip(64, &code[..length], at, DecoderOptions::NONE).decode();
                match instruction.code() {
                    Code::INVALID => break,
                    Code::Iretq => self.found.push((at, Return::Iret)),
                    Code::Sysretq => self.found.push((at, Return::Sysret)),
                    _ => {}
                }
                let (goes_on, target) = flow(&instruction);
                paths.extend(target);
                if !goes_on {
                    break;
                }
                at = instruction.next_ip();
            }
        }
    }
}

/// Whether the code goes on behind the instruction, and where else it may go.
fn flow(instruction: &Instruction) -> (bool, Option<u64>) {
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => (true, None),
        FlowControl::ConditionalBranch => (true, Some(instruction.near_branch_target())),
        FlowControl::UnconditionalBranch => (false, Some(instruction.near_branch_target())),
        FlowControl::IndirectBranch
        | FlowControl::Return
        | FlowControl::Interrupt
        | FlowControl::XbeginXabortXend
        | FlowControl::Exception => (false, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(code: &[u8]) -> Vec<(u64, Return)> {
        let mut search = Search::default();
        search.follow(0x1000, |at, buffer| {
            let rest = at.checked_sub(0x1000).and_then(|offset| code.get(offset as usize..)).unwrap_or(&[]);
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        });
        search.found
    }

    #[test]
    fn follows_jumps_and_passes_calls() {
        // push 0; jmp +5; 5 bytes that are no code but look like iretq; call +0; je -2 (itself); iretq
        let code = [0x6a, 0, 0xeb, 5, 0x48, 0xcf, 0x48, 0xcf, 0xcf, 0xe8, 0, 0, 0, 0, 0x74, 0xfe, 0x48, 0xcf];
        assert_eq!(search(&code), [(0x1010, Return::Iret)]);
    }

    #[test]
    fn both_sides_of_a_branch_are_followed() {
        // jz +3; sysretq; iretq
        assert_eq!(
            search(&[0x74, 3, 0x48, 0x0f, 0x07, 0x48, 0xcf]),
            [(0x1002, Return::Sysret), (0x1005, Return::Iret)]
        );
    }

    #[test]
    fn code_that_is_all_branches_and_returns_ends() {
        // jz +3; iretq; ...: a return and a branch every four bytes.
        let code = [0x74, 2, 0x48, 0xcf].repeat(10_000);
        assert_eq!(search(&code).len(), MOST_RETURNS);
    }

    #[test]
    fn ends_where_code_ends() {
        assert_eq!(search(&[0x90, 0x90]), []);
        assert_eq!(search(&[0xff, 0xe0, 0x48, 0xcf]), []); // jmp rax
    }
}
