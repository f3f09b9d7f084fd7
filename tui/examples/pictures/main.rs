//! Draws README's pictures: `cargo run -p vmscope --example pictures` writes them to `tui/pictures`. A test says when they
//! are old.
#![allow(clippy::unwrap_used, reason = "a program for developers")]

mod draw;

fn main() -> std::io::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
    for (name, svg) in draw::pictures() {
        std::fs::write(folder.join(name).with_extension("svg"), svg)?;
    }
    Ok(())
}
