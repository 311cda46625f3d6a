//! What the sensing receiver says is true under impairments that nobody tells it of: a position with an error bar that holds,
//! or none and why.

use std::collections::BTreeMap;

use issc::optimize::Problem;
use issc::scene::Scene;
use issc::sensing::{Estimator, SensingConfig, Trials};
use issc::system::{Event, System, SystemSpec};

const TRIALS: u64 = 200;

/// What trials gave.
#[derive(Debug, Default)]
struct Outcome {
    located: u64,
    /// Mean of eᵀC⁻¹e.
    nees: f64,
    /// Positions beyond six deviations.
    wrong: u64,
    refused: BTreeMap<&'static str, u64>,
    /// Mean of what was measured, in W.
    noise_w: f64,
}

/// Trials of the paper's scene with this change to its text, and this impairment at the sensing receiver, or one of its rows.
fn outcome(change: impl Fn(String) -> String, at: &str, impairment: &str) -> Outcome {
    outcome_in(change(include_str!("../scenes/paper.toml").to_owned()), at, impairment, TRIALS)
}

/// The same in any scene.
fn outcome_in(mut text: String, at: &str, impairment: &str, trials_made: u64) -> Outcome {
    if !impairment.is_empty() {
        text += &format!("\n[[impairment]]\nat = \"sensing-receiver{at}\"\n{impairment}\n");
    }
    let scene = Scene::from_toml(&text, "changed").unwrap();
    let beams = Problem::from_scene(&scene).solve().beams;
    let config = SensingConfig::from_scene(&scene);
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let mut trials = Trials::new(&scene, &config, &beams, 7).unwrap();
    let mut outcome = Outcome::default();
    for number in 0..trials_made {
        let truth = trials.make(number, &estimator);
        let estimate = trials.estimate(&mut estimator);
        outcome.noise_w += estimate.noise_power_w / trials_made as f64;
        match estimate.fix {
            Some(fix) => {
                let error = fix.normalised_error(truth.position_m).expect("a covariance that is one");
                assert!(error >= 0.0, "{:?}", fix.covariance_m2);
                outcome.located += 1;
                outcome.nees += error;
                outcome.wrong += u64::from(error > 36.0);
            }
            None => *outcome.refused.entry(estimate.status.refusal().expect("a reason")).or_default() += 1,
        }
    }
    outcome.nees /= outcome.located.max(1) as f64;
    outcome
}

fn as_is(text: String) -> String {
    text
}

#[test]
fn noise_is_measured_whatever_the_scene_says_of_it() {
    for level_db in [-10.0, 0.0, 10.0] {
        let found = outcome(as_is, "", &format!("kind = \"level\"\ndb = {level_db:.1}"));
        let truth_w = 1e-8 * 10f64.powf(level_db / 10.0);
        assert!((found.noise_w / truth_w - 1.0).abs() < 0.02, "{level_db} dB: {found:?}");
        // The mean of 200 NEES has a deviation of 0.14.
        assert!(found.located == TRIALS && (1.4..2.6).contains(&found.nees), "{level_db} dB: {found:?}");
    }
}

#[test]
fn offsets_images_constants_paths_and_coarse_converters_leave_error_bars_that_hold() {
    for impairment in [
        "kind = \"carrier-offset\"\nppm = 1.0",
        "kind = \"carrier-offset\"\nppm = -0.1",
        "kind = \"clock-offset\"\nppm = 10.0",
        "kind = \"phase-noise\"\nrms_deg = 3.0",
        "kind = \"iq\"\nimage_db = -20.0",
        "kind = \"dc\"\ndbc = -10.0",
        "kind = \"adc\"\nbits = 6",
        "kind = \"paths\"\nlist = [{ delay_symbols = 1.0, gain_db = -10.0, phase_deg = 90.0 }]",
        "kind = \"bursts\"\ndb = 30.0\nlength = 10\nperiod = 3000",
    ] {
        let found = outcome(as_is, "", impairment);
        assert!(found.located >= TRIALS * 98 / 100 && found.nees < 3.0 && found.wrong == 0, "{impairment}: {found:?}");
    }
}

