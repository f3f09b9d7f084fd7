//! What recording costs: `exit-storm` with the recorder off and on in turns.
//!
//! The two are run alternately and the medians compared, because this measures a difference of a few per cent on
//! machines whose speed drifts by more. Prints one line; asserts nothing.
#![allow(missing_docs)]

use std::time::Duration;

use vmm_lite::{Config, Image, Vm, guests};

const ACCESSES: u64 = 100_000;
const ROUNDS: usize = 15;

fn main() {
    // `cargo test --benches` passes this to see that the benchmark starts.
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { ROUNDS };
    let Some(guest) = guests::find("exit-storm") else {
        eprintln!("overhead: there is no guest exit-storm");
        return;
    };
    let directory = std::env::temp_dir().join(format!("vmscope-overhead-{}", std::process::id()));
    let trace = directory.join("storm.vmt");
    if let Err(error) = std::fs::create_dir_all(&directory) {
        eprintln!("overhead: {}: {error}", directory.display());
        return;
    }
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (times, path) in [(&mut off, None), (&mut on, Some(trace.clone()))] {
            let config = Config {
                append: format!("count={ACCESSES}"),
                timeout: Some(Duration::from_secs(60)),
                trace: path,
                command: vec!["cargo bench --bench overhead".to_owned()],
                ..Config::new(Image::Builtin(guest))
            };
            match Vm::start(config).and_then(Vm::wait) {
                Ok(outcome) => times.push(outcome.duration_ns),
                Err(error) => {
                    println!("SKIP overhead: {error}");
                    return;
                }
            }
        }
    }
    let bytes = std::fs::metadata(&trace).map_or(0, |m| m.len());
    drop(std::fs::remove_dir_all(&directory));
    let (off, on) = (median(off), median(on));
    let per_event = |ns: u64| ns as f64 / ACCESSES as f64;
    println!(
        "exit-storm, {ACCESSES} exits, medians of {rounds}: {:.0} ns an exit with the recorder off, {:.0} ns with it on: \
         {:+.1} %, {:+.0} ns an event, {:.2} bytes an event",
        per_event(off),
        per_event(on),
        (on as f64 / off as f64 - 1.0) * 100.0,
        per_event(on) - per_event(off),
        bytes as f64 / ACCESSES as f64
    );
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}
