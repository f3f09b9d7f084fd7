//! Builds the guests that only tests run, as vmm-lite builds its own, for `src/images.rs` to embed.

#[path = "../vmm-lite/build/toolchain.rs"]
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use toolchain::{Error, Toolchain, package};

/// Kernels over the runtime of the built-in guests: their name, and what they are made of besides it.
const KERNELS: &[(&str, &[&str])] = &[
    ("debugging", &["debugging.c"]),
    ("detached", &["detached.c"]),
    ("due", &["due.c"]),
    ("flags", &["flags.c", "flags.user.c"]),
    ("hostile", &["hostile/main.c", "hostile/devices.c", "hostile/cpu.c", "hostile/interrupts.c"]),
    ("instructions", &["instructions.c"]),
    ("interrupts", &["interrupts.c"]),
    ("moving", &["moving.c"]),
    ("steps", &["steps.c"]),
    ("typing", &["typing.c"]),
    ("unknown-instruction", &["unknown-instruction.c"]),
    ("virtio", &["virtio.c"]),
    ("x87", &["x87.c", "x87.user.c"]),
];

/// Flat 16-bit images of one assembly file each.
const FLAT: &[&str] = &["instructions-16", "modes"];

/// Programs that run on Linux guests, of one C file each.
const PROGRAMS: &[&str] = &["shootdown"];

/// How they are made. Their addresses are none that other programs have: busybox is at 4 MiB like everything else that
/// is not position-independent, and a trace does not say whose code an address is.
const PROGRAM: &[&str] = &[
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-static",
    "-no-pie",
    "-pthread",
    "-Wl,-Ttext-segment=0x20000000",
    "-Wl,--build-id=none",
];

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
    toolchain.watch("../tests/guests", "flags.h");
    toolchain.watch("../tests/guests", "x87.h");
    toolchain.watch("../tests/guests", "hostile/hostile.h");
    for (name, sources) in KERNELS {
        let mut objects = toolchain.compile_all(sources)?;
        objects.extend_from_slice(&runtime);
        toolchain.link_kernel(name, &objects)?;
    }
    for name in FLAT {
        toolchain.link_flat(name, &toolchain.compile_all(&[&format!("{name}.S")])?)?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(Error::Environment("OUT_DIR"))?).join("guests");
    for name in PROGRAMS {
        link_program(name, &out)?;
    }
    Ok(())
}

/// A program for Linux guests, linked statically, as there is nothing else in their file system. Not everybody's C
/// compiler can do that: without a static C library it is an empty file, and the tests that need it are skipped.
fn link_program(name: &str, out: &Path) -> Result<(), Error> {
    let source = format!("guests/linux/{name}.c");
    println!("cargo:rerun-if-changed={source}");
    let program = out.join(name);
    let compiler = cc::Build::new()
        .no_default_flags(true)
        .cargo_metadata(false)
        .try_get_compiler()
        .map_err(|error| Error::Compiler(error.to_string()))?;
    let mut command = Command::new(compiler.path());
    command.args(PROGRAM).arg(&source).arg("-o").arg(&program);
    let output =
        command.output().map_err(|source| Error::Start { program: compiler.path().into(), source })?;
    let messages = String::from_utf8_lossy(&output.stderr);
    messages.lines().for_each(|line| println!("cargo:warning={line}"));
    if !output.status.success() {
        println!("cargo:warning=tests that need {name} will be skipped: is there a static C library?");
        fs::write(&program, []).map_err(|source| Error::File { path: program, source })?;
    }
    Ok(())
}
