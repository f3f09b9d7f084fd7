use super::*;
use crate::irq::Source;
use proptest::prelude::*;
use trace_format::event::{DeliveryMode, Shorthand};

const SVR: u16 = 0xf0;
const ESR: u16 = 0x280;
const ICR_LOW: u16 = 0x300;
const ICR_HIGH: u16 = 0x310;
const LVT_TIMER: u16 = 0x320;
const LVT_LINT0: u16 = 0x350;
const LVT_ERROR: u16 = 0x370;
const TIMER_INITIAL: u16 = 0x380;
const TIMER_CURRENT: u16 = 0x390;
const TIMER_DIVIDE: u16 = 0x3e0;
const DIVIDE_BY_1: u32 = 0b1011;

fn config(id: u8) -> LapicConfig {
    LapicConfig { id, bsp: id == 0, x2apic: true, tsc_khz: 2_000_000 }
}

fn enabled() -> Lapic {
    let mut lapic = Lapic::new(config(1));
    lapic.write(SVR, 0x1ff, 0);
    lapic
}

fn x2apic() -> Lapic {
    let mut lapic = Lapic::new(config(1));
    lapic.write_msr(MSR_APIC_BASE, XAPIC_BASE | 0xc00, 0, 0).unwrap();
    lapic.write_msr(0x80f, 0x1ff, 0, 0).unwrap();
    lapic
}

fn ipi(id: u64) -> Origin {
    Origin::ipi(id, 0, 100 + id)
}

fn ids(origins: &Origins) -> Vec<u64> {
    origins
        .iter()
        .map(|origin| match origin.source {
            Source::Ipi { id, .. } => id,
            Source::Device(source) => panic!("{source:?}"),
        })
        .collect()
}

#[test]
fn after_power_up() {
    let mut bsp = Lapic::new(config(0));
    let mut ap = Lapic::new(config(3));
    assert_eq!((bsp.read(0x20, 0), ap.read(0x20, 0)), (0, 3 << 24));
    assert_eq!(bsp.read(0x30, 0), 0x0005_0014);
    assert_eq!((bsp.read(SVR, 0), bsp.read(0xe0, 0)), (0xff, u32::MAX));
    assert_eq!((bsp.read(LVT_LINT0, 0), ap.read(LVT_LINT0, 0)), (0x700, 0x10000));
    assert!(bsp.accepts_extint() && !ap.accepts_extint());
    assert_eq!((bsp.base(), ap.base()), (0xfee0_0900, 0xfee0_0800));
    assert_eq!(ap.mmio_page(), Some(XAPIC_BASE));
    assert_eq!(ap.raise(0x40, false, ipi(1)), Raised::Ignored);
}

#[test]
fn merged_ipis_are_all_accepted_and_acknowledged() {
    let mut lapic = enabled();
    assert_eq!(lapic.raise(0xfd, false, ipi(1)), Raised::Pending);
    assert_eq!(lapic.raise(0xfd, false, ipi(2)), Raised::Merged);
    let taken = lapic.take(500).unwrap();
    assert_eq!((taken.vector, ids(&taken.origins)), (0xfd, vec![1, 2]));
    // In service, the vector can be pending once more.
    assert_eq!(lapic.raise(0xfd, false, ipi(3)), Raised::Pending);
    assert_eq!(lapic.deliverable(), None);
    let Effect::Eoi(eoi) = lapic.write(0xb0, 0, 600) else { panic!("no EOI") };
    assert_eq!((eoi.vector, eoi.level, eoi.injected_ns, ids(&eoi.origins)), (0xfd, false, 500, vec![1, 2]));
    assert_eq!(ids(&lapic.take(700).unwrap().origins), [3]);
    assert!(lapic.eoi().is_some());
    assert_eq!(lapic.write(0xb0, 0, 800), Effect::None);
}

