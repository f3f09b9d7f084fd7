//! A vCPU's whole state through `Control`, and the interrupt controllers'.

use trace_format::Reader;
use trace_format::event::{Payload, TrapClass};
use vmm_lite::msr::{IA32_KERNEL_GS_BASE, IA32_LSTAR};
use vmm_lite::{Control, CpuModel, Irqchip, Segment};
use vmscope_tests::images::INTERRUPTS;
use vmscope_tests::run::{Guest, Started, symbol};
use vmscope_tests::skip::kvm_or_skip;

use crate::control::{BY, header, is_paused, stop, until};

const ALL: [Irqchip; 3] = [Irqchip::User, Irqchip::Split, Irqchip::Kernel];
const RFLAGS_TF: u64 = 1 << 8;

/// A shootdown that is under way, paused, which ends by itself.
fn paused_shootdown(irqchip: Irqchip, vcpus: u8) -> (Started, Control) {
    let started = Guest::new("tlb-shootdown", vcpus).append("rounds=200").irqchip(irqchip).start();
    let control = started.vm.control();
    let mut reader = Reader::open(&started.trace).unwrap();
    until("shootdowns go on", || {
        reader.poll().unwrap();
        reader.len() > 300
    });
    control.pause(BY).unwrap();
    (started, control)
}

fn finishes_well(started: Started, control: &Control) -> vmscope_tests::run::Run {
    control.resume(BY).unwrap();
    let run = started.finish();
    run.assert_well();
    run
}

#[test]
fn core_what_is_set_is_what_is_there() {
    if !kvm_or_skip("core_what_is_set_is_what_is_there") {
        return;
    }
    let (started, control) = paused_shootdown(Irqchip::User, 2);
    let before = control.floating_point(1).unwrap();
    let mut floats = before.clone();
    floats.fcw = 0x27f;
    floats.fsw = 5 << 11;
    floats.in_use = 1 << 5;
    floats.st[0] = [1, 2, 3, 4, 5, 6, 7, 0x88, 0x55, 0x3f];
    for (n, xmm) in (0..).zip(&mut floats.xmm) {
        *xmm = 0x0123_4567_89ab_cdef_u128 << 64 | n;
    }
    control.set_floating_point(1, &floats).unwrap();
    assert_eq!(control.floating_point(1).unwrap(), floats);
    assert_eq!(control.floating_point(0).unwrap().xmm[0] >> 64, 0, "another vCPU's");
    let error = control.set_floating_point(1, &vmm_lite::FloatingPoint { mxcsr: u32::MAX, ..before.clone() });
    assert!(error.is_err());
    control.set_floating_point(1, &before).unwrap();

    let old = control.msr(1, IA32_KERNEL_GS_BASE).unwrap().unwrap();
    control.set_msr(1, IA32_KERNEL_GS_BASE, 0xffff_8000_1234_5000).unwrap();
    assert_eq!(control.msr(1, IA32_KERNEL_GS_BASE).unwrap(), Some(0xffff_8000_1234_5000));
    let msrs = control.msrs(1).unwrap();
    for msr in msrs.iter().filter(|msr| !msr.name.contains("TIME_STAMP")) {
        assert_eq!(control.msr(1, msr.index).unwrap(), Some(msr.value), "all at once or one: {}", msr.name);
    }
    assert!(msrs.iter().any(|msr| (msr.index, msr.value) == (IA32_KERNEL_GS_BASE, 0xffff_8000_1234_5000)));
    control.set_msr(1, IA32_KERNEL_GS_BASE, old).unwrap();
    let error = control.set_msr(1, 0x1234_5678, 1).unwrap_err();
    assert!(error.to_string().contains("0x12345678"), "{error}");

    let debug = control.debug_registers(1).unwrap();
    let mut changed = debug;
    changed.addresses[2] = 0x1234;
    control.set_debug_registers(1, &changed).unwrap();
    assert_eq!(control.debug_registers(1).unwrap(), changed);
    control.set_debug_registers(1, &debug).unwrap();
    finishes_well(started, &control);
}

