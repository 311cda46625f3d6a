//! The beams that give a receiver most SINR while a target's position error bound stays under a threshold, with the
//! proof that no other beams give more.
//!
//! `cargo run --release --example design_beams`

use issc::optimize::Problem;
use issc::scene::{Scene, decibel};

fn main() -> issc::Result<()> {
    let mut scene = Scene::paper();
    scene.geometry.target = [80.0, 20.0];
    for power_dbm in [-6.0, 0.0, 6.0] {
        scene.constraints.power_dbm = power_dbm;
        scene.check().map_err(issc::Error::input)?;
        let solution = Problem::from_scene(&scene).solve();
        println!(
            "{power_dbm:>5} dBm: SINR {:.4} dB, at most {:.4} dB by any beams; position bound {:.2} mm; {}",
            decibel(solution.sinr),
            decibel(solution.upper_bound_sinr),
            1e3 * solution.hcrb_trace_m2.sqrt(),
            if solution.feasible { "feasible" } else { "the threshold cannot be met" }
        );
    }
    Ok(())
}