#[test]
fn faults_of_rows_are_named_and_small_errors_are_in_the_error_bar() {
    // Off broadside, where an exchange of rows changes something.
    let aside = |text: String| text.replace("target = [100.0, 50.0]", "target = [100.0, 85.0]");
    for (impairment, name) in [
        ("fault = \"swapped-with-2\"", "swapped"),
        ("fault = \"conjugated\"", "conjugated"),
        ("fault = \"dead\"", "dead"),
        ("delay_samples = 1.0", "late"),
        ("phase_deg = 90.0", "phase"),
        ("phase_deg = -8.0", "phase"),
    ] {
        let found = outcome(aside, ".1", &format!("kind = \"row\"\n{impairment}"));
        let named = found.refused.get(name).copied().unwrap_or(0);
        assert!(named >= TRIALS * 95 / 100 && found.wrong == 0, "{impairment}: {found:?}");
    }
    for row in [0, 1] {
        let found = outcome(aside, &format!(".{row}"), "kind = \"row\"\nphase_deg = 1.0");
        assert!(found.located == TRIALS && found.nees < 3.0 && found.wrong == 0, "row {row}: {found:?}");
    }
}

#[test]
fn declared_errors_of_the_arrays_are_in_the_error_bar() {
    for errors in ["phase_error_deg = 0.5", "phase_error_deg = 10.0", "gain_error_db = 1.0"] {
        let found = outcome(|text| text.replace("[array]", &format!("[array]\n{errors}")), "", "");
        assert!(found.located >= TRIALS * 99 / 100 && found.nees < 3.0 && found.wrong == 0, "{errors}: {found:?}");
    }
}

#[test]
fn a_posterior_that_no_ellipse_shows_gives_no_position() {
    let far = |text: String| {
        text.replace("target = [100.0, 50.0]", "target = [2.0, 60.0]")
            .replace("hcrb_max_m2 = 5.0e-5", "hcrb_max_m2 = 1000.0")
    };
    let found = outcome(far, "", "");
    assert!(found.located == 0 || found.nees < 2.6, "{found:?}");
    assert_eq!(found.wrong, 0, "{found:?}");
}

#[test]
fn a_limiter_or_an_amplifier_that_bends_the_beams_ratio_gives_no_position() {
    for impairment in [
        "kind = \"clip\"\nover_rms_db = 4.0",
        "kind = \"clip\"\nover_rms_db = 3.0",
        "kind = \"clip\"\nover_rms_db = 0.0",
        "kind = \"adc\"\nbits = 10\nfull_scale_db = 0.0",
        "kind = \"pa\"\nbackoff_db = 3.0",
        "kind = \"pa\"\nbackoff_db = 10.0",
        "kind = \"pa\"\nbackoff_db = 16.0\nrapp_p = 1.0",
    ] {
        let found = outcome(as_is, "", impairment);
        let named = found.refused.get("poor-fit").copied().unwrap_or(0);
        assert!(found.wrong == 0 && named * 10 >= TRIALS * 9, "{impairment}: {found:?}");
    }
    // One row alone.
    let found = outcome(as_is, ".2", "kind = \"clip\"\nover_rms_db = 2.0");
    assert!(found.wrong * 200 <= found.located, "{found:?}");
    // An amplifier so far below its saturation that it changes nothing refuses nothing.
    let found = outcome(as_is, "", "kind = \"pa\"\nbackoff_db = 24.0");
    assert!(found.located == TRIALS && found.nees < 3.0, "{found:?}");
}

/// A shipped flowgraph with an impairment.
fn impaired(flowgraph: &str, impairment: &str) -> SystemSpec {
    let list: toml::Value = toml::from_str(&format!("list = [{impairment}]")).unwrap();
    SystemSpec::shipped(flowgraph).unwrap().set("scene.impairment", list["list"].clone()).unwrap()
}