#[test]
fn priorities_nest() {
    let mut lapic = enabled();
    lapic.raise(0x41, false, ipi(1));
    assert_eq!(lapic.take(0).unwrap().vector, 0x41);
    lapic.raise(0x4f, false, ipi(2));
    assert_eq!(lapic.deliverable(), None, "the same class waits");
    lapic.raise(0x51, true, ipi(3));
    assert_eq!(lapic.take(0).unwrap().vector, 0x51);
    assert_eq!(
        (lapic.read(0x120, 0), lapic.read(0x1a0, 0), lapic.read(0xa0, 0)),
        (0x0002_0002, 0x0002_0000, 0x50)
    );
    lapic.set_cr8(6);
    assert_eq!((lapic.read(0x80, 0), lapic.ppr()), (0x60, 0x60));
    let eoi = lapic.eoi().unwrap();
    assert_eq!((eoi.vector, eoi.level), (0x51, true));
    lapic.eoi();
    assert_eq!(lapic.deliverable(), None, "the task priority holds it back");
    lapic.write(0x80, 0x3f, 0);
    assert_eq!((lapic.cr8(), lapic.deliverable()), (3, Some(0x4f)));
}

#[test]
fn icr_writes() {
    let mut lapic = enabled();
    assert_eq!(lapic.write(ICR_HIGH, 0x0200_0000, 0), Effect::None);
    let Effect::SendIpi(icr) = lapic.write(ICR_LOW, 0x0000_1608, 0) else { panic!("nothing sent") };
    assert_eq!((icr.mode, icr.vector, icr.destination), (DeliveryMode::StartUp, 8, 2));
    assert_eq!(lapic.read(ICR_LOW, 0), 0x0608, "the delivery status reads idle");

    let mut lapic = x2apic();
    let Ok(Effect::SendIpi(icr)) = lapic.write_msr(0x830, 0x1_0002_000c_40fd, 0, 0) else {
        panic!("nothing sent")
    };
    assert_eq!((icr.destination, icr.shorthand), (0x10002, Shorthand::AllExcludingSelf));
    assert_eq!(lapic.read_msr(0x830, 0), Ok(0x1_0002_000c_40fd));
    let Ok(Effect::SendIpi(icr)) = lapic.write_msr(0x83f, 0x31, 0, 0) else { panic!("nothing sent") };
    assert_eq!((icr.vector, icr.shorthand), (0x31, Shorthand::SelfOnly));
}

#[test]
fn errors_are_latched_by_a_write_and_interrupt_once() {
    let mut lapic = enabled();
    lapic.write(LVT_ERROR, 0x33, 0);
    assert_eq!(lapic.raise(3, false, ipi(1)), Raised::Ignored);
    lapic.write(ICR_LOW, 5, 0);
    lapic.read(0x2f0, 0);
    assert_eq!(lapic.read(ESR, 0), 0);
    lapic.write(ESR, 0, 0);
    assert_eq!(lapic.read(ESR, 0), 0xe0);
    let taken = lapic.take(0).unwrap();
    assert_eq!((taken.vector, taken.origins.iter().len()), (0x33, 1));
    lapic.write(ESR, 0, 0);
    assert_eq!(lapic.read(ESR, 0), 0);
}

#[test]
fn an_error_entry_with_an_illegal_vector_ends() {
    let mut lapic = enabled();
    lapic.write(LVT_ERROR, 0x03, 0);
    lapic.read(0x2f0, 0);
    lapic.write(ESR, 0, 0);
    assert_eq!(lapic.read(ESR, 0), 0xc0);
}

#[test]
fn software_disable_masks_and_refuses() {
    let mut lapic = enabled();
    lapic.write(LVT_TIMER, 0x40, 0);
    lapic.raise(0x50, false, ipi(1));
    lapic.write(SVR, 0xff, 0);
    assert_eq!(lapic.read(LVT_TIMER, 0), 0x10040);
    lapic.write(LVT_TIMER, 0x41, 0);
    assert_eq!(lapic.read(LVT_TIMER, 0), 0x10041, "the mask bit cannot be cleared");
    assert_eq!(lapic.raise(0x60, false, ipi(2)), Raised::Ignored);
    assert_eq!(lapic.deliverable(), Some(0x50), "what was pending stays so");
    assert_eq!(lapic.raise_nmi(ipi(3)), Raised::Pending);
}

