//! What the exit path and recording cost: `exit-storm` in a bare `KVM_RUN` loop, with the recorder off, on, and recording
//! registers at traps and at all exits. It has next to no traps: what registers cost at one is what they cost at an exit.
//!
//! They take turns, because this measures a difference of a few per cent on machines whose speed drifts by more:
//! the ratio is the median of each round's ratio to its own bare run, and the fastest of all rounds is shown too. Prints
//! a table; asserts nothing.
#![allow(missing_docs)]

use std::path::Path;
use std::time::Duration;

use vmm_lite::{Config, Image, RecordRegisters, Vm, guests, run_bare};

/// Enough that the start of a run does not show.
const ACCESSES: u64 = 300_000;
const ROUNDS: usize = 13;
const NAMES: [&str; RUNS] = [
    "bare KVM_RUN loop",
    "monitor, recorder off",
    "monitor, recorder on",
    "--registers traps",
    "--registers all",
];
const RUNS: usize = 5;

fn main() {
    // `cargo test --benches` passes this to see that the benchmark starts.
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { ROUNDS };
    let directory = std::env::temp_dir().join(format!("vmscope-overhead-{}", std::process::id()));
    let trace = directory.join("storm.vmt");
    if let Err(error) = std::fs::create_dir_all(&directory) {
        eprintln!("overhead: {}: {error}", directory.display());
        return;
    }
    let mut all = Vec::new();
    for _ in 0..rounds {
        match round(&trace) {
            Ok(times) => all.push(times),
            Err(error) => {
                println!("SKIP overhead: {error}");
                return;
            }
        }
    }
    let bytes = |trace: &Path| std::fs::metadata(trace).map_or(0.0, |m| m.len() as f64 / ACCESSES as f64);
    let (events, registers) = (bytes(&trace), bytes(&trace.with_extension("registers")));
    drop(std::fs::remove_dir_all(&directory));
    println!("exit-storm, {ACCESSES} accesses, {rounds} rounds; ns an access");
    println!("{:<24}{:>10}{:>10}{:>26}", "", "median", "fastest", "median of ratios to bare");
    for (n, name) in NAMES.iter().enumerate() {
        let per_access = |time: f64| time / ACCESSES as f64;
        let times: Vec<f64> = all.iter().map(|round| round[n].as_nanos() as f64).collect();
        let ratios = all.iter().map(|round| round[n].as_secs_f64() / round[0].as_secs_f64()).collect();
        let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{name:<24}{:>10.0}{:>10.0}{:>26.3}",
            per_access(median(times)),
            per_access(fastest),
            median(ratios)
        );
    }
    println!("{events:.2} bytes an access in the trace, {registers:.2} with --registers all");
}

/// One run of each.
fn round(trace: &Path) -> Result<[Duration; RUNS], vmm_lite::Error> {
    let guest = guests::find("exit-storm").ok_or(vmm_lite::Error::UnknownImage {
        name: "exit-storm".to_owned(),
        looked_for: "it is not among the built-in guests".to_owned(),
    })?;
    let config = Config {
        append: format!("count={ACCESSES}"),
        timeout: Some(Duration::from_secs(60)),
        command: vec!["cargo bench --bench overhead".to_owned()],
        ..Config::new(Image::Builtin(guest))
    };
    let monitored = |trace: Option<&Path>, registers| -> Result<Duration, vmm_lite::Error> {
        let trace = trace.map(Path::to_owned);
        let outcome = Vm::start(Config { trace, registers, ..config.clone() }).and_then(Vm::wait)?;
        Ok(Duration::from_nanos(outcome.duration_ns))
    };
    let (bare, _) = run_bare(&config)?;
    Ok([
        bare,
        monitored(None, RecordRegisters::Never)?,
        monitored(Some(trace), RecordRegisters::Never)?,
        monitored(Some(&trace.with_extension("traps")), RecordRegisters::Traps)?,
        monitored(Some(&trace.with_extension("registers")), RecordRegisters::All)?,
    ])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