/// From a run's first frame on, where a limiter's level still moves and no frames before say anything; and amplifiers of the
/// transmitter, which bend the ratio before it is an echo.
#[test]
fn a_run_gives_no_position_where_a_stage_is_compressed() {
    for impairment in [
        "{ at = \"sensing-receiver\", kind = \"clip\", over_rms_db = 3.5 }",
        "{ at = \"sensing-receiver\", kind = \"pa\", backoff_db = 6.0 }",
        "{ at = \"transmitter\", kind = \"pa\", backoff_db = 6.0 }",
    ] {
        let (mut frames, mut located) = (0, 0);
        for seed in 1..=3 {
            let spec = impaired("loopback", impairment).frames(20).seed(seed);
            let spec = spec.set("scene.geometry.target", vec![83.0, 61.0]).unwrap();
            let run = System::build(spec).unwrap().start().unwrap();
            for event in run.subscribe() {
                let Event::Detections { detections, refused, .. } = event else { continue };
                frames += 1;
                located += detections.len();
                assert!(detections.len() == 1 || refused.is_some(), "{impairment}");
            }
            run.join().unwrap();
        }
        assert!(frames == 60 && located <= 1, "{impairment}: {located} of {frames}");
    }
}

#[test]
fn a_stage_that_is_compressed_leaves_none_of_several_targets_a_position() {
    for impairment in [
        "{ at = \"array\", kind = \"clip\", over_rms_db = 3.0 }",
        "{ at = \"array\", kind = \"pa\", backoff_db = 6.0 }",
        "{ at = \"transmitter\", kind = \"clip\", over_rms_db = 3.0 }",
        "{ at = \"transmitter\", kind = \"pa\", backoff_db = 6.0 }",
        "{ at = \"transmitter\", kind = \"pa\", backoff_db = 12.0 }",
    ] {
        let run = System::build(impaired("several", impairment).frames(60)).unwrap().start().unwrap();
        let mut located = 0;
        for event in run.subscribe() {
            let Event::Detections { detections, .. } = event else { continue };
            located += usize::from(!detections.is_empty());
        }
        run.join().unwrap();
        assert!(located <= 1, "{impairment}: {located} of 60 frames");
    }
}

#[test]
fn targets_much_stronger_than_the_noise_are_located_as_well_as_the_bound_says() {
    let spec = SystemSpec::shipped("several").unwrap().frames(400);
    let spec = spec.set("scene.receiver.array.noise_dbm", -75.0).unwrap();
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    for target in &report.figures.targets {
        let ratio = target.target.rmse_m.unwrap() / target.target.hcrb_rmse_m.unwrap();
        // Over 400 frames a deviation of 4 %.
        assert!((0.88..1.12).contains(&ratio), "{}: {ratio}", target.id);
    }
}

#[test]
fn a_clock_that_is_known_exactly_and_one_that_is_not_known_at_all_are_limits_that_work() {
    for std_s in ["0.0", "1e-9", "1e-5", "1.0"] {
        let known =
            |text: String| text.replace("timing_error_std_s = 100e-9", &format!("timing_error_std_s = {std_s}"));
        let found = outcome(known, "", "");
        assert!(found.located == TRIALS && (1.4..2.6).contains(&found.nees), "{std_s} s: {found:?}");
    }
}

