//! `issc hcrb --scene S --weights W`: Fisher information and position bound of given beams.

use std::path::PathBuf;

use serde_json::json;

use super::inputs;
use crate::optimize::{BoundModel, Problem};
use crate::{Error, Result};

/// Options of `issc hcrb`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Scene file (TOML).
    #[arg(long, default_value = "scenes/paper.toml")]
    scene: PathBuf,
    /// Weights file (JSON), used as given.
    #[arg(long)]
    weights: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc hcrb`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = inputs::scene(&arguments.scene)?;
    let beams = inputs::weights(&arguments.weights, &scene)?;
    let model = BoundModel::new(&scene, scene.geometry.target, scene.waveform.frame_symbols);
    let information = model.of_beams(&beams);
    let covariance = information.position_covariance().map_err(|error| Error::infeasible(error.to_string()))?;
    let fim = model.in_angles(&information).ok_or_else(|| {
        Error::infeasible(
            "the target stands in line with transmitter and sensing receiver: its range cannot be identified",
        )
    })?;
    let trace_m2 = covariance.trace();
    let sinr = Problem::from_scene(&scene).sinr(&beams);
    let rows: Vec<Vec<f64>> = fim.row_iter().map(|row| row.iter().copied().collect()).collect();
    let report = json!({
        "fim": rows,
        "position_covariance_m2": [[covariance[(0, 0)], covariance[(0, 1)]], [covariance[(1, 0)], covariance[(1, 1)]]],
        "trace_m2": trace_m2,
        "rmse_m": trace_m2.sqrt(),
        "sinr_db": inputs::decibel(sinr),
    });
    if arguments.json {
        println!("{report}");
        return Ok(());
    }
    println!(
        "Fisher information in theta, phi (rad), T (s){}:",
        if rows.len() == 5 { ", Re beta, Im beta" } else { "" }
    );
    for row in &rows {
        println!("  {}", row.iter().map(|entry| format!("{entry:13.5e}")).collect::<Vec<_>>().join(" "));
    }
    println!(
        "position covariance {:.5e} {:.5e} {:.5e} m² (xx, xy, yy)",
        covariance[(0, 0)],
        covariance[(0, 1)],
        covariance[(1, 1)]
    );
    println!("trace               {trace_m2:.5e} m², {:.5} mm", 1e3 * trace_m2.sqrt());
    println!("SINR                {:.4} dB", crate::scene::decibel(sinr));
    Ok(())
}