#[test]
fn one_shot_and_periodic_timer() {
    let mut lapic = enabled();
    lapic.write(LVT_TIMER, 0x40, 0);
    lapic.write(TIMER_DIVIDE, 0b0011, 0);
    assert_eq!(lapic.write(TIMER_INITIAL, 1000, 1000), Effect::TimerChanged);
    assert_eq!(lapic.next_deadline_ns(), Some(17_000));
    assert_eq!(lapic.read(TIMER_CURRENT, 9_000), 500);
    assert_eq!(lapic.expire(16_999), None);
    assert_eq!(lapic.expire(18_000), Some(Raised::Pending));
    let taken = lapic.take(18_000).unwrap();
    assert_eq!(taken.origins.first(), Some(&Origin::device(IrqSource::LapicTimer, 17_000)));
    assert_eq!((lapic.next_deadline_ns(), lapic.read(TIMER_CURRENT, 18_000)), (None, 0));

    lapic.write(LVT_TIMER, 0x2_0040, 20_000);
    lapic.write(TIMER_DIVIDE, DIVIDE_BY_1, 20_000);
    lapic.write(TIMER_INITIAL, 50_000, 20_000);
    assert_eq!(lapic.expire(70_000), Some(Raised::Pending));
    assert_eq!(lapic.next_deadline_ns(), Some(120_000));
    // Late by two periods and a bit: one interrupt, and the next in step with the first.
    assert_eq!(lapic.expire(230_000), Some(Raised::Merged));
    assert_eq!(lapic.next_deadline_ns(), Some(270_000));
    assert_eq!(lapic.read(TIMER_CURRENT, 260_000), 10_000);
    lapic.write(LVT_TIMER, 0x3_0040, 260_000);
    assert_eq!(lapic.next_deadline_ns(), None, "masked");
    lapic.write(TIMER_INITIAL, 0, 260_000);
    assert_eq!(lapic.read(TIMER_CURRENT, 261_000), 0);
}

#[test]
fn a_short_period_is_not_scheduled_as_often_as_asked() {
    let mut lapic = enabled();
    lapic.write(LVT_TIMER, 0x2_0040, 0);
    lapic.write(TIMER_DIVIDE, DIVIDE_BY_1, 0);
    lapic.write(TIMER_INITIAL, 3, 0);
    assert_eq!(lapic.expire(3), Some(Raised::Pending));
    assert_eq!(
        lapic.next_deadline_ns(),
        Some(20_004),
        "the first multiple of 3 from 20,003 on, counted from 3 is 20,004"
    );
    assert!((1..=3).contains(&lapic.read(TIMER_CURRENT, 1000)));
}

#[test]
fn a_new_divisor_scales_what_is_left() {
    let mut lapic = enabled();
    lapic.write(LVT_TIMER, 0x40, 0);
    lapic.write(TIMER_DIVIDE, DIVIDE_BY_1, 0);
    lapic.write(TIMER_INITIAL, 1000, 0);
    lapic.write(TIMER_DIVIDE, 0b0000, 400);
    assert_eq!(lapic.next_deadline_ns(), Some(400 + 600 * 2));
    assert_eq!(lapic.read(TIMER_CURRENT, 400), 600);
}

#[test]
fn tsc_deadline() {
    let mut lapic = enabled();
    // In another mode the MSR is ignored.
    lapic.write_msr(MSR_TSC_DEADLINE, 5, 0, 0).unwrap();
    assert_eq!(lapic.read_msr(MSR_TSC_DEADLINE, 0), Ok(0));
    lapic.write(LVT_TIMER, 0x4_0040, 0);
    // 2 GHz: 8000 ticks are 4000 ns.
    lapic.write_msr(MSR_TSC_DEADLINE, 18_000, 1_000, 10_000).unwrap();
    assert_eq!(lapic.next_deadline_ns(), Some(5_000));
    assert_eq!(lapic.read_msr(MSR_TSC_DEADLINE, 4_000), Ok(18_000));
    lapic.write(TIMER_INITIAL, 77, 4_000);
    assert_eq!((lapic.next_deadline_ns(), lapic.read(TIMER_CURRENT, 4_000)), (Some(5_000), 0));
    assert_eq!(lapic.expire(5_000), Some(Raised::Pending));
    assert_eq!((lapic.next_deadline_ns(), lapic.read_msr(MSR_TSC_DEADLINE, 5_000)), (None, Ok(0)));
    // In the past: at once.
    lapic.write_msr(MSR_TSC_DEADLINE, 1, 6_000, 10_000).unwrap();
    assert_eq!(lapic.next_deadline_ns(), Some(6_000));
    lapic.write_msr(MSR_TSC_DEADLINE, 0, 6_000, 10_000).unwrap();
    assert_eq!(lapic.next_deadline_ns(), None);
    let mut without = Lapic::new(LapicConfig { tsc_khz: 0, ..config(0) });
    assert!(without.write_msr(MSR_TSC_DEADLINE, 1, 0, 0).is_err());
}

