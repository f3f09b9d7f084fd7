//! Interrupt controllers as text.

use vmm_lite::irq::{ApicMode, ApicState, Controllers, LVT_NAMES, PicState, Redirection};

/// A local APIC: what it is, what waits, and the entries of its vector table that are in use.
pub(super) fn apic(vcpu: u8, state: &ApicState) -> String {
    let mode = match state.mode {
        ApicMode::Disabled => "off",
        ApicMode::XApic => "xAPIC",
        ApicMode::X2Apic => "x2APIC",
    };
    let enabled = if state.enabled { "enabled" } else { "disabled" };
    let mut text = format!(
        "cpu{vcpu} local APIC {}: {mode}, {enabled}, tpr {:#x}, ppr {:#x}, ldr {:#x}, svr {:#x}, esr {:#x}, icr {:#x}\n",
        state.id, state.tpr, state.ppr, state.ldr, state.svr, state.esr, state.icr
    );
    text.push_str(&format!(
        "  requested {}; in service {}\n",
        vectors(&state.requested),
        vectors(&state.in_service)
    ));
    for (name, entry) in LVT_NAMES.iter().zip(state.lvt).filter(|(_, entry)| !entry.is_masked()) {
        let what = match *name {
            "timer" => entry.timer_mode(),
            _ => entry.delivery(),
        };
        text.push_str(&format!("  {name:<12} vector {:#04x}, {what}\n", entry.vector()));
    }
    let timer = &state.timer;
    if timer.initial != 0 {
        text.push_str(&format!(
            "  timer count  {} of {}, clock by {}\n",
            timer.current, timer.initial, timer.divisor
        ));
    }
    if timer.tsc_deadline != 0 {
        text.push_str(&format!("  TSC deadline {}\n", timer.tsc_deadline));
    }
    text
}

/// The IOAPIC's pins that are in use or asserted, and the 8259s.
pub(super) fn controllers(state: &Controllers) -> String {
    let used: Vec<&Redirection> =
        state.ioapic.iter().filter(|pin| !pin.is_masked() || pin.asserted).collect();
    let mut text = if used.is_empty() { "IOAPIC: every pin is masked\n" } else { "IOAPIC\n" }.to_owned();
    used.into_iter().for_each(|pin| text.push_str(&redirection(pin)));
    let [master, slave] = &state.pics;
    text + &pic("master", master) + &pic("slave", slave)
}

fn redirection(pin: &Redirection) -> String {
    let to = if pin.is_logical() { "logical" } else { "APIC" };
    let mut text = format!(
        "  pin {:<8} vector {:#04x}, {}, to {to} {:#x}, {}",
        pin.pin,
        pin.vector(),
        pin.delivery(),
        pin.destination(),
        if pin.is_level() { "level" } else { "edge" }
    );
    let flags = [
        (pin.is_masked(), "masked"),
        (pin.asserted, "asserted"),
        (pin.is_pending(), "pending"),
        (pin.awaits_eoi(), "awaits its EOI"),
    ];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        text.push_str(", ");
        text.push_str(flag);
    }
    text + "\n"
}

fn pic(name: &str, pic: &PicState) -> String {
    format!(
        "8259 {name:<7} vector {:#04x}, requests {:#04x}, in service {:#04x}, mask {:#04x}, level {:#04x}\n",
        pic.vector, pic.requests, pic.in_service, pic.mask, pic.level
    )
}

fn vectors(vectors: &[u8]) -> String {
    if vectors.is_empty() {
        return "nothing".to_owned();
    }
    vectors.iter().map(|vector| format!("{vector:#04x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use vmm_lite::irq::{LvtEntry, TimerState};

    use super::*;

    #[test]
    fn what_is_in_use_is_shown() {
        let mut lvt = [LvtEntry(1 << 16); 6];
        lvt[0] = LvtEntry(0x2_0040);
        lvt[4] = LvtEntry(0x400);
        let state = ApicState {
            id: 1,
            base: 0xfee0_0800,
            mode: ApicMode::XApic,
            enabled: true,
            tpr: 0,
            ppr: 0x40,
            ldr: 0,
            dfr: 0,
            svr: 0x1ff,
            esr: 0,
            icr: 0,
            requested: vec![],
            in_service: vec![0x40, 0x41],
            level: vec![],
            lvt,
            timer: TimerState { initial: 1000, current: 10, divisor: 16, ..TimerState::default() },
        };
        let pin = |pin, raw, asserted| Redirection { pin, raw, asserted };
        let shared = Controllers {
            ioapic: vec![pin(1, 1 << 16, false), pin(4, 3 << 56 | 0x8952, true)],
            pics: [PicState { vector: 8, mask: 0xfb, ..PicState::default() }, PicState::default()],
        };
        insta::assert_snapshot!(apic(1, &state) + &controllers(&shared));
    }
}
