//! The walker and the model agree on any registers and any memory.

use proptest::prelude::*;
use trace_format::event::PagingMode;

use super::super::{CR4_SMAP, CR4_SMEP};
use super::model::{Verdict, model};
use super::*;

/// Memory full of entries that nobody wrote: every address has one, made from the address and a seed. Most of them are
/// plausible, so that walks get deep; some have one bit flipped, a few are arbitrary.
struct Noise {
    seed: u64,
    physical_bits: u8,
}

impl Noise {
    fn entry(&self, gpa: u64) -> Option<u64> {
        let noise = mix(gpa ^ self.seed);
        let choice = mix(noise);
        match choice % 64 {
            0 => None,
            1 => Some(noise),
            2..16 => Some(self.plausible(noise, choice) ^ 1 << (choice >> 32 & 63)),
            _ => Some(self.plausible(noise, choice)),
        }
    }

    /// An entry as an operating system could have made it.
    fn plausible(&self, noise: u64, choice: u64) -> u64 {
        let alignment = if choice & 0xc_0000 == 0 { 1 << 30 } else { 2 << 20 };
        let address = noise & ((1 << self.physical_bits) - 1) & !(alignment - 1);
        let small = if choice & 64 == 0 && alignment < 1 << 30 { noise & 0x1f_e000 } else { 0 };
        let mut flags = 0x67 | noise & 0xf1a;
        flags |= choice >> 8 & 0x80 & choice >> 9;
        flags &= !(noise >> 40 & noise >> 45 & 6);
        // PAE's top entries have nothing but P and some free bits.
        let flags = if choice & 0x3000 == 0 { flags & 0xe19 | 1 } else { flags };
        let no_execute = (choice >> 20 & choice >> 21 & 1) << 63;
        address | small | flags | no_execute
    }
}

/// A finalizer with good avalanche: consecutive inputs give unrelated outputs.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    let value = (value ^ value >> 27).wrapping_mul(0x81da_def4_bc2d_d44d);
    value ^ value >> 33
}

impl PhysicalMemory for Noise {
    fn read_u32(&self, gpa: u64) -> Option<u32> {
        self.entry(gpa).map(|entry| entry as u32)
    }

    fn read_u64(&self, gpa: u64) -> Option<u64> {
        self.entry(gpa)
    }

    fn read_bytes(&self, _gpa: u64, _buffer: &mut [u8]) -> Option<()> {
        None
    }
}

fn paging() -> impl Strategy<Value = Paging> {
    let flag =
        |probability, bit| prop::bool::weighted(probability).prop_map(move |on| if on { bit } else { 0 });
    (
        (flag(0.97, CR0_PG), flag(0.5, CR0_WP), any::<u64>()),
        (
            flag(0.75, CR4_PAE),
            flag(0.7, CR4_PSE),
            flag(0.5, CR4_LA57),
            flag(0.3, CR4_SMEP),
            flag(0.3, CR4_SMAP),
        ),
        (flag(0.65, EFER_LMA), flag(0.8, EFER_NXE)),
        (32..=52_u8, any::<bool>()),
    )
        .prop_map(
            |((pg, wp, cr3), (pae, pse, la57, smep, smap), (lma, nxe), (physical_bits, one_gib_pages))| {
                Paging {
                    cr0: pg | wp,
                    cr3,
                    cr4: pae | pse | la57 | smep | smap,
                    efer: lma | nxe,
                    physical_bits,
                    one_gib_pages,
                }
            },
        )
}

fn gva(mode: PagingMode) -> impl Strategy<Value = u64> {
    let unused = match mode {
        PagingMode::Off | PagingMode::Bits32 | PagingMode::Pae => None,
        PagingMode::FourLevel => Some(16),
        PagingMode::FiveLevel => Some(7),
    };
    let canonical = move |gva: u64| match unused {
        None => gva & 0xffff_ffff,
        Some(bits) => ((gva << bits) as i64 >> bits) as u64,
    };
    prop_oneof![15 => any::<u64>().prop_map(canonical), 1 => any::<u64>()]
}

fn access() -> impl Strategy<Value = Access> {
    any::<[bool; 4]>().prop_map(|[write, execute, user, exempt]| Access {
        write: write && !execute,
        execute,
        user,
        smap_exempt: exempt && !user,
    })
}

