#![no_main]

use peak_alloc::PeakAlloc;

#[path = "../src/import.rs"]
mod import;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    import::run(bytes);
    assert!(HEAP.peak_usage() - before < 16 << 20, "{} bytes", HEAP.peak_usage() - before);
});
