//! What some KVMs' emulators lack: the same guests give the same results where the processor does it all.

use std::collections::BTreeSet;

use trace_format::event::{FixupKind, Payload, StopReason};
use trace_format::{Reader, verify};
use vmm_lite::Error;
use vmscope_tests::images::{INSTRUCTIONS, INSTRUCTIONS_16, UNKNOWN_INSTRUCTION, X87};
use vmscope_tests::run::{Guest, Run, emulates};
use vmscope_tests::skip::kvm_or_skip;

/// What the guest executes that such a KVM cannot.
const CARRIED_OUT: &[&str] = &[
    "int",
    "popcnt",
    "crc32",
    "andn",
    "bextr",
    "blsi",
    "blsmsk",
    "blsr",
    "bzhi",
    "pdep",
    "pext",
    "rorx",
    "sarx",
    "shlx",
    "shrx",
    "mulx",
    "adcx",
    "adox",
    "cmpxchg16b",
    "xgetbv",
    "rdtscp",
    "stac",
    "clac",
    "invpcid",
    "clwb",
    "monitor",
    "mwait",
    "lar",
    "lsl",
    "verr",
    "verw",
    "fldcw",
    "wait",
    "emms",
    "ldmxcsr",
    "stmxcsr",
];

fn fixups(run: &Run, wanted: FixupKind) -> BTreeSet<&str> {
    let carried_out = run.events.iter().filter_map(|event| match &event.payload {
        Payload::Fixup(fixup) if fixup.kind == wanted => Some(fixup.mnemonic.as_str()),
        _ => None,
    });
    carried_out.collect()
}

fn is_breakpoint(payload: &Payload) -> bool {
    matches!(payload, Payload::Fixup(fixup) if fixup.kind == FixupKind::Breakpoint)
}

fn run_well(image: &'static [u8], vcpus: u8) -> Run {
    let run = Guest::image(image, vcpus).run();
    run.assert_well();
    assert!(verify(&mut Reader::open(&run.trace).unwrap()).unwrap().is_sound());
    run
}

#[test]
fn core_instructions_do_what_the_manual_says() {
    if kvm_or_skip("core_instructions_do_what_the_manual_says") {
        let run = run_well(INSTRUCTIONS, 2);
        if emulates(&run.header) {
            assert_eq!(run.counters()["absent"], 0, "every instruction is carried out");
            let carried_out = fixups(&run, FixupKind::Instruction);
            for mnemonic in CARRIED_OUT {
                assert!(carried_out.contains(mnemonic), "{mnemonic}: {carried_out:?}");
            }
            assert_eq!(run.count_where(is_breakpoint), 1, "int3");
        } else {
            assert!(fixups(&run, FixupKind::Instruction).is_empty(), "the processor does it");
        }
    }
}

#[test]
fn core_instructions_in_real_mode() {
    if kvm_or_skip("core_instructions_in_real_mode") {
        let _ = run_well(INSTRUCTIONS_16, 1);
    }
}

#[test]
fn core_x87_computes_what_the_processor_does() {
    if kvm_or_skip("core_x87_computes_what_the_processor_does") {
        let run = run_well(X87, 1);
        assert!(run.counters()["compared"] > 10_000);
        let carried_out = fixups(&run, FixupKind::Instruction);
        assert_eq!(emulates(&run.header), carried_out.contains("fdivr"), "{carried_out:?}");
        // FLD1 raises #MF for a pending exception. Where the processor itself does not, the guest says that it leaves
        // that out; where ring 0 is the monitor's work there is always a real processor to compare it with.
        let left_out = run.console().contains("Left out: #MF by FLD1");
        assert_eq!(left_out, run.counters()["waits"] == 0);
        assert!(!left_out || !emulates(&run.header), "{}", run.console());
    }
}

#[test]
fn an_instruction_that_nobody_carries_out_is_named() {
    if kvm_or_skip("an_instruction_that_nobody_carries_out_is_named") {
        let run = Guest::image(UNKNOWN_INSTRUCTION, 1).run();
        if !emulates(&run.header) {
            run.assert_well();
            return;
        }
        assert_eq!(run.outcome.why, StopReason::HostError);
        let Some(Error::InternalError(stuck)) = &run.outcome.failure else { panic!("{:?}", run.outcome) };
        assert_eq!(stuck.instruction, "addps xmm0,xmm1");
        assert_eq!(stuck.address, run.symbol("add_vectors"));
        let text = stuck.to_string();
        for words in ["addps xmm0,xmm1", "(add_vectors+0x0)", "hardware virtualization", "--cpu"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
