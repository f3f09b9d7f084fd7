//! All commands.

use super::request::{self, Request};

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its first word.
    pub(super) name: &'static str,
    /// The words after it, as the help shows them.
    pub(super) arguments: &'static str,
    /// What it does, in a few words.
    pub(super) about: &'static str,
    /// The rest of what there is to say.
    pub(super) more: &'static str,
    /// Understands the words after it; an error says why not, or the usage does.
    pub(super) parse: fn(&str) -> Result<Request, Option<String>>,
}

impl Command {
    /// The command and its arguments.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }
}

/// All, in the order of the help.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        arguments: "[COMMAND]",
        about: "this, or what one command does",
        more: "",
        parse: |text| Ok(Request::Help(text.to_owned())),
    },
    Command {
        name: "why",
        arguments: "",
        about: "why the last request was refused",
        more: "GDB shows only a number of some errors; this has the words.",
        parse: |text| request::alone(text, Request::Why),
    },
    Command {
        name: "vcpus",
        arguments: "",
        about: "what each vCPU does, and where",
        more: "The one that is selected is marked. GDB's threads are the vCPUs, and count from 1.",
        parse: |text| request::alone(text, Request::Vcpus),
    },
    Command {
        name: "exits",
        arguments: "",
        about: "statistics of the VM exits until now",
        more: "By reason: how many, and how long the guest ran before them and the monitor took to handle them.",
        parse: |text| request::alone(text, Request::Exits),
    },
    Command {
        name: "traps",
        arguments: "",
        about: "statistics of exceptions and system calls until now",
        more: "By vector and by handler. Which traps are recorded was said with --traps when the guest was started.",
        parse: |text| request::alone(text, Request::Traps),
    },
    Command {
        name: "ipis",
        arguments: "",
        about: "statistics of IPIs and other interrupts until now",
        more: "How many there were and how long they took, and how many IPIs each vCPU accepted from each other.",
        parse: |text| request::alone(text, Request::Ipis),
    },
    Command {
        name: "shootdowns",
        arguments: "",
        about: "rounds of IPIs until now, with the slowest",
        more: "An IPI and its acknowledgements by all targets are a round; by vector, with the handler's name where it \
               is known.",
        parse: |text| request::alone(text, Request::Shootdowns),
    },
    Command {
        name: "events",
        arguments: "[N]",
        about: "the last N events of the trace, 10 without a number",
        more: "As 'vmscope events' prints them: number, seconds, vCPU, kind, and what happened. 1000 at most.",
        parse: request::events,
    },
    Command {
        name: "trace-at",
        arguments: "",
        about: "the last event of the trace at this stop",
        more: "Its number finds this moment again in 'vmscope replay' and 'vmscope events'.",
        parse: |text| request::alone(text, Request::TraceAt),
    },
    Command {
        name: "mark",
        arguments: "TEXT",
        about: "puts a mark into the trace",
        more: "It is an event of kind marker, shown on the time line. 48 bytes are kept of a longer text.",
        parse: request::mark,
    },
    Command {
        name: "walk",
        arguments: "ADDR",
        about: "how the selected vCPU translates an address",
        more: "Every entry on the way with its flags, what they permit together, and where the page is on the host; \
               read with the vCPU's present privilege. For an address that GDB knows: eval \"monitor walk %#lx\", \
               &variable",
        parse: request::walk,
    },
    Command {
        name: "phys",
        arguments: "ADDR [COUNT]",
        about: "guest physical memory, 64 bytes without a count",
        more: "Breakpoints do not show in it. 4096 bytes at most.",
        parse: request::phys,
    },
    Command {
        name: "irqs",
        arguments: "",
        about: "local APICs, IOAPIC and 8259s",
        more: "What is enabled, waits and is in service, and where each line goes.",
        parse: |text| request::alone(text, Request::Irqs),
    },
    Command {
        name: "break-on",
        arguments: "[FILTER | off]",
        about: "stops at events that match a filter",
        more: "The filter is one of 'vmscope help filter', such as: trap.vector == page-fault and trap.cpl == 3. The name \
               of a kind, a reason, a vector or a state alone will do: break-on shutdown. The vCPU stops behind what the \
               event tells. Without a filter it says which one there is.",
        parse: request::break_on,
    },
    Command {
        name: "scope",
        arguments: "[ADDR [off]]",
        about: "lets a breakpoint count in one address space only",
        more: "A breakpoint at ADDR, of now or later, counts only while CR3 is what it now is on the selected vCPU. \
               'off' lets it count everywhere again. Without an address it lists those that there are. For a place that \
               GDB knows: eval \"monitor scope %#lx\", function",
        parse: request::scope,
    },
    Command {
        name: "step-irqs",
        arguments: "[on | off]",
        about: "whether steps take interrupts that are due",
        more: "Off at first: a step executes the instruction that is shown. On, a step may end in an interrupt's handler.",
        parse: request::step_irqs,
    },
    Command {
        name: "reset",
        arguments: "",
        about: "has the guest begin anew",
        more: "Memory, devices and vCPUs are as after power-on, the trace goes on, breakpoints stay. GDB remembers \
               registers and memory: tell it 'maintenance flush register-cache' and 'maintenance flush dcache'.",
        parse: |text| request::alone(text, Request::Reset),
    },
];