/// Trials of random targets (±60° from the broadside of both arrays, 20 to 150 m) with arrays of so many antennas and the
/// threshold max(5e-5, twice the smallest): how many gave a position, how many of them lie beyond six deviations, and of how
/// many.
fn of_random_targets(antennas: usize, targets: usize, is_sounded: bool) -> [u64; 3] {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(antennas as u64);
    let (mut found, mut wrong, mut made) = (0, 0, 0);
    for seed in 0..targets {
        let mut scene = Scene::paper();
        scene.array.transmit_antennas = antennas;
        scene.array.receive_antennas = antennas;
        scene.geometry.target = loop {
            let (range, angle) = (random.random_range(20.0..150.0), random.random_range(-60f64..60.0).to_radians());
            let place: [f64; 2] = [range * angle.cos(), range * angle.sin()];
            let [x, y] = [place[0], place[1] - scene.geometry.sensing_receiver[1]];
            if y.atan2(x).abs() < 60f64.to_radians() && (20.0..150.0).contains(&x.hypot(y)) {
                break place;
            }
        };
        scene.constraints.hcrb_max_m2 = 1e3;
        let smallest_m2 = Problem::from_scene(&scene).solve().smallest_hcrb_trace_m2;
        scene.constraints.hcrb_max_m2 = (2.0 * smallest_m2).max(5e-5);
        let beams = Problem::from_scene(&scene).solve().beams;
        let config = SensingConfig::from_scene(&scene);
        let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
        let mut trials =
            if is_sounded { Trials::sounded } else { Trials::new }(&scene, &config, &beams, seed as u64).unwrap();
        for number in 0..30 {
            let truth = trials.make(number, &estimator);
            let estimate = trials.estimate(&mut estimator);
            made += 1;
            if let Some(fix) = estimate.fix {
                found += 1;
                wrong += u64::from(fix.normalised_error(truth.position_m).unwrap() > 36.0);
            } else if estimate.status == issc::sensing::Status::Ambiguous {
                let shares: f64 = estimate.rivals.iter().flatten().map(|(_, share)| share).sum();
                assert!(shares > 0.0 && shares <= 1.0, "{:?}", estimate.rivals);
            }
        }
    }
    [found, wrong, made]
}

#[test]
fn a_sounding_tells_the_directions_apart_that_beams_confuse() {
    for antennas in [4, 8, 16] {
        let [found, wrong, made] = of_random_targets(antennas, 12, true);
        assert!(found * 100 >= made * 99 && wrong == 0, "{antennas} antennas: {found} of {made}, {wrong} wrong");
    }
    // Without, most frames of large arrays have rivals and say so.
    let [found, wrong, made] = of_random_targets(16, 12, false);
    assert!(found * 2 < made && wrong == 0, "{found} of {made}, {wrong} wrong");
}

#[test]
fn a_row_that_is_off_is_named_after_some_frames_where_one_frame_is_too_weak_to_show_it() {
    let outdoor = include_str!("../scenes/outdoor.toml").to_owned();
    for (row, degrees) in [(1, 90.0), (2, -90.0), (3, 40.0)] {
        let found =
            outcome_in(outdoor.clone(), &format!(".{row}"), &format!("kind = \"row\"\nphase_deg = {degrees:.1}"), 400);
        let phase = found.refused.get("phase").copied().unwrap_or(0);
        assert!(phase > 200 && found.wrong * 200 <= found.located.max(200), "{degrees}°: {found:?}");
    }
    let found = outcome_in(outdoor, "", "kind = \"level\"\ndb = 0.0", 2000);
    assert!(!found.refused.contains_key("phase"), "{found:?}");
}

#[test]
fn echoes_at_the_threshold_are_found_beside_a_constant_and_with_a_carrier_that_is_off() {
    let outdoor = include_str!("../scenes/outdoor.toml");
    let found = |impairment: &str| outcome_in(outdoor.to_owned(), "", impairment, 2000);
    // The same noise in all: so much as one in a hundred positions fewer are not by chance.
    let plain = found("kind = \"level\"\ndb = 0.0");
    assert!((1600..1900).contains(&plain.located), "{plain:?}");
    for impairment in ["kind = \"dc\"\ndbc = -20.0", "kind = \"carrier-offset\"\nppm = 1.0"] {
        let found = found(impairment);
        assert!(found.located * 100 >= plain.located * 99 && found.wrong == 0, "{impairment}: {found:?}, {plain:?}");
    }
}
