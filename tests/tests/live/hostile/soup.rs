//! Random instructions.

use std::time::Duration;

use trace_format::Reader;
use vmscope_tests::run::{Guest, Started, symbol};
use vmscope_tests::skip::kvm_or_skip;

use super::exercise::endure;
use super::guests::guest;

/// How long each seed runs at most; most end much sooner.
const LENGTH: Duration = Duration::from_millis(120);

/// The guest after which QEMU's emulation of a CPU with SVM does nothing any more, see `tests/hosts/README.md`.
const QEMU_STANDS_STILL: (&str, u64) = ("soup", 10);

/// `xorshift64`, as the guest has it.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// Instructions that random bytes seldom are, without their operands: those that change what the machine is.
const RARE: [&[u8]; 34] = [
    &[0xf4],             // hlt
    &[0xfa],             // cli
    &[0xfb],             // sti
    &[0xcc],             // int3
    &[0xcd],             // int n
    &[0xcf],             // iret
    &[0x48, 0xcf],       // iretq
    &[0x9d],             // popf
    &[0xee],             // out dx, al
    &[0xed],             // in eax, dx
    &[0xf3, 0x6e],       // rep outsb
    &[0xf3, 0x6d],       // rep insd
    &[0xf3, 0xa4],       // rep movsb
    &[0xf3, 0x48, 0xab], // rep stosq
    &[0x0f, 0x01],       // lgdt, lidt, invlpg, vmcall, swapgs, xgetbv and others
    &[0x0f, 0x00],       // sldt, ltr and others
    &[0x0f, 0x20],       // mov from a control register
    &[0x0f, 0x22],       // mov to a control register
    &[0x0f, 0x21],       // mov from a debug register
    &[0x0f, 0x23],       // mov to a debug register
    &[0x0f, 0x30],       // wrmsr
    &[0x0f, 0x32],       // rdmsr
    &[0x0f, 0x05],       // syscall
    &[0x48, 0x0f, 0x07], // sysretq
    &[0x0f, 0x34],       // sysenter
    &[0x0f, 0xa2],       // cpuid
    &[0x0f, 0x08],       // invd
    &[0x0f, 0xae],       // fxsave and its kind
    &[0x0f, 0xc7],       // cmpxchg8b and 16b, rdrand
    &[0x8e],             // mov to a segment register
    &[0x0f, 0x31],       // rdtsc
    &[0xeb, 0xfe],       // jmp to itself
    &[0xff],             // calls and jumps through registers
    &[0x66, 0x0f],       // SSE
];

/// Random code: half of it rare instructions.
pub(super) fn code(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut code = Vec::with_capacity(length + 16);
    while code.len() < length {
        if random.below(2) == 0 {
            code.extend(RARE[random.below(RARE.len())]);
        }
        let operands = random.below(4);
        code.extend(random.bytes(operands));
    }
    code.truncate(length);
    code
}

/// Puts random code where a hostile guest looks for it.
pub(super) fn fill(started: &Started, seed: u64) {
    let header = Reader::open(&started.trace).unwrap().header().clone();
    started.vm.control().write_memory(symbol(&header, "soup"), &code(seed, 65536)).unwrap();
}

fn kernel(name: &str, action: &str, seeds: std::ops::Range<u64>) {
    if !kvm_or_skip(name) {
        return;
    }
    for seed in seeds {
        if (action, seed) == QEMU_STANDS_STILL && std::env::var_os("SVM_HOST").is_some() {
            println!("{action}, seed {seed}: not on QEMU, which stands still");
            continue;
        }
        let guest =
            guest(action, if seed % 4 == 0 { 2 } else { 1 }).append(&format!("action={action} seed={seed}"));
        drop(endure(&format!("{action}, seed {seed}"), guest, "go", LENGTH, move |started| {
            fill(started, seed);
        }));
    }
}

#[test]
fn random_instructions_in_ring_0() {
    kernel("random_instructions_in_ring_0", "soup", 1..25);
}

#[test]
fn random_instructions_in_ring_3() {
    kernel("random_instructions_in_ring_3", "user-soup", 1..9);
}

#[test]
fn random_instructions_in_real_mode() {
    if !kvm_or_skip("random_instructions_in_real_mode") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for seed in 100..124 {
        let path = directory.path().join(format!("{seed}.bin"));
        std::fs::write(&path, code(seed, 4096)).unwrap();
        drop(endure(&format!("16-bit, seed {seed}"), Guest::file(path, 1), "", LENGTH, |_| {}));
    }
}
