//! What the whole system sustains in real time on this machine: transmitter, all receivers and the simulated world behind the
//! virtual radio, thirty pictures a second, for a minute at each rate.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::Proof;
use super::faults_of_radios::lay_out_in_real_time;

const SECONDS: f64 = 60.0;

/// Clock ticks of a second in `/proc`.
const TICKS: f64 = 100.0;

/// A minute at a rate in MS/s per antenna.
fn sustain(rate: f64) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = lay_out_in_real_time(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(["run", path.to_str().unwrap(), "--transmit", "--bands", "hardware/virtual-bands.toml", "--json"])
        .args(["--seconds", &SECONDS.to_string()])
        .args(["--set", &format!("scene.waveform.bandwidth_hz={}", rate * 0.5e6)])
        .args(["--set", "scene.channel.timing_error_std_s=1e-5"])
        .args(["--set", "chain.transmitter.stages.picture-source.pictures_per_s=30"])
        .stdout(std::fs::File::create(folder.path().join("report")).unwrap())
        .stderr(std::fs::File::create(folder.path().join("said")).unwrap())
        .spawn()
        .unwrap();
    let mut cpu_s = 0.0;
    while child.try_wait().unwrap().is_none() {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        cpu_s = ticks(11).zip(ticks(12)).map_or(cpu_s, |(user, system)| (user + system) / TICKS);
        std::thread::sleep(Duration::from_millis(200));
    }
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("report")).unwrap()).unwrap_or_default();
    json!({
        "status": child.wait().unwrap().code(),
        "frames_sent": report["frames_sent"],
        "frames_radiated": report["frames_radiated"],
        "frames_decoded": report["frames_decoded"],
        "block_error_rate": report["block_error_rate"],
        "wrong_blocks": report["undetected_blocks"],
        "images_total": report["images_total"],
        "images_whole": report["images_whole"],
        "positions": report["target"]["frames"],
        "nees": report["target"]["nees"],
        "latency_ms": report["latency_ms"],
        "dropped": report["dropped"],
        "cores": cpu_s / SECONDS,
    })
}

pub fn prove(mut proof: Proof) {
    for rate in [1.0, 2.0, 5.0, 10.0] {
        let found = proof.part(&format!("{rate} MS/s"), || sustain(rate));
        let count = |key: &str| found[key].as_u64().unwrap_or(0);
        let dropped = &found["dropped"];
        let lost = ["overload", "late", "gap"].map(|key| dropped[key].as_u64().unwrap_or(u64::MAX));
        let [position, picture] =
            ["position", "picture"].map(|what| found["latency_ms"][what]["p99"].as_f64().unwrap_or(f64::INFINITY));
        let [p50, all] =
            ["p50", "max"].map(|key| found["latency_ms"]["position"][key].as_f64().unwrap_or(f64::INFINITY));
        proof.claim(
            &format!("{rate} MS/s on 4 + 5 antennas, all receivers, 30 pictures a second, {SECONDS} s: nothing lost, no wrong block"),
            format!(
                "{} frames sent, {} radiated, {} decoded; overload, late, gap: {lost:?}; {} of {} pictures whole; {} positions, \
                 NEES {}; {} wrong blocks; {:.2} cores with driver and simulated world",
                count("frames_sent"),
                count("frames_radiated"),
                count("frames_decoded"),
                count("images_whole"),
                count("images_total"),
                count("positions"),
                found["nees"],
                found["wrong_blocks"],
                found["cores"].as_f64().unwrap_or(0.0)
            ),
            found["status"] == 0 && lost == [0; 3] && found["wrong_blocks"] == 0,
        );
        proof.claim(
            &format!("{rate} MS/s: 99 % of positions within 5 ms of the echo's last sample, 99 % of pictures within 100 ms"),
            format!("positions {p50:.2} ms in the median, {position:.2} ms of 99 in 100, {all:.1} ms at most; pictures {picture:.1} ms"),
            position <= 5.0 && picture <= 100.0,
        );
    }
    proof.end();
}