fn verdict(walk: &Walk) -> Verdict {
    match walk.outcome {
        WalkOutcome::Mapped { gpa, page_size, permissions: p, .. } => {
            Verdict::Mapped(gpa, page_size, [p.write, p.user, p.execute])
        }
        WalkOutcome::Fault { reason: WalkFault::NotCanonical, .. } => Verdict::NoAddress,
        WalkOutcome::Fault { reason: WalkFault::NoMemory, level, .. } => Verdict::NoMemory(level),
        WalkOutcome::Fault { level, error_code, .. } => Verdict::PageFault(level, error_code),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200_000))]

    #[test]
    fn walker_and_model_agree(
        (paging, gva) in paging().prop_flat_map(|paging| (Just(paging), gva(paging.mode()))),
        access in access(),
        seed in any::<u64>(),
    ) {
        let memory = Noise { seed, physical_bits: paging.physical_bits };
        let walk = walk(&paging, &memory, gva, access);
        prop_assert_eq!(verdict(&walk), model(&paging, &memory, gva, access));
        // A debugger gets there wherever the tables do.
        match walk.outcome {
            WalkOutcome::Mapped { gpa, .. } => prop_assert_eq!(paging.translate(&memory, gva), Some(gpa)),
            WalkOutcome::Fault { reason: WalkFault::NotPresent | WalkFault::ReservedBit | WalkFault::NoMemory, .. } => {
                prop_assert_eq!(paging.translate(&memory, gva), None);
            }
            WalkOutcome::Fault { .. } => {}
        }
    }

    #[test]
    fn nothing_panics(
        registers in any::<[u64; 4]>(),
        physical_bits in any::<u8>(),
        one_gib_pages in any::<bool>(),
        gva in any::<u64>(),
        access in access(),
        seed in any::<u64>(),
    ) {
        let [cr0, cr3, cr4, efer] = registers;
        let paging = Paging { cr0, cr3, cr4, efer, physical_bits, one_gib_pages };
        let memory = Noise { seed, physical_bits: physical_bits.clamp(32, 52) };
        let walk = walk(&paging, &memory, gva, access);
        prop_assert!(walk.levels.len() <= 5);
        prop_assert_eq!(paging.read(&memory, gva, &mut [0; 64]), 0);
    }
}

/// Guards the property above against noise that never gets anywhere.
#[test]
fn noise_reaches_every_outcome() {
    let mut seen = std::collections::BTreeMap::new();
    for mode in [BITS32, PAE, FOUR_LEVEL, FIVE_LEVEL] {
        let paging = Paging { cr4: mode.cr4 | CR4_SMEP | CR4_SMAP, ..mode };
        for seed in 0..20_000 {
            let memory = Noise { seed, physical_bits: paging.physical_bits };
            let access = Access {
                write: seed % 3 == 0,
                execute: seed % 3 == 1,
                user: seed & 4 != 0,
                smap_exempt: seed & 12 == 8,
            };
            let outcome = match walk(&paging, &memory, mix(seed) & 0x7fff_ffff, access).outcome {
                WalkOutcome::Mapped { page_size, .. } => format!("{page_size:#x}"),
                WalkOutcome::Fault { reason, .. } => reason.name().to_owned(),
            };
            *seen.entry((paging.mode().name(), outcome)).or_insert(0) += 1;
        }
    }
    let all =
        ["not present", "reserved bit set", "no memory behind the table", "not writable", "supervisor only"];
    for (mode, sizes) in [
        ("32-bit", &["0x1000", "0x400000"][..]),
        ("PAE", &["0x1000", "0x200000"]),
        ("4-level", &["0x1000", "0x200000", "0x40000000", "not executable"]),
        ("5-level", &["0x1000", "0x200000", "0x40000000", "not executable"]),
    ] {
        for outcome in all.iter().chain(&["SMEP", "SMAP"]).chain(sizes) {
            let count = seen.get(&(mode, (*outcome).to_owned())).copied().unwrap_or(0);
            assert!(count >= 20, "{mode}: {outcome}: {count} in {seen:?}");
        }
    }
}
