//! The estimator against its bound, on the whole chain: frame, pulse, exact delay, noise.

use nalgebra::{DVector, Matrix2, Vector2};
use num_complex::Complex64;

use super::{Estimate, Estimator, SensingConfig, Status, Trials};
use crate::array::{Beams, direction_rad, steering_vector};
use crate::optimize::BoundModel;
use crate::scene::{Reflectivity, Scene, dbm_to_w};

/// The hybrid bound on the position.
fn bound(scene: &Scene, beams: &Beams, symbols: usize) -> f64 {
    BoundModel::new(scene, scene.geometry.target, symbols).of_beams(beams).trace_m2().expect("identifiable")
}

/// 60 % of the power straight at the target, 40 % in a beam with a steep slope there. Two beams in span{α, α'} alone
/// would have the same ratio in other directions too; the bent taper of the second one has not.
fn beams(scene: &Scene) -> Beams {
    let power = dbm_to_w(scene.constraints.power_dbm);
    let count = scene.array.transmit_antennas;
    let theta = direction_rad(scene.geometry.transmitter, scene.geometry.target);
    let alpha = steering_vector(count, scene.array.spacing_wavelengths, theta);
    let slope = DVector::from_fn(count, |n, _| {
        let offset = n as f64 - (count as f64 - 1.0) / 2.0;
        alpha[n] * Complex64::from(offset + 0.4 * offset * offset)
    });
    Beams {
        w_c: &alpha * Complex64::from((0.6 * power).sqrt() / alpha.norm()),
        w_0: &slope * Complex64::from((0.4 * power).sqrt() / slope.norm()),
    }
}

/// The paper's scene at another transmit power.
fn scene_at(power_dbm: f64) -> Scene {
    let mut scene = Scene::paper();
    scene.constraints.power_dbm = power_dbm;
    scene
}

/// What a number of trials gave.
#[derive(Debug, Default)]
struct Outcome {
    located: usize,
    /// RMSE over the root of the bound.
    ratio: f64,
    nees: f64,
    outliers: usize,
}

fn run(scene: &Scene, beams: &Beams, trials: u64) -> Outcome {
    run_with(&SensingConfig::from_scene(scene), scene, beams, trials)
}

fn run_with(config: &SensingConfig, scene: &Scene, beams: &Beams, trials: u64) -> Outcome {
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(config)).unwrap();
    let mut source = Trials::new(scene, config, beams, 1).unwrap();
    let bound = bound(scene, beams, Trials::window_samples(config) / config.samples_per_symbol);
    let (mut outcome, mut squares) = (Outcome::default(), 0.0);
    for number in 0..trials {
        let truth = source.make(number, &estimator);
        let Some(fix) = source.estimate(&mut estimator).fix else { continue };
        let error = Vector2::from(fix.position_m) - Vector2::from(truth.position_m);
        outcome.located += 1;
        outcome.outliers += usize::from(error.norm_squared() > 100.0 * bound);
        squares += error.norm_squared();
        outcome.nees += fix.normalised_error(truth.position_m).unwrap();
    }
    outcome.nees /= outcome.located as f64;
    outcome.ratio = (squares / outcome.located as f64 / bound).sqrt();
    outcome
}

/// The RMSE of n trials scatters by 1/√(2n) at most (one axis dominates), the mean of n χ²₂ by 2/√n: four deviations.
fn assert_efficient(outcome: &Outcome, trials: u64) {
    let n = trials as f64;
    assert_eq!((outcome.located, outcome.outliers), (trials as usize, 0), "{outcome:?}");
    assert!((outcome.ratio - 1.0).abs() < 4.0 / (2.0 * n).sqrt(), "{outcome:?}");
    assert!((outcome.nees - 2.0).abs() < 8.0 / n.sqrt(), "{outcome:?}");
}

#[test]
fn the_rmse_is_the_bound_and_the_covariance_is_true_from_minus_50_to_20_dbm() {
    for power_dbm in [-50.0, -20.0, 0.0, 20.0] {
        let scene = scene_at(power_dbm);
        assert_efficient(&run(&scene, &beams(&scene), 1500), 1500);
    }
}

