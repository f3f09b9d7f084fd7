//! The table of breakages in `main.rs`: every test that it names is there.

use std::path::Path;

use vmscope_tests::skip::skip;

const TABLE: &str = include_str!("main.rs");
const BREAKAGES: usize = 12;

/// Where the modules of a crate are, as a test's path begins.
const CRATES: [(&str, &str); 3] =
    [("gdb", "tests/tests/gdb"), ("live", "tests/tests/live"), ("vmm_lite", "vmm-lite/src")];

/// The names in a row's last column.
fn named(row: &str) -> impl Iterator<Item = &str> {
    let column = row.trim_end_matches(" |").rsplit('|').next().unwrap_or_default();
    column.split('`').skip(1).step_by(2)
}

/// Why there is no test `path`, if there is none.
fn missing(path: &str, root: &Path) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    let [of, modules @ .., test] = &parts[..] else { return Some(format!("{path} is no test")) };
    let Some((_, folder)) = CRATES.iter().find(|(name, _)| name == of) else {
        return Some(format!("{path}: {of} is no crate of tests"));
    };
    let file = root.join(folder).join(modules.join("/")).with_extension("rs");
    let Ok(source) = std::fs::read_to_string(&file) else {
        return Some(format!("{path}: there is no {}", file.display()));
    };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_test = |pair: &[&str]| pair[0] == "#[test]" && pair[1].starts_with(&format!("fn {test}("));
    (!lines.windows(2).any(is_test)).then(|| format!("{path}: there is no such test in {}", file.display()))
}

#[test]
fn every_test_in_the_table_is_there() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if !root.join("Cargo.toml").exists() {
        return skip("every_test_in_the_table_is_there", "the sources are elsewhere");
    }
    let rows: Vec<&str> = (1..=BREAKAGES)
        .map(|number| {
            let start = format!("//! | {number}. ");
            TABLE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row {number}"))
        })
        .collect();
    let wrong: Vec<String> =
        rows.iter().flat_map(|row| named(row)).filter_map(|path| missing(path, root)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows.iter().all(|row| named(row).count() > 0), "every breakage has a test");
    assert!(missing("gdb::due::there_is_no_such_test", root).is_some());
}
