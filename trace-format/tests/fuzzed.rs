//! What fuzzing began with and what it found: every file in `fuzz/corpus` goes through the body of its target.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

use std::path::Path;

#[path = "../fuzz/src/filter.rs"]
mod filter;
#[path = "../fuzz/src/import.rs"]
mod import;
#[path = "../fuzz/src/reader.rs"]
mod reader;

fn each(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The name of what fails is the last that is printed.
        println!("{}", path.display());
        run(&bytes);
        files += 1;
    }
    assert!(files >= 5, "{files} files for {target}");
}

#[test]
fn traces() {
    each("reader", reader::run);
}

#[test]
fn filters() {
    each("filter", filter::run);
}

#[test]
fn recordings() {
    each("import", import::run);
}