#[test]
fn a_known_reflection_is_used_and_meets_its_lower_bound() {
    let mut scene = scene_at(0.0);
    let unknown = bound(&scene, &beams(&scene), 1152);
    scene.model.reflectivity = Reflectivity::Known;
    // Off the main direction, where the strength of the echo tells the departure direction.
    let mut beams = beams(&scene);
    let turn = steering_vector(4, 0.5, 0.2);
    beams.w_c.iter_mut().zip(turn.iter()).for_each(|(w, t)| *w *= t);
    assert!(bound(&scene, &beams, 1152) < unknown);
    assert_efficient(&run(&scene, &beams, 1500), 1500);
}

#[test]
fn error_bars_cover_elements_that_are_off_in_phase_and_gain_and_positions_are_refused_where_the_receiver_is_not_told() {
    // Off the main direction, where gains matter too.
    let mut beams = beams(&scene_at(0.0));
    let turn = steering_vector(4, 0.5, 0.2);
    beams.w_c.iter_mut().zip(turn.iter()).for_each(|(w, t)| *w *= t);
    let untold = SensingConfig::from_scene(&scene_at(0.0));
    for (phase_error_deg, gain_error_db) in [(5.0, 0.5), (5.0, 0.0), (0.0, 0.5)] {
        let mut scene = scene_at(0.0);
        scene.array.phase_error_deg = phase_error_deg;
        scene.array.gain_error_db = gain_error_db;
        let told = run(&scene, &beams, 1500);
        // Mean of 1 500 sums of two squares of nearly normal numbers: 4 deviations, and a tenth for what is of second order.
        assert!(told.located == 1500 && (told.nees - 2.0).abs() < 0.2 + 8.0 / 1500f64.sqrt(), "{told:?}");
        // Where nobody tells it, most positions are refused, and error bars hold for the others' rows; what the transmitter's
        // elements are off by shows in no frame.
        let untold = run_with(&untold, &scene, &beams, 300);
        assert!(phase_error_deg == 0.0 || untold.located < 200, "{untold:?}");
    }
}

#[test]
fn two_and_four_samples_per_symbol_give_the_same_error() {
    for samples_per_symbol in [2, 4] {
        let mut scene = scene_at(-10.0);
        scene.waveform.samples_per_symbol = samples_per_symbol;
        assert_efficient(&run(&scene, &beams(&scene), 600), 600);
    }
}

#[test]
fn targets_at_random_places_are_found_without_outliers() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(3);
    let mut worst = 0f64;
    for _ in 0..40 {
        let mut scene = scene_at(0.0);
        scene.geometry.target = [random.random_range(20.0..200.0), random.random_range(-100.0..150.0)];
        let outcome = run(&scene, &beams(&scene), 40);
        assert_eq!((outcome.located, outcome.outliers), (40, 0), "{:?}: {outcome:?}", scene.geometry.target);
        worst = worst.max(outcome.ratio);
    }
    // 40 trials scatter by 1/√80 = 0.11: the largest of 40 such ratios stays below 1 + 4.5 deviations.
    assert!(worst < 1.5, "{worst}");
}

#[test]
fn one_beam_leaves_an_unknown_reflection_unidentifiable_and_a_known_one_not() {
    let mut scene = scene_at(0.0);
    let mut one = beams(&scene);
    one.w_0.fill(Complex64::ZERO);
    let status = |scene: &Scene, beams: &Beams| {
        let config = SensingConfig::from_scene(scene);
        let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
        let mut trials = Trials::new(scene, &config, beams, 1).unwrap();
        trials.make(0, &estimator);
        let estimate = trials.estimate(&mut estimator);
        assert_eq!(estimate.fix.is_some(), estimate.status == Status::Located);
        estimate.status
    };
    assert_eq!(status(&scene, &one), Status::Unidentifiable);
    let parallel = Beams { w_0: &one.w_c * Complex64::new(0.3, 0.4), ..one.clone() };
    assert_eq!(status(&scene, &parallel), Status::Unidentifiable);
    scene.model.reflectivity = Reflectivity::Known;
    let turn = steering_vector(4, 0.5, 0.2);
    one.w_c.iter_mut().zip(turn.iter()).for_each(|(w, t)| *w *= t);
    assert_eq!(status(&scene, &one), Status::Located);
}

