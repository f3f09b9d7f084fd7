//! The real GDB on running guests, through `vmscope record --gdb`.
//!
//! Like the live tests it is one program that also runs on SVM and VMX in software: nothing here depends on how fast a
//! host is, only that it gets on at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attach;
mod client;
mod hostile;
mod listening;
mod monitor;
mod motion;
mod points;
mod soak;

use client::Vmscope;
use vmscope_tests::gdb;
use vmscope_tests::skip::kvm_or_skip;

/// Whether `test` can run here; prints a visible skip if not.
fn gdb_or_skip(test: &str) -> bool {
    gdb::or_skip(test) && kvm_or_skip(test)
}
