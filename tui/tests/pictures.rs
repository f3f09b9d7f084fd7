//! README's pictures are what the UI draws.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../examples/pictures/draw.rs"]
mod draw;

#[test]
fn the_pictures_are_what_the_ui_draws() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
    for (name, drawn) in draw::pictures() {
        let kept = std::fs::read_to_string(folder.join(name).with_extension("svg")).unwrap_or_default();
        assert!(kept == drawn, "{name}.svg is old: cargo run -p vmscope --example pictures");
    }
}
