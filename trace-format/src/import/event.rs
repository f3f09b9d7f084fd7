//! KVM's tracepoints: their fields as `perf script`, `trace-cmd report` and tracefs print them.
//!
//! The formats are those of `/sys/kernel/tracing/events/kvm/*/format` from Linux 4.x to 6.x. What a later kernel prints
//! behind the fields that are known here is left alone.

use winnow::ascii::{dec_uint, hex_uint, space0, space1};
use winnow::combinator::{alt, opt, preceded, separated_pair, terminated};
use winnow::prelude::*;
use winnow::token::{take_till, take_until};

use crate::event::{DeliveryMode, Shorthand};

type Input<'i> = &'i [u8];
type Parsed<T> = winnow::Result<T>;

/// What a tracepoint of KVM said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Entry {
        vcpu: u32,
    },
    Exit {
        vcpu: Option<u32>,
        reason: Reason,
        rip: u64,
        info: [u64; 2],
        interrupt: u32,
        error_code: u32,
    },
    UserspaceExit {
        reason: Userspace,
    },
    Pio {
        write: bool,
        port: u16,
        size: u8,
        count: u32,
        value: u64,
    },
    Mmio {
        write: bool,
        gpa: u64,
        size: u8,
        value: u64,
    },
    FastMmio {
        gpa: u64,
    },
    Msr {
        write: bool,
        index: u32,
        value: u64,
        failed: bool,
    },
    Hypercall {
        number: u64,
        arguments: [u64; 4],
    },
    PageFault {
        vcpu: Option<u32>,
        address: u64,
    },
    Instruction {
        rip: u64,
    },
    /// A halted vCPU waited, or looked for work while it did, for so long, and was woken.
    Wakeup {
        ns: u64,
    },
    /// CR3 is written. Other control registers have no place in a trace.
    Cr3 {
        value: u64,
    },
    /// The vCPU's own floating-point state was loaded, as `KVM_RUN` does when it begins.
    Run,
    Ipi(Request),
    /// A local APIC got a request.
    Accept {
        apic: u32,
        vector: u8,
        mode: DeliveryMode,
    },
    /// An interrupt is injected. Software interrupts and such that are injected again are none.
    Inject {
        vector: u8,
    },
    Eoi {
        apic: u32,
        vector: u8,
    },
    IoApic {
        pin: u8,
        vector: u8,
    },
    Msi {
        vector: u8,
    },
    /// Events that are not in the recording.
    Lost {
        count: u64,
    },
}

/// An IPI as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) destination: u32,
    pub(super) logical: bool,
    pub(super) vector: u8,
    pub(super) mode: DeliveryMode,
    pub(super) shorthand: Shorthand,
    pub(super) level: bool,
}

/// An exit reason as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Known {
        isa: crate::event::Isa,
        code: u32,
    },
    /// A number of one's own ISA that the kernel has no name for.
    Number(u32),
}

/// Why `KVM_RUN` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Userspace {
    /// `KVM_EXIT_*`.
    Exit(u32),
    /// With an error; `EINTR` is a signal.
    Error { interrupted: bool },
}

/// What became of a line with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recognized {
    Event(Event),
    /// An event of KVM or of another subsystem for which a trace has no place.
    NoPlace,
    /// One of those above whose fields are not as they should be.
    Malformed,
}

/// The events with a place in a trace, for `vmscope import --help`.
pub(super) const DOCUMENTATION: &str = "\
Of the events kvm:* these are taken; what is left out is counted by name:
  kvm_entry, kvm_exit, kvm_userspace_exit     exits, with the time in the guest and in the host
  kvm_pio, kvm_mmio, kvm_fast_mmio, kvm_msr,  what an exit was about
  kvm_hypercall, kvm_page_fault,
  kvm_emulate_insn
  kvm_vcpu_wakeup                             how long a vCPU was halted
  kvm_fpu                                     when KVM_RUN begins, where there is no kvm_entry
  kvm_cr                                      changes of CR3: address spaces
  kvm_apic_ipi, kvm_apic_accept_irq,          IPIs and interrupts, from their raising to their EOI
  kvm_ioapic_set_irq, kvm_msi_set_irq,
  kvm_inj_virq, kvm_eoi, kvm_pv_eoi
