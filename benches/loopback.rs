//! Samples per antenna that a second of processor time is enough for, in each chain of the loopback, and the shares of its
//! stages: `cargo bench --bench loopback`, what `issc bench` prints. Processor time of a chain's own thread does not depend on
//! what runs beside it. Baseline: the scene's own sample rate, and the whole loopback in the same runs.

use issc::system::{SystemSpec, bench};

fn main() {
    // `cargo test` runs benchmarks as programs too; only `cargo bench` measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let speeds = bench(&|| SystemSpec::shipped("loopback"), 600, 5, &|_| {}).expect("the shipped flowgraph runs");
    speeds.lines().iter().for_each(|line| println!("{line}"));
}
