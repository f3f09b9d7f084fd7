//! Guests that really run, on whatever KVM there is.
//!
//! The same program runs on this machine's `/dev/kvm` and, through `tests/hosts/run-live`, on SVM and VMX in software;
//! on VMX, which is slow, only what has `core_` in its name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod control;
mod debugger;
mod doctor;
mod errors;
mod foreign;
mod guests;
mod hostile;
mod instructions;
mod irqchip;
mod linux;
mod recorder;
mod registers;
mod reset;
mod state;
mod steps;
mod traps_off;
mod typing;
mod virtio;