";

/// Parses the fields of event `name`.
pub(super) fn parse(name: &[u8], mut body: &[u8]) -> Recognized {
    let input = &mut body;
    let parsed = match name {
        b"kvm_entry" => entry.parse_next(input),
        b"kvm_exit" => exit.parse_next(input),
        b"kvm_userspace_exit" => userspace_exit.parse_next(input),
        b"kvm_pio" => pio.parse_next(input),
        b"kvm_mmio" => mmio.parse_next(input),
        b"kvm_fast_mmio" => fast_mmio.parse_next(input),
        b"kvm_msr" => msr.parse_next(input),
        b"kvm_cr" => match cr.parse_next(input) {
            Ok(None) => return Recognized::NoPlace,
            Ok(Some(event)) => Ok(event),
            Err(error) => Err(error),
        },
        b"kvm_hypercall" => hypercall.parse_next(input),
        b"kvm_page_fault" => page_fault.parse_next(input),
        b"kvm_emulate_insn" => instruction.parse_next(input),
        b"kvm_vcpu_wakeup" => wakeup.parse_next(input),
        b"kvm_fpu" => match body {
            b"load" => return Recognized::Event(Event::Run),
            _ => return Recognized::NoPlace,
        },
        b"kvm_apic_ipi" => ipi.parse_next(input),
        b"kvm_apic_accept_irq" => accept.parse_next(input),
        b"kvm_inj_virq" => match inject.parse_next(input) {
            Ok(None) => return Recognized::NoPlace,
            Ok(Some(event)) => Ok(event),
            Err(error) => Err(error),
        },
        b"kvm_eoi" | b"kvm_pv_eoi" => eoi.parse_next(input),
        b"kvm_ioapic_set_irq" => io_apic.parse_next(input),
        b"kvm_msi_set_irq" => msi.parse_next(input),
        _ => return Recognized::NoPlace,
    };
    parsed.map_or(Recognized::Malformed, Recognized::Event)
}

/// A hexadecimal number with or without `0x`.
fn hex<T: winnow::ascii::HexUint>(input: &mut Input<'_>) -> Parsed<T> {
    preceded(opt("0x"), hex_uint).parse_next(input)
}

/// A field: its name, a space, its value.
fn field<'i, T>(
    name: &'static str,
    value: impl Parser<Input<'i>, T, winnow::error::ContextError>,
) -> impl Parser<Input<'i>, T, winnow::error::ContextError> {
    preceded((space0, opt(','), space0, name, space1), value)
}

fn vcpu(input: &mut Input<'_>) -> Parsed<u32> {
    preceded(("vcpu", space1), dec_uint).parse_next(input)
}

fn entry(input: &mut Input<'_>) -> Parsed<Event> {
    vcpu.map(|vcpu| Event::Entry { vcpu }).parse_next(input)
}

/// `[vcpu N] reason NAME rip R`, then `info1 A info2 B intr_info C error_code D` or, as trace-cmd has it, `info A B`.
fn exit(input: &mut Input<'_>) -> Parsed<Event> {
    let vcpu = opt(terminated(vcpu, space1)).parse_next(input)?;
    let name = preceded("reason ", take_until(1.., " rip ")).parse_next(input)?;
    let reason = reason.parse(name.trim_ascii()).map_err(winnow::error::ParseError::into_inner)?;
    let rip = field("rip", hex::<u64>).parse_next(input)?;
    let info = opt(alt((
        (field("info1", hex::<u64>), field("info2", hex::<u64>)),
        field("info", separated_pair(hex::<u64>, space1, hex::<u64>)),
    )))
    .parse_next(input)?;
    let (interrupt, error_code) = opt((field("intr_info", hex::<u32>), field("error_code", hex::<u32>)))
        .map(Option::unwrap_or_default)
        .parse_next(input)?;
    let (info1, info2) = info.unwrap_or_default();
    Ok(Event::Exit { vcpu, reason, rip, info: [info1, info2], interrupt, error_code })
}

