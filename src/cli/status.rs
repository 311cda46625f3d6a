//! `issc status`: what a running process is doing.

use std::path::PathBuf;

use serde_json::Value;

use crate::Result;
use crate::control::socket;

/// Asks a running process what it is doing: its state, the plan in force, and the report's figures over its last 100 frames.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Socket of the running process.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc status`.
pub fn run(arguments: Arguments) -> Result<()> {
    let path = arguments.control.map_or_else(socket::default_path, Ok)?;
    let status = socket::status(&path)?;
    if arguments.json {
        say!("{status}");
        return Ok(());
    }
    let text = |value: &Value| match value {
        Value::Null => "—".into(),
        Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for (name, pointer) in [
        ("state", "/state"),
        ("frame", "/frame"),
        ("real time factor", "/realtime_factor"),
        ("SINR measured, dB", "/sinr_db/measured"),
        ("SINR predicted, dB", "/sinr_db/predicted"),
        ("block error rate", "/block_error_rate"),
        ("position, m", "/target/estimate_m"),
        ("position error, m RMS", "/target/rmse_m"),
        ("bound, m RMS", "/target/hcrb_rmse_m"),
        ("power sent, dBm", "/power_dbm/measured"),
        ("plan", "/plan/epoch"),
        ("source model", "/plan/model_name"),
        ("modulation", "/plan/modulation"),
        ("memory, bytes", "/memory_bytes"),
    ] {
        say!("{name:<24} {}", status.pointer(pointer).map_or("—".into(), text));
    }
    Ok(())
}
