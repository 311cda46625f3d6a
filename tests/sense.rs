//! `issc sense` as a person runs it: the estimator beside its bound, in figures and drawings.

use std::collections::HashMap;
use std::process::Command;

#[test]
fn drawings_show_the_estimator_at_the_bound_from_minus_40_to_20_dbm() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new");
    let arguments = ["sense", "--trials", "200", "--out", out.to_str().unwrap()];
    let status = Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).status().expect("the program starts");
    assert!(status.success());
    let mut by_power: HashMap<String, Vec<f64>> = HashMap::new();
    for line in std::fs::read_to_string(out.join("position-error-over-power.csv")).unwrap().lines().skip(1) {
        let mut fields = line.rsplit(',');
        let (error_m, power_dbm) = (fields.next().unwrap().parse().unwrap(), fields.next().unwrap().to_owned());
        by_power.entry(power_dbm).or_default().push(error_m);
    }
    assert_eq!(by_power.len(), 13);
    for (power_dbm, errors_m) in by_power {
        let [bound, found] = errors_m[..] else { panic!("{power_dbm} dBm: {errors_m:?}") };
        // The root mean square of 200 errors, nearly all along one axis, scatters by 1/√400 = 5 %.
        assert!((0.8..1.25).contains(&(found / bound)), "{power_dbm} dBm: {found} m, bound {bound} m");
    }
    for name in ["position-errors.svg", "position-errors.png", "position-error-over-power.svg"] {
        assert!(std::fs::metadata(out.join(name)).unwrap().len() > 1000, "{name}");
    }
}

#[test]
fn the_delay_doppler_map_of_frames_in_phase_peaks_at_the_targets_rate() {
    let folder = tempfile::tempdir().unwrap();
    let scene = ["sense", "--scene", "coherent", "--moving", "--frames", "16", "--trials", "2", "--out"];
    let status = Command::new(env!("CARGO_BIN_EXE_issc")).args(scene).arg(folder.path()).status().unwrap();
    assert!(status.success());
    let map = std::fs::read_to_string(folder.path().join("delay-doppler-map.csv")).unwrap();
    let rows = map.lines().skip(1).map(|line| line.split(',').map(|field| field.parse::<f64>().unwrap()).collect());
    let peak: Vec<f64> = rows.max_by(|a: &Vec<f64>, b| a[2].total_cmp(&b[2])).unwrap();
    // (−20, 15) m/s at (100, 50) m: (−20·2 + 15)/√5 along the first leg, −20 along the second. The rate's deviation is
    // 1 m/s, the map's step 2 m/s.
    let rate_m_s = -25.0 / 5f64.sqrt() - 20.0;
    assert!((peak[1] - rate_m_s).abs() < 5.0, "{peak:?}, {rate_m_s}");
    assert!(peak[2] > 13.0, "{peak:?}");
}

#[test]
fn what_trials_cannot_show_is_refused_in_one_line() {
    let paper = include_str!("../scenes/paper.toml");
    let (at_one, apart) = (
        paper.replace("[waveform]", "[waveform]\nsamples_per_symbol = 1"),
        paper.replace("spacing_wavelengths = 0.5", "spacing_wavelengths = 1.0"),
    );
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (at_one, apart) = (write("at-one.toml", &at_one), write("apart.toml", &apart));
    for (arguments, named) in [
        (["--scene", "paper", "--trials", "0"], "--trials = 0"),
        (["--scene", &at_one, "--trials", "1"], "waveform.samples_per_symbol = 1"),
        (["--scene", &apart, "--trials", "1"], "field of view"),
        (["--scene", "clutter", "--trials", "1"], "clutter"),
        (["--set", "channel.leakage_db=-20", "--trials", "1"], "channel.leakage_db"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
        let output = command.arg("sense").args(arguments).output().expect("the program starts");
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(named) && line.contains("accepted"), "{line}");
    }
}