/// A name of the tables, or a number that the kernel or trace-cmd has no name for: `0x53`, `UNKNOWN (83)`.
fn reason(input: &mut Input<'_>) -> Parsed<Reason> {
    let number =
        alt((preceded("0x", hex_uint), preceded(("UNKNOWN", space0, "("), terminated(dec_uint, ")"))));
    alt((number.map(Reason::Number), winnow::token::rest.verify_map(super::reason::find))).parse_next(input)
}

fn userspace_exit(input: &mut Input<'_>) -> Parsed<Event> {
    let name = preceded("reason ", take_till(1.., b" (")).parse_next(input)?;
    let number = preceded((space0, "("), dec_uint).parse_next(input)?;
    let reason = match name {
        b"restart" => Userspace::Error { interrupted: true },
        b"error" => Userspace::Error { interrupted: false },
        _ => Userspace::Exit(number),
    };
    Ok(Event::UserspaceExit { reason })
}

/// `pio_write at 0x3f8 size 1 count 1 val 0x74`; kernels before 3.14 have no value.
fn pio(input: &mut Input<'_>) -> Parsed<Event> {
    let write = preceded("pio_", alt(("write".value(true), "read".value(false)))).parse_next(input)?;
    let port = field("at", hex).parse_next(input)?;
    let size = field("size", dec_uint).parse_next(input)?;
    let count = field("count", dec_uint).parse_next(input)?;
    let value = opt(field("val", hex)).map(Option::unwrap_or_default).parse_next(input)?;
    Ok(Event::Pio { write, port, size, count, value })
}

/// `mmio read len 4 gpa 0xfee00020 val 0x0`. An unsatisfied read is one whose value comes from user space, in another
/// event.
fn mmio(input: &mut Input<'_>) -> Parsed<Event> {
    let kind = alt(("unsatisfied-read".value(false), "read".value(false), "write".value(true)));
    let write = field("mmio", kind).parse_next(input)?;
    let size = field("len", dec_uint).parse_next(input)?;
    let gpa = field("gpa", hex).parse_next(input)?;
    let value = field("val", hex).parse_next(input)?;
    Ok(Event::Mmio { write, gpa, size, value })
}

fn fast_mmio(input: &mut Input<'_>) -> Parsed<Event> {
    preceded("fast mmio at gpa ", hex).map(|gpa| Event::FastMmio { gpa }).parse_next(input)
}

/// `msr_write 830 = 0x4040`, with ` (#GP)` if it failed.
fn msr(input: &mut Input<'_>) -> Parsed<Event> {
    let write = preceded("msr_", alt(("write".value(true), "read".value(false)))).parse_next(input)?;
    let index = preceded(space1, hex).parse_next(input)?;
    let value = preceded(" = ", hex).parse_next(input)?;
    let failed = opt(" (#GP)").parse_next(input)?.is_some();
    Ok(Event::Msr { write, index, value, failed })
}

/// `cr_write 3 = 0x1f2000`. `None` for a read, and for another register.
fn cr(input: &mut Input<'_>) -> Parsed<Option<Event>> {
    let write = preceded("cr_", alt(("write".value(true), "read".value(false)))).parse_next(input)?;
    let register: u32 = preceded(space1, hex).parse_next(input)?;
    let value = preceded(" = ", hex::<u64>).parse_next(input)?;
    Ok((write && register == 3).then_some(Event::Cr3 { value }))
}

fn hypercall(input: &mut Input<'_>) -> Parsed<Event> {
    let number = field("nr", hex).parse_next(input)?;
    let mut arguments = [0; 4];
    for (argument, name) in arguments.iter_mut().zip(["a0", "a1", "a2", "a3"]) {
        *argument = field(name, hex).parse_next(input)?;
    }
    Ok(Event::Hypercall { number, arguments })
}

/// `vcpu 0 rip 0x1005e6 address 0x1000 error_code 0x6`; kernels before 6.0 begin with the address.
fn page_fault(input: &mut Input<'_>) -> Parsed<Event> {
    let vcpu = opt(terminated(vcpu, opt(field("rip", hex::<u64>)))).parse_next(input)?;
    field("address", hex).map(|address| Event::PageFault { vcpu, address }).parse_next(input)
}