#[test]
fn base_register_and_modes() {
    let mut lapic = enabled();
    let base = XAPIC_BASE;
    assert!(lapic.read_msr(0x802, 0).is_err(), "not in x2APIC mode");
    assert!(lapic.write_msr(MSR_APIC_BASE, base | 0xc01, 0, 0).is_err(), "reserved bit");
    lapic.write_msr(MSR_APIC_BASE, base | 0xc00, 0, 0).unwrap();
    assert_eq!((lapic.mode(), lapic.mmio_page()), (ApicMode::X2Apic, None));
    assert_eq!((lapic.read_msr(0x802, 0), lapic.read_msr(0x80d, 0)), (Ok(1), Ok(2)));
    assert_eq!(lapic.read(SVR, 0), u32::MAX);
    lapic.write(SVR, 0, 0);
    assert_eq!(lapic.read_msr(0x80f, 0), Ok(0x1ff), "the page is not there");
    assert!(lapic.write_msr(MSR_APIC_BASE, base | 0x800, 0, 0).is_err(), "from x2APIC only to off");
    lapic.write_msr(MSR_APIC_BASE, base, 0, 0).unwrap();
    assert_eq!(lapic.mode(), ApicMode::Disabled);
    assert!(lapic.write_msr(MSR_APIC_BASE, base | 0xc00, 0, 0).is_err(), "from off only to xAPIC");
    assert!(lapic.write_msr(MSR_APIC_BASE, base | 0x400, 0, 0).is_err(), "x2APIC, but off");
    lapic.write_msr(MSR_APIC_BASE, 0xfed0_0800, 0, 0).unwrap();
    assert_eq!(lapic.mmio_page(), Some(0xfed0_0000));
    let mut old = Lapic::new(LapicConfig { x2apic: false, ..config(0) });
    assert!(old.write_msr(MSR_APIC_BASE, base | 0xc00, 0, 0).is_err());
}

#[test]
fn x2apic_faults() {
    let mut lapic = x2apic();
    let write = |lapic: &mut Lapic, msr, value| lapic.write_msr(msr, value, 0, 0).is_ok();
    for (msr, value, good) in [
        (0x808, 0xff, true),
        (0x808, 0x100, false),
        (0x80b, 0, true),
        (0x80b, 1, false),
        (0x828, 0, true),
        (0x828, 1, false),
        (0x802, 0, false),
        (0x80e, 0, false),
        (0x80f, 0x1_0000_01ff, false),
        (0x831, 0, false),
        (0x830, 1 << 12, false),
        (0x832, 0x300ff, true),
        (0x832, 0x700, false),
        (0x839, 0, false),
        (0x83e, 0b1011, true),
        (0x83e, 0b0100, false),
        (0x83f, 0x100, false),
        (0x8ff, 0, false),
        (0x900, 0, false),
        (0x10, 0, false),
    ] {
        assert_eq!(write(&mut lapic, msr, value), good, "{msr:#x} {value:#x}");
    }
    for msr in [0x80b, 0x80e, 0x831, 0x83f, 0x8ff, 0x900, 0x10] {
        assert!(lapic.read_msr(msr, 0).is_err(), "{msr:#x}");
    }
}

