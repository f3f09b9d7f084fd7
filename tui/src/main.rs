//! The `vmscope` program.

fn main() -> std::process::ExitCode {
    vmscope::cli::main()
}
