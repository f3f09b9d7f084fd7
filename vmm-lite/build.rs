//! Builds the guests in `guests/` with the system C compiler and linker, for `src/guests.rs` to embed.

#[path = "build/toolchain.rs"]
mod toolchain;

use std::process::ExitCode;

use toolchain::{Error, Toolchain, package};

/// Guests over the runtime: their name, and what they are made of besides it. Files that end in `.user.c` run in
/// ring 3: the linker script tells them by their name.
const GUESTS: &[(&str, &[&str])] = &[
    ("hello", &["hello.c"]),
    ("trap-forwarding", &["trap-forwarding.c", "trap-forwarding.user.c"]),
    ("demand-paging", &["demand-paging.c", "demand-paging.user.c"]),
    ("tlb-shootdown", &["tlb-shootdown.c"]),
    ("exit-storm", &["exit-storm.c"]),
];

/// Flat 16-bit images of one assembly file each.
const FLAT_GUESTS: &[(&str, &str)] = &[("real-mode", "real-mode.S")];

const HEADERS: &[&str] = &["trap-forwarding.h", "demand-paging.h"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Error> {
    let toolchain = Toolchain::find(package()?, "guests")?;
    for header in HEADERS {
        toolchain.watch("guests", header);
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/toolchain.rs");

    let runtime = toolchain.compile_runtime()?;
    for &(name, sources) in GUESTS {
        let mut objects = toolchain.compile_all(sources)?;
        objects.extend_from_slice(&runtime);
        toolchain.link_kernel(name, &objects)?;
    }
    for &(name, source) in FLAT_GUESTS {
        toolchain.link_flat(name, &toolchain.compile_all(&[source])?)?;
    }
    Ok(())
}
