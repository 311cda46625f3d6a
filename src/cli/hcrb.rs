//! `issc hcrb --scene S --weights W`: Fisher information and position bound of given beams.

use std::path::PathBuf;

use nalgebra::Matrix2;
use serde_json::{Value, json};

use super::inputs;
use crate::array::Beams;
use crate::optimize::{BoundModel, FisherInformation, Problem, Unidentifiable};
use crate::scene::Scene;
use crate::{Error, Result};

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
    let targets: Vec<_> = (0..scene.targets().len()).map(|target| TargetBound::new(&scene, target, &beams)).collect();
    let mut report = json!({
        "fim": rows,
        "position_covariance_m2": pairs(&covariance),
        "trace_m2": trace_m2,
        "rmse_m": trace_m2.sqrt(),
        "sinr_db": inputs::decibel(sinr),
        "targets": targets.iter().map(TargetBound::report).collect::<Vec<_>>(),
    });
    for key in ["joint", "receivers"] {
        if let Some(value) = report["targets"][0].get(key).cloned() {
            report[key] = value;
        }
    }
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
    print_targets(&targets);
    println!("SINR                {:.4} dB", crate::scene::decibel(sinr));
    Ok(())
}

/// A bound, or why there is none.
type Bound = std::result::Result<Matrix2<f64>, Unidentifiable>;

/// The bounds of one target, the others absent.
struct TargetBound {
    id: String,
    /// At each sensing receiver, with its id.
    receivers: Vec<(String, Bound)>,
    /// From all their echoes together.
    joint: Bound,
}

impl TargetBound {
    fn new(scene: &Scene, target: usize, beams: &Beams) -> Self {
        let sensing = scene.sensing_receivers();
        let information: Vec<_> = (0..sensing.len())
            .map(|receiver| {
                let seen = scene.seen_by(target, 0, receiver);
                BoundModel::new(&seen, seen.geometry.target, seen.waveform.frame_symbols).of_beams(beams)
            })
            .collect();
        Self {
            id: scene.targets()[target].id.clone(),
            joint: FisherInformation::joint_position_covariance(&information),
            receivers: sensing
                .into_iter()
                .zip(&information)
                .map(|(receiver, information)| (receiver.id, information.position_covariance()))
                .collect(),
        }
    }

    /// The bound at the first receiver; with several of them each one's and that of all together as well.
    fn report(&self) -> Value {
        let mut report = entry(&self.receivers[0].1);
        report["id"] = json!(self.id);
        if self.receivers.len() > 1 {
            report["joint"] = entry(&self.joint);
            let receiver = |(id, bound): &(String, Bound)| {
                let mut report = entry(bound);
                report["id"] = json!(id);
                report
            };
            report["receivers"] = self.receivers.iter().map(receiver).collect();
        }
        report
    }
}

fn entry(bound: &Bound) -> Value {
    let bound = bound.as_ref().ok();
    json!({ "trace_m2": bound.map(|bound| bound.trace()), "position_covariance_m2": bound.map(pairs) })
}

fn pairs(matrix: &Matrix2<f64>) -> [[f64; 2]; 2] {
    [[matrix[(0, 0)], matrix[(0, 1)]], [matrix[(1, 0)], matrix[(1, 1)]]]
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
            println!("target {:<12} {}", target.id, text(&target.receivers[0].1));
        }
        if several {
            for (id, bound) in &target.receivers {
                println!("  at {id:<14} {}", text(bound));
            }
            println!("  all together      {}", text(&target.joint));
        }
    }
}
