//! `issc hcrb --scene S --weights W`: Fisher information and position bound of given beams.

use std::path::PathBuf;

use super::inputs;
use crate::Result;
use crate::lab::bounds::{Bound, Bounds, TargetBound};

/// Options of `issc hcrb`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    scene: inputs::SceneArguments,
    /// Weights file (JSON), used as given.
    #[arg(long)]
    weights: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc hcrb`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = arguments.scene.read()?;
    if let Some(note) = scene.bound_note() {
        remark!("issc: {note}");
    }
    let beams = inputs::weights(&arguments.weights, &scene)?;
    let bounds = Bounds::of(&scene, &beams)?;
    if arguments.json {
        say!("{}", bounds.report());
        return Ok(());
    }
    let Bounds { fim, covariance_m2: covariance, sinr, targets } = &bounds;
    let trace_m2 = covariance.trace();
    say!("Fisher information in theta, phi (rad), T (s){}:", if fim.len() == 5 { ", Re beta, Im beta" } else { "" });
    for row in fim {
        say!("  {}", row.iter().map(|entry| format!("{entry:13.5e}")).collect::<Vec<_>>().join(" "));
    }
    say!(
        "position covariance {:.5e} {:.5e} {:.5e} m² (xx, xy, yy)",
        covariance[(0, 0)],
        covariance[(0, 1)],
        covariance[(1, 1)]
    );
    say!("trace               {trace_m2:.5e} m², {:.5} mm", 1e3 * trace_m2.sqrt());
    print_targets(targets);
    say!("SINR                {:.4} dB", crate::scene::decibel(*sinr));
    Ok(())
}

/// A line for each target where there are several, and for each receiver and all together where those are several.
fn print_targets(targets: &[TargetBound]) {
    let text = |bound: &Bound| match bound {
        Ok(bound) => format!("{:.5e} m², {:.5} mm", bound.trace(), 1e3 * bound.trace().sqrt()),
        Err(error) => error.to_string(),
    };
    for target in targets {
        let several = target.receivers.len() > 1;
        if targets.len() > 1 || several {
            say!("target {:<12} {}", target.id, text(&target.receivers[0].1));
        }
        if several {
            for (id, bound) in &target.receivers {
                say!("  at {id:<14} {}", text(bound));
            }
            say!("  all together      {}", text(&target.joint));
        }
    }
}