/// The guest does not use AVX, so what is put there stays while it runs, and nowhere else.
#[test]
fn core_upper_halves_of_ymm_registers_are_those_of_one_vcpu() {
    if !kvm_or_skip("core_upper_halves_of_ymm_registers_are_those_of_one_vcpu") {
        return;
    }
    let mut guest = Guest::new("tlb-shootdown", 2).append("rounds=200").paused();
    guest.config.cpu = CpuModel::Host;
    let started = guest.start();
    let control = started.vm.control();
    let mut floats = control.floating_point(0).unwrap();
    let has_avx = floats.ymm_upper.is_some();
    assert!(floats.ymm_upper.is_none_or(|upper| upper == [0; 16]), "{floats:x?}");
    let upper = std::array::from_fn(|n| (0x0123_4567_89ab_cdef << 64) + n as u128);
    (floats.ymm_upper, floats.xmm[3]) = (Some(upper), 7);
    control.set_floating_point(0, &floats).unwrap();
    for _ in 0..3 {
        control.step(0, BY).unwrap();
    }
    let after = control.floating_point(0).unwrap();
    assert_eq!((after.ymm_upper, after.xmm[3]), (has_avx.then_some(upper), 7));
    assert_eq!(control.floating_point(1).unwrap().ymm_upper, has_avx.then_some([0; 16]));
    floats.ymm_upper = None;
    control.set_floating_point(0, &floats).unwrap();
    assert_eq!(control.floating_point(0).unwrap().ymm_upper, after.ymm_upper, "they are left");
    finishes_well(started, &control);
}

#[test]
fn core_a_value_that_kvm_refuses_is_an_error_and_no_more() {
    if !kvm_or_skip("core_a_value_that_kvm_refuses_is_an_error_and_no_more") {
        return;
    }
    let (started, control) = paused_shootdown(Irqchip::User, 2);
    let before = control.registers(0).unwrap();
    let mut broken = before;
    // Paging without protection.
    broken.system.cr0 = 1 << 31;
    broken.general.rax ^= 1;
    assert!(control.set_registers(0, &broken).is_err());
    broken = before;
    broken.system.cr8 = 16;
    assert!(control.set_registers(0, &broken).unwrap_err().to_string().contains("CR8"));
    let after = control.registers(0).unwrap();
    assert_eq!((after.general, after.system), (before.general, before.system));
    finishes_well(started, &control);
}

#[test]
fn core_a_selector_brings_its_segment_along() {
    if !kvm_or_skip("core_a_selector_brings_its_segment_along") {
        return;
    }
    let (started, control) = paused_shootdown(Irqchip::User, 2);
    let before = control.registers(0).unwrap();
    let mut moved = before;
    moved.system.fs.base = 0x1234_5000;
    control.set_registers(0, &moved).unwrap();
    control.load_segments(0, &[(Segment::Fs, before.system.ss.selector)]).unwrap();
    let fs = control.registers(0).unwrap().system.fs;
    assert_eq!((fs.base, fs.limit, fs.dpl), (0, u32::MAX, before.system.ss.dpl));
    for (register, selector) in
        [(Segment::Cs, 0), (Segment::Ds, 0xfff8), (Segment::Cs, before.system.ss.selector)]
    {
        let error =
            control.load_segments(0, &[(Segment::Gs, 0), (register, selector)]).unwrap_err().to_string();
        assert!(error.contains(register.name()), "{error}");
        assert_eq!(control.registers(0).unwrap().system.gs, before.system.gs, "all or none");
    }
    control
        .load_segments(
            0,
            &[(Segment::Cs, before.system.cs.selector), (Segment::Ss, before.system.ss.selector)],
        )
        .unwrap();
    let after = control.registers(0).unwrap().system;
    assert_eq!((after.cs.l, after.ss.dpl), (before.system.cs.l, before.system.ss.dpl));
    control.set_registers(0, &before).unwrap();
    finishes_well(started, &control);
}

#[test]
fn core_no_trap_flag_is_left_behind() {
    if !kvm_or_skip("core_no_trap_flag_is_left_behind") {
        return;
    }
    let (started, control) = paused_shootdown(Irqchip::User, 2);
    for n in 0..20 {
        control.step(n % 2, BY).unwrap();
        let registers = control.registers(n % 2).unwrap();
        assert_eq!(registers.general.rflags & RFLAGS_TF, 0);
        control.set_registers(n % 2, &registers).unwrap();
        assert_eq!(control.registers(n % 2).unwrap().general.rflags & RFLAGS_TF, 0);
    }
    let run = finishes_well(started, &control);
    assert_eq!(run.traps(1), 0, "the guest was trapped by a step");
}

