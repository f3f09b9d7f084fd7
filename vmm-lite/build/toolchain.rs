//! The C toolchain that makes freestanding guests; also for the guests of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// The runtime under the guests.
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
const RUNTIME_HEADERS: &[&str] =
    &["runtime/vmscope.h", "runtime/runtime.h", "runtime/cpu.h", "runtime/user.h"];
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
pub(crate) enum Error {
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

/// The compiler, which is also the linker, and where things are. CFLAGS are for programs of the host: not used.
pub(crate) struct Toolchain {
    compiler: PathBuf,
    /// The package vmm-lite, in which the compiler runs.
    monitor: PathBuf,
    /// Where the sources are besides the runtime's, seen from there.
    sources: &'static str,
    out: PathBuf,
}

impl Toolchain {
    /// `monitor` is where the package vmm-lite is, and `sources` a directory seen from there.
    pub(crate) fn find(monitor: PathBuf, sources: &'static str) -> Result<Self, Error> {
        let compiler = cc::Build::new()
            .no_default_flags(true)
            .inherit_rustflags(false)
            .cargo_metadata(true)
            .cargo_warnings(false)
            .try_get_compiler()
            .map_err(|error| Error::Compiler(error.to_string()))?;
        let out: PathBuf = env::var_os("OUT_DIR").ok_or(Error::Environment("OUT_DIR"))?.into();
        Ok(Self { compiler: compiler.path().into(), monitor, sources, out: out.join("guests") })
    }

    /// The objects of the runtime, which belong into every guest over it.
    pub(crate) fn compile_runtime(&self) -> Result<Vec<PathBuf>, Error> {
        for file in RUNTIME_HEADERS.iter().chain([&LINKER_SCRIPT]) {
            self.watch("guests", file);
        }
        RUNTIME.iter().map(|source| self.compile_in("guests", source)).collect()
    }

    /// Cargo runs the build script again when the file changes.
    pub(crate) fn watch(&self, directory: &str, file: &str) {
        println!("cargo:rerun-if-changed={}", self.monitor.join(directory).join(file).display());
    }

    pub(crate) fn compile_all(&self, sources: &[&str]) -> Result<Vec<PathBuf>, Error> {
        sources.iter().map(|source| self.compile_in(self.sources, source)).collect()
    }

    fn compile_in(&self, directory: &str, source: &str) -> Result<PathBuf, Error> {
        self.watch(directory, source);
        let object = self.out.join(source).with_extension(if source.ends_with(".S") { "S.o" } else { "o" });
        create_parent(&object)?;
        let mut command = self.command();
        command.args(COMPILE);
        // Debug information names sources as seen from the top of the repository, wherever that is.
        command.arg(format!("-ffile-prefix-map={}=vmm-lite", self.monitor.display()));
        command.arg("-Iguests").arg(format!("{directory}/{source}")).arg("-o").arg(&object);
        run(command)?;
        Ok(object)
    }

    /// An ELF image over the runtime.
    pub(crate) fn link_kernel(&self, name: &str, objects: &[PathBuf]) -> Result<(), Error> {
        self.link(&format!("{name}.elf"), objects, &[&format!("-Wl,-T,guests/{LINKER_SCRIPT}")])
    }

    /// A flat image that is loaded at 0x7c00.
    pub(crate) fn link_flat(&self, name: &str, objects: &[PathBuf]) -> Result<(), Error> {
        self.link(&format!("{name}.bin"), objects, &["-Wl,--oformat,binary", "-Wl,-Ttext,0x7c00"])
    }

    fn link(&self, image: &str, objects: &[PathBuf], arguments: &[&str]) -> Result<(), Error> {
        let mut command = self.command();
        command.args(LINK).args(arguments).args(objects).arg("-o").arg(self.out.join(image));
        run(command)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.compiler);
        command.current_dir(&self.monitor);
        command
    }
}

/// The directory of the package that is being built.
pub(crate) fn package() -> Result<PathBuf, Error> {
    Ok(env::var_os("CARGO_MANIFEST_DIR").ok_or(Error::Environment("CARGO_MANIFEST_DIR"))?.into())
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
