#![no_main]

#[path = "../src/filter.rs"]
mod filter;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter::run(bytes));
