//! `vmscope check --repair` over every recorded trace with something wrong in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use vmscope_tests::program;
use vmscope_tests::replays::{self, name};

/// What is said when `bytes` are repaired; the new trace is checked and reported on.
fn repaired(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (folder.path().join("bad.vmt"), folder.path().join("good.vmt"));
    fs::write(&bad, bytes).unwrap();
    let (bad_path, good_path) = (bad.to_str().unwrap(), good.to_str().unwrap());
    let said = program::expect(0, &["check", bad_path, "--repair", good_path]);
    assert_eq!(fs::read(&bad).unwrap(), bytes, "what is repaired is left as it was");
    let checked = program::expect(0, &["check", good_path]);
    assert!(checked.contains("intact, finished"), "{checked}");
    assert!(program::expect(0, &["report", good_path]).starts_with("guest"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    said.replace(good_path, "OUT")
}

#[test]
fn what_is_intact_of_each_is_kept_and_the_rest_named() {
    for path in replays::all() {
        let name = name(&path);
        let whole = fs::read(&path).unwrap();
        assert!(repaired(&whole).contains("intact, finished"), "{name}");
        // In the last block; there is an index behind it.
        let mut changed = whole.clone();
        let at = whole.len() * 19 / 20;
        changed[at] ^= 0x10;
        let cut = &whole[..at];
        let said = format!("A byte changed:\n{}\nCut off:\n{}", repaired(&changed), repaired(cut));
        insta::assert_snapshot!(name, said);
    }
}

#[test]
fn a_trace_is_never_repaired_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.vmt");
    fs::copy(&replays::all()[0], &path).unwrap();
    let before = fs::read(&path).unwrap();
    let name = path.to_str().unwrap();
    let same =
        format!("{}/../{}/t.vmt", folder.path().display(), folder.path().file_name().unwrap().display());
    for to in [name, &same, "/dev/null", folder.path().to_str().unwrap(), "/no/such/folder/t.vmt"] {
        let output = program::run(&["check", name, "--repair", to]);
        assert_eq!(output.status.code(), Some(2), "{to}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    // What is no trace at all is not made one, and leaves nothing.
    fs::write(&path, "no trace").unwrap();
    let out = folder.path().join("out.vmt");
    assert_eq!(program::run(&["check", name, "--repair", out.to_str().unwrap()]).status.code(), Some(4));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
