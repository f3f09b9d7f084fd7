//! Guests that only tests run, and programs that run on Linux guests, from `guests/`.

macro_rules! image {
    ($file:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/guests/", $file))
    };
}

/// Executes in ring 0 what some KVMs' emulators lack, and checks each result.
pub const INSTRUCTIONS: &[u8] = image!("instructions.elf");
/// A little of the same in real mode.
pub const INSTRUCTIONS_16: &[u8] = image!("instructions-16.bin");
/// Drives the virtio console, and the virtio block device if there is one.
pub const VIRTIO: &[u8] = image!("virtio.elf");
/// Takes an interrupt of every kind, and halts.
pub const INTERRUPTS: &[u8] = image!("interrupts.elf");
/// Executes in ring 0 what nobody carries out for such a KVM.
pub const UNKNOWN_INSTRUCTION: &[u8] = image!("unknown-instruction.elf");
/// Does one hostile thing for ever: `action=NAME`; see `guests/hostile/main.c`.
pub const HOSTILE: &[u8] = image!("hostile.elf");

/// A Linux program whose threads take pages away from each other; empty if it could not be linked statically.
pub const SHOOTDOWN: &[u8] = image!("shootdown");
/// The first process of a Linux guest, a script for busybox.
pub const INIT: &[u8] = include_bytes!("../guests/linux/init");
/// Echoes what is typed: from the serial port there, from the keyboard to the text screen.
pub const TYPING: &[u8] = image!("typing.elf");
/// Executes x87 instructions in ring 0 and in ring 3 and compares what they leave.
pub const X87: &[u8] = image!("x87.elf");
/// A kernel that copies its handler, and the breakpoints in it.
pub const MOVING: &[u8] = image!("moving.elf");
/// A kernel that is debugged, debugs itself, and makes data of code.
pub const DEBUGGING: &[u8] = image!("debugging.elf");
/// Executes what leaves the guest, to be stepped over: `guests/steps.c`.
pub const STEPS: &[u8] = image!("steps.elf");
/// Saves and loads RFLAGS in every way, to be stepped over: `guests/flags.c`.
pub const FLAGS: &[u8] = image!("flags.elf");
/// Has interrupts due where it is looked at: `guests/due.c`.
pub const DUE: &[u8] = image!("due.elf");
/// Looks for what a debugger has left on its vCPUs.
pub const DETACHED: &[u8] = image!("detached.elf");
/// 16-bit, 32-bit and 64-bit code that tells what FS leads to: `guests/modes.S`.
pub const MODES: &[u8] = image!("modes.bin");
