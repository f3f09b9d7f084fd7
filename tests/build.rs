//! Builds the guests that only tests run, as vmm-lite builds its own, for `src/images.rs` to embed.

#[path = "../vmm-lite/build/toolchain.rs"]
mod toolchain;

use std::process::ExitCode;

use toolchain::{Error, Toolchain, package};

/// Kernels over the runtime of the built-in guests, of one C file each.
const KERNELS: &[&str] = &["instructions", "unknown-instruction", "virtio"];

/// Flat 16-bit images of one assembly file each.
const FLAT: &[&str] = &["instructions-16"];

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
    let toolchain = Toolchain::find(package()?.join("../vmm-lite"), "../tests/guests")?;
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../vmm-lite/build/toolchain.rs");

    let runtime = toolchain.compile_runtime()?;
    for name in KERNELS {
        let mut objects = toolchain.compile_all(&[&format!("{name}.c")])?;
        objects.extend_from_slice(&runtime);
        toolchain.link_kernel(name, &objects)?;
    }
    for name in FLAT {
        toolchain.link_flat(name, &toolchain.compile_all(&[&format!("{name}.S")])?)?;
    }
    Ok(())
}