#[test]
fn noise_alone_passes_for_an_echo_as_often_as_allowed() {
    let scene = scene_at(-200.0);
    let config = SensingConfig { false_alarm_probability: 0.1, ..SensingConfig::from_scene(&scene) };
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let mut trials = Trials::new(&scene, &config, &beams(&scene), 1).unwrap();
    let mut alarms = 0;
    for number in 0..600 {
        trials.make(number, &estimator);
        alarms += usize::from(trials.estimate(&mut estimator).status != Status::BelowThreshold);
    }
    // Neighbouring lags are correlated at two samples per symbol, so the true rate is below the set 10 % of each of three
    // looks.
    assert!((40..=190).contains(&alarms), "{alarms} of 600");
}

#[test]
fn a_target_behind_the_arrays_or_beyond_the_search_is_refused() {
    for target in [[-10.0, 20.0], [5000.0, 20.0]] {
        let mut scene = scene_at(0.0);
        scene.geometry.target = target;
        let config = SensingConfig::from_scene(&scene);
        let error = Trials::new(&scene, &config, &beams(&Scene::paper()), 1).err().expect("refused");
        assert_eq!(error.exit_status(), 2);
        assert!(error.to_string().contains("accepted"), "{error}");
    }
}

#[test]
fn beams_may_change_from_frame_to_frame() {
    let scene = scene_at(0.0);
    let config = SensingConfig::from_scene(&scene);
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let first = beams(&scene);
    let second = Beams { w_c: first.w_0.clone(), w_0: first.w_c.clone() };
    let fresh = |beams: &Beams, estimator: &mut Estimator| {
        let mut trials = Trials::new(&scene, &config, beams, 1).unwrap();
        trials.make(5, estimator);
        trials.estimate(estimator)
    };
    let alone = fresh(&second, &mut Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap());
    fresh(&first, &mut estimator);
    let after = fresh(&second, &mut estimator);
    // What a frame says of the clock stays.
    assert_eq!(Estimate { clock_offset_s: alone.clock_offset_s, ..after }, alone);
}

#[test]
fn a_position_that_two_candidates_share_is_ambiguous_until_a_track_expects_one() {
    // Beams in span{α, α'} alone have one ratio in several directions; here two of them meet φ in view.
    let mut scene = scene_at(0.0);
    scene.geometry.target = [60.0, 48.0];
    scene.geometry.sensing_receiver = [0.0, -60.0];
    let mut symmetric = beams(&scene);
    let theta = direction_rad([0.0, 0.0], scene.geometry.target);
    let alpha = steering_vector(4, 0.5, theta);
    symmetric.w_0 = DVector::from_fn(4, |n, _| alpha[n] * Complex64::from((n as f64 - 1.5) * 5e-3));
    let config = SensingConfig::from_scene(&scene);
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let mut trials = Trials::new(&scene, &config, &symmetric, 1).unwrap();
    let mut counts = [0; 2];
    for number in 0..20 {
        let truth = trials.make(number, &estimator);
        estimator.expect(None);
        counts[0] += usize::from(trials.estimate(&mut estimator).status == Status::Ambiguous);
        estimator.expect(Some(([59.0, 49.0], Matrix2::identity())));
        let fix = trials.estimate(&mut estimator).fix.expect("the expectation decides");
        counts[1] += usize::from((fix.position_m[0] - truth.position_m[0]).abs() < 0.1);
    }
    assert!(counts[0] > 5 && counts[1] == 20, "{counts:?}");
}

