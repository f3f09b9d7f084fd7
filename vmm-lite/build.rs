//! Builds the guests in `guests/` with the system C compiler and linker, for `src/guests.rs` to embed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

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

const RUNTIME: &[&str] = &[
    "runtime/start.S",
    "runtime/traps.S",
    "runtime/start.c",
    "runtime/cpu.c",
    "runtime/console.c",
    "runtime/command_line.c",
    "runtime/lapic.c",
    "runtime/smp.c",
    "runtime/memory.c",
];
const HEADERS: &[&str] = &[
    "runtime/vmscope.h",
    "runtime/runtime.h",
    "runtime/cpu.h",
    "runtime/user.h",
    "trap-forwarding.h",
    "demand-paging.h",
];
const LINKER_SCRIPT: &str = "runtime/guest.ld";

const COMPILE: &[&str] = &[
    "-c",
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=small",
    "-mno-red-zone",
    // No SSE or x87: there is no code to save their state. No newer instructions: some hosts emulate ring 0, and
    // their emulator lacks them.
    "-march=x86-64",
    "-mtune=generic",
    "-mgeneral-regs-only",
    "-fno-stack-protector",
    "-fcf-protection=none",
    // Unwind tables for debuggers only: in .debug_frame.
    "-fno-asynchronous-unwind-tables",
    // Loops stay loops: ring-3 code has no memset to call.
    "-fno-tree-loop-distribute-patterns",
    "-fno-strict-aliasing",
];

const LINK: &[&str] = &[
    "-nostdlib",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-z,max-page-size=4096",
    "-Wl,--no-warn-rwx-segments",
];

#[derive(Debug)]
enum Error {
    Compiler(String),
    Start { program: PathBuf, source: io::Error },
    Failed { command: String, output: String },
    File { path: PathBuf, source: io::Error },
    Environment(&'static str),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const HINT: &str = "vmm-lite builds its guests with the system C compiler and linker: install gcc or clang \
                            (Debian, Ubuntu: apt install gcc), or name one in CC";
        match self {
            Self::Compiler(reason) => write!(f, "no C compiler: {reason}\n{HINT}"),
            Self::Start { program, source } => {
                write!(f, "cannot start {}: {source}\n{HINT}", program.display())
            }
            Self::Failed { command, output } => write!(f, "{command}\n{output}\nfailed to build a guest"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Environment(name) => write!(f, "{name} is not set: run by cargo only"),
        }
    }
}

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
    let toolchain = Toolchain::find()?;
    for header in HEADERS {
        toolchain.watch(header);
    }
    toolchain.watch(LINKER_SCRIPT);
    println!("cargo:rerun-if-changed=build.rs");

    let runtime = toolchain.compile_all(RUNTIME)?;
    for &(name, sources) in GUESTS {
        let mut objects = toolchain.compile_all(sources)?;
        objects.extend_from_slice(&runtime);
        toolchain.link(&format!("{name}.elf"), &objects, &["-Wl,-T,guests/runtime/guest.ld"])?;
    }
    for &(name, source) in FLAT_GUESTS {
        let objects = toolchain.compile_all(&[source])?;
        let flat = ["-Wl,--oformat,binary", "-Wl,-Ttext,0x7c00"];
        toolchain.link(&format!("{name}.bin"), &objects, &flat)?;
    }
    Ok(())
}

/// The compiler, which is also the linker, and where things are. CFLAGS are for programs of the host: not used.
struct Toolchain {
    compiler: PathBuf,
    package: PathBuf,
    out: PathBuf,
}

impl Toolchain {
    fn find() -> Result<Self, Error> {
        let compiler = cc::Build::new()
            .no_default_flags(true)
            .inherit_rustflags(false)
            .cargo_metadata(true)
            .cargo_warnings(false)
            .try_get_compiler()
            .map_err(|error| Error::Compiler(error.to_string()))?;
        let package =
            env::var_os("CARGO_MANIFEST_DIR").ok_or(Error::Environment("CARGO_MANIFEST_DIR"))?.into();
        let out: PathBuf = env::var_os("OUT_DIR").ok_or(Error::Environment("OUT_DIR"))?.into();
        Ok(Self { compiler: compiler.path().into(), package, out: out.join("guests") })
    }

    /// Cargo runs this again when the file changes.
    fn watch(&self, file: &str) {
        println!("cargo:rerun-if-changed=guests/{file}");
    }

    fn compile_all(&self, sources: &[&str]) -> Result<Vec<PathBuf>, Error> {
        sources.iter().map(|source| self.compile(source)).collect()
    }

    fn compile(&self, source: &str) -> Result<PathBuf, Error> {
        self.watch(source);
        let object = self.out.join(source).with_extension(if source.ends_with(".S") { "S.o" } else { "o" });
        create_parent(&object)?;
        let mut command = self.command();
        command.args(COMPILE);
        // Debug information names sources as seen from the top of the repository, wherever that is.
        command.arg(format!("-ffile-prefix-map={}=vmm-lite", self.package.display()));
        command.arg(format!("guests/{source}")).arg("-o").arg(&object);
        run(command)?;
        Ok(object)
    }

    fn link(&self, image: &str, objects: &[PathBuf], arguments: &[&str]) -> Result<(), Error> {
        let mut command = self.command();
        command.args(LINK).args(arguments).args(objects).arg("-o").arg(self.out.join(image));
        run(command)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.compiler);
        command.current_dir(&self.package);
        command
    }
}

fn create_parent(file: &Path) -> Result<(), Error> {
    let Some(directory) = file.parent() else { return Ok(()) };
    fs::create_dir_all(directory).map_err(|source| Error::File { path: directory.into(), source })
}

fn run(mut command: Command) -> Result<(), Error> {
    let output =
        command.output().map_err(|source| Error::Start { program: command.get_program().into(), source })?;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(Error::Failed { command: format!("{command:?}"), output: messages });
    }
    for warning in messages.lines() {
        println!("cargo:warning={warning}");
    }
    Ok(())
}
