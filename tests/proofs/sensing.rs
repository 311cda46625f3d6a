//! The sensing half of the table of robustness, and frames of noise alone, at length.

use issc::lab::robustness::{Row, Study, measure};
use issc::optimize::Problem;
use issc::scene::{ReceiverKind, Scene};
use issc::sensing::{Estimator, SensingConfig, Trials};
use serde_json::json;

use super::Proof;

/// Rows with which positions must be as good as without, but for their error bars.
const ENDURED: [&str; 11] = [
    "level",
    "array",
    "carrier-offset 0.1 ppm",
    "carrier-offset 1 ppm",
    "clock-offset 10 ppm",
    "phase-noise walk of 1°",
    "phase-noise walk of 3°",
    "iq image -30 dB",
    "iq image -20 dB",
    "dc -20 dBc",
    "adc 6 bits",
];

/// Rows in which a fault must be named, with its name.
const NAMED: [(&str, &str); 5] = [
    ("one late", "late"),
    ("one dead", "dead"),
    ("one conjugated", "conjugated"),
    ("one ×j", "phase"),
    ("one off by 20°", "phase"),
];

pub fn run() {
    let seed = 1;
    let mut proof = Proof::begin("sensing", seed);
    let rows: Vec<serde_json::Value> = proof
        .part("table", || {
            let study = Study { receiver: Some(ReceiverKind::Sensing), only: None, frames: 2000, seed };
            json!(measure(&study, |_| {}).unwrap().rows.iter().map(plain).collect::<Vec<_>>())
        })
        .as_array()
        .unwrap()
        .clone();
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap_or(0.0);
    let (mut positions, mut wrong) = (0.0, 0.0);
    for scene in ["paper", "outdoor"] {
        let of = |row: &&serde_json::Value| row["scene"] == scene;
        let base = number(rows.iter().filter(of).find(|row| row["name"] == "none").unwrap(), "positions");
        for row in rows.iter().filter(of) {
            let name = format!("{} {}", row["name"].as_str().unwrap(), row["level"].as_str().unwrap());
            let (share, nees) = (number(row, "positions"), number(row, "nees"));
            positions += 2000.0 * share;
            wrong += number(row, "wrong");
            let found = format!(
                "{:.1} % with a position, RMSE {:.2} bounds, NEES {nees:.2}, {} beyond 6 deviations; refused: {}",
                100.0 * share,
                number(row, "rmse_over_bound"),
                number(row, "wrong"),
                row["reasons"]
            );
            if ENDURED.iter().any(|endured| name.starts_with(endured)) {
                let held = share >= 0.99 * base && nees <= 3.0;
                proof.claim(
                    &format!("{scene}: {name}: positions in 99 % of the frames that give one without, NEES ≤ 3"),
                    found,
                    held,
                );
            } else if let Some((_, reason)) =
                NAMED.iter().find(|(level, _)| name.contains(level)).filter(|_| scene == "paper")
            {
                let named = row["reasons"][reason].as_f64().unwrap_or(0.0) / 2000.0;
                proof.claim(&format!("{scene}: {name}: named `{reason}` in 95 %"), found, named >= 0.95);
            } else {
                let held = number(row, "wrong") <= 0.005 * 2000.0 * share;
                proof.claim(&format!("{scene}: {name}: at most 0.5 % beyond 6 deviations"), found, held);
            }
        }
    }
    proof.claim(
        "all rows together: at most 0.5 % of positions beyond 6 deviations",
        format!("{wrong} of {positions:.0}"),
        wrong <= 0.005 * positions,
    );
    for scene in ["paper", "outdoor"] {
        let found = proof.part(&format!("noise alone, {scene}"), || json!(of_noise(scene, seed)));
        let [frames, located] = [0, 1].map(|index| found[index].as_u64().unwrap());
        proof.claim(
            &format!("{scene}: noise alone, −20 to +20 dB of what is declared: at most 1e-4 of frames give a position"),
            format!("{located} of {frames}"),
            located as f64 <= 1e-4 * frames as f64,
        );
    }
    proof.end();
}

fn plain(row: &Row) -> serde_json::Value {
    json!(row)
}

/// Frames of noise alone, and positions in them.
fn of_noise(name: &str, seed: u64) -> [u64; 2] {
    let text = std::fs::read_to_string(format!("{}/scenes/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let scene = Scene::from_toml(&text, name).unwrap();
    let beams = Problem::from_scene(&scene).solve().beams;
    let (mut frames, mut located) = (0, 0);
    for level_db in [-20.0, -10.0, 0.0, 10.0, 20.0] {
        let mut world = scene.clone();
        world.channel.reflection_coefficient = 1e-30;
        let declared = SensingConfig::from_scene(&scene);
        let factor = 10f64.powf(level_db / 10.0);
        let config = SensingConfig { noise_power_w: factor * declared.noise_power_w, ..declared.clone() };
        let mut trials = Trials::new(&world, &config, &beams, seed).unwrap();
        let mut estimator = Estimator::new(declared, Trials::window_samples(&config)).unwrap();
        for number in 0..20_000 {
            trials.make(number, &estimator);
            frames += 1;
            located += u64::from(trials.estimate(&mut estimator).fix.is_some());
        }
    }
    [frames, located]
}