/// The statistic over geometries, with the beams of a plan. Too long for every run (about 200 × 400
/// trials): `cargo test --release --lib over_200_random -- --ignored --nocapture`.
#[test]
#[ignore = "80 000 trials take a minute"]
fn over_200_random_geometries_the_median_ratio_is_below_1_05_and_the_99th_percentile_below_1_3() {
    use rand::{RngExt, SeedableRng};
    const TRIALS: u64 = 400;
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(11);
    let (mut ratios, mut drawn, mut lost, mut unusable) = (vec![], 0, 0, 0);
    while ratios.len() < 200 {
        drawn += 1;
        let mut scene = scene_at(random.random_range(-30.0..20.0));
        scene.geometry.sensing_receiver = [random.random_range(-50.0..50.0), random.random_range(-100.0..100.0)];
        scene.geometry.communication_receiver = [random.random_range(5.0..60.0), random.random_range(-60.0..60.0)];
        let front = scene.geometry.sensing_receiver[0].max(0.0);
        scene.geometry.target = [front + random.random_range(10.0..200.0), random.random_range(-150.0..150.0)];
        scene.constraints.hcrb_max_m2 = 1e-12;
        let smallest = crate::optimize::Problem::from_scene(&scene).solve().smallest_hcrb_trace_m2;
        scene.constraints.hcrb_max_m2 = 2.0 * smallest;
        let beams = crate::optimize::Problem::from_scene(&scene).solve().beams;
        if !smallest.is_finite() || bound(&scene, &beams, 1152) > 1.0 {
            continue;
        }
        let outcome = run(&scene, &beams, TRIALS);
        if outcome.outliers > 0 || outcome.located < TRIALS as usize {
            println!("{:?} {} dBm: {outcome:?}", scene.geometry, scene.constraints.power_dbm);
        }
        lost += usize::from(outcome.located < TRIALS as usize);
        // Fewer located trials than half say too little about the ratio; they are counted, not hidden.
        if outcome.located < TRIALS as usize / 2 {
            unusable += 1;
            continue;
        }
        ratios.push(outcome.ratio);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let (median, tail, largest) = (ratios[100], ratios[198], ratios[199]);
    println!(
        "{drawn} drawn; ratio: median {median:.3}, 99th percentile {tail:.3}, largest {largest:.3}; {lost} ambiguous in part, {unusable} of them in most trials"
    );
    assert!(median <= 1.05 && tail <= 1.3);
}

#[test]
fn a_moving_target_is_found_at_the_bound_and_its_speed_is_what_the_error_bar_says() {
    let mut scene = scene_at(0.0);
    let beams = beams(&scene);
    scene.target.velocity_m_s = [25.0, 15.0];
    let config = SensingConfig { moving: true, ..SensingConfig::from_scene(&scene) };
    // 300 trials: a ratio scatters by 3 %, NEES by 0.12.
    let outcome = run_with(&config, &scene, &beams, 300);
    assert!(outcome.located == 300 && (0.9..1.1).contains(&outcome.ratio), "{outcome:?}");
    assert!((1.5..2.5).contains(&outcome.nees), "{outcome:?}");
    // What turns by more than noise is turned back where nobody expects it to move as well.
    let unexpected = run(&scene, &beams, 100);
    assert!(unexpected.ratio < 1.25 && (1.4..2.6).contains(&unexpected.nees), "{unexpected:?}");
    // The error bar of the path's rate.
    let geometry = &scene.geometry;
    let truth = crate::array::path_rate_m_s(
        geometry.transmitter,
        geometry.target,
        geometry.sensing_receiver,
        scene.target.velocity_m_s,
    );
    let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
    let mut source = Trials::new(&scene, &config, &beams, 5).unwrap();
    let mut normalised = 0.0;
    for number in 0..300 {
        source.make(number, &estimator);
        let rate = source.estimate(&mut estimator).fix.unwrap().measurement.path_rate.unwrap();
        normalised += (rate.value_m_s - truth).powi(2) / rate.variance_m2_s2 / 300.0;
    }
    assert!((0.7..1.4).contains(&normalised), "{normalised}");
}