/// `0:1005e6:48 8d 25 83 7b 00 00 (prot64)`: the base of the code segment, rip.
fn instruction(input: &mut Input<'_>) -> Parsed<Event> {
    let (base, rip) = separated_pair(hex::<u64>, ":", hex::<u64>).parse_next(input)?;
    Ok(Event::Instruction { rip: base.wrapping_add(rip) })
}

fn wakeup(input: &mut Input<'_>) -> Parsed<Event> {
    preceded((alt(("wait", "poll")), " time "), dec_uint).map(|ns| Event::Wakeup { ns }).parse_next(input)
}

/// `dst 0 vec 64 (Fixed|physical|assert|edge|all-but-self)`.
fn ipi(input: &mut Input<'_>) -> Parsed<Event> {
    let destination = field("dst", hex).parse_next(input)?;
    let vector = field("vec", dec_uint).parse_next(input)?;
    let mode = preceded((space0, "("), mode).parse_next(input)?;
    let logical = alt(("|logical".value(true), "|physical".value(false))).parse_next(input)?;
    let assert = alt(("|assert".value(true), "|de-assert".value(false))).parse_next(input)?;
    let level = alt(("|level".value(true), "|edge".value(false))).parse_next(input)?;
    let shorthand = alt((
        "|dst".value(Shorthand::None),
        "|self".value(Shorthand::SelfOnly),
        "|all-but-self".value(Shorthand::AllExcludingSelf),
        "|all".value(Shorthand::AllIncludingSelf),
    ))
    .parse_next(input)?;
    let mode = if mode == DeliveryMode::Init && !assert { DeliveryMode::InitDeassert } else { mode };
    Ok(Event::Ipi(Request { destination, logical, vector, mode, shorthand, level }))
}

fn mode(input: &mut Input<'_>) -> Parsed<DeliveryMode> {
    alt((
        "Fixed".value(DeliveryMode::Fixed),
        "LowPrio".value(DeliveryMode::LowestPriority),
        "SMI".value(DeliveryMode::Smi),
        "NMI".value(DeliveryMode::Nmi),
        "INIT".value(DeliveryMode::Init),
        "SIPI".value(DeliveryMode::StartUp),
        alt(("Res3", "ExtINT")).value(DeliveryMode::Reserved),
    ))
    .parse_next(input)
}

fn accept(input: &mut Input<'_>) -> Parsed<Event> {
    let apic = field("apicid", hex).parse_next(input)?;
    let vector = field("vec", dec_uint).parse_next(input)?;
    let mode = preceded((space0, "("), mode).parse_next(input)?;
    Ok(Event::Accept { apic, vector, mode })
}

/// `IRQ 0x40`; `irq 64` before 5.19. `None` for a software interrupt, and for one that is injected again because its
/// delivery was interrupted.
fn inject(input: &mut Input<'_>) -> Parsed<Option<Event>> {
    let soft = alt(("Soft/INTn ".value(true), "IRQ ".value(false), "irq ".value(false))).parse_next(input)?;
    let vector = alt((preceded("0x", hex_uint::<_, u8, _>), dec_uint::<_, u8, _>)).parse_next(input)?;
    let again = opt((space0, "[reinjected]")).parse_next(input)?.is_some();
    Ok((!soft && !again).then_some(Event::Inject { vector }))
}

fn eoi(input: &mut Input<'_>) -> Parsed<Event> {
    let apic = field("apicid", hex).parse_next(input)?;
    field("vector", dec_uint).map(|vector| Event::Eoi { apic, vector }).parse_next(input)
}

fn io_apic(input: &mut Input<'_>) -> Parsed<Event> {
    let pin = field("pin", dec_uint).parse_next(input)?;
    let _destination: u32 = field("dst", hex).parse_next(input)?;
    field("vec", dec_uint).map(|vector| Event::IoApic { pin, vector }).parse_next(input)
}

fn msi(input: &mut Input<'_>) -> Parsed<Event> {
    let _destination: u64 = field("dst", hex).parse_next(input)?;
    field("vec", dec_uint).map(|vector| Event::Msi { vector }).parse_next(input)
}
