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