/// The guest's system calls go through code that a debugger has put elsewhere.
#[test]
fn core_setting_lstar_moves_the_probe() {
    if !kvm_or_skip("core_setting_lstar_moves_the_probe") {
        return;
    }
    let started = Guest::new("trap-forwarding", 1).paused().start();
    let control = started.vm.control();
    let symbols = header(&started);
    // Behind the kernel's own write.
    let later = symbol(&symbols, "address_space_start");
    control.add_breakpoint(0, later).unwrap();
    control.resume(BY).unwrap();
    until("it has been written", || is_paused(&control));
    let entry = control.msr(0, IA32_LSTAR).unwrap().unwrap();
    // jmp entry, where the kernel's first instructions were: nobody comes there again.
    let detour = symbol(&symbols, "_start");
    let mut jump = vec![0xe9];
    jump.extend((entry.wrapping_sub(detour + 5) as u32).to_le_bytes());
    control.write_virtual(0, detour, &jump).unwrap();
    control.set_msr(0, IA32_LSTAR, detour).unwrap();
    assert_eq!(control.msr(0, IA32_LSTAR).unwrap(), Some(detour));
    control.remove_breakpoint(0, later).unwrap();
    let run = finishes_well(started, &control);
    let handlers: Vec<u64> = run
        .events
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::Trap(trap) if trap.class == TrapClass::SystemCall => Some(trap.handler),
            _ => None,
        })
        .collect();
    assert_eq!(handlers.len() as u64, run.counters()["syscalls"]);
    assert!(handlers.iter().all(|handler| *handler == detour), "{handlers:x?}");
}

#[test]
fn core_local_apics_show_what_they_do() {
    if !kvm_or_skip("core_local_apics_show_what_they_do") {
        return;
    }
    for irqchip in ALL {
        let (started, control) = paused_shootdown(irqchip, 2);
        for vcpu in 0..2 {
            let apic = control.apic(vcpu).unwrap();
            assert_eq!((apic.id, apic.enabled, apic.esr), (vcpu.into(), true, 0), "{irqchip:?}");
            let before = control.registers(vcpu).unwrap();
            assert_eq!(before.system.apic_base, apic.base, "{irqchip:?}");
            let mut raised = before;
            raised.system.cr8 = 3;
            control.set_registers(vcpu, &raised).unwrap();
            assert_eq!(control.registers(vcpu).unwrap().system.cr8, 3, "{irqchip:?}");
            assert_eq!(control.apic(vcpu).unwrap().tpr, 0x30, "{irqchip:?}");
            control.set_registers(vcpu, &before).unwrap();
            assert_eq!(control.apic(vcpu).unwrap().tpr, apic.tpr, "{irqchip:?}");
        }
        finishes_well(started, &control);
    }
}

#[test]
fn core_shared_controllers_are_the_same_whoever_plays_them() {
    if !kvm_or_skip("core_shared_controllers_are_the_same_whoever_plays_them") {
        return;
    }
    let all = ALL.map(|irqchip| {
        let started = Guest::image(INTERRUPTS, 1).append("sleep=1").irqchip(irqchip).start();
        let control = started.vm.control();
        let mut reader = Reader::open(&started.trace).unwrap();
        until(&format!("{irqchip:?}: it sleeps"), || {
            reader.poll().unwrap();
            reader.forward(0).any(
                |event| matches!(event.unwrap().1.payload, Payload::Marker(mark) if mark.text.as_str() == "asleep"),
            )
        });
        control.pause(BY).unwrap();
        let controllers = control.controllers().unwrap();
        stop(started, &control);
        let entries: Vec<_> =
            controllers.ioapic.iter().map(|pin| (pin.pin, pin.vector(), pin.is_masked(), pin.is_level())).collect();
        assert!(entries.iter().any(|(_, _, masked, _)| !masked), "{irqchip:?}: the guest uses it");
        (entries, controllers.pics.map(|pic| (pic.vector, pic.mask, pic.level)))
    });
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0].1, all[2].1);
    assert_eq!(all[0].0, all[2].0);
}
