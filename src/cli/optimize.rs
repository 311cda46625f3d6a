//! `issc optimize --scene S`: beams, source model and channel rate for a scene, with the certificate of the beams.

use serde_json::Value;

use super::inputs;
use crate::lab::beams;
use crate::{Error, Result};

/// How the beams are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// The global optimum, with its certificate.
    Global,
    /// The paper's alternating algorithm.
    Alternating,
    /// The paper's benchmark: zero-forcing beams, water-filled power.
    ZfWf,
}

impl From<Method> for beams::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Global => Self::Global,
            Method::Alternating => Self::Alternating,
            Method::ZfWf => Self::ZfWf,
        }
    }
}

/// What the beams are best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Objective {
    /// The largest SINR under the threshold on the bound.
    Sinr,
    /// The smallest bound with at least `--sinr-min-db`.
    Hcrb,
}

/// Options of `issc optimize`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    scene: inputs::SceneArguments,
    /// How the beams are found.
    #[arg(long, value_enum, default_value = "global")]
    method: Method,
    /// What the beams are best at.
    #[arg(long, value_enum, default_value = "sinr")]
    objective: Objective,
    /// SINR asked for with `--objective hcrb`, in dB.
    #[arg(long, allow_negative_numbers = true)]
    sinr_min_db: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc optimize`.
pub fn run(arguments: Arguments) -> Result<()> {
    let scene = arguments.scene.read()?;
    if let Some(note) = scene.bound_note() {
        remark!("issc: {note}");
    }
    let report = beams::report(&scene, arguments.method.into(), least_sinr(&arguments)?);
    if arguments.json {
        say!("{report}");
    } else {
        print_table(&report);
    }
    Ok(())
}

/// The SINR that the beams must reach, linear; none where it is what they are best at.
fn least_sinr(arguments: &Arguments) -> Result<Option<f64>> {
    match (arguments.objective, arguments.sinr_min_db) {
        (Objective::Sinr, None) => Ok(None),
        (Objective::Hcrb, Some(db)) if db.is_finite() && arguments.method == Method::Global => {
            Ok(Some(10f64.powf(db / 10.0)))
        }
        (Objective::Hcrb, Some(db)) if db.is_finite() => {
            Err(Error::input("--method: found another than global; accepted with --objective hcrb: global"))
        }
        (Objective::Hcrb, found) => {
            let found = found.map_or("none".into(), |level| level.to_string());
            Err(Error::input(format!("--sinr-min-db: found {found}; accepted with --objective hcrb: a level in dB")))
        }
        (Objective::Sinr, Some(_)) => {
            Err(Error::input("--sinr-min-db: found with --objective sinr; accepted with --objective hcrb only"))
        }
    }
}

fn print_table(report: &Value) {
    for (key, value) in report.as_object().into_iter().flatten() {
        let text = match value {
            Value::Array(targets) if key == "targets" => {
                let target = |target: &Value| {
                    let trace = target["hcrb_trace_m2"].as_f64().map_or("-".into(), |trace| format!("{trace:.6e}"));
                    format!("{} {trace}", target["id"].as_str().unwrap_or_default())
                };
                targets.iter().map(target).collect::<Vec<_>>().join("  ")
            }
            Value::Array(beam) => {
                let entry = |pair: &Value| {
                    format!("{:.5}{:+.5}j", pair[0].as_f64().unwrap_or(0.0), pair[1].as_f64().unwrap_or(0.0))
                };
                beam.iter().map(entry).collect::<Vec<_>>().join("  ")
            }
            Value::Null => "-".into(),
            Value::Number(number) if number.is_f64() => format!("{:.6e}", number.as_f64().unwrap_or(0.0)),
            other => other.to_string().replace('"', ""),
        };
        say!("{key:<28} {text}");
    }
}