#[test]
fn local_pins() {
    let mut lapic = enabled();
    assert_eq!(lapic.raise_lint(0, 5), Raised::Ignored);
    lapic.write(LVT_LINT0, 0x45, 0);
    assert_eq!(lapic.raise_lint(0, 5), Raised::Pending);
    let taken = lapic.take(9).unwrap();
    assert_eq!(taken.origins.first(), Some(&Origin::device(IrqSource::LapicLint { pin: 0 }, 5)));
    lapic.write(LVT_LINT0, 0x700, 0);
    assert!(lapic.accepts_extint());
    assert_eq!(lapic.raise_lint(0, 5), Raised::ExtInt);
    lapic.write(LVT_LINT0, 0x400, 0);
    assert_eq!((lapic.raise_lint(0, 5), lapic.raise_lint(0, 6)), (Raised::Pending, Raised::Merged));
    assert_eq!(lapic.take_nmi().unwrap().iter().len(), 2);
    assert!(!lapic.nmi_pending());
}

#[test]
fn messages() {
    use crate::irq::DestinationMode::Physical;
    let mut lapic = enabled();
    let message = |delivery| Message {
        destination: 1,
        destination_mode: Physical,
        delivery,
        vector: 0x61,
        level: true,
    };
    assert_eq!(lapic.raise_message(&message(Delivery::LowestPriority), ipi(1)), Raised::Pending);
    assert_eq!(lapic.raise_message(&message(Delivery::Fixed), ipi(2)), Raised::Merged);
    assert_eq!(lapic.raise_message(&message(Delivery::Nmi), ipi(3)), Raised::Pending);
    assert_eq!(lapic.raise_message(&message(Delivery::ExtInt), ipi(4)), Raised::ExtInt);
    assert_eq!(lapic.raise_message(&message(Delivery::Init), ipi(5)), Raised::Ignored);
    lapic.take(0);
    assert!(lapic.eoi().unwrap().level);
}

#[test]
fn init_keeps_id_and_base() {
    let mut lapic = x2apic();
    lapic.raise(0x40, true, ipi(1));
    lapic.take(0);
    lapic.raise(0x50, false, ipi(2));
    lapic.init();
    assert_eq!(lapic.read_msr(0x802, 0), Ok(1));
    assert_eq!((lapic.deliverable(), lapic.eoi(), lapic.ppr()), (None, None, 0));
    lapic.write_msr(0x80f, 0x1ff, 0, 0).unwrap();
    assert_eq!(lapic.raise(0x50, false, ipi(3)), Raised::Pending);
    assert_eq!(ids(&lapic.take(0).unwrap().origins), [3]);
}

#[test]
fn odd_accesses_to_the_page() {
    let mut lapic = enabled();
    let mut byte = [0];
    lapic.mmio_read(0xf1, &mut byte, 0);
    assert_eq!(byte, [1]);
    let mut eight = [1; 8];
    lapic.mmio_read(0xf0, &mut eight, 0);
    assert_eq!(eight, [0; 8]);
    assert_eq!(lapic.mmio_write(0xb0, &[0], 0), Effect::None);
    lapic.mmio_write(0xf1, &[0; 4], 0);
    assert_eq!(lapic.read(SVR, 0), 0x1ff);
}

/// What the manual says in the plainest form: sets of vectors.
#[derive(Default)]
struct Model {
    irr: std::collections::BTreeMap<u8, Vec<u64>>,
    isr: Vec<(u8, Vec<u64>)>,
    tpr: u8,
}

impl Model {
    fn deliverable(&self) -> Option<u8> {
        let class = self.isr.iter().map(|(vector, _)| vector >> 4).chain([self.tpr >> 4]).max()?;
        self.irr.keys().copied().filter(|vector| vector >> 4 > class).max()
    }

    fn eoi(&mut self) -> Option<(u8, Vec<u64>)> {
        let highest = (0..self.isr.len()).max_by_key(|&index| self.isr[index].0)?;
        Some(self.isr.remove(highest))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Raise(u8),
    Take,
    Eoi,
    Tpr(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Raise),
        3 => Just(Step::Take),
        2 => Just(Step::Eoi),
        1 => any::<u8>().prop_map(Step::Tpr),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..300)) {
        let mut lapic = enabled();
        let mut model = Model::default();
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Raise(vector) => {
                    let raised = lapic.raise(vector, vector % 3 == 0, ipi(id));
                    if vector < 16 {
                        prop_assert_eq!(raised, Raised::Ignored);
                        continue;
                    }
                    let pending = model.irr.entry(vector).or_default();
                    prop_assert_eq!(raised, if pending.is_empty() { Raised::Pending } else { Raised::Merged });
                    pending.push(id);
                }
                Step::Take => {
                    let expected = model.deliverable();
                    prop_assert_eq!(lapic.deliverable(), expected);
                    let taken = lapic.take(id);
                    prop_assert_eq!(taken.as_ref().map(|taken| taken.vector), expected);
                    if let (Some(vector), Some(taken)) = (expected, taken) {
                        let raisers = model.irr.remove(&vector).unwrap();
                        let kept = &raisers[..raisers.len().min(Origins::MAX)];
                        prop_assert_eq!(ids(&taken.origins), kept);
                        prop_assert_eq!(taken.origins.forgotten() as usize, raisers.len() - kept.len());
                        model.isr.push((vector, kept.to_vec()));
                    }
                }
                Step::Eoi => {
                    let eoi = lapic.eoi();
                    let expected = model.eoi();
                    prop_assert_eq!(eoi.as_ref().map(|eoi| (eoi.vector, ids(&eoi.origins))), expected);
                    prop_assert!(eoi.is_none_or(|eoi| eoi.level == (eoi.vector % 3 == 0)));
                }
                Step::Tpr(value) => {
                    lapic.write(0x80, value.into(), id);
                    model.tpr = value;
                }
            }
            for vector in 0..=255u8 {
                let bit = |lapic: &mut Lapic, start: u16| {
                    lapic.read(start + u16::from(vector >> 5) * 16, 0) >> (vector & 31) & 1 != 0
                };
                prop_assert_eq!(bit(&mut lapic, 0x200), model.irr.contains_key(&vector));
                prop_assert_eq!(bit(&mut lapic, 0x100), model.isr.iter().any(|(v, _)| *v == vector));
            }
        }
    }

    #[test]
    fn any_access_is_answered(
        accesses in prop::collection::vec((any::<u16>(), any::<u64>(), 0usize..17, 0u8..6, any::<u64>()), 1..200),
    ) {
        let mut lapic = enabled();
        for (place, value, size, kind, now) in accesses {
            let msr = 0x800 + u32::from(place & 0xff);
            let mut data = [0; 16];
            data[..8].copy_from_slice(&value.to_le_bytes());
            match kind {
                0 => lapic.mmio_read(place, &mut data[..size], now),
                1 => drop(lapic.mmio_write(place & 0xff0, &data[..4], now)),
                2 => drop(lapic.mmio_write(place, &data[..size], now)),
                3 => drop(lapic.read_msr(msr, now)),
                4 => drop(lapic.write_msr(msr, value, now, value)),
                _ => drop(lapic.write_msr([MSR_APIC_BASE, MSR_TSC_DEADLINE][usize::from(place & 1)], value, now, 0)),
            }
            lapic.expire(now);
            lapic.take(now);
            lapic.read(TIMER_CURRENT, now);
        }
    }

    #[test]
    fn the_timer_keeps_going(initial in 1u32.., divide in 0u32..16, late in prop::collection::vec(0u64..10_000_000_000, 1..50)) {
        let mut lapic = enabled();
        lapic.write(LVT_TIMER, 0x2_0040, 0);
        lapic.write(TIMER_DIVIDE, divide, 0);
        lapic.write(TIMER_INITIAL, initial, 0);
        for late in late {
            let deadline = lapic.next_deadline_ns().unwrap();
            prop_assert!((1..=initial).contains(&lapic.read(TIMER_CURRENT, deadline + late)));
            prop_assert!(lapic.expire(deadline + late).is_some());
            prop_assert!(lapic.next_deadline_ns().unwrap() > deadline + late);
        }
    }
}
